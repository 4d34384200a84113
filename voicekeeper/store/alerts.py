"""The rows of the alerts: opened with their cause, handed out, confirmed, ended.

An alert is opened in the transaction of what it tells, or, for a risk, which is a matter of
time alone, by `take`. Who is handed a line confirms it once it is told; what was not confirmed
within its lease is handed out again.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, exists, or_, select
from sqlalchemy.orm import aliased
from sqlmodel import col

from voicekeeper.core import alerting
from voicekeeper.core.enums import LIVING
from voicekeeper.core.events import MEANINGS, Event, Level
from voicekeeper.core.models import Alert, AlertKind, Breaker, Status, Task, Voice
from voicekeeper.core.schedule import Policy, deadline
from voicekeeper.core.transitions import Entry
from voicekeeper.store import breakers, rows
from voicekeeper.store.chronicle import Handout, LogLine, line, model_line, plain, tell
from voicekeeper.store.jobs import SUCCEEDED
from voicekeeper.store.rows import assign
from voicekeeper.store.session import Session
from voicekeeper.store.statement import Statement

_MOST = 1000
"""So many rows of each sort are dealt with at a time; the next look goes on."""

_NOW: sa.BindParameter[datetime] = sa.bindparam("now")
_RISKY: sa.BindParameter[datetime] = sa.bindparam("risky")

_USED_LATELY = exists().where(
    col(Task.voice_pk) == Voice.id,
    SUCCEEDED,
    col(Task.sent_at).between(_RISKY, _NOW),
)
_IN_ITS_TURN = col(Voice.next_at).between(_NOW, sa.bindparam("soon")) & (col(Voice.failures) == 0)

AT_RISK: ColumnElement[bool] = (
    (col(Voice.anchored_at) < _RISKY)
    & col(Voice.next_at).is_not(None)  # which it is where the voice is paused
    & or_(*(col(Voice.status) == kept for kept in LIVING))
    & col(Voice.voice_id).is_not(None)
    & ~(_IN_ITS_TURN & _USED_LATELY)
)
"""A voice is kept, and little of its window is left; at the times of `risk_at`.

With a host's clock that is days ahead, the gateway's ``createTime`` makes every use look old. So
one that waits for its ordinary turn, and was used lately by the host's own clock, is well: its
last call succeeded, and the next is not due.
"""

_IS_OPEN = col(Alert.ended_at).is_(None)
_ALERTS = select(*rows.columns(Alert)).where(_IS_OPEN)
_OF_VOICE = Statement(_ALERTS.where(col(Alert.voice_pk) == sa.bindparam("voice_pk")))
_OF_MODEL = Statement(
    _ALERTS.where(col(Alert.model) == sa.bindparam("model"), col(Alert.voice_pk).is_(None))
)
_BY_KEY = Statement(select(*rows.columns(Alert)).where(col(Alert.id) == sa.bindparam("key")))
_DELETE = Statement(
    sa.delete(rows.table_of(Alert)).where(rows.table_of(Alert).c.id == sa.bindparam("key"))
)

_UNTOLD_RISKS = Statement(
    select(*rows.columns(Voice))
    .where(
        AT_RISK,
        ~exists().where(
            col(Alert.voice_pk) == Voice.id, col(Alert.kind) == AlertKind.RISK, _IS_OPEN
        ),
    )
    .order_by(col(Voice.anchored_at))
    .limit(_MOST)
)
_SETTLED = Statement(
    select(*rows.columns(Alert, Voice))
    .select_from(Alert)
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
_OTHER = aliased(Voice)
_OWED = Statement(
    select(*rows.columns(Alert, Voice))
    .select_from(Alert)
    .join(Voice, col(Voice.id) == col(Alert.voice_pk), isouter=True)
    .where(
        col(Alert.tell_at).is_not(None),
        (col(Alert.tell_at) <= _NOW)
        | (  # it has got louder
            (col(Alert.kind) == AlertKind.RISK)
            & (col(Alert.level) == MEANINGS[Event.VOICE_AT_RISK].level)
            & (col(Alert.told) > 0)
            & _IS_OPEN
            & (col(Voice.anchored_at) < sa.bindparam("dire"))
        ),
        col(Alert.voice_pk).is_not(None)
        | col(Alert.ended_at).is_not(None)
        | exists().where(col(_OTHER.model) == Alert.model, col(_OTHER.next_at).is_not(None)),
    )
    .order_by(col(Alert.tell_at))
    .limit(_MOST)
)


def risk_at(now: datetime, policy: Policy) -> Mapping[str, datetime]:
    """Return the times that `AT_RISK` asks for."""
    return {
        "now": now,
        "risky": alerting.risky_before(now, policy),
        "soon": now + policy.interval,
    }


def opened_by(
    session: Session,
    voice: Voice,
    told: LogLine,
    *,
    now: datetime,
    handed: bool,
    notifies: bool = False,
) -> LogLine:
    """Open the alert that an event in a voice's life calls for, if any; return its line.

    Args:
        session: a writing one.
        voice: its row.
        told: the event, as the log is to tell it.
        now: of this answer.
        handed: whether the caller tells the line; else the next look hands it out.
        notifies: whether people get messages; then one is to hold the end of an enrollment.
    """
    if notifies and alerting.ends_enrollment(Event(told.event), voice.status):
        _enrolled(session, voice, told, now=now)
    kind = alerting.OPENED_BY.get(Event(told.event))
    if kind is None:
        return told
    known = (alert for alert in _about(session, voice) if alert.kind is kind)
    fields: dict[str, Any] = {
        "level": told.level,
        "cause": told.fields["error"],
        "since": now,
        "tell_at": now,
        **alerting.to_be_sent(now),
    }
    alert = next(known, None)
    if alert is None:
        alert = _open(session, kind=kind, voice_pk=voice.id, model=voice.model, **fields)
    else:
        assign(session, alert, fields)
    return _handed_out(session, alert, told, now=now) if handed else told


def blocked(session: Session, breaker: Breaker, told: LogLine, *, now: datetime) -> LogLine:
    """Open the alert that a model's calls are paused; return its line."""
    alert = _open(
        session,
        kind=AlertKind.BLOCKED,
        model=breaker.model,
        level=told.level,
        cause=breaker.cause or "the gateway fails",
        since=now,
        tell_at=now,
        **alerting.to_be_sent(now),
    )
    return _handed_out(session, alert, told, now=now)


