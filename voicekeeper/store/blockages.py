"""What pauses the calls of a model and lets them flow again: its breaker set, and that told."""

from datetime import datetime

import sqlalchemy as sa

from voicekeeper.core.breaker import BreakerFields
from voicekeeper.core.events import Event
from voicekeeper.core.models import Breaker
from voicekeeper.core.outcome import Fault
from voicekeeper.store import alerts
from voicekeeper.store.chronicle import LogLine, model_line
from voicekeeper.store.rows import assign, table_of
from voicekeeper.store.session import Session
from voicekeeper.store.statement import Statement

_TABLE = table_of(Breaker)
_END_RUN = Statement(
    sa.update(_TABLE)
    .where(_TABLE.c.model == sa.bindparam("of"), _TABLE.c.opened_at.is_(None), _TABLE.c.run > 0)
    .values(run=0, last_voice_pk=sa.null())
)


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


def end_run(session: Session, model: str, *, now: datetime) -> list[LogLine]:
    """Forget the failures before a success, where the breaker is closed; return what to log.

    One that was let go on trial has passed it.
    """
    if not _END_RUN.run(session, of=model):
        return []
    return alerts.unblocked(session, model, since=None, now=now)
