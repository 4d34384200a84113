"""The rules of a keepalive: a speech call whose only purpose is to use a voice.

It counts only when its task ends in success, from the earlier of two clocks. It costs little,
so on a doubt it is made again. A voice is given up only when the gateway blamed it, a control
call worked, and the gateway blamed it again.
"""

from dataclasses import replace
from datetime import datetime

from voicekeeper.core import outcome, schedule
from voicekeeper.core.duration import plus
from voicekeeper.core.enums import NEVER_KNOWN, Status, TaskState
from voicekeeper.core.events import Event
from voicekeeper.core.models import Task, Voice
from voicekeeper.core.outcome import Accepted, Culprit, Fault, Outcome, Report
from voicekeeper.core.schedule import Policy
from voicekeeper.core.transitions.change import (
    INTERRUPTED,
    NO_END,
    Entry,
    TaskFields,
    Transition,
    VoiceFields,
    accepted_entry,
    account_fault,
    age,
    ended,
    failure_entry,
    is_used_since,
    poll_again,
    possible_cost,
    running,
    sentence,
    status_entries,
    succeeded,
    unless_paused,
)


def submitted(
    voice: Voice, task: Task, accepted: Accepted, *, cost_micros: int, now: datetime, policy: Policy
) -> Transition:
    """It was accepted; the voice is due again only when our patience with it ends.

    But not before it is asked for: an answer may be late because this process was frozen.
    """
    patience = schedule.repeat_open_at(
        sent_at=min(task.sent_at, now), anchor=voice.anchored_at, policy=policy
    )
    asked_at = plus(now, schedule.first_poll(task.kind, policy))
    given_up = _is_given_up(voice, now=now, policy=policy)
    return Transition(
        voice={"next_at": None if given_up else unless_paused(voice, max(patience, asked_at))},
        task=running(task, accepted, cost_micros=cost_micros, now=now, policy=policy),
        entries=(accepted_entry(Event.KEEPALIVE_SUBMITTED, accepted, cost_micros=cost_micros),),
    )


def refused(voice: Voice, task: Task, fault: Fault, *, now: datetime, policy: Policy) -> Transition:
    """It was not accepted, or nobody knows whether it was: it is made again with backoff."""
    state = TaskState.UNKNOWN if fault.ambiguous else TaskState.REFUSED
    return _failed(voice, task, state, fault, now=now, policy=policy)


def reported(
    voice: Voice, task: Task, report: Report, *, now: datetime, policy: Policy
) -> Transition:
    """``statusTask`` answered."""
    judged = outcome.of_report(task.kind, report)
    if judged.outcome is Outcome.OPEN:
        return _still_open(voice, task, now=now, policy=policy)
    if judged.fault is not None:
        return _failed(voice, task, TaskState.FAILED, judged.fault, now=now, policy=policy)
    return _succeeded(voice, task, report, now=now, policy=policy)


def unanswered(
    voice: Voice, task: Task, fault: Fault, *, now: datetime, policy: Policy
) -> Transition:
    """``statusTask`` brought no report: as though the task were open still."""
    change = _still_open(voice, task, now=now, policy=policy)
    return replace(change, fault=account_fault(fault))


def interrupted(voice: Voice, task: Task, *, now: datetime) -> Transition:
    """A keeper died in the middle of the call: the voice is simply due again."""
    columns = ended(TaskState.UNKNOWN, INTERRUPTED, now)
    if _is_outdated(voice, task, now=now):
        return Transition(task=columns)
    return Transition(voice={"next_at": unless_paused(voice, now)}, task=columns)


def _still_open(voice: Voice, task: Task, *, now: datetime, policy: Policy) -> Transition:
    """Ask again later, or no more once the task is too old to be waited for."""
    if age(task, now, policy) < policy.give_up:
        return Transition(
            _after_patience(voice, task, now=now, policy=policy),
            poll_again(task, now=now, policy=policy),
        )
    failed = _failed(voice, task, TaskState.UNKNOWN, NO_END, now=now, policy=policy)
    return Transition(failed.voice, failed.task, failed.entries)


def _succeeded(
    voice: Voice, task: Task, report: Report, *, now: datetime, policy: Policy
) -> Transition:
    columns = succeeded(task, report.created_at, now)
    if task.spoken != voice.voice_id:  # an older voice of this name; a retry replaced it
        return Transition(task=columns, success=True)
    used_at = schedule.last_use(task.sent_at, report.created_at)
    next_at = schedule.next_keepalive(
        voice.name,
        sent_at=task.sent_at,
        created_at=report.created_at,
        answered_at=report.answered_at,
        now=now,
        policy=policy,
    )
    if voice.last_used_at is not None and used_at < voice.last_used_at <= now:
        used_at = voice.last_used_at  # a later use is known already: this task was slow
        next_at = max(next_at, schedule.due(used_at, voice.name, policy))
    fields: VoiceFields = {
        "status": Status.OK,
        "last_used_at": used_at,
        "anchored_at": used_at,
        "next_at": unless_paused(voice, next_at),
        "failures": 0,
        "last_error": None,
        "suspected_at": None,
        "controlled_at": None,
    }
    told = {
        "task_id": task.task_id,
        "used_at": used_at,
        "deadline_at": schedule.deadline(used_at, policy),
        "next_keepalive_at": fields["next_at"],
    }
    return Transition(
        voice=fields,
        task=columns,
        entries=(Entry(Event.KEEPALIVE_SUCCEEDED, told), *status_entries(voice, fields)),
        success=True,
    )


