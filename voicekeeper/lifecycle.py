"""The life of a voice: what each answer changes in its row and its task's, and what is told.

Pure functions: rows, an answer and ``now`` in, a `Change` out. They touch nothing; the store
applies a change in one transaction, its history included. Read top to bottom, the functions
follow one call: `submitted` or `refused`, then `reported` or `unanswered`, or, after a crash,
`interrupted`.

Legal ways of a status::

    NEW ──> DEPLOYING ──> OK          an enrollment that went well
     │          │
     │          ├──> UNDEPLOYED       the review failed
     │          ├──> FAILED           it ended without a voice
     │          └──> UNKNOWN          it never ended, and showed no voice_id
     ├──> FAILED | UNKNOWN            refused for good | answer lost
     └──> OK                          an imported voice spoke for the first time
    any with a voice_id ──> LOST | UNDEPLOYED   blamed twice, a control call between
    any with a voice_id ──> OK        a keepalive succeeded; for one that was given up, a
                                      keepalive that a person asked for
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, TypedDict

from voicekeeper import schedule, verdict
from voicekeeper.answers import Accepted, Report
from voicekeeper.events import Event
from voicekeeper.models import Status, Task, TaskState, Voice
from voicekeeper.schedule import Policy
from voicekeeper.verdict import Blame, Fault, Outcome


class VoiceFields(TypedDict, total=False):
    """New values for columns of a voice."""

    status: Status
    voice_id: str | None
    last_used_at: datetime
    enrolled_at: datetime
    anchored_at: datetime
    next_at: datetime | None
    failures: int
    last_error: str | None
    suspected_at: datetime | None
    controlled_at: datetime | None


class TaskFields(TypedDict, total=False):
    """New values for columns of a task."""

    state: TaskState
    task_id: str
    created_at: datetime | None
    finished_at: datetime
    next_poll_at: datetime | None
    polls: int
    code: str
    message: str
    cost_micros: int


@dataclass(frozen=True, slots=True)
class Telling:
    """One event to write into the history and the log; its level stands in the catalogue."""

    event: Event
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Change:
    """What an answer changes.

    Attributes:
        voice: new values of the voice's columns.
        task: new values of the task's columns.
        tellings: events, in order.
        fault: what the circuit breaker is to know, or None.
        success: True when the answer proves that account and gateway work.
    """

    voice: VoiceFields = field(default_factory=VoiceFields)
    task: TaskFields = field(default_factory=TaskFields)
    tellings: tuple[Telling, ...] = ()
    fault: Fault | None = None
    success: bool = False


_GIVEN_UP = (Status.LOST, Status.UNDEPLOYED)


def submitted(
    voice: Voice, task: Task, accepted: Accepted, *, cost_micros: int, now: datetime, policy: Policy
) -> Change:
    """The gateway accepted a task: it is charged, and asked for from now on."""
    task_fields: TaskFields = {
        "state": TaskState.RUNNING,
        "task_id": accepted.task_id,
        "next_poll_at": now + schedule.first_poll(task.kind, policy),
        "cost_micros": cost_micros,
    }
    told = {"task_id": accepted.task_id}
    if not task.kind.is_enrollment:
        patience = schedule.patience_ends(
            sent_at=min(task.sent_at, now), anchor=voice.anchored_at, policy=policy
        )
        given_up = voice.status in _GIVEN_UP
        return Change(
            voice={"next_at": None if given_up else _unless_paused(voice, max(patience, now))},
            task=task_fields,
            tellings=(Telling(Event.KEEPALIVE_SUBMITTED, told),),
        )
    fields: VoiceFields = {"status": Status.DEPLOYING, "next_at": None, "last_error": None}
    return Change(
        voice=fields,
        task=task_fields,
        tellings=(Telling(Event.ENROLLMENT_SUBMITTED, told), *_status_told(voice, fields)),
    )


def refused(voice: Voice, task: Task, fault: Fault, *, now: datetime, policy: Policy) -> Change:
    """A POST was not accepted. Only what was certainly not done may be repeated by itself."""
    if not task.kind.is_enrollment:
        state = TaskState.UNKNOWN if fault.ambiguous else TaskState.REFUSED
        return _keepalive_failed(voice, task, state, fault, now=now, policy=policy)
    if fault.ambiguous:
        return _enrollment_unknown(voice, task, fault, now=now)
    if fault.blame is Blame.REQUEST:
        return _enrollment_failed(voice, task, TaskState.REFUSED, fault, now=now)
    failures = voice.failures + 1
    retry_at = schedule.retry_at(
        voice.name,
        failures=failures,
        anchor=None,
        now=now,
        policy=policy,
        retry_after=fault.retry_after,
    )
    return Change(
        voice={
            "failures": failures,
            "last_error": _sentence(fault),
            "next_at": _unless_paused(voice, retry_at),
        },
        task=finished(TaskState.REFUSED, fault, now),
        tellings=(_failure_told(Event.ENROLLMENT_FAILED, fault, retry_at=retry_at),),
        fault=fault,
    )


def reported(voice: Voice, task: Task, report: Report, *, now: datetime, policy: Policy) -> Change:
    """``statusTask`` answered."""
    if task.kind.is_enrollment and report.voice_id is None:
        report = replace(report, voice_id=voice.voice_id)  # an earlier report showed it
    judged = verdict.of_report(task.kind, report)
    if judged.outcome is Outcome.OPEN:
        return _still_open(voice, task, report, now=now, policy=policy)
    if task.kind.is_enrollment:
        return _enrollment_ended(voice, task, report, judged, now=now, policy=policy)
    if judged.fault is not None:
        return _keepalive_failed(
            voice, task, TaskState.FAILED, judged.fault, now=now, policy=policy
        )
    return _keepalive_succeeded(voice, task, report, now=now, policy=policy)


def unanswered(voice: Voice, task: Task, fault: Fault, *, now: datetime, policy: Policy) -> Change:
    """``statusTask`` brought no report: ask again later; only a voice's patience may end."""
    if fault.blame is Blame.NOBODY:
        return _still_open(voice, task, None, now=now, policy=policy)
    fields: VoiceFields = {}
    if not task.kind.is_enrollment:
        fields = _after_patience(voice, task, now=now, policy=policy)
    return Change(voice=fields, task=poll_again(task, now=now, policy=policy), fault=fault)


