"""What a pass would find: whether anything waits, and if not, when it could find work next."""

from datetime import datetime
from typing import Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy import func, select
from sqlmodel import SQLModel

from voicekeeper.core import alerting
from voicekeeper.core.duration import plus
from voicekeeper.core.models import AlertKind, Breaker, Kind
from voicekeeper.core.schedule import Policy
from voicekeeper.store import breakers, due, unreadable
from voicekeeper.store.jobs import IS_RUNNING, MAY_BE_CUT_SHORT
from voicekeeper.store.session import Session


class Agenda(NamedTuple):
    """Whether there may be work of each sort; one cheap query.

    Attributes:
        wrong: a wrong clock has written times; how far ahead they can lie.
        interrupted: a call may have been cut short whose answer nobody waits for.
        unlogged: commands have written what the log has not told.
        opened: a breaker is open.
        suspected: a voice waits for a control call.
        due_at: when the first voice is due; None where none ever is.
        are_many: so many are due that to put them in order would take longer than a pass.
        poll_at: when the first task is to be asked for.
        tell_at: when the first alert is to be told.
        alerting: an alert is owed, or may have to be opened or ended.
    """

    wrong: due.Latest | None
    interrupted: bool
    unlogged: bool
    opened: bool
    suspected: bool
    due_at: datetime | None
    are_many: bool
    poll_at: datetime | None
    tell_at: datetime | None
    alerting: bool


_HISTORY, _REMOVAL, _ALERT, _BREAKER, _VOICE, _TASK = (
    SQLModel.metadata.tables[name].c
    for name in ("history", "removal", "alert", "breaker", "voice", "task")
)
_MANY: Final = 1_024
_LOOK = select(
    *due.SEEN,
    select(_TASK.id).where(MAY_BE_CUT_SHORT).exists(),
    select(_HISTORY.id).where(_HISTORY.logged == sa.false()).exists()
    | select(_REMOVAL.id).exists(),
    select(_BREAKER.model).where(_BREAKER.opened_at.is_not(None)).exists(),
    select(_VOICE.id)
    .where(_VOICE.suspected_at.is_not(None), _VOICE.controlled_at.is_(None))
    .exists(),
    select(func.min(_VOICE.next_at)).scalar_subquery(),
    select(_VOICE.next_at)
    .where(_VOICE.next_at.is_not(None))
    .order_by(_VOICE.next_at)
    .limit(1)
    .offset(_MANY)
    .scalar_subquery(),
    select(func.min(_TASK.next_poll_at)).where(IS_RUNNING).scalar_subquery(),
    select(func.min(_ALERT.tell_at)).where(_ALERT.tell_at.is_not(None)).scalar_subquery(),
    select(_ALERT.id)
    .where(
        _ALERT.voice_pk.is_not(None),  # by an index
        _ALERT.ended_at.is_(None),
        _ALERT.kind == AlertKind.RISK,
    )
    .exists(),
    select(_VOICE.id)
    .where(_VOICE.anchored_at < sa.bindparam("risky"), _VOICE.next_at.is_not(None))
    .exists(),
)


def look(session: Session, *, now: datetime, policy: Policy) -> Agenda:
    """See what there is to do; where a time cannot be read, all is looked at.

    Args:
        session: any.
        now: of this look.
        policy: the settings.
    """
    times = {
        **due.bounds(now, policy),
        "before": plus(now, -policy.longest_call),
        "after": plus(now, policy.longest_call),
        "risky": alerting.risky_before(now, policy),
    }
    try:
        row = session.run(_LOOK, times).one()
    except unreadable.UNREADABLE:
        return Agenda(
            wrong=due.judge(None, now=now, policy=policy),
            interrupted=True,
            unlogged=True,
            opened=True,
            suspected=True,
            due_at=now,
            are_many=False,
            poll_at=now,
            tell_at=now,
            alerting=True,
        )
    seen = row[: len(due.SEEN)]
    interrupted, unlogged, opened, suspected, first, nth, poll, tell, at_risk, risky = row[
        len(seen) :
    ]
    return Agenda(
        wrong=due.judge(seen, now=now, policy=policy),
        interrupted=interrupted,
        unlogged=unlogged,
        opened=opened,
        suspected=suspected,
        due_at=first,
        are_many=nth is not None and nth <= now,
        poll_at=poll,
        tell_at=tell,
        # What a person did to a voice may end an alert, and so may a clock that was set right.
        alerting=unlogged or at_risk or risky or (tell is not None and tell <= now),
    )


def next_event(session: Session, *, now: datetime, policy: Policy) -> datetime | None:
    """Return the earliest instant at which `Worklist.claim` could find anything, or None."""
    agenda = look(session, now=now, policy=policy)
    if agenda.wrong:
        return now
    events = [agenda.due_at, agenda.poll_at]
    if agenda.opened:
        events = _behind_breakers(session, agenda, now=now)
    if agenda.tell_at is not None:
        # What is owed for long waits for something else, such as a voice to be told of.
        looks = 2 if agenda.tell_at > now - alerting.pace(policy) * 3 else 20
        events.append(max(agenda.tell_at, now + alerting.pace(policy) * looks))
    if agenda.suspected:
        suspected = set(session.scalars(_SUSPECTED))
        breakers_of = breakers.known(session)
        events += [_probe_at(breakers_of.get(model), now) for model in suspected]
    return min((at for at in events if at is not None), default=None)


def _probe_at(breaker: Breaker | None, now: datetime) -> datetime:
    """Return when a model's next control call may be made."""
    return breaker.probe_at or now if breaker is not None else now


def _behind_breakers(session: Session, agenda: Agenda, *, now: datetime) -> list[datetime | None]:
    """Return the same events where calls of some models pause until their breaker's probe."""
    opened = breakers.opened(session)
    wrong = now in (agenda.due_at, agenda.poll_at)
    events = list(session.run(_FLOWING, {"paused": [each.model for each in opened]}).one())
    for breaker in opened:
        found = session.run(_WAITING, {"of_model": breaker.model}).one()
        first = now if wrong else min((at for at in found if at is not None), default=None)
        if first is not None:
            events.append(max(first, _probe_at(breaker, now)))
    return events


_DUE = select(func.min(_VOICE.next_at))
_POLL = select(func.min(_TASK.next_poll_at)).where(IS_RUNNING)
_PAUSED: sa.BindParameter[list[str]] = sa.bindparam("paused", expanding=True)
_FLOWING = select(
    _POLL.where(_TASK.kind == Kind.CONTROL).scalar_subquery(),
    _DUE.where(_VOICE.model.not_in(_PAUSED)).scalar_subquery(),
    _POLL.where(_TASK.model.not_in(_PAUSED)).scalar_subquery(),
)
_WAITING = select(
    _DUE.where(_VOICE.model == sa.bindparam("of_model")).scalar_subquery(),
    _POLL.where(_TASK.model == sa.bindparam("of_model")).scalar_subquery(),
)
_SUSPECTED = (
    select(_VOICE.model)
    .where(
        _VOICE.suspected_at.is_not(None),
        _VOICE.controlled_at.is_(None),
        _VOICE.next_at.is_not(None),
    )
    .distinct()
)
