"""The rules of a keepalive: a speech task whose purpose is to use a voice.

It counts only when its task ends in success, from the earlier of two clocks. It costs little,
so on a doubt it is made again. A voice is LOST only when the gateway named it as the culprit, a
control call succeeded, and the gateway named it again.
"""

from dataclasses import replace
from datetime import datetime

from voicekeeper.core import outcome, schedule
from voicekeeper.core.duration import plus
from voicekeeper.core.enums import NEVER_KNOWN, Status, TaskState
from voicekeeper.core.events import Event
from voicekeeper.core.models import Task, Voice
from voicekeeper.core.outcome import Culprit, Fault, Outcome, Report
from voicekeeper.core.schedule import Policy
from voicekeeper.core.transitions.shared import (
    INTERRUPTED,
    NO_END,
    Entry,
    TaskFields,
    Transition,
    VoiceFields,
    account_fault,
    age,
    ended,
    failure_entry,
    is_used_since,
    poll_again,
    possible_cost,
    sentence,
    status_entries,
    succeeded,
    unless_paused,
)


def submitted(voice: Voice, task: Task, *, now: datetime, policy: Policy) -> VoiceFields:
    """Make the voice due again if its task has not ended in good time.

    But not before the first poll: an answer may be late because this process was frozen.
    """
    repeat_at = schedule.repeat_open_at(
        sent_at=min(task.sent_at, now), anchor=voice.anchored_at, policy=policy
    )
    polled_at = plus(now, schedule.first_poll(task.kind, policy))
    return {"next_at": _next_at(voice, max(repeat_at, polled_at), now=now, policy=policy)}


def refused(voice: Voice, task: Task, fault: Fault, *, now: datetime, policy: Policy) -> Transition:
    """Repeat it with backoff, whether it was refused or its answer was lost."""
    state = TaskState.UNKNOWN if fault.ambiguous else TaskState.REFUSED
    return _failed(voice, task, ended(state, fault, now), fault, now=now, policy=policy)


def reported(
    voice: Voice, task: Task, report: Report, *, now: datetime, policy: Policy
) -> Transition:
    """Judge an answer of ``statusTask``."""
    result, fault = outcome.of_report(task.kind, report)
    if result is Outcome.OPEN:
        return _still_open(voice, task, now=now, policy=policy)
    if fault is None:
        return _succeeded(voice, task, report, now=now, policy=policy)
    columns = ended(TaskState.FAILED, fault, now)
    columns["polls"] = task.polls + 1
    return _failed(voice, task, columns, fault, now=now, policy=policy)


def unanswered(
    voice: Voice, task: Task, fault: Fault, *, now: datetime, policy: Policy
) -> Transition:
    """Take a task whose poll brought no report for open still."""
    transition = _still_open(voice, task, now=now, policy=policy)
    return replace(transition, fault=account_fault(fault))


def interrupted(voice: Voice, task: Task, *, now: datetime) -> Transition:
    """Make the voice due again: its keeper died in the middle of the call."""
    columns = ended(TaskState.UNKNOWN, INTERRUPTED, now)
    if _is_outdated(voice, task, now=now):
        return Transition(task=columns)
    return Transition(voice={"next_at": unless_paused(voice, now)}, task=columns)


def _still_open(voice: Voice, task: Task, *, now: datetime, policy: Policy) -> Transition:
    """Poll it again, or give it up once it is too old; an outdated one changes no due time."""
    old = age(task, now, policy)
    if old >= policy.give_up:
        columns = ended(TaskState.UNKNOWN, NO_END, now)
        failed = _failed(voice, task, columns, NO_END, now=now, policy=policy)
        return replace(failed, fault=None)
    columns = poll_again(task, now=now, policy=policy)
    given_up = _is_given_up(voice, voice.status, now=now, policy=policy)
    if given_up or _is_outdated(voice, task, now=now):
        return Transition(task=columns)
    repeat_at = schedule.repeat_open_at(
        sent_at=plus(now, -old), anchor=voice.anchored_at, policy=policy
    )
    return Transition({"next_at": unless_paused(voice, max(repeat_at, now))}, columns)


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
    detail = {
        "task_id": task.task_id,
        "used_at": used_at,
        "deadline_at": schedule.deadline(used_at, policy),
        "next_keepalive_at": fields["next_at"],
    }
    return Transition(
        voice=fields,
        task=columns,
        entries=(Entry(Event.KEEPALIVE_SUCCEEDED, detail), *status_entries(voice, fields)),
        success=True,
    )


