"""What a keeper is handed: the calls to make, as plain values."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa
from sqlmodel import SQLModel

from voicekeeper.core import costs
from voicekeeper.core.costs import Spent
from voicekeeper.core.models import Kind, Origin, Task, TaskState, Voice
from voicekeeper.core.schedule import Policy
from voicekeeper.core.transitions import INTERRUPTED, Transition
from voicekeeper.store import ledger
from voicekeeper.store.history import LogLine
from voicekeeper.store.session import Session

_TASK = SQLModel.metadata.tables["task"]
_ADD = sa.insert(_TASK).returning(_TASK.c.id, sort_by_parameter_order=True)

OPEN = (TaskState.INTENT, TaskState.RUNNING)
"""The states of a task that has not come to its end."""

# Written out, not bound: SQLite prepares a statement anew, each time, whose parameter decides
# whether a partial index serves it; that takes many times as long as to run it.
IS_OPEN: sa.ColumnElement[bool] = sa.literal_column("task.state IN ('intent', 'running')")
IS_INTENT: sa.ColumnElement[bool] = sa.literal_column("task.state = 'intent'")
IS_RUNNING: sa.ColumnElement[bool] = sa.literal_column("task.state = 'running'")
IS_INTERRUPTED: sa.ColumnElement[bool] = sa.literal_column(
    f"(task.state = 'unknown' AND task.code = '{INTERRUPTED.code}')"
)
MAY_BE_CUT_SHORT: sa.ColumnElement[bool] = sa.and_(
    IS_OPEN,  # by its index
    IS_INTENT,
    (_TASK.c.sent_at <= sa.bindparam("before")) | (_TASK.c.sent_at > sa.bindparam("after")),
)
SUCCEEDED: sa.ColumnElement[bool] = sa.literal_column("task.state = 'success'")
"""Conditions on a task."""


class Job(NamedTuple):
    """One call to make.

    Attributes:
        voice_pk: the voice; None for a control call.
        task_pk: the task's row; None for an enrollment, whose intent is written when its turn
            has come.
        kind, model: of the task.
        name: of the voice; for a control call, of the model.
        spoken: the voice id to speak with; None for an enrollment.
        recipe: of an enrollment; None for speech.
        task_id: the gateway's, when the call is to ask for the task.
        refusals: how often this enrollment was refused for its own sake.
    """

    voice_pk: int | None
    task_pk: int | None
    kind: Kind
    model: str
    name: str
    spoken: str | None
    recipe: dict[str, str] | None
    task_id: str | None
    refusals: int = 0


class Claims(NamedTuple):
    """What one pass was given.

    Attributes:
        calls: POSTs to make, most urgent first.
        polls: tasks to ask for.
        more_calls, more_polls: whether more may be due than there was room for.
        alerts: whether an alert may have to be told.
        lines: for the log.
        unreadable: for the log too, but the same again as long as nobody mends the rows.
    """

    calls: Sequence[Job]
    polls: Sequence[Job]
    more_calls: bool
    more_polls: bool
    alerts: bool
    lines: Sequence[LogLine]
    unreadable: Sequence[LogLine] = ()


Decide = Callable[[Voice | None, Task], Transition]
"""A rule of `transitions` that lacks but the rows; the voice is None for a control call."""


class Answer(NamedTuple):
    """What came of a call, to be written down.

    Attributes:
        job: the call.
        decide: what the answer changes.
        now: when it came.
        policy: the settings it is judged by.
    """

    job: Job
    decide: Decide
    now: datetime
    policy: Policy


def kind_for(voice: Voice) -> Kind:
    """Return what a call for a voice is: it makes the voice, or it uses it."""
    if voice.voice_id is not None:
        return Kind.KEEPALIVE
    return Kind.CLONE if voice.origin is Origin.CLONE else Kind.DESIGN


def write_intents(
    session: Session,
    voices: Sequence[Voice],
    *,
    now: datetime,
    policy: Policy,
    token_digest: str | None = None,
) -> list[Job]:
    """Add the rows that are committed before the POSTs for voices; return the calls."""
    kinds = [kind_for(voice) for voice in voices]
    intents = [
        (voice.id, voice.model, kind, voice.voice_id)
        for voice, kind in zip(voices, kinds, strict=True)
    ]
    keys = _write(session, intents, now=now, policy=policy, token_digest=token_digest)
    return [
        job(kind, voice, task_pk=key) for voice, kind, key in zip(voices, kinds, keys, strict=True)
    ]


def write_control_intent(
    session: Session, model: str, *, spoken: str, now: datetime, policy: Policy
) -> Job:
    """Add the row that is committed before a control call; return the call."""
    intent = (None, model, Kind.CONTROL, spoken)
    (key,) = _write(session, [intent], now=now, policy=policy)
    return control_job(model, spoken, task_pk=key)


def job(kind: Kind, voice: Voice, *, task_pk: int | None, task_id: str | None = None) -> Job:
    """Return a call for a voice; without a task where its intent is not written yet."""
    return Job(
        voice_pk=voice.id,
        task_pk=task_pk,
        kind=kind,
        model=voice.model,
        name=voice.name,
        spoken=None if kind.is_enrollment else voice.voice_id,
        recipe=voice.recipe if kind.is_enrollment else None,
        task_id=task_id,
    )


def control_job(
    model: str, spoken: str | None, *, task_pk: int | None, task_id: str | None = None
) -> Job:
    """Return a control call."""
    return Job(
        voice_pk=None,
        task_pk=task_pk,
        kind=Kind.CONTROL,
        model=model,
        name=model,
        spoken=spoken,
        recipe=None,
        task_id=task_id,
    )


def _write(
    session: Session,
    intents: Sequence[tuple[int | None, str, Kind, str | None]],
    *,
    now: datetime,
    policy: Policy,
    token_digest: str | None = None,
) -> Sequence[int]:
    """Add tasks that may have been charged from now on; return their keys."""
    if not intents:
        return []
    rows = []
    for voice_pk, model, kind, spoken in intents:
        price = costs.price(kind, policy.prompt)
        ledger.move(session, kind, now, Spent(), Spent(possible=price))
        rows.append(
            {
                "voice_pk": voice_pk,
                "model": model,
                "kind": kind,
                "state": TaskState.INTENT,
                "spoken": spoken,
                "token_digest": token_digest,
                "sent_at": now,
                "polls": 0,
                "possible_cost_micros": price,
            }
        )
    return session.run(_ADD, rows).scalars().all()
