"""The rules of an enrollment: a clone or design task, which makes a voice and costs real money.

It is paid for once. Only what was certainly not done is repeated by itself; where a voice may
exist, a speech task, which costs a hundredth of a cent, tries it before anything is paid again;
and where nobody knows, a person decides. Its own audio counts as no use: the voice's first
keepalive is due an interval after the enrollment.

A refusal says nothing of other calls, so it never opens the breaker: its words may break the
gateway's policy, and a balance too small for it may be enough for a thousand keepalives. Only a
run of lost answers does, or an outage would leave a whole queue of enrollments UNKNOWN.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from voicekeeper.core import outcome, schedule
from voicekeeper.core.costs import Hold
from voicekeeper.core.duration import plus
from voicekeeper.core.enums import Status, TaskState
from voicekeeper.core.events import Event
from voicekeeper.core.models import Task, Voice
from voicekeeper.core.outcome import Culprit, Fault, Outcome, Report
from voicekeeper.core.schedule import Policy
from voicekeeper.core.transitions.shared import (
    INTERRUPTED,
    NO_END,
    Entry,
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

RESTORED = Fault(
    Culprit.NOBODY,
    "restored",
    "this registry may be an older copy, and the voice may have been requested already",
)


def afresh(voice: Voice, *, now: datetime) -> VoiceFields:
    """Return the columns of a voice whose enrollment is repeated, as though it were new."""
    return {
        "status": Status.NEW,
        "voice_id": None,
        "next_at": unless_paused(voice, now),
        "anchored_at": now,
        "enrolled_at": None,
        "last_used_at": None,
        "failures": 0,
        "last_error": None,
        "suspected_at": None,
        "controlled_at": None,
        "held_at": None,
        "remade_at": voice.remade_at if voice.voice_id is None else now,
    }


def held(voice: Voice, hold: Hold, *, now: datetime, policy: Policy) -> Transition:
    """Put it off until the next day's budget; the first time with an entry.

    As with any due time, the next look is never further ahead than an interval.
    """
    next_at = None if hold.until is None else min(hold.until, schedule.latest_due(now, policy))
    fields: VoiceFields = {"next_at": next_at, "last_error": hold.sentence}
    if voice.held_at is not None:
        return Transition(fields)
    entry = Entry(Event.ENROLLMENT_HELD, {"error": hold.sentence, "until": hold.until})
    return Transition(fields | {"held_at": now}, entries=(entry,))


def released(voice: Voice) -> Transition:
    """Let it go on: the budget allows it again."""
    if voice.held_at is None:
        return Transition()
    return Transition({"held_at": None, "last_error": None})


def submitted() -> VoiceFields:
    """Wait while the gateway deploys the voice."""
    return {"status": Status.DEPLOYING, "next_at": None, "last_error": None}


def refused(voice: Voice, task: Task, fault: Fault, *, now: datetime, policy: Policy) -> Transition:
    """Repeat it with backoff, unless it may have been done, or would be refused again."""
    if fault.ambiguous:
        return _unknown(voice, task, fault, now=now)
    if fault.culprit is Culprit.REQUEST:
        return _failed(voice, task, TaskState.REFUSED, fault, now=now)
    failures = voice.failures + 1
    retry_at = schedule.retry_at(
        voice.name,
        failures=failures,
        anchor=None,
        now=now,
        policy=policy,
        retry_after=fault.retry_after,
    )
    next_at = unless_paused(voice, retry_at)
    return Transition(
        voice={"failures": failures, "last_error": sentence(fault), "next_at": next_at},
        task=ended(TaskState.REFUSED, fault, now),
        entries=(failure_entry(Event.ENROLLMENT_FAILED, fault, retry_at=next_at),),
    )


def reported(
    voice: Voice, task: Task, report: Report, *, now: datetime, policy: Policy
) -> Transition:
    """Judge an answer of ``statusTask``."""
    if report.voice_id is None:
        report = report._replace(voice_id=voice.voice_id)  # an earlier report showed it
    result, fault = outcome.of_report(task.kind, report)
    if result is Outcome.OPEN:
        old = age(task, now, policy)
        if report.answered_at is not None and report.created_at is not None:
            gateways = report.answered_at - report.created_at  # our clock may have jumped
            old = gateways if gateways <= policy.window else old  # beyond it, it is mistaken
        return _still_open(voice, task, report.voice_id, old, now=now, policy=policy)
    if fault is None:
        return _succeeded(voice, task, report, now=now, policy=policy)
    if result is Outcome.FAILED:
        return _failed(voice, task, TaskState.FAILED, fault, now=now, voice_id=report.voice_id)
    return _deployed_later(voice, task, report, fault, now=now)


def unanswered(
    voice: Voice, task: Task, fault: Fault, *, now: datetime, policy: Policy
) -> Transition:
    """Poll it again later, however long the gateway does not answer."""
    if fault.culprit is Culprit.NOBODY:  # it answers, and does not know the task
        old = age(task, now, policy)
        return _still_open(voice, task, voice.voice_id, old, now=now, policy=policy)
    return Transition(task=poll_again(task, now=now, policy=policy), fault=account_fault(fault))


def interrupted(voice: Voice, task: Task, *, now: datetime) -> Transition:
    """Leave it to a person: its keeper died in the middle of the call, which may be paid for."""
    return _unknown(voice, task, INTERRUPTED, now=now)


def is_in_doubt(voice: Voice, *, last_pass_at: datetime | None, policy: Policy) -> bool:
    """Return whether a waiting enrollment may have been requested, unknown to an old copy.

    A pass requests all that was asked for before it. So does the pass after the last one that a
    copy knows of: the copy may have been made between a command and that pass.
    """
    return last_pass_at is not None and voice.anchored_at <= plus(last_pass_at, policy.silence)


def left_unknown(voice: Voice, task: Task, *, now: datetime) -> Transition:
    """Leave an enrollment to a person that an old copy of the registry may have forgotten."""
    return _unknown(voice, task, RESTORED, now=now)


def without_id(voice: Voice, task: Task, change: Transition) -> Transition:
    """Leave out a voice_id that another voice has: one bad answer must not block this voice."""
    kept: VoiceFields = {**change.voice}
    kept["last_error"] = f"the gateway gave it {kept.pop('voice_id')}, which another voice has"
    if "status" not in kept:
        return replace(change, voice=kept)
    kept |= {"status": Status.FAILED, "next_at": None}
    detail = {"task_id": task.task_id, "error": kept["last_error"]}
    entry = Entry(Event.ENROLLMENT_FAILED, detail)
    return replace(change, voice=kept, entries=(entry, *status_entries(voice, kept)))


def _still_open(
    voice: Voice,
    task: Task,
    voice_id: str | None,
    old: timedelta,
    *,
    now: datetime,
    policy: Policy,
) -> Transition:
    """Poll it again, or give it up once it is too old; a speech task tries a voice it showed."""
    fields: VoiceFields = {} if voice_id == voice.voice_id else {"voice_id": voice_id}
    if old < policy.give_up:
        return Transition(fields, poll_again(task, now=now, policy=policy))
    if voice_id is None:
        return _unknown(voice, task, NO_END, now=now)
    columns = ended(TaskState.UNKNOWN, NO_END, now)
    if is_used_since(voice, task, now=now):
        return Transition(fields, columns)
    next_at = unless_paused(voice, now)
    fields |= {
        "enrolled_at": task.sent_at,
        "anchored_at": task.sent_at,
        "last_error": sentence(NO_END),
        "next_at": next_at,
    }
    entry = failure_entry(Event.ENROLLMENT_FAILED, NO_END, task_id=task.task_id, retry_at=next_at)
    return Transition(fields, columns, (entry,))


def _succeeded(
    voice: Voice, task: Task, report: Report, *, now: datetime, policy: Policy
) -> Transition:
    next_at = schedule.next_keepalive(
        voice.name,
        sent_at=task.sent_at,
        created_at=report.created_at,
        answered_at=report.answered_at,
        now=now,
        policy=policy,
    )
    fields = _enrolled(task, report) | {
        "status": Status.OK,
        "last_error": None,
        "next_at": unless_paused(voice, next_at),
    }
    detail = {"task_id": task.task_id, "preview_url": next(iter(report.result_urls), None)}
    return Transition(
        voice=fields,
        task=succeeded(task, report.created_at, now),
        entries=(Entry(Event.ENROLLMENT_SUCCEEDED, detail), *status_entries(voice, fields)),
        success=True,
    )


def _deployed_later(
    voice: Voice, task: Task, report: Report, fault: Fault, *, now: datetime
) -> Transition:
    """Try a voice that exists, but may not speak yet, with a speech task: that costs least."""
    columns = ended(TaskState.FAILED, fault, now)
    if is_used_since(voice, task, now=now):
        return Transition(task=columns)
    next_at = unless_paused(voice, now)
    fields = _enrolled(task, report) | {
        "status": Status.DEPLOYING,
        "last_error": sentence(fault),
        "next_at": next_at,
    }
    entry = failure_entry(Event.ENROLLMENT_FAILED, fault, task_id=task.task_id, retry_at=next_at)
    return Transition(fields, columns, (entry, *status_entries(voice, fields)))


def _enrolled(task: Task, report: Report) -> VoiceFields:
    """Return the columns of a voice that the gateway has made."""
    enrolled_at = schedule.last_use(task.sent_at, report.created_at)
    return {
        "voice_id": report.voice_id,
        "enrolled_at": enrolled_at,
        "anchored_at": enrolled_at,
        "failures": 0,
    }


def _failed(
    voice: Voice,
    task: Task,
    state: TaskState,
    fault: Fault,
    *,
    now: datetime,
    voice_id: str | None = None,
) -> Transition:
    status = Status.UNDEPLOYED if fault.code == outcome.UNDEPLOYED else Status.FAILED
    transition = _over(voice, task, status, state, fault, now=now)
    transition.voice["voice_id"] = voice_id or voice.voice_id
    return transition


def _unknown(voice: Voice, task: Task, fault: Fault, *, now: datetime) -> Transition:
    return _over(voice, task, Status.UNKNOWN, TaskState.UNKNOWN, fault, now=now)


def _over(
    voice: Voice, task: Task, status: Status, state: TaskState, fault: Fault, *, now: datetime
) -> Transition:
    """End it without a voice that is kept: from here on a person decides."""
    fields: VoiceFields = {
        "status": status,
        "next_at": None,
        "failures": voice.failures + 1,
        "last_error": sentence(fault),
    }
    entry = failure_entry(
        Event.ENROLLMENT_FAILED,
        fault,
        task_id=task.task_id,
        possible_cost_micros=possible_cost(task, state),
    )
    return Transition(
        voice=fields,
        task=ended(state, fault, now),
        entries=(entry, *status_entries(voice, fields)),
        fault=fault if fault.ambiguous else None,
    )
