"""The rules of a control call: a speech task that tests account and route, not a voice.

It speaks the prompt of a keepalive with another voice that should work. While the breaker is open
it is the probe that may close it; and before a voice is LOST, it must have shown that the same
words work elsewhere. What follows for the breaker and for suspected voices stands in `breaker`
and the store.
"""

from datetime import datetime

from voicekeeper.core import outcome
from voicekeeper.core.enums import TaskState
from voicekeeper.core.events import Event
from voicekeeper.core.models import Task
from voicekeeper.core.outcome import Accepted, Culprit, Fault, Outcome, Report
from voicekeeper.core.schedule import Policy
from voicekeeper.core.transitions.shared import (
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
    task: Task, accepted: Accepted, *, cost_micros: int, now: datetime, policy: Policy
) -> Transition:
    """Poll it from now on; only its end proves something."""
    return Transition(
        task=running(task, accepted, cost_micros=cost_micros, now=now, policy=policy),
        entries=(accepted_entry(Event.CONTROL_SUBMITTED, accepted, cost_micros=cost_micros),),
    )


def refused(fault: Fault, *, now: datetime) -> Transition:
    """End it: the breaker judges the fault."""
    state = TaskState.UNKNOWN if fault.ambiguous else TaskState.REFUSED
    return Transition(task=ended(state, fault, now), fault=fault)


def reported(task: Task, report: Report, *, now: datetime, policy: Policy) -> Transition:
    """Judge an answer of ``statusTask``."""
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


def unanswered(task: Task, fault: Fault, *, now: datetime) -> Transition:
    """End it at a poll without a report: the call was accepted, and no more is known."""
    columns = ended(TaskState.UNKNOWN, fault, now)
    columns["polls"] = task.polls + 1
    if fault.culprit is Culprit.ACCOUNT:
        return Transition(task=columns, fault=fault)
    return Transition(task=columns, only_accepted=True)


def interrupted(*, now: datetime) -> Transition:
    """End it: it tested nothing."""
    return Transition(task=ended(TaskState.UNKNOWN, INTERRUPTED, now))
