"""Enrollments that an older copy of the registry may have forgotten, left to a person.

A copy that was put back does not know what was begun after it was made. The witness beside it
does; `enrollment.doubt` is the rule.
"""

from collections.abc import Collection
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import func, select
from sqlmodel import col

from voicekeeper.lifecycle import enrollment
from voicekeeper.models import KeeperBeat, Status, Task, Voice
from voicekeeper.schedule import Policy
from voicekeeper.store import results, unreadable
from voicekeeper.store.jobs import write_intent
from voicekeeper.store.session import Session
from voicekeeper.store.statement import Statement
from voicekeeper.store.witness import Begun

_WAITING = Statement(
    select(col(Voice.id))
    .where(col(Voice.status) == Status.NEW, col(Voice.voice_id).is_(None))
    .with_for_update()
)
_SENT_AT = Statement(
    select(col(Task.sent_at)).where(col(Task.voice_pk) == sa.bindparam("voice_pk"))
)
_LAST_PASS = Statement(select(func.max(col(KeeperBeat.last_pass_at))))


def settle(
    session: Session, begun: Collection[Begun] | None, *, now: datetime, policy: Policy
) -> None:
    """Leave to a person the enrollments that are in doubt.

    Args:
        session: a writing one.
        begun: what the witness knows; None where there is none.
        now: of the keeper's start.
        policy: the settings.
    """
    waiting = [key for (key,) in _WAITING.rows(session)]
    voices, _ = unreadable.by_key(session, Voice, waiting)
    last_pass_at = _last_pass_at(session)
    for voice in voices.values():
        known = {sent_at for (sent_at,) in _SENT_AT.rows(session, voice_pk=voice.id)}
        forgotten = max(
            (
                one.begun_at
                for one in begun or ()
                if (one.name, one.asked_at) == (voice.name, voice.anchored_at)
                and one.begun_at not in known
            ),
            default=None,
        )
        fault = enrollment.doubt(
            voice,
            forgotten=forgotten,
            witnessed=begun is not None,
            last_pass_at=last_pass_at,
            now=now,
            policy=policy,
        )
        if fault is None:
            continue
        job = write_intent(session, voice, now=forgotten or now, policy=policy)
        task = session.get_one(Task, job.task_pk)
        change = enrollment.doubted(voice, task, fault, now=now)
        results.apply(session, voice, task, change, now=now, policy=policy, logged=False)


def _last_pass_at(session: Session) -> datetime | None:
    try:
        last_pass_at: datetime | None = _LAST_PASS.scalar(session)
    except unreadable.UNREADABLE:
        return None
    return last_pass_at
