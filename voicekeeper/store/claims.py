"""Claiming: which tasks are asked for and which voices are called next, in which order."""

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import exists, select, update
from sqlmodel import Session, col

from voicekeeper import schedule
from voicekeeper.models import Kind, Status, Task, TaskState, Voice
from voicekeeper.schedule import Policy
from voicekeeper.store import ledger
from voicekeeper.store.jobs import OPEN, Job, control_job, intent, job, kind_for


def polls(
    session: Session, open_models: Sequence[str], *, now: datetime, policy: Policy, most: int
) -> list[Job]:
    """Take tasks that are to be asked for, those of the most urgent voices first."""
    leased_until = now + schedule.lease(policy)
    due = (
        select(Task, Voice)
        .join(Voice, col(Voice.id) == Task.voice_pk, isouter=True)
        .where(
            col(Task.state) == TaskState.RUNNING,
            (col(Task.next_poll_at) <= now)
            | (col(Task.next_poll_at) > now + schedule.longest_poll(policy)),
            (col(Task.kind) == Kind.CONTROL) | col(Task.model).not_in(open_models),
        )
        .order_by(col(Voice.anchored_at).asc().nulls_first())
        .limit(most)
    )
    jobs = []
    for task, voice in session.execute(due):
        task.next_poll_at = leased_until
        if voice is not None and not task.kind.is_enrollment and voice.next_at is not None:
            # Ask first, speak later: while its task is asked for, the voice is not due.
            voice.next_at = max(voice.next_at, leased_until)
        jobs.append(job(task.kind, voice, task) if voice else control_job(task))
    return jobs


def calls(
    session: Session, open_models: Sequence[str], *, now: datetime, policy: Policy, most: int
) -> list[Job]:
    """Take voices that are to be called, and write down the intent of each speech call.

    First those that can still be saved, by earliest deadline; those past their deadline last.
    """
    if most <= 0:
        return []
    asked_first = exists().where(
        col(Task.voice_pk) == Voice.id,
        col(Task.state) == TaskState.RUNNING,
        col(Task.kind) == Kind.KEEPALIVE,
        col(Task.next_poll_at) <= now,
    )
    speaks = col(Voice.voice_id).is_not(None) & ~asked_first
    urgency = (col(Voice.anchored_at) <= now - policy.window, col(Voice.anchored_at))
    due = (
        select(col(Voice.id))
        .where(
            is_due(now, policy),
            col(Voice.model).not_in(open_models),
            speaks | is_to_enroll(),
        )
        .order_by(*urgency)
        .limit(most)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    claimed = (
        update(Voice)
        .where(col(Voice.id).in_(select(due.c.id)))
        .values(next_at=now + schedule.lease(policy))
        .returning(Voice)
        .execution_options(populate_existing=True)
    )
    voices = list(session.scalars(claimed))
    voices.sort(key=lambda v: (v.anchored_at <= now - policy.window, v.anchored_at))
    tasks = {v.id: intent(v, now=now, policy=policy) for v in voices if v.voice_id is not None}
    ledger.enter(session, tasks.values())
    return [job(kind_for(voice), voice, tasks.get(voice.id)) for voice in voices]


def is_due(now: datetime, policy: Policy) -> sa.ColumnElement[bool]:
    """Return the condition that a voice is to be looked at now."""
    return (col(Voice.next_at) <= now) | (col(Voice.next_at) > now + policy.interval)


def is_to_enroll() -> sa.ColumnElement[bool]:
    """Return the condition that a voice is yet to be made, and nobody is at it."""
    return (col(Voice.status) == Status.NEW) & col(Voice.voice_id).is_(None) & ~_enrolling()


def is_enrolling(session: Session, voice: Voice) -> bool:
    """Tell whether a voice has an enrollment that has not come to its end."""
    return bool(session.scalar(select(_enrolling()).where(col(Voice.id) == voice.id)))


def is_speaking(session: Session, voice: Voice) -> bool:
    """Tell whether a voice has a keepalive that has not come to its end."""
    speaking = exists().where(
        col(Task.voice_pk) == voice.id,
        col(Task.state).in_(OPEN),
        col(Task.kind) == Kind.KEEPALIVE,
    )
    return bool(session.scalar(select(speaking)))


def _enrolling() -> sa.Exists:
    """Return the condition that a voice has an enrollment that has not come to its end."""
    return exists().where(
        col(Task.voice_pk) == Voice.id,
        col(Task.state).in_(OPEN),
        col(Task.kind).in_([Kind.CLONE, Kind.DESIGN]),
    )