def unblocked(
    session: Session, model: str, *, since: datetime | None, now: datetime
) -> list[LogLine]:
    """End the alert that a model's calls are paused; return the line of the all-clear.

    Args:
        session: a writing one.
        model: whose calls flow again.
        since: when its breaker opened; None for one that was let go on trial, if it ever was.
        now: of this answer.
    """
    alert = of_model(session, model)
    if alert is None:
        return [_recovered(model, since)] if since is not None else []
    assign(session, alert, alerting.ended(alert, now=now, well=True))
    return [_handed_out(session, alert, _recovered(model, alert.since), now=now)]


def may_be_told_of(voice: Voice, *, now: datetime, policy: Policy) -> bool:
    """Tell, without a query, whether a voice may have an open alert."""
    gone = voice.status in (Status.LOST, Status.UNDEPLOYED)
    return gone or voice.anchored_at < alerting.risky_before(now, policy)


def fixed(session: Session, voice: Voice, *, now: datetime) -> list[LogLine]:
    """End all alerts about a voice that spoke; return the all-clear of those that were told."""
    ended = [_ended(session, alert, voice, now=now) for alert in _about(session, voice)]
    return [told for told in ended if told is not None]


def of_model(session: Session, model: str) -> Alert | None:
    """Return the open alert that a model's calls are paused."""
    found = _OF_MODEL.first(session, model=model)
    return rows.made(Alert, found) if found is not None else None


def take(session: Session, *, now: datetime, policy: Policy) -> list[LogLine]:
    """Look at all alerts: open risks, end those whose cause is gone, hand out what is owed."""
    _open_risks(session, now=now, policy=policy)
    lines = _end_settled(session, now=now, policy=policy)
    return lines + _hand_out(session, now=now, policy=policy)


def confirm(session: Session, handouts: Iterable[Handout], *, now: datetime) -> None:
    """Note that these were told; what has changed since it was handed out is left alone."""
    for handout in handouts:
        found = _BY_KEY.first(session, key=handout.key)
        if found is None:
            continue
        alert = rows.made(Alert, found)
        if alert.tell_at == handout.until:
            assign(session, alert, alerting.confirmed(alert, now=now))


def _open(session: Session, **fields: Any) -> Alert:  # noqa: ANN401 - columns of any type
    """Add an alert that nobody was told of."""
    return rows.added(session, Alert, told=0, **fields)


def _enrolled(session: Session, voice: Voice, told: LogLine, *, now: datetime) -> None:
    """Note that an enrollment ended: nothing that lasts, so it has ended when it begins."""
    fields = alerting.to_be_sent(now)
    _open(
        session,
        kind=AlertKind.ENROLLMENT,
        voice_pk=voice.id,
        model=voice.model,
        level=told.level,
        cause=told.fields.get("error", ""),
        since=now,
        ended_at=now,
        **fields,
    )


def _about(session: Session, voice: Voice) -> list[Alert]:
    """Return the open alerts about a voice."""
    return [rows.made(Alert, row) for row in _OF_VOICE.rows(session, voice_pk=voice.id)]


def _end_settled(session: Session, *, now: datetime, policy: Policy) -> list[LogLine]:
    """End what a success did not: a person dealt with the voice, or a wrong clock was mended."""
    settled, _ = _SETTLED.sifted(session, **risk_at(now, policy))
    return [
        told
        for alert, voice in (rows.pair(Alert, Voice, row) for row in settled)
        if voice is not None and (told := _ended(session, alert, voice, now=now)) is not None
    ]


