"""The rows of alerts: opened with their cause, logged, marked as logged, and ended.

An alert is opened in the transaction that records its cause; a risk, which is a matter of time
alone, by `take`. Its line is marked after it was logged: a crash between the two repeats a line
and loses none.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, bindparam, exists, or_, select, update
from sqlalchemy.orm import aliased
from sqlmodel import col

from voicekeeper.core import alerting
from voicekeeper.core.duration import plus
from voicekeeper.core.enums import LIVING
from voicekeeper.core.events import Event, Level
from voicekeeper.core.models import Alert, AlertKind, Breaker, Status, Task, Voice
from voicekeeper.core.schedule import Policy, deadline
from voicekeeper.core.transitions import Entry
from voicekeeper.store import breakers, unreadable
from voicekeeper.store.history import LogLine, add_entry, line, model_line, plain
from voicekeeper.store.jobs import SUCCEEDED
from voicekeeper.store.session import Session

_MOST = 1000
"""So many rows of each sort are dealt with at a time; the next look goes on."""

_NOW: sa.BindParameter[datetime] = bindparam("now")
_RISKY: sa.BindParameter[datetime] = bindparam("risky")

_USED_LATELY = exists().where(
    col(Task.voice_pk) == Voice.id,
    SUCCEEDED,
    col(Task.sent_at).between(_RISKY, _NOW),
)
_WAITS_FOR_ITS_DUE_TIME = col(Voice.next_at).between(_NOW, bindparam("soon")) & (
    col(Voice.failures) == 0
)

AT_RISK: ColumnElement[bool] = (
    (col(Voice.anchored_at) < _RISKY)
    & col(Voice.next_at).is_not(None)  # which it is where the voice is paused
    & or_(*(col(Voice.status) == kept for kept in LIVING))
    & col(Voice.voice_id).is_not(None)
    & ~(_WAITS_FOR_ITS_DUE_TIME & _USED_LATELY)
)
"""A voice is kept, and little of its window is left; at the times of `risk_at`.

With a host's clock that is days ahead, the gateway's ``createTime`` makes every use look old. So
a voice that was used lately by the host's own clock, and whose next keepalive is not due, is well.
"""

_IS_OPEN = col(Alert.ended_at).is_(None)
_OF_VOICE = select(Alert).where(_IS_OPEN, col(Alert.voice_pk) == bindparam("of_voice"))
_OF_MODEL = select(Alert).where(
    _IS_OPEN, col(Alert.voice_pk).is_(None), col(Alert.model) == bindparam("of_model")
)
_NEW_RISKS = (
    select(Voice)
    .where(
        AT_RISK,
        ~exists().where(
            col(Alert.voice_pk) == Voice.id, col(Alert.kind) == AlertKind.RISK, _IS_OPEN
        ),
    )
    .order_by(col(Voice.anchored_at))
    .limit(_MOST)
)
_SETTLED = (
    select(Alert, Voice)
    .join(Voice, col(Voice.id) == col(Alert.voice_pk))
    .where(
        _IS_OPEN,
        col(Alert.voice_pk).is_not(None),
        or_(
            col(Voice.paused) == sa.true(),
            (col(Alert.kind) == AlertKind.LOST) & (col(Voice.status) != Status.LOST),
            (col(Alert.kind) == AlertKind.UNDEPLOYED) & (col(Voice.status) != Status.UNDEPLOYED),
            (col(Alert.kind) == AlertKind.RISK) & ~AT_RISK,
        ),
    )
    .limit(_MOST)
)
"""What no success ended: a person dealt with the voice, or a wrong clock was mended."""

_OTHER = aliased(Voice)
_GETS_LOUDER = (
    (col(Alert.kind) == AlertKind.RISK)
    & (col(Alert.level) == Event.VOICE_AT_RISK.level)
    & col(Alert.send_at).is_not(None)
    & _IS_OPEN
    & (col(Voice.anchored_at) < bindparam("dire"))
)
_DUE = (
    select(Alert, Voice)
    .join(Voice, col(Voice.id) == col(Alert.voice_pk), isouter=True)
    .where(
        col(Alert.tell_at).is_not(None),
        (col(Alert.tell_at) <= _NOW) | _GETS_LOUDER,
        col(Alert.voice_pk).is_not(None)
        | col(Alert.ended_at).is_not(None)
        | exists().where(col(_OTHER.model) == Alert.model, col(_OTHER.next_at).is_not(None)),
    )
    .order_by(col(Alert.tell_at))
    .limit(_MOST)
)

_LOGGED = (
    update(Alert)
    .where(col(Alert.id).in_(bindparam("keys", expanding=True)))
    .values(told=col(Alert.told) + 1)
)
_LOGGED_OPEN = _LOGGED.where(_IS_OPEN).values(tell_at=bindparam("again"))
_LOGGED_END = _LOGGED.where(~_IS_OPEN).values(tell_at=None)


def risk_at(now: datetime, policy: Policy) -> Mapping[str, datetime]:
    """Return the times that `AT_RISK` asks for."""
    return {
        "now": now,
        "risky": alerting.risky_before(now, policy),
        "soon": now + policy.interval,
    }


def open_for(
    session: Session, voice: Voice, log_line: LogLine, *, now: datetime, notifies: bool
) -> LogLine:
    """Open the alert that an event in a voice's life calls for, if any; return the event's line.

    Where people get messages (``notifies``), one is to hold the end of an enrollment.
    """
    event = Event(log_line.event)
    kind = alerting.OPENED_BY.get(event)
    ends_enrollment = notifies and alerting.ends_enrollment(event, voice.status)
    if kind is None and not ends_enrollment:
        return log_line
    about = {"voice_pk": voice.id, "model": voice.model, **_as_new(log_line, now=now)}
    if ends_enrollment:
        session.add(Alert(kind=AlertKind.ENROLLMENT, ended_at=now, **about))
    if kind is None:
        return log_line
    known = _readable(session, _OF_VOICE, of_voice=voice.id)
    alert = next((alert for alert in known if alert.kind is kind), None)
    if alert is None:
        alert = Alert(kind=kind, **about)
    else:
        alert.sqlmodel_update(about)
    return _opened(session, alert, log_line, now=now)


def blocked(session: Session, breaker: Breaker, log_line: LogLine, *, now: datetime) -> LogLine:
    """Open the alert that a model's calls are paused; return its line."""
    alert = Alert(kind=AlertKind.BLOCKED, model=breaker.model, **_as_new(log_line, now=now))
    return _opened(session, alert, log_line, now=now)


