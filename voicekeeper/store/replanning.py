"""Reckoning due times anew when a keeper goes by other settings; the rule is in `schedule`."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import exists, select
from sqlmodel import Session, col

from voicekeeper import schedule
from voicekeeper.models import Status, Task, Voice
from voicekeeper.schedule import Policy
from voicekeeper.store import rows
from voicekeeper.store.jobs import IS_OPEN

_SETTLED = (
    (col(Voice.status) == Status.OK)
    & (col(Voice.failures) == 0)
    & col(Voice.last_used_at).is_not(None)
    & ~exists().where(col(Task.voice_pk) == Voice.id, IS_OPEN)
)
"""A voice was used with success, and nothing is under way: it waits for its next turn."""

_VOICE = rows.table_of(Voice)


def due_times(
    session: Session, *, old: Policy, new: Policy, now: datetime, shared: bool = False
) -> None:
    """Move what waits to where the new settings want it.

    Args:
        session: a writing one.
        old: the settings that held.
        new: those that hold from now on.
        now: of the change.
        shared: whether other keepers do the same: then nothing is moved but what is too far
            ahead, as a share of the change that each of them added would be added many times.
    """
    if (old.interval, old.jitter) == (new.interval, new.jitter):
        return
    waiting = select(_VOICE.c.id, _VOICE.c.name, _VOICE.c.next_at, _SETTLED).where(
        _VOICE.c.next_at > now
    )
    moved = [
        {"key": key, "at": at}
        for key, name, next_at, settled in session.execute(waiting)
        if (
            at := schedule.replanned(
                next_at, name, settled=bool(settled) and not shared, old=old, new=new, now=now
            )
        )
        != next_at
    ]
    if moved:
        move = sa.update(_VOICE).where(_VOICE.c.id == sa.bindparam("key"))
        session.connection().execute(move.values(next_at=sa.bindparam("at")), moved)


def held(session: Session, *, now: datetime) -> None:
    """Make enrollments due that the budget held back: it may be another one now."""
    waiting = (col(Voice.held_at).is_not(None), col(Voice.paused).is_(False))
    session.execute(
        sa.update(Voice).where(*waiting).values(next_at=now),
        execution_options={"synchronize_session": False},
    )
