"""What answers change: rows, history and breaker in one transaction; and unfinished tasks.

An unfinished task is found with its voice, settled after a crash, and taken up again where its
answer comes after all.
"""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy import exists, select
from sqlalchemy.orm import aliased
from sqlmodel import col

from voicekeeper.core import breaker as rules
from voicekeeper.core import transitions
from voicekeeper.core.models import Status, Task, TaskState, Voice
from voicekeeper.core.schedule import Policy
from voicekeeper.core.transitions import INTERRUPTED, Transition, enrollment
from voicekeeper.store import alerts, breakers, controls, due, ledger, unreadable
from voicekeeper.store.history import LogLine, add_entry
from voicekeeper.store.jobs import MAY_BE_CUT_SHORT, write_outcome
from voicekeeper.store.session import Session


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
        change: what a rule made of the answer.
        logged: False where the lines returned are not logged by the caller.
    """
    change = _free_of_conflict(session, voice, task, change)
    was_lost = voice.status is Status.LOST
    may_have_alerts = alerts.may_have_alerts(voice, now=now, policy=policy)
    session.change(voice, change.voice)
    lines = [add_entry(session, voice, entry, now=now, logged=logged) for entry in change.entries]
    lines = [
        alerts.open_for(session, voice, line, now=now, notifies=policy.notifies) for line in lines
    ]
    if may_have_alerts and change.is_use:
        lines += alerts.fixed(session, voice, now=now)
    if was_lost and change.is_use:
        due.make_lost_due(session, voice.model, now=now)
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
    write_outcome(session, task, change.task)
    return lines


def of_task_alone(change: Transition) -> Transition:
    """Return a transition without its changes to the voice, which has a newer task."""
    return replace(change, voice={}, entries=())


def _free_of_conflict(session: Session, voice: Voice, task: Task, change: Transition) -> Transition:
    """Leave out a voice_id that another voice has."""
    voice_id = change.voice.get("voice_id")
    if voice_id is None or voice_id == voice.voice_id:
        return change
    taken = exists().where(
        col(Voice.model) == voice.model, col(Voice.voice_id) == voice_id, col(Voice.id) != voice.id
    )
    is_taken = session.scalar(select(taken))
    return enrollment.without_id(voice, task, change) if is_taken else change


_NEWER = aliased(Task)
_FIND = (
    select(
        Task,
        Voice,
        exists().where(
            col(_NEWER.voice_pk) == col(Task.voice_pk),
            col(_NEWER.kind) == col(Task.kind),
            col(_NEWER.id) > col(Task.id),
        ),
    )
    .join(Voice, col(Voice.id) == Task.voice_pk, isouter=True)
    .where(col(Task.id).in_(sa.bindparam("keys", expanding=True)))
)
_INTENTS = select(col(Task.id), col(Task.voice_pk)).where(MAY_BE_CUT_SHORT)


class Found(NamedTuple):
    """A task, its voice, and whether that voice has a newer task of the same purpose."""

    task: Task
    voice: Voice | None
    superseded: bool


def find(session: Session, keys: Collection[int]) -> tuple[dict[int, Found], dict[int, str]]:
    """Load tasks with their voices, by key, and why others cannot be read.

    One that is gone is left out.
    """
    rows, bad = unreadable.load_joined(session, _FIND, {"keys": tuple(keys)})
    return {task.id: Found(task, voice, bool(newer)) for task, voice, newer in rows}, bad


def reopen(session: Session, found: Found, *, now: datetime) -> bool:
    """Reopen an interrupted task whose answer came late.

    Args:
        found: the task and its voice; both are changed.
        now: when the answer came.

    Returns:
        Whether the answer counts: not where the enrollment was asked for again since.
    """
    task, voice, superseded = found
    if task.state.is_open:
        return True
    if task.state is not TaskState.UNKNOWN or task.code != INTERRUPTED.code:
        return False  # an answer has settled it
    if task.kind.is_enrollment and (
        superseded or voice is None or voice.status is not Status.UNKNOWN
    ):
        return False
    change = transitions.reopened(voice, task)
    ledger.count(session, task.kind, task.state, -1)
    write_outcome(session, task, change.task)
    if voice is not None:
        session.change(voice, change.voice)
        for entry in change.entries:
            add_entry(session, voice, entry, now=now, logged=False)
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
        in_flight: tasks whose calls this process makes.
        before: only what was sent before it,
        after: or after it.

    Returns:
        Why rows cannot be read, by their voice's key; they are left as they are.
    """
    intents = session.run(_INTENTS, {"before": before, "after": after}).all()
    keys = [key for key, _ in intents if key not in in_flight]
    if not keys:
        return {}
    found, bad = find(session, keys)
    for each in found.values():
        _settle(session, each, now=now, policy=policy)
    return unreadable.by_voice(session, bad)


def _settle(session: Session, found: Found, *, now: datetime, policy: Policy) -> None:
    task, voice, superseded = found
    change = transitions.interrupted(voice, task, now=now)
    if voice is None:
        write_outcome(session, task, change.task)
        return
    if superseded:
        change = of_task_alone(change)
    apply(session, voice, task, change, now=now, policy=policy, logged=False)
