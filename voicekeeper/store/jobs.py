"""What a keeper is handed: the calls to make, as plain values."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from voicekeeper.models import Kind, Origin, Task, TaskState, Voice
from voicekeeper.store.chronicle import LogLine

OPEN = (TaskState.INTENT, TaskState.RUNNING)
"""The states of a task that has not come to its end."""


@dataclass(frozen=True, slots=True)
class Job:
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
    """

    voice_pk: int | None
    task_pk: int | None
    kind: Kind
    model: str
    name: str
    spoken: str | None
    recipe: dict[str, str] | None
    task_id: str | None


@dataclass(frozen=True, slots=True)
class Claims:
    """What one pass was given.

    Attributes:
        calls: POSTs to make, most urgent first.
        polls: tasks to ask for.
        more_calls, more_polls: whether more may be due than there was room for.
        lines: for the log.
        unreadable: for the log too, but the same again as long as nobody mends the rows.
    """

    calls: Sequence[Job]
    polls: Sequence[Job]
    more_calls: bool
    more_polls: bool
    lines: Sequence[LogLine]
    unreadable: Sequence[LogLine] = ()


def kind_for(voice: Voice) -> Kind:
    """Return what a call for a voice is: it makes the voice, or it uses it."""
    if voice.voice_id is not None:
        return Kind.KEEPALIVE
    return Kind.CLONE if voice.origin is Origin.CLONE else Kind.DESIGN


def intent(voice: Voice, *, now: datetime) -> Task:
    """Return the row to commit before a POST for a voice."""
    return Task(
        voice_pk=voice.id,
        model=voice.model,
        kind=kind_for(voice),
        state=TaskState.INTENT,
        spoken=voice.voice_id,
        sent_at=now,
    )


def job(kind: Kind, voice: Voice, task: Task | None) -> Job:
    """Return a call for a voice; without a task where its intent is not written yet."""
    return Job(
        voice_pk=voice.id,
        task_pk=task.id if task else None,
        kind=kind,
        model=voice.model,
        name=voice.name,
        spoken=None if kind.is_enrollment else voice.voice_id,
        recipe=voice.recipe if kind.is_enrollment else None,
        task_id=task.task_id if task else None,
    )


def control_job(task: Task) -> Job:
    """Return a control call."""
    return Job(
        voice_pk=None,
        task_pk=task.id,
        kind=Kind.CONTROL,
        model=task.model,
        name=task.model,
        spoken=task.spoken,
        recipe=None,
        task_id=task.task_id,
    )
