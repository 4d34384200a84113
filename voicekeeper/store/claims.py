"""Claiming: which tasks are asked for and which voices are called next, in which order.

A claim changes no due time: the process itself knows which calls it has in flight, and names them.
A row that cannot be read is put off, so that it crowds out no other voice, and told of.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from enum import Enum, auto
from functools import cache
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import exists, select
from sqlmodel import col

from voicekeeper.core.enums import LIVING
from voicekeeper.core.models import Kind, Status, Task, Voice
from voicekeeper.core.schedule import Policy
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
from voicekeeper.store.session import Session
from voicekeeper.store.statement import Statement, Values, listed, room_for, spread

_NOW: sa.BindParameter[datetime] = sa.bindparam("now")
_MOST: sa.BindParameter[int] = sa.bindparam("most")

DUE = col(Voice.next_at) <= _NOW
"""A voice is due."""

_LIVES = sa.or_(*(col(Voice.status) == each for each in LIVING))

IS_KEPT: sa.ColumnElement[bool] = col(Voice.paused).is_(False) & _LIVES
"""A voice is to be kept alive."""

NEXT_DUE = (
    select(col(Voice.next_at))
    .where(_LIVES, col(Voice.next_at).is_not(None))
    .order_by(col(Voice.next_at))
    .limit(1)
)
"""When the first of the voices that are kept is due; one that is LOST is tried on, and never is."""

ASKABLE = IS_RUNNING & (col(Task.next_poll_at) <= _NOW)
"""A task is to be asked for."""

_ENROLLING = exists().where(
    col(Task.voice_pk) == Voice.id,
    IS_OPEN,
    (col(Task.kind) == Kind.CLONE) | (col(Task.kind) == Kind.DESIGN),
)
"""A voice has an enrollment that has not come to its end."""

TO_ENROLL = (col(Voice.status) == Status.NEW) & col(Voice.voice_id).is_(None) & ~_ENROLLING
"""A voice is yet to be made, and nobody is at it."""

_ASKED_FIRST = exists().where(
    col(Task.voice_pk) == Voice.id,
    IS_OPEN,  # by its index; or else the whole history of the voice is looked through
    IS_RUNNING,
    col(Task.kind) == Kind.KEEPALIVE,
    col(Task.next_poll_at) <= _NOW,
)

_OVER: sa.BindParameter[datetime] = sa.bindparam("over")

IN_ORDER: tuple[Any, ...] = (col(Voice.anchored_at) <= _OVER, col(Voice.anchored_at))
"""First the voices that can still be saved, by earliest deadline; then the others."""

_MANY: Final = 1_024
_ARE_MANY = Statement(
    select(exists(select(col(Voice.id)).where(DUE).limit(1).offset(_MANY - 1).scalar_subquery()))
)
"""Whether so many voices are due that to put them all in order takes longer than the claim."""


class Reach(Enum):
    """Which of the due voices a claim looks at."""

    ALL = auto()
    """All, which are put in order; for a few."""
    SAVABLE = auto()
    """Those that can still be saved, read in the order of their deadlines."""
    PAST_SAVING = auto()
    """The others, likewise."""


_PUT_OFF_VOICE, _PUT_OFF_TASK = (
    Statement(
        sa.update(table)
        .where(table.c.id == sa.bindparam("key"))
        .values({column: sa.bindparam("later")})
    )
    for table, column in (
        (rows.table_of(Voice), "next_at"),
        (rows.table_of(Task), "next_poll_at"),
    )
)

_OWNER = [column.name for column in rows.columns(Task)].index("voice_pk")


@cache
def _polls(paused: int, in_flight: int) -> Statement:
    """Return the statement that finds the tasks to ask for, with their voices.

    Args:
        paused: how many parameters name models whose calls are paused.
        in_flight: how many name tasks that are asked for right now.
    """
    flowing = col(Task.model).not_in(listed("paused", paused)) if paused else sa.true()
    query = (
        select(*rows.columns(Task, Voice))
        .select_from(Task)
        .join(Voice, col(Voice.id) == Task.voice_pk, isouter=True)
        .where(ASKABLE, (col(Task.kind) == Kind.CONTROL) | flowing)
    )
    if in_flight:
        query = query.where(col(Task.id).not_in(listed("in_flight", in_flight)))
    return Statement(query.order_by(col(Voice.anchored_at).asc().nulls_first()).limit(_MOST))


@cache
def _calls(paused: int, busy: int, reach: Reach = Reach.ALL) -> Statement:
    """Return the statement that finds the voices to call.

    Args:
        paused: how many parameters name models whose calls are paused.
        busy: how many name voices that a call is under way for.
        reach: among which.
    """
    due = select(*rows.columns(Voice)).where(
        DUE, (col(Voice.voice_id).is_not(None) & ~_ASKED_FIRST) | TO_ENROLL
    )
    if paused:
        due = due.where(col(Voice.model).not_in(listed("paused", paused)))
    if busy:
        due = due.where(col(Voice.id).not_in(listed("busy", busy)))
    match reach:
        case Reach.ALL:
            due = due.order_by(*IN_ORDER)
        case Reach.SAVABLE:
            due = due.where(col(Voice.anchored_at) > _OVER).order_by(col(Voice.anchored_at))
        case Reach.PAST_SAVING:
            due = due.where(col(Voice.anchored_at) <= _OVER).order_by(col(Voice.anchored_at))
    return Statement(due.limit(_MOST))


def polls(
    session: Session,
    open_models: Sequence[str],
    *,
    now: datetime,
    policy: Policy,
    most: int,
    in_flight: Collection[int] = (),
) -> tuple[list[Job], list[LogLine]]:
    """Take tasks that are to be asked for, those of the most urgent voices first.

    Returns:
        The jobs, and the lines of the rows that cannot be read.
    """
    due, bad = _polls(room_for(open_models), room_for(in_flight)).sifted(
        session,
        now=now,
        most=most,
        **spread("paused", open_models),
        **spread("in_flight", in_flight),
    )
    for task_pk, *_ in (row for row, _ in bad):
        _PUT_OFF_TASK.run(session, key=task_pk, later=now + policy.retry_cap)
    jobs = [
        control_job(task.model, task.spoken, task_pk=task.id, task_id=task.task_id)
        if voice is None
        else job(task.kind, voice, task_pk=task.id, task_id=task.task_id)
        for task, voice in (rows.pair(Task, Voice, row) for row in due)
    ]
    return jobs, unreadable_lines(session, {row[_OWNER]: why for row, why in bad})


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
    are_many = _ARE_MANY.scalar(session, now=now)
    due: list[Values] = []
    bad: list[tuple[Values, str]] = []
    for reach in (Reach.SAVABLE, Reach.PAST_SAVING) if are_many else (Reach.ALL,):
        room = most - len(due) - len(bad)
        if room <= 0:
            break
        readable, unreadable_ones = _calls(room_for(open_models), room_for(busy), reach).sifted(
            session,
            now=now,
            over=over,
            most=room,
            **spread("paused", open_models),
            **spread("busy", busy),
        )
        due += readable
        bad += unreadable_ones
    for voice_pk, *_ in (row for row, _ in bad):
        later = now + min(policy.retry_cap, policy.interval)
        _PUT_OFF_VOICE.run(session, key=voice_pk, later=later)
    voices = (rows.made(Voice, row) for row in due)
    jobs = [
        job(kind_for(voice), voice, task_pk=None)
        if voice.voice_id is None
        else write_intent(session, voice, now=now, policy=policy)
        for voice in voices
    ]
    return jobs, unreadable_lines(session, {row[0]: why for row, why in bad})


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
