"""What answers change: rows, history and breaker in one transaction; and unfinished tasks.

An unfinished task is found with its voice, settled after a crash, and taken up again where its
answer comes after all.
"""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy import ColumnElement, exists, select
from sqlalchemy.orm import aliased
from sqlmodel import col

from voicekeeper.core import breaker as rules
from voicekeeper.core import transitions
from voicekeeper.core.events import Event
from voicekeeper.core.models import Status, Task, TaskState, Voice
from voicekeeper.core.schedule import Policy
from voicekeeper.core.transitions import Entry, Transition, VoiceFields
from voicekeeper.store import alerts, breakers, controls, ledger, rows
from voicekeeper.store.chronicle import LogLine, tell
from voicekeeper.store.jobs import IS_INTENT, IS_INTERRUPTED, IS_OPEN
from voicekeeper.store.session import Session
from voicekeeper.store.statement import Statement, Values

_VOICE = rows.table_of(Voice)
_SEEK = Statement(
    sa.update(_VOICE)
    .where(
        _VOICE.c.model == sa.bindparam("of"),
        _VOICE.c.status == Status.LOST,
        _VOICE.c.next_at > sa.bindparam("now"),
    )
    .values(next_at=sa.bindparam("now"))
)
"""All that are LOST, and are tried still, are due."""


def apply(
    session: Session,
    voice: Voice,
    task: Task,
    change: Transition,
    *,
    now: datetime,
    policy: Policy,
    logged: bool = True,
) -> list[LogLine]:
    """Apply a change to a voice and its task; return what to log.

    Args:
        session: a writing one.
        voice: its row as it is now.
        task: its row as it is now.
        change: what a rule made of the answer.
        now: of the answer.
        policy: the settings.
        logged: False where the lines returned are not logged by the caller.
    """
    change = _free_of_conflict(session, voice, task, change)
    was_lost = voice.status is Status.LOST
    may_have_alerts = alerts.may_have_alerts(voice, now=now, policy=policy)
    rows.assign(session, voice, change.voice)
    lines = [tell(session, voice, telling, now=now, logged=logged) for telling in change.entries]
    lines = [
        alerts.opened_by(session, voice, line, now=now, notifies=policy.notifies) for line in lines
    ]
    if may_have_alerts and "last_used_at" in change.voice:
        lines += alerts.fixed(session, voice, now=now)
    if was_lost and "last_used_at" in change.voice:
        # What blamed it may have blamed the others: another account's key, or the gateway itself.
        _SEEK.run(session, of=voice.model, now=now)
    if change.fault is not None:
        breaker = breakers.of_model(session, voice.model)
        fields = rules.after_fault(
            breaker,
            change.fault,
            voice_pk=voice.id,
            others_accepted=task.state is TaskState.INTENT and breakers.flows(session, voice.model),
            anchor=breakers.most_urgent(session, voice.model, now=now, policy=policy),
            now=now,
            policy=policy,
        )
        lines += controls.set_breaker(session, breaker, fields, change.fault, now=now)
    if change.success:
        lines += controls.end_run(session, voice.model, now=now)
    ledger.settle(session, task, change.task)
    return lines


def is_superseded() -> ColumnElement[bool]:
    """Return whether the task's voice was called again since for the same purpose."""
    newer = aliased(Task)
    return exists().where(
        col(newer.voice_pk) == col(Task.voice_pk),
        col(newer.kind) == col(Task.kind),
        col(newer.id) > col(Task.id),
    )


def without_say(change: Transition) -> Transition:
    """Return what an answer changes where a newer call of the voice has the say."""
    return replace(change, voice={}, entries=())


def _free_of_conflict(session: Session, voice: Voice, task: Task, change: Transition) -> Transition:
    """Leave out a voice_id that another voice has: one bad answer must not block this voice."""
    fields = change.voice
    voice_id = fields.get("voice_id")
    if voice_id is None or voice_id == voice.voice_id:
        return change
    taken = exists().where(
        col(Voice.model) == voice.model, col(Voice.voice_id) == voice_id, col(Voice.id) != voice.id
    )
    if not session.scalar(select(taken)):
        return change
    kept: VoiceFields = {**fields}
    del kept["voice_id"]
    kept["last_error"] = f"the gateway gave it {voice_id}, which another voice has"
    if "status" not in kept:
        return replace(change, voice=kept)
    kept["status"], kept["next_at"] = Status.FAILED, None
    entries = (
        Entry(Event.ENROLLMENT_FAILED, {"task_id": task.task_id, "error": kept["last_error"]}),
        Entry(Event.VOICE_STATUS_CHANGED, {"from": voice.status, "to": Status.FAILED}),
    )
    return replace(change, voice=kept, entries=entries)


_FIND = Statement(
    select(*rows.columns(Task, Voice), is_superseded())
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
    change = transitions.reopened(voice, task)
    ledger.uncount(session, task.kind, task.state)
    ledger.settle(session, task, change.task)
    if voice is not None:
        rows.assign(session, voice, change.voice)
        for telling in change.entries:
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
        change = without_say(change)
    apply(session, voice, task, change, now=now, policy=policy, logged=False)
