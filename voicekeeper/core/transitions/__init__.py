"""The life of a voice: what each answer changes in its row and its task's, and the history of it.

Pure functions: rows, an answer and ``now`` in, a `Transition` out; the store writes it in one
transaction. They follow one call: `submitted` or `refused`, then `reported` or `unanswered`, or,
after a crash, `interrupted`, which `reopened` undoes where the answer comes after all. The rules
of each kind of task stand in `keepalive`, `enrollment` and `control`. An enrollment may be `held`
before its call and `released` later, or be left UNKNOWN on an old copy of the registry.

Legal ways of a status::

    NEW ──> DEPLOYING ──> OK          an enrollment that went well
     │          │
     │          ├──> UNDEPLOYED       the review failed
     │          ├──> FAILED           it ended without a voice
     │          └──> UNKNOWN          it never ended, and showed no voice_id
     ├──> FAILED | UNKNOWN            refused for good | answer lost
     └──> OK                          an imported voice spoke for the first time
    any with a voice_id ──> LOST | UNDEPLOYED   named as the culprit twice, a control call between
    any with a voice_id ──> OK        a keepalive succeeded: a LOST voice is tried on until its
                                      deadline, and any when a person asks for it
    any but OK and NEW ──> NEW        a person asks for it to be made again
    UNKNOWN ──> NEW                   the lost answer came after all
"""

from datetime import datetime

from voicekeeper.core.enums import Status, TaskState
from voicekeeper.core.models import Task, Voice
from voicekeeper.core.outcome import Accepted, Fault, Report
from voicekeeper.core.schedule import Policy
from voicekeeper.core.transitions import control, enrollment, keepalive
from voicekeeper.core.transitions.enrollment import held, released
from voicekeeper.core.transitions.shared import (
    INTERRUPTED,
    Entry,
    TaskFields,
    Transition,
    VoiceFields,
    status_entries,
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


def submitted(
    voice: Voice | None,
    task: Task,
    accepted: Accepted,
    *,
    cost_micros: int,
    now: datetime,
    policy: Policy,
) -> Transition:
    """Charge a task that the gateway accepted, and poll it from now on.

    Args:
        voice: its row; None for a control call, here and below.
        task: its row, with the intent.
        accepted: the answer.
        cost_micros: its price.
        now: when the answer came.
        policy: the settings.
    """
    if voice is None:
        return control.submitted(task, accepted, cost_micros=cost_micros, now=now, policy=policy)
    rules = enrollment.submitted if task.kind.is_enrollment else keepalive.submitted
    return rules(voice, task, accepted, cost_micros=cost_micros, now=now, policy=policy)


def refused(
    voice: Voice | None, task: Task, fault: Fault, *, now: datetime, policy: Policy
) -> Transition:
    """Judge a POST that was not accepted, or whose answer was lost."""
    if voice is None:
        return control.refused(fault, now=now)
    rules = enrollment.refused if task.kind.is_enrollment else keepalive.refused
    return rules(voice, task, fault, now=now, policy=policy)


def reported(
    voice: Voice | None, task: Task, report: Report, *, now: datetime, policy: Policy
) -> Transition:
    """Judge an answer of ``statusTask``."""
    if voice is None:
        return control.reported(task, report, now=now, policy=policy)
    rules = enrollment.reported if task.kind.is_enrollment else keepalive.reported
    return rules(voice, task, report, now=now, policy=policy)


def unanswered(
    voice: Voice | None, task: Task, fault: Fault, *, now: datetime, policy: Policy
) -> Transition:
    """Judge a poll that brought no report: it says nothing of the task."""
    if voice is None:
        return control.unanswered(task, fault, now=now)
    rules = enrollment.unanswered if task.kind.is_enrollment else keepalive.unanswered
    return rules(voice, task, fault, now=now, policy=policy)


def interrupted(voice: Voice | None, task: Task, *, now: datetime) -> Transition:
    """Settle a call whose keeper died before it wrote the answer down.

    Nobody knows whether it was made. A keepalive is simply due again; an enrollment is never
    repeated without a person's word.
    """
    if voice is None:
        return control.interrupted(now=now)
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
