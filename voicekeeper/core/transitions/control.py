"""The rules of a control call: a speech call that tests account and route, not a voice.

It speaks the prompt of a keepalive with a built-in voice, or another that is OK. While calls are
paused it is the probe that may end the pause; and before a voice is called lost, it must have
shown that the same words work elsewhere. There is no voice whose row could change; what follows
for the breaker and for suspects stands in `breaker` and the store.
"""

from datetime import datetime

from voicekeeper.core import outcome
from voicekeeper.core.enums import TaskState
from voicekeeper.core.events import Event
from voicekeeper.core.models import Task
from voicekeeper.core.outcome import Accepted, Culprit, Fault, Outcome, Report
from voicekeeper.core.schedule import Policy
from voicekeeper.core.transitions.change import (
    INTERRUPTED,
    NO_END,
    Transition,
    accepted_entry,
    age,
    ended,
    poll_again,
    running,
    succeeded,
)


def submitted(
    _voice: None, task: Task, accepted: Accepted, *, cost_micros: int, now: datetime, policy: Policy
) -> Transition:
    """It was accepted; only its end will prove something."""
    return Transition(
        task=running(task, accepted, cost_micros=cost_micros, now=now, policy=policy),
        entries=(accepted_entry(Event.CONTROL_SUBMITTED, accepted, cost_micros=cost_micros),),
    )


def refused(
    _voice: None,
    _task: Task,
    fault: Fault,
    *,
    now: datetime,
    policy: Policy,  # noqa: ARG001 - the shape that all kinds share
) -> Transition:
    """It was not accepted."""
    state = TaskState.UNKNOWN if fault.ambiguous else TaskState.REFUSED
    return Transition(task=ended(state, fault, now), fault=fault)


def reported(
    _voice: None, task: Task, report: Report, *, now: datetime, policy: Policy
) -> Transition:
    """``statusTask`` answered."""
    judged = outcome.of_report(task.kind, report)
    if judged.fault is not None:
        columns = ended(TaskState.FAILED, judged.fault, now)
        if judged.fault.code == outcome.UNDEPLOYED:
            # The review took the voice that spoke. That only the account it belongs to is told,
            # and only where calls are made: all that the call was to show.
            return Transition(task=columns, success=True)
        return Transition(task=columns, fault=judged.fault)
    if judged.outcome is Outcome.SUCCESS:
        return Transition(task=succeeded(task, report.created_at, now), success=True)
    if age(task, now, policy) < policy.give_up:
        return Transition(task=poll_again(task, now=now, policy=policy))
    return Transition(task=ended(TaskState.UNKNOWN, NO_END, now), only_accepted=True)


def unanswered(
    _voice: None,
    task: Task,
    fault: Fault,
    *,
    now: datetime,
    policy: Policy,  # noqa: ARG001 - the shape that all kinds share
) -> Transition:
    """``statusTask`` brought no report: the call was accepted, and that is all it tells."""
    columns = ended(TaskState.UNKNOWN, fault, now)
    columns["polls"] = task.polls + 1
    if fault.culprit is Culprit.ACCOUNT:
        return Transition(task=columns, fault=fault)
    return Transition(task=columns, only_accepted=True)


def interrupted(_voice: None, _task: Task, *, now: datetime) -> Transition:
    """A keeper died in the middle of the call: it tested nothing."""
    return Transition(task=ended(TaskState.UNKNOWN, INTERRUPTED, now))