def _failed(
    voice: Voice, task: Task, state: TaskState, fault: Fault, *, now: datetime, policy: Policy
) -> Transition:
    columns = ended(state, fault, now)
    if state is TaskState.FAILED:
        columns["polls"] = task.polls + 1
    to_breaker = None if fault.culprit is Culprit.VOICE else fault
    if _is_outdated(voice, task, now=now):
        return Transition(task=columns, fault=to_breaker)
    failures = voice.failures + 1
    fields: VoiceFields = {"failures": failures, "last_error": _error(voice, fault, voice.status)}
    if fault.culprit is Culprit.VOICE:
        if _is_condemned(voice, task, now=now, policy=policy):
            return _condemned(voice, task, fields, columns, fault, now=now, policy=policy)
        if voice.suspected_at is None:
            fields["suspected_at"] = now
    retry_at = schedule.retry_at(
        voice.name,
        failures=failures,
        anchor=voice.anchored_at,
        now=now,
        policy=policy,
        retry_after=fault.retry_after,
    )
    given_up = _is_given_up(voice, now=now, policy=policy)
    fields["next_at"] = None if given_up else unless_paused(voice, retry_at)
    told = failure_entry(
        Event.KEEPALIVE_FAILED,
        fault,
        task_id=task.task_id,
        possible_cost_micros=possible_cost(task, state),
        retry_at=fields["next_at"],
    )
    return Transition(voice=fields, task=columns, entries=(told,), fault=to_breaker)


def _is_condemned(voice: Voice, task: Task, *, now: datetime, policy: Policy) -> bool:
    """Tell whether this blame is the repeat: of an earlier one, a control call between them.

    A voice that still deploys may be refused for being early, until its window is over.
    """
    if voice.suspected_at is None or voice.controlled_at is None:
        return False
    early = voice.status is Status.DEPLOYING and now < schedule.deadline(voice.anchored_at, policy)
    return task.sent_at >= voice.controlled_at and not early


def _condemned(
    voice: Voice,
    task: Task,
    fields: VoiceFields,
    columns: TaskFields,
    fault: Fault,
    *,
    now: datetime,
    policy: Policy,
) -> Transition:
    """Tell that the voice is gone. One that is LOST is tried on: slowly, then seldom.

    The gateway may be wrong for an hour, or the key another account's for a day; and a call
    costs a hundredth of a cent.
    """
    status = Status.UNDEPLOYED if fault.code == outcome.UNDEPLOYED else Status.LOST
    fields |= {"status": status, "last_error": _error(voice, fault, status)}
    given_up = _is_given_up(voice, now=now, policy=policy, status=status)
    later = schedule.next_lost_retry(voice.anchored_at, now=now, policy=policy)
    fields["next_at"] = None if given_up else unless_paused(voice, later)
    told = failure_entry(
        Event.KEEPALIVE_FAILED, fault, task_id=task.task_id, retry_at=fields["next_at"]
    )
    return Transition(voice=fields, task=columns, entries=(told, *status_entries(voice, fields)))


def _error(voice: Voice, fault: Fault, status: Status) -> str:
    """Return a fault in words; of a LOST voice that never spoke, they say that it never did."""
    is_told = voice.status is Status.NEW or NEVER_KNOWN in (voice.last_error or "")
    if status is Status.LOST and is_told:
        return f"{sentence(fault)}; {NEVER_KNOWN}"
    return sentence(fault)


def _is_given_up(
    voice: Voice, *, now: datetime, policy: Policy, status: Status | None = None
) -> bool:
    """Tell whether nothing is tried any more: the review took the voice, or hope is over."""
    status = status or voice.status
    over = now >= schedule.lost_retries_end(voice.anchored_at, policy)
    return status is Status.UNDEPLOYED or (status is Status.LOST and over)


def _after_patience(voice: Voice, task: Task, *, now: datetime, policy: Policy) -> VoiceFields:
    """Return when a voice whose keepalive is open is due; an outdated task has no say in it."""
    if _is_given_up(voice, now=now, policy=policy) or _is_outdated(voice, task, now=now):
        return {}
    patience = schedule.repeat_open_at(
        sent_at=plus(now, -age(task, now, policy)), anchor=voice.anchored_at, policy=policy
    )
    return {"next_at": unless_paused(voice, max(patience, now))}


def _is_outdated(voice: Voice, task: Task, *, now: datetime) -> bool:
    """Tell whether a keepalive was of an older voice of this name, or of an older need."""
    return task.spoken != voice.voice_id or is_used_since(voice, task, now=now)
