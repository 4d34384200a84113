"""The rows of the circuit breakers: read, set, and told."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import func, select
from sqlmodel import col

from voicekeeper.breaker import BreakerFields
from voicekeeper.events import Event
from voicekeeper.models import Breaker, Voice
from voicekeeper.schedule import Policy
from voicekeeper.store import alerts, unreadable
from voicekeeper.store.chronicle import LogLine, model_line
from voicekeeper.store.rows import assign, table_of
from voicekeeper.store.session import Session
from voicekeeper.store.statement import Statement
from voicekeeper.verdict import Fault

_TABLE = table_of(Breaker)
_OF_MODEL = select(Breaker).where(col(Breaker.model) == sa.bindparam("model"))
_OPENED = select(Breaker).where(col(Breaker.opened_at).is_not(None))
_END_RUN = Statement(
    sa.update(_TABLE)
    .where(_TABLE.c.model == sa.bindparam("of"), _TABLE.c.opened_at.is_(None), _TABLE.c.run > 0)
    .values(run=0, last_voice_pk=sa.null())
)
_MOST_URGENT = select(func.min(col(Voice.anchored_at))).where(
    col(Voice.model) == sa.bindparam("model"),
    col(Voice.voice_id).is_not(None),
    col(Voice.next_at) <= sa.bindparam("soon"),
    col(Voice.anchored_at) > sa.bindparam("over"),
)


def of_model(session: Session, model: str) -> Breaker:
    """Return the breaker of a model, made if it has none that can be read."""
    try:
        breaker = session.scalars(_OF_MODEL, {"model": model}).one_or_none()
    except unreadable.UNREADABLE:
        session.execute(sa.delete(_TABLE).where(_TABLE.c.model == model))
        breaker = None
    if breaker is None:
        breaker = Breaker(model=model)
        session.add(breaker)
        session.flush()
    return breaker


def open_models(session: Session) -> list[str]:
    """Return the models whose calls are paused."""
    return [breaker.model for breaker in opened(session)]


def most_urgent(session: Session, model: str, *, now: datetime, policy: Policy) -> datetime | None:
    """Return what the earliest deadline counts from among the waiting that can be saved."""
    soon, over = now + timedelta(hours=1), now - policy.window
    try:
        return session.scalar(_MOST_URGENT, {"model": model, "soon": soon, "over": over})
    except unreadable.UNREADABLE:  # that voice is told of when it is claimed
        return None


def set_and_tell(
    session: Session, breaker: Breaker, fields: BreakerFields, fault: Fault, *, now: datetime
) -> list[LogLine]:
    """Set a breaker's columns; return the line of its opening, if that is what it is.

    One that was let go on trial and opens again is blocked still: that is told daily.
    """
    was_closed = breaker.opened_at is None
    assign(session, breaker, fields)
    if not was_closed or breaker.opened_at is None:
        return []
    if alerts.of_model(session, breaker.model) is not None:
        return []
    return [alerts.blocked(session, breaker, opening(breaker, code=fault.code), now=now)]


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


def opened(session: Session) -> Sequence[Breaker]:
    """Return the breakers that are open; one that cannot be read is not."""
    try:
        return session.scalars(_OPENED).all()
    except unreadable.UNREADABLE:
        keys = session.scalars(_OPENED.with_only_columns(col(Breaker.model))).all()
        return list(unreadable.by_key(session, Breaker, keys)[0].values())


def end_run(session: Session, model: str, *, now: datetime) -> list[LogLine]:
    """Forget the failures before a success, where the breaker is closed; return what to log.

    One that was let go on trial has passed it.
    """
    if not _END_RUN.run(session, of=model):
        return []
    return alerts.unblocked(session, model, since=None, now=now)
