"""Claiming: which tasks are asked for and which voices are called next, in which order."""

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import exists, select, update
from sqlmodel import Session, col

from voicekeeper import schedule
from voicekeeper.models import Kind, Status, Task, Voice
from voicekeeper.schedule import Policy
from voicekeeper.store import rows
from voicekeeper.store.jobs import (
    IS_OPEN,
    IS_RUNNING,
    Job,
    control_job,
    job,
    kind_for,
    write_intent,
)

_NOW: sa.BindParameter[datetime] = sa.bindparam("now")
_ABSURD: sa.BindParameter[datetime] = sa.bindparam("absurd")
_PAUSED: sa.BindParameter[Sequence[str]] = sa.bindparam("open_models", expanding=True)
_MOST: sa.BindParameter[int] = sa.bindparam("most")

DUE = (col(Voice.next_at) <= _NOW) | (col(Voice.next_at) > _ABSURD)
"""A voice is due; also if only a wrong clock can have set the time it shows."""

ASKABLE = IS_RUNNING & ((col(Task.next_poll_at) <= _NOW) | (col(Task.next_poll_at) > _ABSURD))
"""A task is to be asked for, in the same sense."""

_ENROLLING = exists().where(
    col(Task.voice_pk) == Voice.id,
    IS_OPEN,
    col(Task.kind).in_([Kind.CLONE, Kind.DESIGN]),
)
"""A voice has an enrollment that has not come to its end."""

TO_ENROLL = (col(Voice.status) == Status.NEW) & col(Voice.voice_id).is_(None) & ~_ENROLLING
"""A voice is yet to be made, and nobody is at it."""

_ASKED_FIRST = exists().where(
    col(Task.voice_pk) == Voice.id,
    IS_RUNNING,
    col(Task.kind) == Kind.KEEPALIVE,
    col(Task.next_poll_at) <= _NOW,
)

_POLLS = (
    select(Task, Voice)
    .join(Voice, col(Voice.id) == Task.voice_pk, isouter=True)
    .where(ASKABLE, (col(Task.kind) == Kind.CONTROL) | col(Task.model).not_in(_PAUSED))
    .order_by(col(Voice.anchored_at).asc().nulls_first())
    .limit(_MOST)
)

_CALLABLE = (
    select(col(Voice.id))
    .where(
        DUE,
        col(Voice.model).not_in(_PAUSED),
        (col(Voice.voice_id).is_not(None) & ~_ASKED_FIRST) | TO_ENROLL,
    )
    .order_by(col(Voice.anchored_at) <= sa.bindparam("over"), col(Voice.anchored_at))
    .limit(_MOST)
    .with_for_update(skip_locked=True)
    .cte("due")
)

_CALLS = (
    update(Voice)
    .where(col(Voice.id).in_(select(_CALLABLE.c.id)))
    .values(next_at=sa.bindparam("until"))
    .returning(Voice)
    .execution_options(populate_existing=True)
)


def polls(
    session: Session, open_models: Sequence[str], *, now: datetime, policy: Policy, most: int
) -> list[Job]:
    """Take tasks that are to be asked for, those of the most urgent voices first."""
    leased_until = now + schedule.lease(policy)
    at = {"now": now, "absurd": now + schedule.longest_poll(policy)}
    jobs = []
    for task, voice in session.execute(_POLLS, at | {"open_models": open_models, "most": most}):
        rows.assign(task, {"next_poll_at": leased_until})
        if voice is None:
            jobs.append(control_job(task.model, task.spoken, task_pk=task.id, task_id=task.task_id))
            continue
        if not task.kind.is_enrollment and voice.next_at is not None:
            # Ask first, speak later: while its task is asked for, the voice is not due.
            rows.assign(voice, {"next_at": max(voice.next_at, leased_until)})
        jobs.append(job(task.kind, voice, task_pk=task.id, task_id=task.task_id))
    return jobs


def calls(
    session: Session, open_models: Sequence[str], *, now: datetime, policy: Policy, most: int
) -> list[Job]:
    """Take voices that are to be called, and write down the intent of each speech call.

    First those that can still be saved, by earliest deadline; those past their deadline last.
    """
    over = now - policy.window
    at = {"now": now, "absurd": now + policy.interval, "over": over}
    lease = {"until": now + schedule.lease(policy)}
    claimed = session.scalars(_CALLS, at | lease | {"open_models": open_models, "most": most})
    voices = sorted(claimed, key=lambda v: (v.anchored_at <= over, v.anchored_at))
    return [
        job(kind_for(voice), voice, task_pk=None)
        if voice.voice_id is None
        else write_intent(session, voice, now=now, policy=policy)
        for voice in voices
    ]


def is_enrolling(session: Session, voice: Voice) -> bool:
    """Tell whether a voice has an enrollment that has not come to its end."""
    return bool(session.scalar(select(_ENROLLING).where(col(Voice.id) == voice.id)))


def is_speaking(session: Session, voice: Voice) -> bool:
    """Tell whether a voice has a keepalive that has not come to its end."""
    speaking = exists().where(
        col(Task.voice_pk) == voice.id,
        IS_OPEN,
        col(Task.kind) == Kind.KEEPALIVE,
    )
    return bool(session.scalar(select(speaking)))
