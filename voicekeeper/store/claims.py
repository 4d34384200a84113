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
from voicekeeper.models import Kind, Status, Task, Voice
from voicekeeper.schedule import Policy
from voicekeeper.store import rows, unreadable
from voicekeeper.store.chronicle import LogLine, unreadable_line
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

_POLLED_KEYS = _POLLS.with_only_columns(
    col(Task.id), col(Task.voice_pk), maintain_column_froms=True
)

_BUSY: sa.BindParameter[Sequence[int]] = sa.bindparam("busy", expanding=True)

CALLABLE = (
    select(col(Voice.id))
    .where(
        DUE,
        col(Voice.model).not_in(_PAUSED),
        col(Voice.id).not_in(_BUSY),
        (col(Voice.voice_id).is_not(None) & ~_ASKED_FIRST) | TO_ENROLL,
    )
    .order_by(col(Voice.anchored_at) <= sa.bindparam("over"), col(Voice.anchored_at))
    .limit(_MOST)
    .with_for_update(skip_locked=True)
)
_CHOSEN = CALLABLE.cte("due")

CALLS = (
    update(Voice)
    .where(col(Voice.id).in_(select(_CHOSEN.c.id)))
    .values(next_at=sa.bindparam("until"))
    .returning(col(Voice.id))
    .execution_options(synchronize_session=False)
)


def polls(
    session: Session, open_models: Sequence[str], *, now: datetime, policy: Policy, most: int
) -> tuple[list[Job], list[LogLine]]:
    """Take tasks that are to be asked for, those of the most urgent voices first.

    Returns:
        The jobs, and the lines of the rows that cannot be read.
    """
    leased_until = now + schedule.lease(policy)
    at = {"now": now, "absurd": now + schedule.longest_poll(policy)}
    which = at | {"open_models": open_models, "most": most}
    lines: list[LogLine] = []
    try:
        due = [(task, voice) for task, voice in session.execute(_POLLS, which)]
    except unreadable.UNREADABLE:
        due, lines = _readable_polls(session, which, later=now + policy.retry_cap)
    jobs = []
    for task, voice in due:
        rows.assign(task, {"next_poll_at": leased_until})
        if voice is None:
            jobs.append(control_job(task.model, task.spoken, task_pk=task.id, task_id=task.task_id))
            continue
        if not task.kind.is_enrollment and voice.next_at is not None:
            # Ask first, speak later: while its task is asked for, the voice is not due.
            rows.assign(voice, {"next_at": max(voice.next_at, leased_until)})
        jobs.append(job(task.kind, voice, task_pk=task.id, task_id=task.task_id))
    return jobs, lines


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
    over = now - policy.window
    at = {"now": now, "absurd": schedule.latest_due(now, policy), "over": over}
    lease = {"until": now + schedule.lease(policy)}
    which = {"open_models": open_models, "most": most, "busy": list(busy)}
    keys = session.scalars(CALLS, at | lease | which).all()
    claimed, bad = unreadable.by_key(session, Voice, keys)
    if bad:
        later = now + min(policy.retry_cap, policy.interval)
        put_off = update(Voice).where(col(Voice.id).in_(bad)).values(next_at=later)
        session.execute(put_off, execution_options={"synchronize_session": False})
    voices = sorted(claimed.values(), key=lambda voice: urgency(voice, over))
    jobs = [
        job(kind_for(voice), voice, task_pk=None)
        if voice.voice_id is None
        else write_intent(session, voice, now=now, policy=policy)
        for voice in voices
    ]
    return jobs, unreadable_lines(session, bad)


def urgency(voice: Voice, over: datetime) -> tuple[bool, datetime]:
    """Return by what voices are put in order: those that can be saved, by deadline; the others.

    Args:
        voice: its row.
        over: the last use that lies one window back.
    """
    return voice.anchored_at <= over, voice.anchored_at


def unreadable_lines(session: Session, bad: Mapping[int | None, str]) -> list[LogLine]:
    """Return a line for each voice whose row, or whose task's row, cannot be read.

    Args:
        session: any.
        bad: why, by the voice's key; None for the task of a control call.
    """
    if not bad:
        return []
    names = unreadable.names(session, [key for key in bad if key is not None])
    return [unreadable_line(names.get(key, "a control call"), why) for key, why in bad.items()]


def _readable_polls(
    session: Session, which: Mapping[str, object], *, later: datetime
) -> tuple[list[tuple[Task, Voice | None]], list[LogLine]]:
    """Load the tasks that are due one by one, and put off those that cannot be read."""
    owners = {task_pk: owner for task_pk, owner in session.execute(_POLLED_KEYS, which)}  # noqa: C416
    tasks, bad_tasks = unreadable.by_key(session, Task, list(owners))
    voices, bad_voices = unreadable.by_key(session, Voice, sorted({*owners.values()} - {None}))
    bad = {pk: why for pk, owner in owners.items() if (why := bad_voices.get(owner))} | bad_tasks
    put_off = update(Task).where(col(Task.id).in_(bad)).values(next_poll_at=later)
    session.execute(put_off, execution_options={"synchronize_session": False})
    due = [(tasks[pk], voices.get(owner)) for pk, owner in owners.items() if pk not in bad]
    return due, unreadable_lines(session, {owners[pk]: why for pk, why in bad.items()})


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
