"""The shape of a transition, and the columns and entries that all kinds of tasks share."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, TypedDict

from voicekeeper.core import schedule
from voicekeeper.core.duration import plus
from voicekeeper.core.enums import Status, TaskState
from voicekeeper.core.events import Event
from voicekeeper.core.models import Task, Voice
from voicekeeper.core.outcome import Accepted, Culprit, Fault
from voicekeeper.core.schedule import Policy

INTERRUPTED: Final = Fault(
    Culprit.NOBODY, "interrupted", "voicekeeper was stopped before the gateway answered"
)
NO_END: Final = Fault(
    Culprit.UPSTREAM, "no end", "the gateway accepted the task and never ended it"
)

_GONE: Final = {Status.LOST: Event.VOICE_LOST, Status.UNDEPLOYED: Event.VOICE_UNDEPLOYED}


class VoiceFields(TypedDict, total=False):
    """New values for columns of a voice."""

    status: Status
    paused: bool
    voice_id: str | None
    last_used_at: datetime | None
    enrolled_at: datetime | None
    anchored_at: datetime
    next_at: datetime | None
    failures: int
    last_error: str | None
    suspected_at: datetime | None
    controlled_at: datetime | None
    held_at: datetime | None
    remade_at: datetime | None


class TaskFields(TypedDict, total=False):
    """New values for columns of a task."""

    state: TaskState
    task_id: str
    created_at: datetime | None
    finished_at: datetime | None
    next_poll_at: datetime | None
    polls: int
    code: str | None
    message: str | None
    cost_micros: int
    possible_cost_micros: int | None


@dataclass(frozen=True, slots=True)
class Entry:
    """One event to write into the history and the log; its level stands in the catalogue."""

    event: Event
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Transition:
    """What an answer changes in the columns of a voice and its task, with its events in order.

    Attributes:
        fault: for the circuit breaker.
        success: True when the answer proves that account and gateway work.
        only_accepted: True for a control call that was accepted and whose outcome is unknown: calls
            can be made, which is enough to close a breaker.
    """

    voice: VoiceFields = field(default_factory=VoiceFields)
    task: TaskFields = field(default_factory=TaskFields)
    entries: tuple[Entry, ...] = ()
    fault: Fault | None = None
    success: bool = False
    only_accepted: bool = False

    @property
    def is_use(self) -> bool:
        """Whether the voice was used: its last use is a later one."""
        return "last_used_at" in self.voice


def running(
    task: Task, accepted: Accepted, *, cost_micros: int, now: datetime, policy: Policy
) -> TaskFields:
    """Return the columns of a task that was accepted: charged, and polled from now on.

    A webhook may have been faster than the answer: then the time of the poll is set already.
    """
    poll_at = plus(
        now, schedule.first_poll(task.kind, policy, called=task.token_digest is not None)
    )
    if task.state is TaskState.INTENT and task.next_poll_at is not None:
        poll_at = task.next_poll_at
    return {
        "state": TaskState.RUNNING,
        "task_id": accepted.task_id,
        "next_poll_at": poll_at,
        "cost_micros": cost_micros,
        "possible_cost_micros": None,
    }


def poll_again(task: Task, *, now: datetime, policy: Policy) -> TaskFields:
    """Return the columns of a task that has not ended."""
    return {
        "polls": task.polls + 1,
        "next_poll_at": schedule.next_poll(task.kind, sent_at=task.sent_at, now=now, policy=policy),
    }


def succeeded(task: Task, created_at: datetime | None, now: datetime) -> TaskFields:
    """Return the columns of a task that ended in success."""
    return {
        "state": TaskState.SUCCESS,
        "created_at": created_at,
        "finished_at": now,
        "next_poll_at": None,
        "polls": task.polls + 1,
    }


def ended(state: TaskState, fault: Fault, now: datetime) -> TaskFields:
    """Return the columns of a task that ended without success."""
    fields: TaskFields = {
        "state": state,
        "finished_at": now,
        "next_poll_at": None,
        "code": fault.code,
        "message": fault.message,
    }
    if state is TaskState.REFUSED:
        fields["possible_cost_micros"] = None  # nothing was done: nothing was charged
    return fields


def failure_entry(event: Event, fault: Fault, **detail: object) -> Entry:
    """Return the entry of a failure, with its code and words."""
    return Entry(event, {"code": fault.code, "error": fault.message, **detail})


def status_entries(voice: Voice, fields: VoiceFields) -> tuple[Entry, ...]:
    """Return the entries of a new status: none where it stays, two where the voice is gone."""
    after = fields.get("status", voice.status)
    if after is voice.status:
        return ()
    changed = Entry(Event.VOICE_STATUS_CHANGED, {"from": voice.status, "to": after})
    if after not in _GONE:
        return (changed,)
    return (changed, Entry(_GONE[after], {"error": fields.get("last_error")}))


def sentence(fault: Fault) -> str:
    """Return a fault as one sentence that holds its code."""
    return fault.message if fault.code in fault.message else f"{fault.code}: {fault.message}"


def possible_cost(task: Task, state: TaskState) -> int | None:
    """Return the possible cost of a call that ends in this state."""
    return task.possible_cost_micros if state is TaskState.UNKNOWN else None


def account_fault(fault: Fault) -> Fault | None:
    """Return the fault that a poll without a report has for the breaker.

    Where tasks cannot be polled, voices can still be used: that pauses no calls, unless the
    account is at fault.
    """
    return fault if fault.culprit is Culprit.ACCOUNT else None


def age(task: Task, now: datetime, policy: Policy) -> timedelta:
    """Return how old a task is at least."""
    return schedule.age(task.kind, sent_at=task.sent_at, polls=task.polls, now=now, policy=policy)


def is_used_since(voice: Voice, task: Task, *, now: datetime) -> bool:
    """Return whether the voice is known to have been used after this task was sent."""
    return voice.last_used_at is not None and task.sent_at < voice.last_used_at <= now


def unless_paused(voice: Voice, at: datetime) -> datetime | None:
    """Return a due time; None for a voice that is paused."""
    return None if voice.paused else at
