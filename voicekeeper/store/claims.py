"""Claiming: which tasks are asked for and which voices are called next, in which order.

A row that cannot be read is claimed like any other, then put off, so that it crowds out no other
voice, and told of.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import exists, select, update
from sqlmodel import Session, col

from voicekeeper import schedule
from voicekeeper.models import Kind, Status, Task, TaskState, Voice
from voicekeeper.schedule import Policy
from voicekeeper.store import rows
from voicekeeper.store.chronicle import LogLine, unreadable_line
from voicekeeper.store.jobs import OPEN, Job, control_job, intent, job, kind_for


def polls(
    session: Session, open_models: Sequence[str], *, now: datetime, policy: Policy, most: int
) -> tuple[list[Job], list[LogLine]]:
    """Take tasks that are to be asked for, those of the most urgent voices first.

    Returns:
        The jobs, and the lines of the rows that cannot be read.
    """
    leased_until = now + schedule.lease(policy)
    due = (
        select(col(Task.id), col(Task.voice_pk))
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
    owners = {task_pk: voice_pk for task_pk, voice_pk in session.execute(due)}  # noqa: C416 - typed
    if not owners:
        return [], []
    task_keys = list(owners)
    leased = update(Task).where(col(Task.id).in_(task_keys)).values(next_poll_at=leased_until)
    session.execute(leased, execution_options={"synchronize_session": False})
    tasks, bad_tasks = rows.by_key(session, Task, task_keys)
    voices, bad_voices = rows.by_key(session, Voice, sorted({*owners.values()} - {None}))
    jobs = []
    for task_pk, voice_pk in owners.items():
        if task_pk in bad_tasks or voice_pk in bad_voices:
            continue
        task, voice = tasks[task_pk], voices.get(voice_pk)
        if voice is not None and not task.kind.is_enrollment and voice.next_at is not None:
            # Ask first, speak later: while its task is asked for, the voice is not due.
            voice.next_at = max(voice.next_at, leased_until)
        jobs.append(job(task.kind, voice, task) if voice else control_job(task))
    bad = {pk: why for pk, owner in owners.items() if (why := bad_voices.get(owner))} | bad_tasks
    if bad:
        later = now + policy.retry_cap
        put_off = update(Task).where(col(Task.id).in_(bad)).values(next_poll_at=later)
        session.execute(put_off, execution_options={"synchronize_session": False})
    return jobs, unreadable(session, {owners[pk]: why for pk, why in bad.items()})


def calls(
    session: Session,
    open_models: Sequence[str],
    *,
    now: datetime,
    policy: Policy,
    most: int,
    busy: Collection[int] = (),
) -> tuple[list[Job], list[LogLine]]:
    """Take voices that are to be called, and write down the intent of each speech call.

    First those that can still be saved, by earliest deadline; those past their deadline last.

    Returns:
        The jobs, and the lines of the rows that cannot be read.
    """
    if most <= 0:
        return [], []
    asked_first = exists().where(
        col(Task.voice_pk) == Voice.id,
        col(Task.state) == TaskState.RUNNING,
        col(Task.kind) == Kind.KEEPALIVE,
        col(Task.next_poll_at) <= now,
    )
    speaks = col(Voice.voice_id).is_not(None) & ~asked_first
    enrolls = (col(Voice.status) == Status.NEW) & col(Voice.voice_id).is_(None) & ~_enrolling()
    urgency = (col(Voice.anchored_at) <= now - policy.window, col(Voice.anchored_at))
    due = (
        select(col(Voice.id))
        .where(
            (col(Voice.next_at) <= now) | (col(Voice.next_at) > now + policy.interval),
            col(Voice.model).not_in(open_models),
            col(Voice.id).not_in(busy),
            speaks | enrolls,
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
        .returning(col(Voice.id))
        .execution_options(synchronize_session=False)
    )
    readable, bad = rows.by_key(session, Voice, session.scalars(claimed).all())
    voices = sorted(
        readable.values(), key=lambda v: (v.anchored_at <= now - policy.window, v.anchored_at)
    )
    tasks = {v.id: intent(v, now=now) for v in voices if v.voice_id is not None}
    session.add_all(tasks.values())
    session.flush()
    jobs = [job(kind_for(voice), voice, tasks.get(voice.id)) for voice in voices]
    if bad:
        later = now + min(policy.retry_cap, policy.interval)
        put_off = update(Voice).where(col(Voice.id).in_(bad)).values(next_at=later)
        session.execute(put_off, execution_options={"synchronize_session": False})
    return jobs, unreadable(session, bad)


def unreadable(session: Session, bad: Mapping[int | None, str]) -> list[LogLine]:
    """Return a line for each voice whose row, or whose task's row, cannot be read.

    Args:
        session: any.
        bad: why, by the voice's key; None for the task of a control call.
    """
    if not bad:
        return []
    names = rows.names(session, [key for key in bad if key is not None])
    return [unreadable_line(names.get(key, "a control call"), why) for key, why in bad.items()]


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
