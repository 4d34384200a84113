"""The rows of the circuit breakers, and who waits behind them."""

from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import delete, func, select
from sqlmodel import col

from voicekeeper.core.breaker import TRIP_AFTER
from voicekeeper.core.events import Event
from voicekeeper.core.models import Breaker, Kind, Task, TaskState, Voice
from voicekeeper.core.schedule import Policy
from voicekeeper.store import unreadable
from voicekeeper.store.history import LogLine, model_line
from voicekeeper.store.jobs import IS_INTENT
from voicekeeper.store.session import Session

_ALL = select(Breaker).order_by(col(Breaker.model))
_URGENT = select(func.min(col(Voice.anchored_at))).where(
    col(Voice.model) == sa.bindparam("of_model"),
    col(Voice.voice_id).is_not(None),
    col(Voice.next_at) <= sa.bindparam("soon"),
    col(Voice.anchored_at) > sa.bindparam("over"),
)
_NEWEST = 1_000
"""Of the tasks of all models; further back it is not looked for those of one."""


def known(session: Session) -> dict[str, Breaker]:
    """Return the breakers that can be read, by their model; they are read once."""
    breakers: dict[str, Breaker] | None = session.info.get("breakers")
    if breakers is None:
        found, _ = unreadable.load(session, _ALL)
        breakers = session.info["breakers"] = {breaker.model: breaker for breaker in found}
    return breakers


def opened(session: Session) -> list[Breaker]:
    """Return the breakers that are open; one that cannot be read is not."""
    return [breaker for breaker in known(session).values() if breaker.opened_at is not None]


def opening(breaker: Breaker, code: str | None = None) -> LogLine:
    """Return the line that tells that a model's calls are paused."""
    return model_line(
        Event.UPSTREAM_BLOCKED,
        model=breaker.model,
        code=code,
        error=breaker.cause,
        since=breaker.opened_at,
        next_probe_at=breaker.probe_at,
    )


def of_model(session: Session, model: str) -> Breaker:
    """Return the breaker of a model, made if it has none that can be read."""
    breakers = known(session)
    if model not in breakers:
        session.execute(delete(Breaker).where(col(Breaker.model) == model))
        breakers[model] = Breaker(model=model)
        session.add(breakers[model])
        session.flush()
    return breakers[model]


def flows(session: Session, model: str) -> bool:
    """Tell whether the gateway took any of a model's last calls, leaving out control calls."""
    last = (
        select(col(Task.state))
        .where(
            col(Task.id) > select(func.max(col(Task.id))).scalar_subquery() - _NEWEST,
            col(Task.model) == model,
            col(Task.kind) != Kind.CONTROL,
            ~IS_INTENT,
        )
        .order_by(col(Task.id).desc())
        .limit(TRIP_AFTER - 1)
    )
    taken = (TaskState.RUNNING, TaskState.SUCCESS)
    try:
        return any(state in taken for state in session.scalars(last))
    except unreadable.UNREADABLE:
        return False


def most_urgent(session: Session, model: str, *, now: datetime, policy: Policy) -> datetime | None:
    """Return the earliest anchor among the due voices that are still within their window."""
    times = {"soon": now + timedelta(hours=1), "over": now - policy.window}
    try:
        return session.run(_URGENT, {"of_model": model, **times}).scalar()
    except unreadable.UNREADABLE:  # that voice is told of when it is claimed
        return None
