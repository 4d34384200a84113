"""The life of a voice: what each answer changes in its row and its task's, and what is told.

Pure functions: rows, an answer and ``now`` in, a `Transition` out. They touch nothing; the store
applies a change in one transaction, its history included. They follow one call: `submitted` or
`refused`, then `reported` or `unanswered`, or, after a crash, `interrupted`, which is taken back
where the answer comes after all (`reopened`). What they mean for each kind of task stands in
`keepalive`, `enrollment` and `control`. Before the call of an enrollment it may be `held`, and
later `released`; or, on an old copy of the registry, be left UNKNOWN (`enrollment.left_unknown`).

Legal ways of a status::

    NEW ──> DEPLOYING ──> OK          an enrollment that went well
     │          │
     │          ├──> UNDEPLOYED       the review failed
     │          ├──> FAILED           it ended without a voice
     │          └──> UNKNOWN          it never ended, and showed no voice_id
     ├──> FAILED | UNKNOWN            refused for good | answer lost
     └──> OK                          an imported voice spoke for the first time
    any with a voice_id ──> LOST | UNDEPLOYED   blamed twice, a control call between
    any with a voice_id ──> OK        a keepalive succeeded: a LOST voice is tried on until its
                                      deadline, and any when a person asks for it
    any but OK and NEW ──> NEW        a person asks for it to be made again
    UNKNOWN ──> NEW                   the lost answer came after all
"""

from datetime import datetime
from types import ModuleType
from typing import Final

from voicekeeper.core.enums import Kind, Status, TaskState
from voicekeeper.core.models import Task, Voice
from voicekeeper.core.outcome import Accepted, Fault, Report
from voicekeeper.core.schedule import Policy
from voicekeeper.core.transitions import control, enrollment, keepalive
from voicekeeper.core.transitions.change import (
    INTERRUPTED,
    Entry,
    TaskFields,
    Transition,
    VoiceFields,
    status_entries,
)
from voicekeeper.core.transitions.enrollment import held, released

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


_RULES: Final[dict[Kind, ModuleType]] = {
    Kind.KEEPALIVE: keepalive,
    Kind.CLONE: enrollment,
    Kind.DESIGN: enrollment,
    Kind.CONTROL: control,
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
    """The gateway accepted a task: it is charged, and asked for from now on.

    Args:
        voice: its row; None for a control call only, here and below.
        task: its row, with the intent.
        accepted: the answer.
        cost_micros: what the page's prices make of it, in millionths of a US dollar.
        now: when the answer came.
        policy: the settings.
    """
    change: Transition = _RULES[task.kind].submitted(
        voice, task, accepted, cost_micros=cost_micros, now=now, policy=policy
    )
    return change


def refused(
    voice: Voice | None, task: Task, fault: Fault, *, now: datetime, policy: Policy
) -> Transition:
    """A POST was not accepted. Only what was certainly not done may be repeated by itself."""
    change: Transition = _RULES[task.kind].refused(voice, task, fault, now=now, policy=policy)
    return change


def reported(
    voice: Voice | None, task: Task, report: Report, *, now: datetime, policy: Policy
) -> Transition:
    """``statusTask`` answered."""
    change: Transition = _RULES[task.kind].reported(voice, task, report, now=now, policy=policy)
    return change


def unanswered(
    voice: Voice | None, task: Task, fault: Fault, *, now: datetime, policy: Policy
) -> Transition:
    """``statusTask`` brought no report: it says nothing of the task."""
    change: Transition = _RULES[task.kind].unanswered(voice, task, fault, now=now, policy=policy)
    return change


def interrupted(voice: Voice | None, task: Task, *, now: datetime) -> Transition:
    """A keeper died between writing down a call and its answer: was it made? Nobody knows.

    A keepalive is simply due again; an enrollment is never repeated without the user's word.
    """
    change: Transition = _RULES[task.kind].interrupted(voice, task, now=now)
    return change


def reopened(voice: Voice | None, task: Task) -> Transition:
    """The answer to a call that was taken for interrupted has come: it is an intent again.

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
