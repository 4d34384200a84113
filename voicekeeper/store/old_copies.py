"""Leave enrollments UNKNOWN that an old copy of the registry may have forgotten.

A copy that was put back does not know what was requested after it was made, and nothing is paid
for twice; `enrollment.is_in_doubt` is the rule.
"""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select
from sqlmodel import col

from voicekeeper.core.models import Active, Status, Task, Voice
from voicekeeper.core.schedule import Policy
from voicekeeper.core.transitions import enrollment
from voicekeeper.store import active, results, unreadable
from voicekeeper.store.jobs import write_intents
from voicekeeper.store.session import Session

_RESTED: Final = timedelta(hours=1)
"""A registry without a pass for longer may be a copy that was put back by hand."""

_LAST_PASS: Final = select(col(Active.last_pass_at))


def last_pass(session: Session) -> datetime | None:
    """Return when the last pass ended that the registry knows of; None where none did."""
    try:
        last_pass_at: datetime | None = session.scalar(_LAST_PASS)
    except unreadable.UNREADABLE:
        return None
    return last_pass_at


def settle_at_start(session: Session, *, server: str | None, now: datetime, policy: Policy) -> None:
    """Leave enrollments UNKNOWN at a start, where the registry may be an old copy.

    It rested for long, or another server has it, or other tables, than at the last start.

    Args:
        session: a writing one.
        server: which has the registry; None where a file has it.
        now: of the start.
        policy: the settings.
    """
    has_moved, last_pass_at = active.moved_to(session, server), last_pass(session)
    if last_pass_at is not None and (has_moved or now - last_pass_at > _RESTED):
        settle(session, last_pass_at=last_pass_at, now=now, policy=policy)


def settle(
    session: Session, *, last_pass_at: datetime | None, now: datetime, policy: Policy
) -> list[str]:
    """Leave the enrollments UNKNOWN that are in doubt; return the names of their voices.

    Args:
        session: a writing one.
        last_pass_at: the last pass that anybody knows of; None where there was none.
        now: of the start, or of the restore.
        policy: the settings.
    """
    waiting = select(col(Voice.id)).where(
        col(Voice.status) == Status.NEW, col(Voice.voice_id).is_(None)
    )
    voices, _ = unreadable.by_key(session, Voice, session.scalars(waiting).all())
    left = []
    for voice in voices.values():
        if not enrollment.is_in_doubt(voice, last_pass_at=last_pass_at, policy=policy):
            continue
        (job,) = write_intents(session, [voice], now=now, policy=policy)
        task = session.get_one(Task, job.task_pk)
        change = enrollment.left_unknown(voice, task, now=now)
        results.apply(session, voice, task, change, now=now, policy=policy, logged=False)
        left.append(voice.name)
    return sorted(left)
