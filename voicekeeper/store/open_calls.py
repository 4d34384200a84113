"""Unfinished tasks: found with their voices, settled after a crash, and taken up again."""

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy import select
from sqlmodel import col

from voicekeeper.core import transitions
from voicekeeper.core.models import Status, Task, TaskState, Voice
from voicekeeper.core.schedule import Policy
from voicekeeper.store import ledger, results, rows, tallies
from voicekeeper.store.chronicle import tell
from voicekeeper.store.jobs import IS_INTENT, IS_INTERRUPTED, IS_OPEN
from voicekeeper.store.session import Session
from voicekeeper.store.statement import Statement, Values

_FIND = Statement(
    select(*rows.columns(Task, Voice), results.is_superseded())
    .select_from(Task)
    .join(Voice, col(Voice.id) == col(Task.voice_pk), isouter=True)
    .where(col(Task.id) == sa.bindparam("key"), IS_OPEN | IS_INTERRUPTED)
)
_INTENTS = Statement(
    select(col(Task.id), col(Task.voice_pk)).where(
        IS_OPEN,  # by its index
        IS_INTENT,
        (col(Task.sent_at) <= sa.bindparam("before")) | (col(Task.sent_at) > sa.bindparam("after")),
    )
)


class Found(NamedTuple):
    """An unfinished task, its voice, and whether a newer call of that voice has the say."""

    task: Task
    voice: Voice | None
    superseded: bool


def find(session: Session, task_pk: int | None) -> Found | None:
    """Return an open task with its voice, or one that was settled as interrupted.

    None where it is gone, or settled by an answer.

    Raises:
        LookupError, ValueError, TypeError: a row holds a value that cannot be read.
    """
    row = _FIND.first(session, key=task_pk)
    return None if row is None else _found(row)


def take_up(session: Session, found: Found, *, now: datetime) -> bool:
    """Take back that a task was interrupted, as its answer has come after all.

    Args:
        session: a writing one.
        found: the task and its voice; both are changed.
        now: when the answer came.

    Returns:
        Whether the answer counts: not where the enrollment was asked for again since.
    """
    task, voice, superseded = found
    if task.state is not TaskState.UNKNOWN:
        return True
    if task.kind.is_enrollment and (
        superseded or voice is None or voice.status is not Status.UNKNOWN
    ):
        return False
    change = transitions.taken_up(voice, task)
    tallies.uncount(session, task.kind, task.state)
    ledger.settle(session, task, change.task)
    if voice is not None:
        rows.assign(session, voice, change.voice)
        for telling in change.tellings:
            tell(session, voice, telling, now=now, logged=False)
    return True


def settle_interrupted(
    session: Session,
    in_flight: Collection[int],
    *,
    before: datetime,
    after: datetime,
    now: datetime,
    policy: Policy,
) -> dict[int | None, str]:
    """Settle the calls of whoever is gone: an intent, and nobody who waits for its answer.

    What is to be logged of them is left to the next pass.

    Args:
        session: a writing one.
        in_flight: tasks whose calls this process makes.
        before: only what was sent before it,
        after: or after it.
        now: of this look.
        policy: the settings.

    Returns:
        Why rows cannot be read, by their voice's key; they are left as they are.
    """
    bad: dict[int | None, str] = {}
    for key, voice_pk in _INTENTS.rows(session, before=before, after=after):
        if key in in_flight:
            continue
        readable, unreadable = _FIND.sifted(session, key=key)
        for _, why in unreadable:
            bad[voice_pk] = why
        for row in readable:
            _settle(session, _found(row), now=now, policy=policy)
    return bad


def _found(row: Values) -> Found:
    return Found(*rows.pair(Task, Voice, row), bool(row[-1]))


def _settle(session: Session, found: Found, *, now: datetime, policy: Policy) -> None:
    task, voice, superseded = found
    change = transitions.interrupted(voice, task, now=now)
    if voice is None:
        ledger.settle(session, task, change.task)
        return
    if superseded:
        change = results.without_say(change)
    results.apply(session, voice, task, change, now=now, policy=policy, logged=False)