def _failed(
    voice: Voice, task: Task, columns: TaskFields, fault: Fault, *, now: datetime, policy: Policy
) -> Transition:
    """Repeat it with backoff, or, where the voice was named once too often, take it for gone.

    A LOST voice is tried on all the same, first hourly, then daily: the gateway may be wrong for
    an hour, or the key another account's for a day; and a call costs a hundredth of a cent.
    """
    names_voice = fault.culprit is Culprit.VOICE
    to_breaker = None if names_voice else fault
    if _is_outdated(voice, task, now=now):
        return Transition(task=columns, fault=to_breaker)
    status, failures = voice.status, voice.failures + 1
    fields: VoiceFields = {}
    if names_voice and _is_condemned(voice, task, now=now, policy=policy):
        status = Status.UNDEPLOYED if fault.code == outcome.UNDEPLOYED else Status.LOST
        fields["status"] = status
        retry_at = schedule.next_lost_retry(voice.anchored_at, now=now, policy=policy)
    else:
        retry_at = schedule.retry_at(
            voice.name,
            failures=failures,
            anchor=voice.anchored_at,
            now=now,
            policy=policy,
            retry_after=fault.retry_after,
        )
    if names_voice and voice.suspected_at is None:
        fields["suspected_at"] = now
    next_at = _next_at(voice, retry_at, status=status, now=now, policy=policy)
    fields |= {
        "failures": failures,
        "last_error": _error(voice, fault, status),
        "next_at": next_at,
    }
    entry = failure_entry(
        Event.KEEPALIVE_FAILED,
        fault,
        task_id=task.task_id,
        possible_cost_micros=possible_cost(task, columns["state"]),
        retry_at=next_at,
    )
    return Transition(fields, columns, (entry, *status_entries(voice, fields)), to_breaker)


def _is_condemned(voice: Voice, task: Task, *, now: datetime, policy: Policy) -> bool:
    """Return whether the voice was named before this task, and a control call succeeded between.

    A voice that still deploys may be refused for being early, until its window is over.
    """
    if voice.suspected_at is None or voice.controlled_at is None:
        return False
    early = voice.status is Status.DEPLOYING and now < schedule.deadline(voice.anchored_at, policy)
    return task.sent_at >= voice.controlled_at and not early


def _error(voice: Voice, fault: Fault, status: Status) -> str:
    """Return a fault in words; those of a LOST voice that never spoke say so."""
    never_spoke = voice.status is Status.NEW or NEVER_KNOWN in (voice.last_error or "")
    if status is Status.LOST and never_spoke:
        return f"{sentence(fault)}; {NEVER_KNOWN}"
    return sentence(fault)


def _next_at(
    voice: Voice, at: datetime, *, now: datetime, policy: Policy, status: Status | None = None
) -> datetime | None:
    """Return a due time; None for a voice that is paused or given up."""
    given_up = _is_given_up(voice, status or voice.status, now=now, policy=policy)
    return None if given_up else unless_paused(voice, at)


def _is_given_up(voice: Voice, status: Status, *, now: datetime, policy: Policy) -> bool:
    """Return whether a voice is tried no more: the review took it, or it is LOST for too long."""
    if status is Status.LOST:
        return now >= schedule.lost_retries_end(voice.anchored_at, policy)
    return status is Status.UNDEPLOYED


def _is_outdated(voice: Voice, task: Task, *, now: datetime) -> bool:
    """Return whether a keepalive was of an older voice of this name, or it was used since."""
    return task.spoken != voice.voice_id or is_used_since(voice, task, now=now)
