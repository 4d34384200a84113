"""What a pass would find: whether anything waits, and if not, when it could find work next."""

from datetime import datetime
from functools import cache
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy import func, select

from voicekeeper.core import alerting
from voicekeeper.core.models import (
    Alert,
    AlertKind,
    Breaker,
    HistoryEntry,
    Kind,
    Removal,
    Task,
    Voice,
)
from voicekeeper.core.schedule import Policy
from voicekeeper.store import breakers, clocks, rows, unreadable
from voicekeeper.store.jobs import IS_RUNNING
from voicekeeper.store.session import Session
from voicekeeper.store.statement import Statement, listed, room_for, spread


class Agenda(NamedTuple):
    """Whether there may be work of each sort; one cheap query.

    Attributes:
        unlogged: commands have written what the log has not told.
        opened: a breaker is open.
        suspected: a voice waits for a control call.
        due_at: when the first voice is due; None where none ever is.
        poll_at: when the first task is to be asked for.
        tell_at: when the first alert is to be told.
        alerting: an alert is owed, or may have to be opened or ended.
    """

    unlogged: bool
    opened: bool
    suspected: bool
    due_at: datetime | None
    poll_at: datetime | None
    tell_at: datetime | None
    alerting: bool


_HISTORY, _REMOVAL, _ALERT, _BREAKER, _VOICE, _TASK = (
    rows.table_of(model).c for model in (HistoryEntry, Removal, Alert, Breaker, Voice, Task)
)
_LOOK = Statement(
    select(
        select(_HISTORY.id).where(_HISTORY.logged == sa.false()).exists()
        | select(_REMOVAL.id).exists(),
        select(_BREAKER.model).where(_BREAKER.opened_at.is_not(None)).exists(),
        select(_VOICE.id)
        .where(_VOICE.suspected_at.is_not(None), _VOICE.controlled_at.is_(None))
        .exists(),
        select(func.min(_VOICE.next_at)).scalar_subquery(),
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
)


def look(session: Session, *, now: datetime, policy: Policy) -> Agenda:
    """See what there is to do; where a due time cannot be read, all is looked at.

    Args:
        session: any.
        now: of this look.
        policy: the settings.
    """
    risky = alerting.risky_before(now, policy)
    try:
        (seen,) = _LOOK.rows(session, risky=risky)
    except unreadable.UNREADABLE:
        return Agenda(
            unlogged=True,
            opened=True,
            suspected=True,
            due_at=now,
            poll_at=now,
            tell_at=now,
            alerting=True,
        )
    unlogged, opened, suspected, due, poll, tell, at_risk, risky = seen
    return Agenda(
        unlogged=unlogged,
        opened=opened,
        suspected=suspected,
        due_at=due,
        poll_at=poll,
        tell_at=tell,
        # What a person did to a voice may end an alert, and so may a clock that was set right.
        alerting=unlogged or at_risk or risky or (tell is not None and tell <= now),
    )


def next_event(session: Session, *, now: datetime, policy: Policy) -> datetime | None:
    """Return the earliest instant at which `Worklist.claim` could find anything, or None."""
    if clocks.find(session, now=now, policy=policy):
        return now
    agenda = look(session, now=now, policy=policy)
    events = [agenda.due_at, agenda.poll_at]
    if agenda.opened:
        events = _behind_breakers(session, agenda, now=now)
    if agenda.tell_at is not None:
        # What is owed for long waits for something else, such as a voice to be told of.
        looks = 2 if agenda.tell_at > now - alerting.pace(policy) * 3 else 20
        events.append(max(agenda.tell_at, now + alerting.pace(policy) * looks))
    if agenda.suspected:
        events += [
            _probe_at(rows.made(Breaker, row) if row[0] is not None else None, now)
            for row in _SUSPECTS_BREAKERS.rows(session)
        ]
    return min((at for at in events if at is not None), default=None)


def _probe_at(breaker: Breaker | None, now: datetime) -> datetime:
    """Return when a model's next control call may be made."""
    return breaker.probe_at or now if breaker is not None else now


def _behind_breakers(session: Session, agenda: Agenda, *, now: datetime) -> list[datetime | None]:
    """Return the same events where calls of some models pause until their breaker's probe."""
    opened = breakers.opened(session)
    models = [breaker.model for breaker in opened]
    wrong = now in (agenda.due_at, agenda.poll_at)
    events = list(_flowing(room_for(models)).rows(session, **spread("model", models))[0])
    for breaker in opened:
        waiting = _WAITING.rows(session, model=breaker.model)[0]
        first = now if wrong else min((at for at in waiting if at is not None), default=None)
        if first is not None:
            events.append(max(first, _probe_at(breaker, now)))
    return events


_DUE = select(func.min(_VOICE.next_at))
_POLL = select(func.min(_TASK.next_poll_at)).where(IS_RUNNING)
_WAITING = Statement(
    select(
        _DUE.where(_VOICE.model == sa.bindparam("model")).scalar_subquery(),
        _POLL.where(_TASK.model == sa.bindparam("model")).scalar_subquery(),
    )
)
_SUSPECTS_BREAKERS = Statement(
    select(*rows.columns(Breaker))
    .select_from(rows.table_of(Voice))
    .join(rows.table_of(Breaker), _BREAKER.model == _VOICE.model, isouter=True)
    .where(
        _VOICE.suspected_at.is_not(None),
        _VOICE.controlled_at.is_(None),
        _VOICE.next_at.is_not(None),
    )
    .distinct()
)


@cache
def _flowing(paused: int) -> Statement:
    """Return the statement that finds when calls that do not pause are due.

    Args:
        paused: how many parameters name models whose calls do.
    """
    models = listed("model", paused)
    return Statement(
        select(
            _POLL.where(_TASK.kind == Kind.CONTROL).scalar_subquery(),
            _DUE.where(_VOICE.model.not_in(models)).scalar_subquery(),
            _POLL.where(_TASK.model.not_in(models)).scalar_subquery(),
        )
    )
