"""What a keeper is handed: the calls to make, as plain values; and what it writes of them."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa
from sqlmodel import SQLModel

from voicekeeper.core import costs
from voicekeeper.core.costs import Spent
from voicekeeper.core.models import Kind, Origin, Task, TaskState, Voice
from voicekeeper.core.schedule import Policy
from voicekeeper.core.transitions import TaskFields, Transition
from voicekeeper.store import ledger
from voicekeeper.store.history import LogLine
from voicekeeper.store.session import Session

_TASK = SQLModel.metadata.tables["task"]
_ADD = sa.insert(_TASK).returning(_TASK.c.id, sort_by_parameter_order=True)

# Written out, not bound: SQLite prepares a statement anew, each time, whose parameter decides
# whether a partial index serves it; that takes many times as long as to run it.
IS_OPEN: sa.ColumnElement[bool] = sa.literal_column("task.state IN ('intent', 'running')")
IS_INTENT: sa.ColumnElement[bool] = sa.literal_column("task.state = 'intent'")
IS_RUNNING: sa.ColumnElement[bool] = sa.literal_column("task.state = 'running'")
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
        task_pk: the task's row; None until the intent is written, as for an enrollment whose
            turn has not come.
        kind, model: of the task.
        name: of the voice; for a control call, of the model.
        spoken: the voice id to speak with; None for an enrollment.
        recipe: of an enrollment that is to be begun.
        task_id: the gateway's, when the call is to ask for the task.
        refusals: how often this enrollment was refused for its own sake.
    """

    voice_pk: int | None
    task_pk: int | None
    kind: Kind
    model: str
    name: str
    spoken: str | None
    recipe: dict[str, str] | None = None
    task_id: str | None = None
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


Rule = Callable[[Voice | None, Task], Transition]
"""A rule of `core.transitions` with all but the rows given; a control call has no voice."""


class Answer(NamedTuple):
    """What came of a call, to be written down.

    Attributes:
        job: the call.
        rule: says what the answer changes.
        now: when it came.
        policy: the settings it is judged by.
    """

    job: Job
    rule: Rule
    now: datetime
    policy: Policy


def kind_for(voice: Voice) -> Kind:
    """Return what a call for a voice is: it makes the voice, or it uses it."""
    if voice.voice_id is not None:
        return Kind.KEEPALIVE
    return Kind.CLONE if voice.origin is Origin.CLONE else Kind.DESIGN


def call_for(voice: Voice) -> Job:
    """Return the call that a voice needs; its intent is not written yet."""
    kind = kind_for(voice)
    return Job(
        voice_pk=voice.id,
        task_pk=None,
        kind=kind,
        model=voice.model,
        name=voice.name,
        spoken=voice.voice_id,
        recipe=voice.recipe if kind.is_enrollment else None,
    )


def control_call(model: str, spoken: str) -> Job:
    """Return a control call; its intent is not written yet."""
    return Job(None, None, Kind.CONTROL, model, name=model, spoken=spoken)


def poll_of(task: Task, voice: Voice | None) -> Job:
    """Return the job to ask for a task; its voice is None for a control call."""
    return Job(
        voice_pk=task.voice_pk,
        task_pk=task.id,
        kind=task.kind,
        model=task.model,
        name=task.model if voice is None else voice.name,
        spoken=task.spoken,
        task_id=task.task_id,
    )


def write_intents(
    session: Session,
    calls: Sequence[Job],
    *,
    now: datetime,
    policy: Policy,
    token_digest: str | None = None,
) -> list[Job]:
    """Add the rows that are committed before the POSTs of calls; return the calls with them."""
    if not calls:
        return []
    rows = []
    for call in calls:
        price = costs.price(call.kind, policy.prompt)
        ledger.move(session, call.kind, now, Spent(), Spent(possible=price))
        rows.append(
            {
                "voice_pk": call.voice_pk,
                "model": call.model,
                "kind": call.kind,
                "state": TaskState.INTENT,
                "spoken": call.spoken,
                "token_digest": token_digest,
                "sent_at": now,
                "polls": 0,
                "possible_cost_micros": price,
            }
        )
    keys = session.run(_ADD, rows).scalars()
    return [call._replace(task_pk=key) for call, key in zip(calls, keys, strict=True)]


def write_outcome(session: Session, task: Task, fields: TaskFields) -> None:
    """Set the columns of a task that its outcome changes, and book it in the ledger."""
    before = ledger.cost(task)
    session.change(task, fields)
    ledger.book(session, task, before)
