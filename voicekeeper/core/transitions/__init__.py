"""The life of a voice: what each answer changes in its row and its task's, and the history of it.

Pure functions: rows, an answer and ``now`` in, a `Transition` out; the store writes it in one
transaction. They follow one call: `submitted` or `refused`, then `reported` or `unanswered`, or,
after a crash, `interrupted`, which `reopened` undoes where the answer comes after all. The rules
of keepalives and enrollments stand in modules of their own. An enrollment may be `held` before its
call and `released` later, or be left UNKNOWN on an old copy of the registry.

Those of a control call stand here. It is a speech task that tests account and route, not the voice
it speaks with: while the breaker is open it is the probe that may close it; and before a voice is
LOST, it must have shown that the same words work elsewhere. What follows for the breaker and for
suspected voices stands in `breaker` and the store. It is what a rule is given with no voice.

Legal ways of a status::

    NEW ──> DEPLOYING ──> OK          an enrollment that went well
     │          │
     │          ├──> UNDEPLOYED       the review failed
     │          ├──> FAILED           it ended without a voice
     │          └──> UNKNOWN          it never ended, and showed no voice_id
     ├──> FAILED | UNKNOWN            refused for good | answer lost
     └──> OK                          an imported voice spoke for the first time
    any with a voice_id ──> LOST | UNDEPLOYED   named as the culprit twice, a control call between
    any with a voice_id ──> OK        a keepalive succeeded: a LOST voice is tried on until a window
                                      past its deadline, and any when a person asks for it
    any but OK and NEW ──> NEW        a person asks for it to be made again
    UNKNOWN ──> NEW                   the lost answer came after all
"""

from datetime import datetime

from voicekeeper.core import outcome
from voicekeeper.core.enums import Kind, Status, TaskState
from voicekeeper.core.events import Event
from voicekeeper.core.models import Task, Voice
from voicekeeper.core.outcome import Accepted, Culprit, Fault, Outcome, Report
from voicekeeper.core.schedule import Policy
from voicekeeper.core.transitions import enrollment, keepalive
from voicekeeper.core.transitions.enrollment import held, released
from voicekeeper.core.transitions.shared import (
    INTERRUPTED,
    NO_END,
    Entry,
    TaskFields,
    Transition,
    VoiceFields,
    age,
    ended,
    poll_again,
    running,
    status_entries,
    succeeded,
)

__all__ = [
    "INTERRUPTED",
    "Entry",
    "TaskFields",
    "Transition",
    "VoiceFields",
    "held",
    "interrupted",
    "refused",
    "released",
    "reopened",
    "reported",
    "submitted",
    "unanswered",
]

_SUBMITTED = {
    Kind.KEEPALIVE: Event.KEEPALIVE_SUBMITTED,
    Kind.CLONE: Event.ENROLLMENT_SUBMITTED,
    Kind.DESIGN: Event.ENROLLMENT_SUBMITTED,
    Kind.CONTROL: Event.CONTROL_SUBMITTED,
}


def submitted(
    voice: Voice | None,
    task: Task,
    accepted: Accepted,
    *,
    cost_micros: int,
    now: datetime,
    policy: Policy,
) -> Transition:
    """Charge a task that the gateway accepted, and poll it from now on."""
    columns = running(task, accepted, cost_micros=cost_micros, now=now, policy=policy)
    detail = {"task_id": accepted.task_id, "cost_micros": cost_micros}
    entry = Entry(_SUBMITTED[task.kind], detail)
    if voice is None:
        return Transition(task=columns, entries=(entry,))
    if task.kind.is_enrollment:
        fields = enrollment.submitted()
    else:
        fields = keepalive.submitted(voice, task, now=now, policy=policy)
    return Transition(fields, columns, (entry, *status_entries(voice, fields)))


def refused(
    voice: Voice | None, task: Task, fault: Fault, *, now: datetime, policy: Policy
) -> Transition:
    """Judge a POST that was not accepted, or whose answer was lost."""
    if voice is None:
        state = TaskState.UNKNOWN if fault.ambiguous else TaskState.REFUSED
        return Transition(task=ended(state, fault, now), fault=fault)
    rules = enrollment.refused if task.kind.is_enrollment else keepalive.refused
    return rules(voice, task, fault, now=now, policy=policy)


def reported(
    voice: Voice | None, task: Task, report: Report, *, now: datetime, policy: Policy
) -> Transition:
    """Judge an answer of ``statusTask``."""
    if voice is None:
        return _control_reported(task, report, now=now, policy=policy)
    rules = enrollment.reported if task.kind.is_enrollment else keepalive.reported
    return rules(voice, task, report, now=now, policy=policy)


def unanswered(
    voice: Voice | None, task: Task, fault: Fault, *, now: datetime, policy: Policy
) -> Transition:
    """Judge a poll that brought no report: it says nothing of the task.

    A control call ends with it: it was accepted, and no more is known.
    """
    if voice is None:
        columns = ended(TaskState.UNKNOWN, fault, now)
        columns["polls"] = task.polls + 1
        if fault.culprit is Culprit.ACCOUNT:
            return Transition(task=columns, fault=fault)
        return Transition(task=columns, only_accepted=True)
    rules = enrollment.unanswered if task.kind.is_enrollment else keepalive.unanswered
    return rules(voice, task, fault, now=now, policy=policy)


def interrupted(voice: Voice | None, task: Task, *, now: datetime) -> Transition:
    """Settle a call whose keeper died before it wrote the answer down.

    Nobody knows whether it was made. A keepalive is simply due again; an enrollment is never
    repeated without a person's word.
    """
    if voice is None:
        return Transition(task=ended(TaskState.UNKNOWN, INTERRUPTED, now))
    rules = enrollment.interrupted if task.kind.is_enrollment else keepalive.interrupted
    return rules(voice, task, now=now)


def reopened(voice: Voice | None, task: Task) -> Transition:
    """Make an interrupted call an intent again, for its answer has come after all.

    Its keeper was frozen, or cut off from the database, while another one took over.
    """
    columns: TaskFields = {
        "state": TaskState.INTENT,
        "finished_at": None,
        "code": None,
        "message": None,
    }
    if voice is None or not task.kind.is_enrollment:
        return Transition(task=columns)
    fields: VoiceFields = {
        "status": Status.NEW,
        "failures": max(0, voice.failures - 1),
        "last_error": None,
    }
    return Transition(fields, columns, status_entries(voice, fields))


def _control_reported(task: Task, report: Report, *, now: datetime, policy: Policy) -> Transition:
    result, fault = outcome.of_report(task.kind, report)
    if fault is not None:
        columns = ended(TaskState.FAILED, fault, now)
        if fault.code == outcome.UNDEPLOYED:
            # The review took the voice that spoke. Only its own account hears of that, and only
            # where calls are made: the call has shown all that it was to show.
            return Transition(task=columns, success=True)
        return Transition(task=columns, fault=fault)
    if result is Outcome.SUCCESS:
        return Transition(task=succeeded(task, report.created_at, now), success=True)
    if age(task, now, policy) < policy.give_up:
        return Transition(task=poll_again(task, now=now, policy=policy))
    return Transition(task=ended(TaskState.UNKNOWN, NO_END, now), only_accepted=True)
