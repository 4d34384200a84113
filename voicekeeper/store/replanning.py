"""Reckoning due times anew when a keeper goes by other settings; the rule is in `schedule`."""

from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import exists, select
from sqlmodel import Session, col

from voicekeeper import schedule
from voicekeeper.models import Status, Task, Voice
from voicekeeper.schedule import Policy
from voicekeeper.store import rows
from voicekeeper.store.jobs import IS_OPEN

_SETTLED = (
    col(Voice.status).in_((Status.NEW, Status.OK))
    & col(Voice.voice_id).is_not(None)
    & (col(Voice.failures) == 0)
    & ~exists().where(col(Task.voice_pk) == Voice.id, IS_OPEN)
)
"""Nothing failed and nothing is under way: a voice waits for its turn, reckoned from its anchor."""

_VOICE = rows.table_of(Voice)
_AT_ONCE = 10_000
"""Rows that are held in memory; a fleet may have a million."""
_WAITING = (
    select(_VOICE.c.id, _VOICE.c.name, _VOICE.c.next_at, _VOICE.c.anchored_at, _SETTLED)
    .where(_VOICE.c.next_at > sa.bindparam("now"), _VOICE.c.id > sa.bindparam("last"))
    .order_by(_VOICE.c.id)
    .limit(_AT_ONCE)
)
_MOVE = (
    sa.update(_VOICE).where(_VOICE.c.id == sa.bindparam("key")).values(next_at=sa.bindparam("at"))
)


def due_times(
    session: Session, *, old_interval: timedelta | None, new: Policy, now: datetime
) -> None:
    """Move what waits to where the new settings want it; to do so twice changes nothing more.

    Args:
        session: a writing one.
        old_interval: the longest that due times were reckoned by; None where nobody knows.
        new: the settings that hold from now on.
        now: of the change.
    """
    last = 0
    while some := session.execute(_WAITING, {"now": now, "last": last}).all():
        last = some[-1][0]
        moved = [
            {"key": key, "at": at}
            for key, name, next_at, anchor, settled in some
            if (
                at := schedule.replanned(
                    next_at,
                    name,
                    anchor=anchor,
                    settled=bool(settled),
                    old_interval=old_interval,
                    new=new,
                    now=now,
                )
            )
            != next_at
        ]
        if moved:
            session.connection().execute(_MOVE, moved)


def held(session: Session, *, now: datetime) -> None:
    """Make enrollments due that the budget held back: it may be another one now."""
    waiting = (col(Voice.held_at).is_not(None), col(Voice.paused).is_(False))
    session.execute(
        sa.update(Voice).where(*waiting).values(next_at=now),
        execution_options={"synchronize_session": False},
    )