def unblocked(
    session: Session, model: str, *, since: datetime | None, now: datetime
) -> list[LogLine]:
    """End the alert that a model's calls are paused; return the line of the all-clear.

    ``since`` is when its breaker opened; None for one that was let go on trial, if it ever was.
    """
    alert = open_of_model(session, model)
    if alert is None:
        return [_model_recovered(model, since)] if since is not None else []
    log_line = _model_recovered(model, alert.since)
    is_owed = _end(session, alert, is_well=True, now=now)
    return [log_line._replace(alert=alert.id) if is_owed else log_line]


def may_have_alerts(voice: Voice, *, now: datetime, policy: Policy) -> bool:
    """Tell, without a query, whether a voice may have an open alert."""
    gone = voice.status in (Status.LOST, Status.UNDEPLOYED)
    return gone or voice.anchored_at < alerting.risky_before(now, policy)


def fixed(session: Session, voice: Voice, *, now: datetime) -> list[LogLine]:
    """End all alerts about a voice that spoke; return the all-clear of those that were logged."""
    open_alerts = _readable(session, _OF_VOICE, of_voice=voice.id)
    lines = [_end_of_voice(session, alert, voice, now=now) for alert in open_alerts]
    return [log_line for log_line in lines if log_line is not None]


def open_of_model(session: Session, model: str) -> Alert | None:
    """Return the open alert that a model's calls are paused."""
    return next(iter(_readable(session, _OF_MODEL, of_model=model)), None)


def take(session: Session, *, now: datetime, policy: Policy) -> list[LogLine]:
    """Open risks, end alerts whose cause is gone, and return the lines that are due.

    Log them, then `mark` them.
    """
    _open_risks(session, now=now, policy=policy)
    settled, _ = unreadable.load_joined(session, _SETTLED, risk_at(now, policy))
    for alert, voice in settled:
        if _end_of_voice(session, alert, voice, now=now) is not None:
            alert.tell_at = now  # its line is among those that are due
    at = {"now": now, "dire": alerting.dire_before(now, policy)}
    due, _ = unreadable.load_joined(session, _DUE, at)
    lines = []
    for alert, voice in due:
        if alert.ended_at is not None:
            log_line = _model_recovered(alert.model, alert.since)
            if voice is not None:
                log_line = _line(_all_clear(alert), voice)
        elif voice is None:
            log_line = _line_of_model(session, alert, now=now)
        else:
            log_line = _line_of_voice(session, alert, voice, now=now, policy=policy)
        lines.append(log_line._replace(alert=alert.id))
    return lines


def mark(session: Session, lines: Iterable[LogLine], *, now: datetime) -> None:
    """Note that these lines were logged: an alert is due again in a day, an end never.

    One that ended while its line was logged is left alone: its end is to be logged yet.
    """
    ends = (Event.VOICE_RECOVERED, Event.UPSTREAM_RECOVERED)
    logged = [
        (log_line.alert, log_line.event in ends) for log_line in lines if log_line.alert is not None
    ]
    open_keys = [key for key, is_end in logged if not is_end]
    ended_keys = [key for key, is_end in logged if is_end]
    if open_keys:
        session.run(_LOGGED_OPEN, {"keys": open_keys, "again": now + alerting.AGAIN})
    if ended_keys:
        session.run(_LOGGED_END, {"keys": ended_keys})


