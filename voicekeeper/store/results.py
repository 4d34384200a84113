"""Applying what an answer changes: rows, history and breaker in one transaction."""

from dataclasses import replace
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import ColumnElement, exists, select
from sqlalchemy.orm import aliased
from sqlmodel import col

from voicekeeper.core import breaker as rules
from voicekeeper.core.events import Event
from voicekeeper.core.models import Status, Task, TaskState, Voice
from voicekeeper.core.schedule import Policy
from voicekeeper.core.transitions import Change, Telling, VoiceFields
from voicekeeper.store import alerts, blockages, breakers, ledger
from voicekeeper.store.chronicle import LogLine, tell
from voicekeeper.store.rows import assign, table_of
from voicekeeper.store.session import Session
from voicekeeper.store.statement import Statement

_VOICE = table_of(Voice)
_SEEK = Statement(
    sa.update(_VOICE)
    .where(
        _VOICE.c.model == sa.bindparam("model"),
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
    change: Change,
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
    was_told_of = alerts.may_be_told_of(voice, now=now, policy=policy)
    assign(session, voice, change.voice)
    lines = [tell(session, voice, telling, now=now, logged=logged) for telling in change.tellings]
    lines = [
        alerts.opened_by(session, voice, line, now=now, handed=logged, notifies=policy.notifies)
        for line in lines
    ]
    if was_told_of and "last_used_at" in change.voice:
        lines += alerts.fixed(session, voice, now=now)
    if was_lost and "last_used_at" in change.voice:
        # What blamed it may have blamed the others: another account's key, or the gateway itself.
        _SEEK.run(session, model=voice.model, now=now)
    if change.fault is not None:
        breaker = breakers.of_model(session, voice.model)
        fields = rules.after_fault(
            breaker,
            change.fault,
            voice_pk=voice.id,
            flows=task.state is TaskState.INTENT and breakers.flows(session, voice.model),
            anchor=breakers.most_urgent(session, voice.model, now=now, policy=policy),
            now=now,
            policy=policy,
        )
        lines += blockages.set_and_tell(session, breaker, fields, change.fault, now=now)
    if change.success:
        lines += blockages.end_run(session, voice.model, now=now)
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


def without_say(change: Change) -> Change:
    """Return what an answer changes where a newer call of the voice has the say."""
    return replace(change, voice={}, tellings=())


def _free_of_conflict(session: Session, voice: Voice, task: Task, change: Change) -> Change:
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
    tellings = (
        Telling(Event.ENROLLMENT_FAILED, {"task_id": task.task_id, "error": kept["last_error"]}),
        Telling(Event.VOICE_STATUS_CHANGED, {"from": voice.status, "to": Status.FAILED}),
    )
    return replace(change, voice=kept, tellings=tellings)
