"""Claiming: which tasks are asked for and which voices are called next, in which order.

A claim changes no due time: the process itself knows which calls it has in flight, and names them.
Only a row that cannot be read is put off, so that it crowds out no other voice, and logged.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exists, select
from sqlmodel import SQLModel, col

from voicekeeper.core.enums import LIVING
from voicekeeper.core.models import Kind, Status, Task, Voice
from voicekeeper.core.schedule import Policy
from voicekeeper.store import due, unreadable
from voicekeeper.store.history import LogLine, unreadable_line
from voicekeeper.store.jobs import (
    IS_OPEN,
    IS_RUNNING,
    Job,
    call_for,
    poll_of,
    write_intents,
)
from voicekeeper.store.session import Session

_VOICE, _TASK = (SQLModel.metadata.tables[name] for name in ("voice", "task"))
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
"""When the next kept voice is due; LOST voices are retried but not counted here."""

ASKABLE = IS_RUNNING & (col(Task.next_poll_at) <= _NOW)
"""A task is to be asked for."""

_ENROLLING = exists().where(
    col(Task.voice_pk) == Voice.id,
    IS_OPEN,
    (col(Task.kind) == Kind.CLONE) | (col(Task.kind) == Kind.DESIGN),
)
"""A voice has an enrollment that has not come to its end."""

TO_ENROLL = (col(Voice.status) == Status.NEW) & col(Voice.voice_id).is_(None) & ~_ENROLLING
"""A voice without a voice_id, and without an unfinished enrollment."""

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

_PAUSED: sa.BindParameter[Sequence[str]] = sa.bindparam("paused", expanding=True)
_BUSY: sa.BindParameter[Sequence[int]] = sa.bindparam("busy", expanding=True)
_IN_FLIGHT: sa.BindParameter[Sequence[int]] = sa.bindparam("in_flight", expanding=True)
_POLLS = (
    select(Task, Voice)
    .join(Voice, col(Voice.id) == Task.voice_pk, isouter=True)
    .where(
        ASKABLE,
        (col(Task.kind) == Kind.CONTROL) | col(Task.model).not_in(_PAUSED),
        col(Task.id).not_in(_IN_FLIGHT),
    )
    .order_by(col(Voice.id).is_not(None), *IN_ORDER)  # control calls first
    .limit(_MOST)
)
_CALLABLE = select(Voice).where(
    DUE,
    (col(Voice.voice_id).is_not(None) & ~_ASKED_FIRST) | TO_ENROLL,
    col(Voice.model).not_in(_PAUSED),
    col(Voice.id).not_in(_BUSY),
)
_CALLS = _CALLABLE.order_by(*IN_ORDER).limit(_MOST)
_SAVABLE = _CALLABLE.where(col(Voice.anchored_at) > _OVER)
_PAST_SAVING = _CALLABLE.where(col(Voice.anchored_at) <= _OVER)
_MANY_CALLS = tuple(
    query.order_by(col(Voice.anchored_at)).limit(_MOST) for query in (_SAVABLE, _PAST_SAVING)
)
"""The same, read in the order of their deadlines."""


def polls(
    session: Session,
    paused_models: Sequence[str],
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
    times = {
        "now": now,
        "over": now - policy.window,
        "most": most,
        "paused": paused_models,
        "in_flight": tuple(in_flight),
    }
    found, bad = unreadable.load_joined(session, _POLLS, times)
    due.put_off(session, _TASK.c.next_poll_at, bad, to=now + policy.retry_cap)
    jobs = [poll_of(task, voice) for task, voice in found]
    return jobs, unreadable_lines(session, unreadable.by_voice(session, bad))


def calls(
    session: Session,
    paused_models: Sequence[str],
    *,
    now: datetime,
    policy: Policy,
    most: int,
    busy: Collection[int] = (),
    are_many: bool = False,
) -> tuple[list[Job], list[LogLine]]:
    """Take voices that are to be called, and write down the intent of each speech call.

    First those that can still be saved, by earliest deadline; those past their deadline last.

    Returns:
        The jobs, and the lines of the rows that cannot be read.
    """
    terms = {
        "now": now,
        "over": now - policy.window,
        "paused": paused_models,
        "busy": tuple(busy),
    }
    waiting: list[Voice] = []
    bad: dict[int | None, str] = {}
    for query in _MANY_CALLS if are_many else (_CALLS,):
        room = most - len(waiting) - len(bad)
        if room > 0:
            voices, unread = unreadable.load(session, query, terms | {"most": room})
            waiting += voices
            bad |= unread
    later = now + min(policy.retry_cap, policy.interval)
    due.put_off(session, _VOICE.c.next_at, bad, to=later)
    jobs = [call_for(voice) for voice in waiting]
    speech = [job for job in jobs if not job.kind.is_enrollment]
    written = iter(write_intents(session, speech, now=now, policy=policy))
    jobs = [job if job.kind.is_enrollment else next(written) for job in jobs]
    return jobs, unreadable_lines(session, bad)


def unreadable_lines(session: Session, bad: Mapping[int | None, str]) -> list[LogLine]:
    """Return a line for each voice whose row, or whose task's row, cannot be read.

    Args:
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
