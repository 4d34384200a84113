"""The rows of the circuit breakers, and who waits behind them."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import func, select
from sqlmodel import col

from voicekeeper.core.breaker import TRIP_AFTER
from voicekeeper.core.models import Breaker, Kind, Task, TaskState, Voice
from voicekeeper.core.schedule import Policy
from voicekeeper.store import unreadable
from voicekeeper.store.jobs import IS_INTENT
from voicekeeper.store.rows import made, table_of
from voicekeeper.store.session import Session
from voicekeeper.store.statement import Statement

_TABLE = table_of(Breaker)
_OF_MODEL = Statement(select(_TABLE).where(_TABLE.c.model == sa.bindparam("model")))
_BEGIN = Statement(
    _TABLE.insert().values(model=sa.bindparam("of"), run=0, probes=0, distrusted=sa.false())
)
_OPENED = Statement(select(_TABLE).where(_TABLE.c.opened_at.is_not(None)).order_by(_TABLE.c.model))
_FORGET = Statement(sa.delete(_TABLE).where(_TABLE.c.model == sa.bindparam("of")))
_MOST_URGENT = Statement(
    select(func.min(col(Voice.anchored_at))).where(
        col(Voice.model) == sa.bindparam("model"),
        col(Voice.voice_id).is_not(None),
        col(Voice.next_at) <= sa.bindparam("soon"),
        col(Voice.anchored_at) > sa.bindparam("over"),
    )
)
_NEWEST = 1_000
"""Of the tasks of all models; further back it is not looked for those of one."""

_LAST_ANSWERED = Statement(
    select(col(Task.state))
    .where(
        col(Task.id) > select(func.max(col(Task.id))).scalar_subquery() - _NEWEST,
        col(Task.model) == sa.bindparam("model"),
        col(Task.kind) != Kind.CONTROL,
        ~IS_INTENT,
    )
    .order_by(col(Task.id).desc())
    .limit(TRIP_AFTER - 1)
)


def of_model(session: Session, model: str) -> Breaker:
    """Return the breaker of a model, made if it has none that can be read."""
    readable, bad = _OF_MODEL.sifted(session, model=model)
    if not readable:
        if bad:
            _FORGET.run(session, of=model)
        _BEGIN.run(session, of=model)
        readable = _OF_MODEL.rows(session, model=model)
    return made(Breaker, readable[0])


def flows(session: Session, model: str) -> bool:
    """Tell whether the gateway took any of a model's last calls, leaving out control calls."""
    taken = (TaskState.RUNNING, TaskState.SUCCESS)
    try:
        return any(state in taken for (state,) in _LAST_ANSWERED.rows(session, model=model))
    except unreadable.UNREADABLE:
        return False


def open_models(session: Session) -> list[str]:
    """Return the models whose calls are paused."""
    return [breaker.model for breaker in opened(session)]


def most_urgent(session: Session, model: str, *, now: datetime, policy: Policy) -> datetime | None:
    """Return what the earliest deadline counts from among the waiting that can be saved."""
    soon, over = now + timedelta(hours=1), now - policy.window
    try:
        anchored_at: datetime | None = _MOST_URGENT.scalar(
            session, model=model, soon=soon, over=over
        )
    except unreadable.UNREADABLE:  # that voice is told of when it is claimed
        return None
    return anchored_at


def opened(session: Session) -> Sequence[Breaker]:
    """Return the breakers that are open; one that cannot be read is not."""
    readable, _ = _OPENED.sifted(session)
    return [made(Breaker, row) for row in readable]