def _readable(session: Session, query: sa.Select[Any], **of: object) -> list[Alert]:
    """Return the alerts of a query; one that cannot be read is deleted, its cause opens another."""
    found, bad = unreadable.load(session, query, of)
    if bad:
        session.execute(sa.delete(Alert).where(col(Alert.id).in_(bad)))
    return found


def drop_unreadable(session: Session) -> None:
    """Delete the alerts that cannot be read: a look at all of them would fail."""
    _readable(session, select(Alert))


def _as_new(log_line: LogLine, *, now: datetime) -> dict[str, Any]:
    """Return the columns of an alert that begins with a line."""
    cause = log_line.fields.get("error", "")
    return {"level": log_line.level, "cause": cause, "since": now, "send_at": now, "sent_at": None}


def _opened(session: Session, alert: Alert, log_line: LogLine, *, now: datetime) -> LogLine:
    """Add an alert whose line is about to be logged; return that line."""
    alert.tell_at = now + alerting.MARKED_WITHIN
    session.add(alert)
    session.flush()
    return log_line._replace(alert=alert.id)


def _end(session: Session, alert: Alert, *, is_well: bool, now: datetime) -> bool:
    """End an alert; return whether its end is to be logged.

    It is not where a person brought it about. An alert that was never logged leaves no trace.
    """
    if alert.send_at is None:
        session.delete(alert)
        return False
    alert.ended_at = now
    alert.tell_at = now + alerting.MARKED_WITHIN if is_well else None
    alert.send_at = now if is_well else None
    return is_well


def _end_of_voice(session: Session, alert: Alert, voice: Voice, *, now: datetime) -> LogLine | None:
    """End an alert about a voice; return its all-clear, where one is owed."""
    is_well = voice.status is Status.OK and not voice.paused
    if not _end(session, alert, is_well=is_well, now=now):
        return None
    return add_entry(session, voice, _all_clear(alert), now=now)._replace(alert=alert.id)


def _open_risks(session: Session, *, now: datetime, policy: Policy) -> None:
    """Open an alert for each voice that came to be at risk; its grace begins."""
    voices, _ = unreadable.load(session, _NEW_RISKS, risk_at(now, policy))
    session.add_all(
        Alert(
            kind=AlertKind.RISK,
            voice_pk=voice.id,
            model=voice.model,
            level=Event.VOICE_AT_RISK.level,
            cause=alerting.cause_of_risk(voice, _open_breaker(session, voice.model)),
            since=plus(voice.anchored_at, policy.risk_age),
            tell_at=now + alerting.grace(policy),
        )
        for voice in voices
    )


def _open_breaker(session: Session, model: str) -> Breaker | None:
    """Return the breaker that pauses a model's calls, if one does."""
    breaker = breakers.known(session).get(model)
    return breaker if breaker is not None and breaker.opened_at is not None else None


def _line_of_model(session: Session, alert: Alert, *, now: datetime) -> LogLine:
    """Return the line of an open alert about a model."""
    breaker = _open_breaker(session, alert.model)
    if alert.send_at is None:  # a restore has put it off
        alert.send_at = now
    return model_line(
        Event.UPSTREAM_BLOCKED,
        model=alert.model,
        error=alert.cause,
        since=alert.since,
        told=alert.told + 1,
        next_probe_at=breaker.probe_at if breaker else None,
    )


def _line_of_voice(
    session: Session, alert: Alert, voice: Voice, *, now: datetime, policy: Policy
) -> LogLine:
    """Return the line of an open alert about a voice; the history has one for each level alone."""
    level = alerting.level(alert.kind, voice.anchored_at, now=now, policy=policy)
    detail: dict[str, Any] = {"since": alert.since, "told": alert.told + 1}
    if alert.kind is AlertKind.RISK:
        alert.cause = alerting.cause_of_risk(voice, _open_breaker(session, voice.model))
        detail["deadline_at"] = deadline(voice.anchored_at, policy)
    entry = Entry(alerting.EVENTS[alert.kind], {"error": alert.cause, **detail})
    if alert.send_at is not None and alert.level == level:
        return _line(entry, voice, level)
    alert.level = level
    alert.tell_at = alert.send_at = now
    alert.sent_at = None
    return add_entry(session, voice, entry, now=now, level=level)


def _line(entry: Entry, voice: Voice, level: Level | None = None) -> LogLine:
    """Return a line about a voice that its history does not repeat."""
    level = level or entry.event.level
    return line(entry.event, level, voice.name, voice.voice_id, plain(entry.detail))


def _all_clear(alert: Alert) -> Entry:
    return Entry(Event.VOICE_RECOVERED, {"was": alert.kind, "since": alert.since})


def _model_recovered(model: str, since: datetime | None) -> LogLine:
    return model_line(Event.UPSTREAM_RECOVERED, model=model, blocked_since=since)