def _open_risks(session: Session, *, now: datetime, policy: Policy) -> None:
    """Open an alert for each voice that came to be at risk; its grace begins."""
    voices, _ = _UNTOLD_RISKS.sifted(session, **risk_at(now, policy))
    paused = _paused(session) if voices else {}
    for voice in (rows.made(Voice, row) for row in voices):
        _open(
            session,
            kind=AlertKind.RISK,
            voice_pk=voice.id,
            model=voice.model,
            level=MEANINGS[Event.VOICE_AT_RISK].level,
            cause=alerting.cause_of_risk(voice, paused.get(voice.model)),
            since=alerting.at_risk_since(voice.anchored_at, policy),
            tell_at=now + alerting.grace(policy),
        )


def _hand_out(session: Session, *, now: datetime, policy: Policy) -> list[LogLine]:
    """Hand out what is to be told now, what was told longest ago first."""
    owed, _ = _OWED.sifted(
        session,
        now=now,
        dire=alerting.dire_before(now, policy),
    )
    paused = _paused(session) if owed else {}
    lines = []
    for alert, voice in (rows.pair(Alert, Voice, row) for row in owed):
        breaker = paused.get(alert.model)
        if voice is None:
            told = _of_model(alert, breaker)
        elif alert.ended_at is None:
            told = _of_voice(session, alert, voice, breaker, now=now, policy=policy)
        else:
            told = _line(_all_clear(alert), voice)
        lines.append(_handed_out(session, alert, told, now=now))
    return lines


def _of_model(alert: Alert, breaker: Breaker | None) -> LogLine:
    if alert.ended_at is not None:
        return _recovered(alert.model, alert.since)
    return model_line(
        Event.UPSTREAM_BLOCKED,
        model=alert.model,
        error=alert.cause,
        since=alert.since,
        told=alert.told + 1,
        next_probe_at=breaker.probe_at if breaker else None,
    )


def _of_voice(
    session: Session,
    alert: Alert,
    voice: Voice,
    breaker: Breaker | None,
    *,
    now: datetime,
    policy: Policy,
) -> LogLine:
    """Return the line of an open alert; the history has it once for each level, not each day."""
    level = alerting.level(alert.kind, voice.anchored_at, now=now, policy=policy)
    cause = alert.cause
    detail: dict[str, Any] = {"since": alert.since, "told": alert.told + 1}
    if alert.kind is AlertKind.RISK:
        cause = alerting.cause_of_risk(voice, breaker)
        detail["deadline_at"] = deadline(voice.anchored_at, policy)
    telling = Entry(alerting.EVENTS[alert.kind], {"error": cause, **detail})
    if alerting.is_first(alert, level):
        fields = {"cause": cause, "level": level, **alerting.to_be_sent(now)}
        assign(session, alert, fields)
        return tell(session, voice, telling, now=now, level=level)
    if cause != alert.cause:
        assign(session, alert, {"cause": cause})
    return _line(telling, voice, level)


def _line(telling: Entry, voice: Voice, level: Level | None = None) -> LogLine:
    """Return a line about a voice that its history does not repeat."""
    level = level or MEANINGS[telling.event].level
    return line(telling.event, level, voice.name, voice.voice_id, plain(telling.detail))


def _ended(session: Session, alert: Alert, voice: Voice, *, now: datetime) -> LogLine | None:
    """End an alert about a voice; return its all-clear, where one is owed.

    One that nobody was told of leaves no trace.
    """
    if not alert.told:
        _DELETE.run(session, key=alert.id)
        return None
    assign(session, alert, alerting.ended(alert, now=now, well=alerting.speaks(voice)))
    if alert.tell_at is None:
        return None
    told = tell(session, voice, _all_clear(alert), now=now)
    return _handed_out(session, alert, told, now=now)


def _all_clear(alert: Alert) -> Entry:
    return Entry(Event.VOICE_RECOVERED, {"was": alert.kind, "since": alert.since})


def _recovered(model: str, since: datetime) -> LogLine:
    return model_line(Event.UPSTREAM_RECOVERED, model=model, blocked_since=since)


def _handed_out(session: Session, alert: Alert, told: LogLine, *, now: datetime) -> LogLine:
    """Return a line together with the lease under which it is told."""
    assign(session, alert, alerting.handed_out(alert, now=now))
    assert alert.id is not None  # noqa: S101 - a stored alert has its key
    assert alert.tell_at is not None  # noqa: S101 - the lease
    return told._replace(handout=Handout(alert.id, alert.tell_at))


def _paused(session: Session) -> dict[str, Breaker]:
    """Return the breakers that are open, by model."""
    return {breaker.model: breaker for breaker in breakers.opened(session)}
