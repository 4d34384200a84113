"""The rows of the circuit breakers: read, set, and told."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select, update
from sqlmodel import Session, col

from voicekeeper.breaker import BreakerFields
from voicekeeper.events import Event
from voicekeeper.models import Breaker, Voice
from voicekeeper.schedule import Policy
from voicekeeper.store import rows
from voicekeeper.store.chronicle import LogLine, model_line
from voicekeeper.store.database import assign
from voicekeeper.verdict import Fault


def of_model(session: Session, model: str) -> Breaker:
    """Return the breaker of a model, made if it has none that can be read."""
    found, unreadable = rows.by_key(session, Breaker, [model])
    if unreadable:
        session.execute(delete(Breaker).where(col(Breaker.model) == model))
    breaker = found.get(model)
    if breaker is None:
        breaker = Breaker(model=model)
        session.add(breaker)
    return breaker


def open_models(session: Session) -> list[str]:
    """Return the models whose calls are paused."""
    return [breaker.model for breaker in opened(session)]


def most_urgent(session: Session, model: str, *, now: datetime, policy: Policy) -> datetime | None:
    """Return what the earliest deadline counts from among the waiting that can be saved."""
    earliest = select(func.min(col(Voice.anchored_at))).where(
        col(Voice.model) == model,
        col(Voice.voice_id).is_not(None),
        col(Voice.next_at) <= now + timedelta(hours=1),
        col(Voice.anchored_at) > now - policy.window,
    )
    try:
        return session.scalar(earliest)
    except rows.UNREADABLE:  # that voice is told of when it is claimed
        return None


def set_and_tell(breaker: Breaker, fields: BreakerFields, fault: Fault) -> list[LogLine]:
    """Set a breaker's columns; return the line of its opening, if that is what it is."""
    was_closed = breaker.opened_at is None
    assign(breaker, fields)
    if not was_closed or breaker.opened_at is None:
        return []
    return [opening(breaker, code=fault.code)]


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
    keys = session.scalars(select(col(Breaker.model)).where(col(Breaker.opened_at).is_not(None)))
    return list(rows.by_key(session, Breaker, keys.all())[0].values())


def end_run(session: Session, model: str) -> None:
    """Forget the failures before a success, where the breaker is closed."""
    session.execute(
        update(Breaker)
        .where(col(Breaker.model) == model, col(Breaker.opened_at).is_(None), col(Breaker.run) > 0)
        .values(run=0, last_voice_pk=None)
    )
