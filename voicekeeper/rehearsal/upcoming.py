"""When a pass can find work next, so that the passes before it need not be rehearsed."""

from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import func, or_, select
from sqlmodel import col

from voicekeeper.core.models import Alert, Breaker, Kind, Task, Voice
from voicekeeper.store.database import Database
from voicekeeper.store.due import IS_SUSPECTED
from voicekeeper.store.jobs import IS_RUNNING

_LONGEST = timedelta(days=1)
_LONGEST_IN_VAIN = timedelta(hours=1)
"""Between passes that found nothing though something is due."""

_NOW: sa.BindParameter[datetime] = sa.bindparam("now")
_PAUSED = select(col(Breaker.model)).where(col(Breaker.opened_at).is_not(None))
_IS_ASKABLE = (col(Task.kind) == Kind.CONTROL) | col(Task.model).not_in(_PAUSED)
_PLANS: Final[tuple[tuple[Any, ...], ...]] = (
    (col(Voice.next_at), col(Voice.model).not_in(_PAUSED)),
    (col(Task.next_poll_at), IS_RUNNING, _IS_ASKABLE),
    (col(Breaker.probe_at),),
    (col(Alert.tell_at),),
)
_UPCOMING: sa.Select[*tuple[Any, ...]] = select(
    or_(
        select(col(Voice.id)).where(IS_SUSPECTED, col(Voice.next_at).is_not(None)).exists(),
        *(select(column).where(column <= _NOW, *where).exists() for column, *where in _PLANS),
    ),
    *(
        select(func.min(column)).where(column > _NOW, *where).scalar_subquery()
        for column, *where in _PLANS
    ),
)


def next_pass_in(database: Database, *, now: datetime, tick: timedelta, in_vain: int) -> timedelta:
    """Return how long no pass can find work; a day at most.

    Calls of paused models wait for their breakers' probes. What else is due and was not taken is
    in flight: then the wait grows with each pass that finds nothing.

    Args:
        database: where the plans stand.
        now: of this look.
        tick: between two passes.
        in_vain: so many passes in turn found nothing.
    """
    with database.reading() as session:
        is_due, *plans = session.run(_UPCOMING, {"now": now}).one()
    waits: list[timedelta] = [at - now for at in plans if at is not None]
    if is_due:
        waits.append(min(tick * 2.0 ** min(in_vain, 20), _LONGEST_IN_VAIN))
    return min([_LONGEST, *waits])
