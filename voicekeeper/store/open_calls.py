"""An open call with its voice: locked, as it is now, for who is about to settle it."""

from dataclasses import replace
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import select
from sqlmodel import col

from voicekeeper import lifecycle
from voicekeeper.models import Task, Voice
from voicekeeper.schedule import Policy
from voicekeeper.store import breakers, controls, results, rows
from voicekeeper.store.chronicle import LogLine
from voicekeeper.store.jobs import IS_INTENT, IS_OPEN
from voicekeeper.store.session import Session
from voicekeeper.store.statement import Statement

_KEY: sa.BindParameter[int] = sa.bindparam("key")

_BOTH = Statement(
    select(*rows.columns(Task, Voice), results.is_superseded())
    .select_from(Task)
    .join(Voice, col(Voice.id) == col(Task.voice_pk), isouter=True)
    .where(col(Task.id) == _KEY, IS_OPEN)
)
# The voice first, as whoever claims or removes it does.
_LOCK_VOICE = Statement(
    select(col(Voice.id))
    .join(Task, col(Task.voice_pk) == col(Voice.id))
    .where(col(Task.id) == _KEY)
    .with_for_update(of=Voice)
)
_LOCK_TASK = Statement(select(col(Task.id)).where(col(Task.id) == _KEY).with_for_update())

_LEFT_BEHIND = Statement(
    select(col(Task.id))
    .where(IS_INTENT, col(Task.sent_at) < sa.bindparam("before"))
    .order_by(col(Task.id))
    .limit(100)
)


def locked(session: Session, task_pk: int | None) -> tuple[Task, Voice | None, bool] | None:
    """Return an open task, its voice, and whether a newer call of that voice has the say.

    None where it is gone or settled already.
    """
    if session.locks_rows:
        _LOCK_VOICE.rows(session, key=task_pk)
        _LOCK_TASK.rows(session, key=task_pk)
    found = _BOTH.first(session, key=task_pk)
    if found is None:
        return None
    task, voice = rows.pair(Task, Voice, found)
    return task, voice, bool(found[-1])


def settle_left_behind(session: Session, *, now: datetime, policy: Policy) -> list[LogLine]:
    """Settle the calls whose keeper is gone: they had more time than any call takes.

    Args:
        session: a writing one.
        now: of this pass.
        policy: the settings.

    Returns:
        What to log.
    """
    lines: list[LogLine] = []
    breakers.hold(session)
    for (key,) in _LEFT_BEHIND.rows(session, before=now - policy.lease):
        found = locked(session, key)
        if found is None:
            continue
        task, voice, superseded = found
        change = lifecycle.interrupted(voice, task, now=now)
        if voice is None:
            lines += controls.apply(session, task, change, now=now, policy=policy)
            continue
        if superseded:
            change = replace(change, voice={}, tellings=())  # the newer call has the say
        lines += results.apply(session, voice, task, change, now=now, policy=policy)
    return lines