def interrupted(voice: Voice, task: Task, *, now: datetime) -> Change:
    """A keeper died between writing down a call and its answer: was it made? Nobody knows.

    A keepalive is simply due again; an enrollment is never repeated without the user's word.
    """
    fault = Fault(
        Blame.NOBODY, "interrupted", "voicekeeper was stopped before the gateway answered"
    )
    if task.kind.is_enrollment:
        return _enrollment_unknown(voice, task, fault, now=now)
    ended = finished(TaskState.UNKNOWN, fault, now)
    if _is_outdated(voice, task, now=now):
        return Change(task=ended)
    return Change(voice={"next_at": _unless_paused(voice, now)}, task=ended)


def _keepalive_succeeded(
    voice: Voice, task: Task, report: Report, *, now: datetime, policy: Policy
) -> Change:
    ended: TaskFields = {
        "state": TaskState.SUCCESS,
        "created_at": report.created_at,
        "finished_at": now,
        "next_poll_at": None,
        "polls": task.polls + 1,
    }
    if task.spoken != voice.voice_id:  # an older voice of this name; a retry replaced it
        return Change(task=ended, success=True)
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
        next_at = max(now, schedule.due(used_at, voice.name, policy))
    fields: VoiceFields = {
        "status": Status.OK,
        "last_used_at": used_at,
        "anchored_at": used_at,
        "next_at": _unless_paused(voice, next_at),
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
    return Change(
        voice=fields,
        task=ended,
        tellings=(Telling(Event.KEEPALIVE_SUCCEEDED, told), *_status_told(voice, fields)),
        success=True,
    )


def _keepalive_failed(
    voice: Voice, task: Task, state: TaskState, fault: Fault, *, now: datetime, policy: Policy
) -> Change:
    ended = finished(state, fault, now)
    if state is TaskState.FAILED:
        ended["polls"] = task.polls + 1
    to_breaker = None if fault.blame is Blame.VOICE else fault
    if _is_outdated(voice, task, now=now):
        return Change(task=ended, fault=to_breaker)
    failures = voice.failures + 1
    fields: VoiceFields = {"failures": failures, "last_error": _sentence(fault)}
    if fault.blame is Blame.VOICE:
        if _is_condemned(voice, task, now=now, policy=policy):
            return _condemned(voice, task, fields, ended, fault)
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
    given_up = voice.status in _GIVEN_UP
    fields["next_at"] = None if given_up else _unless_paused(voice, retry_at)
    told = _failure_told(
        Event.KEEPALIVE_FAILED, fault, task_id=task.task_id, retry_at=fields["next_at"]
    )
    return Change(voice=fields, task=ended, tellings=(told,), fault=to_breaker)


def _is_condemned(voice: Voice, task: Task, *, now: datetime, policy: Policy) -> bool:
    """Tell whether this blame is the repeat: of an earlier one, a control call between them.

    A voice that still deploys may be refused for being early, until its window is over.
    """
    if voice.suspected_at is None or voice.controlled_at is None:
        return False
    early = voice.status is Status.DEPLOYING and now < schedule.deadline(voice.anchored_at, policy)
    return task.sent_at >= voice.controlled_at and not early


def _condemned(
    voice: Voice, task: Task, fields: VoiceFields, ended: TaskFields, fault: Fault
) -> Change:
    fields["status"] = Status.UNDEPLOYED if fault.code == verdict.UNDEPLOYED else Status.LOST
    fields["next_at"] = None
    tellings = [
        _failure_told(Event.KEEPALIVE_FAILED, fault, task_id=task.task_id),
        *_status_told(voice, fields),
    ]
    if fields["status"] is Status.LOST and voice.status is not Status.LOST:
        tellings.append(Telling(Event.VOICE_LOST, {"error": _sentence(fault)}))
    return Change(voice=fields, task=ended, tellings=tuple(tellings))


def _enrollment_ended(
    voice: Voice,
    task: Task,
    report: Report,
    judged: verdict.Verdict,
    *,
    now: datetime,
    policy: Policy,
) -> Change:
    if judged.outcome is Outcome.FAILED and judged.fault is not None:
        return _enrollment_failed(
            voice, task, TaskState.FAILED, judged.fault, now=now, voice_id=report.voice_id
        )
    if judged.fault is not None and _is_used_since(voice, task, now=now):
        return Change(task=finished(TaskState.FAILED, judged.fault, now))
    enrolled_at = schedule.last_use(task.sent_at, report.created_at)
    fields: VoiceFields = {
        "voice_id": report.voice_id,
        "enrolled_at": enrolled_at,
        "anchored_at": enrolled_at,
        "failures": 0,
        "last_error": None,
    }
    ended: TaskFields = {
        "state": TaskState.SUCCESS,
        "created_at": report.created_at,
        "finished_at": now,
        "next_poll_at": None,
        "polls": task.polls + 1,
    }
    told_id = {"task_id": task.task_id}
    if judged.fault is not None:  # it exists, but does it speak? a speech call costs least
        fields |= {
            "status": Status.DEPLOYING,
            "last_error": _sentence(judged.fault),
            "next_at": _unless_paused(voice, now),
        }
        ended |= finished(TaskState.FAILED, judged.fault, now)
        telling = _failure_told(
            Event.ENROLLMENT_FAILED, judged.fault, **told_id, retry_at=fields["next_at"]
        )
        return Change(fields, ended, (telling, *_status_told(voice, fields)))
    next_at = schedule.next_keepalive(
        voice.name,
        sent_at=task.sent_at,
        created_at=report.created_at,
        answered_at=report.answered_at,
        now=now,
        policy=policy,
    )
    fields |= {"status": Status.OK, "next_at": _unless_paused(voice, next_at)}
    tellings = (Telling(Event.ENROLLMENT_SUCCEEDED, told_id), *_status_told(voice, fields))
    return Change(fields, ended, tellings, success=True)


def _enrollment_failed(
    voice: Voice,
    task: Task,
    state: TaskState,
    fault: Fault,
    *,
    now: datetime,
    voice_id: str | None = None,
) -> Change:
    reviewed = fault.code == verdict.UNDEPLOYED
    status = Status.UNDEPLOYED if reviewed else Status.FAILED
    change = _enrollment_over(voice, task, status, state, fault, now=now)
    change.voice["voice_id"] = voice_id or voice.voice_id
    return change


def _enrollment_unknown(voice: Voice, task: Task, fault: Fault, *, now: datetime) -> Change:
    return _enrollment_over(voice, task, Status.UNKNOWN, TaskState.UNKNOWN, fault, now=now)


def _enrollment_over(
    voice: Voice, task: Task, status: Status, state: TaskState, fault: Fault, *, now: datetime
) -> Change:
    fields: VoiceFields = {
        "status": status,
        "next_at": None,
        "failures": voice.failures + 1,
        "last_error": _sentence(fault),
    }
    told = _failure_told(Event.ENROLLMENT_FAILED, fault, task_id=task.task_id)
    return Change(
        voice=fields,
        task=finished(state, fault, now),
        tellings=(told, *_status_told(voice, fields)),
        fault=fault if fault.blame in (Blame.ACCOUNT, Blame.UPSTREAM) else None,
    )


def _still_open(
    voice: Voice, task: Task, report: Report | None, *, now: datetime, policy: Policy
) -> Change:
    """Ask again later, or no more once the task is too old to be waited for."""
    fields: VoiceFields = {}
    if task.kind.is_enrollment:
        if report is not None and report.voice_id and report.voice_id != voice.voice_id:
            fields["voice_id"] = report.voice_id
    else:
        fields = _after_patience(voice, task, now=now, policy=policy)
    if _age(task, now, policy) < policy.give_up:
        return Change(fields, poll_again(task, now=now, policy=policy))
    fault = Fault(Blame.UPSTREAM, "no end", "the gateway accepted the task and never ended it")
    if not task.kind.is_enrollment:
        failed = _keepalive_failed(voice, task, TaskState.UNKNOWN, fault, now=now, policy=policy)
        return Change(failed.voice, failed.task, failed.tellings)
    voice_id = fields.get("voice_id", voice.voice_id)
    if voice_id is None:
        return _enrollment_unknown(voice, task, fault, now=now)
    if _is_used_since(voice, task, now=now):
        return Change(fields, finished(TaskState.UNKNOWN, fault, now))
    fields |= {
        "enrolled_at": task.sent_at,
        "anchored_at": task.sent_at,
        "last_error": _sentence(fault),
        "next_at": _unless_paused(voice, now),
    }
    told = _failure_told(
        Event.ENROLLMENT_FAILED, fault, task_id=task.task_id, retry_at=fields["next_at"]
    )
    return Change(fields, finished(TaskState.UNKNOWN, fault, now), (told,))


def _after_patience(voice: Voice, task: Task, *, now: datetime, policy: Policy) -> VoiceFields:
    """Return when a voice whose keepalive is open is due; an outdated task has no say in it."""
    if voice.status in _GIVEN_UP or _is_outdated(voice, task, now=now):
        return {}
    patience = schedule.patience_ends(
        sent_at=now - _age(task, now, policy), anchor=voice.anchored_at, policy=policy
    )
    return {"next_at": _unless_paused(voice, max(patience, now))}


def _is_outdated(voice: Voice, task: Task, *, now: datetime) -> bool:
    """Tell whether a keepalive was of an older voice of this name, or of an older need."""
    return task.spoken != voice.voice_id or _is_used_since(voice, task, now=now)


def _is_used_since(voice: Voice, task: Task, *, now: datetime) -> bool:
    return voice.last_used_at is not None and task.sent_at < voice.last_used_at <= now


def _age(task: Task, now: datetime, policy: Policy) -> timedelta:
    return schedule.age(task.kind, sent_at=task.sent_at, polls=task.polls, now=now, policy=policy)


def poll_again(task: Task, *, now: datetime, policy: Policy) -> TaskFields:
    """Return the columns of a task that is to be asked for once more."""
    return {
        "polls": task.polls + 1,
        "next_poll_at": schedule.next_poll(task.kind, sent_at=task.sent_at, now=now, policy=policy),
    }


def finished(state: TaskState, fault: Fault, now: datetime) -> TaskFields:
    """Return the columns of a task that ended without success."""
    return {
        "state": state,
        "finished_at": now,
        "next_poll_at": None,
        "code": fault.code,
        "message": fault.message,
    }


def _unless_paused(voice: Voice, at: datetime) -> datetime | None:
    return None if voice.paused else at


def _sentence(fault: Fault) -> str:
    return fault.message if fault.code in fault.message else f"{fault.code}: {fault.message}"


def _failure_told(event: Event, fault: Fault, **detail: object) -> Telling:
    return Telling(event, {"code": fault.code, "error": fault.message, **detail})


def _status_told(voice: Voice, fields: VoiceFields) -> tuple[Telling, ...]:
    after = fields.get("status", voice.status)
    if after is voice.status:
        return ()
    return (Telling(Event.VOICE_STATUS_CHANGED, {"from": voice.status, "to": after}),)
