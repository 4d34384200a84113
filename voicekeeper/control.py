"""The life of a control call: a speech call that tests account and route, not a voice.

It speaks the keepalive's prompt with a built-in voice. While calls are paused it is the probe
that may end the pause; and before a voice is called lost, it must have shown that the same
words work elsewhere. Pure functions with the names and shapes of `lifecycle`'s, so that the
keeper tells one story for both; there is no voice whose row could change. What follows for the
breaker and for suspects stands in `breaker` and the store.
"""

from datetime import datetime

from voicekeeper import schedule, verdict
from voicekeeper.answers import Accepted, Report
from voicekeeper.events import Event
from voicekeeper.lifecycle import Change, Telling, finished, poll_again
from voicekeeper.models import Task, TaskState
from voicekeeper.schedule import Policy
from voicekeeper.verdict import Blame, Fault, Outcome


def submitted(
    _voice: None, task: Task, accepted: Accepted, *, cost_micros: int, now: datetime, policy: Policy
) -> Change:
    """The gateway accepted the call; only its end will prove something."""
    return Change(
        task={
            "state": TaskState.RUNNING,
            "task_id": accepted.task_id,
            "next_poll_at": now + schedule.first_poll(task.kind, policy),
            "cost_micros": cost_micros,
        },
        tellings=(Telling(Event.CONTROL_SUBMITTED, {"task_id": accepted.task_id}),),
    )


def refused(_voice: None, _task: Task, fault: Fault, *, now: datetime, policy: Policy) -> Change:  # noqa: ARG001 - lifecycle's shape
    """The POST was not accepted."""
    state = TaskState.UNKNOWN if fault.ambiguous else TaskState.REFUSED
    return Change(task=finished(state, fault, now), fault=fault)


def reported(_voice: None, task: Task, report: Report, *, now: datetime, policy: Policy) -> Change:
    """``statusTask`` answered."""
    judged = verdict.of_report(task.kind, report)
    if judged.fault is not None:
        ended = finished(TaskState.FAILED, judged.fault, now)
        return Change(task=ended, fault=judged.fault)
    if judged.outcome is Outcome.SUCCESS:
        return Change(
            task={
                "state": TaskState.SUCCESS,
                "created_at": report.created_at,
                "finished_at": now,
                "next_poll_at": None,
                "polls": task.polls + 1,
            },
            success=True,
        )
    if now - task.sent_at < policy.give_up:
        return Change(task=poll_again(task, now=now, policy=policy))
    fault = Fault(Blame.UPSTREAM, "no end", "the gateway accepted the task and never ended it")
    return Change(task=finished(TaskState.UNKNOWN, fault, now), fault=fault)


def unanswered(_voice: None, task: Task, fault: Fault, *, now: datetime, policy: Policy) -> Change:  # noqa: ARG001 - the same
    """``statusTask`` brought no report: the test failed; the next one follows in time."""
    return Change(
        task={**finished(TaskState.UNKNOWN, fault, now), "polls": task.polls + 1}, fault=fault
    )
