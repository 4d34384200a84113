"""The life of a voice: what each answer changes, in full, and what holds however a life goes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import (
    DAY,
    HOUR,
    MINUTE,
    NOW,
    POLICY,
    SECOND,
    enrollment,
    keepalive,
    new_voice,
    policies,
    spans,
    voice,
)
from voicekeeper.core import schedule, transitions
from voicekeeper.core.costs import Hold
from voicekeeper.core.enums import NEVER_KNOWN, is_another_voice
from voicekeeper.core.events import Event
from voicekeeper.core.models import Kind, Origin, Status, Task, TaskState, Voice
from voicekeeper.core.outcome import UNDEPLOYED, Accepted, Culprit, Fault, Report
from voicekeeper.core.schedule import Policy
from voicekeeper.core.transitions import Entry, TaskFields, Transition, VoiceFields
from voicekeeper.core.transitions.enrollment import (
    RESTORED,
    afresh,
    is_in_doubt,
    left_unknown,
    without_id,
)
from voicekeeper.core.transitions.shared import INTERRUPTED, NO_END, sentence

PLAIN = replace(POLICY, jitter=0 * SECOND)
ID = "cosyvoice-v3-flash-anna"
SENT = NOW - 30 * SECOND
MIDNIGHT = datetime(2026, 5, 2, tzinfo=UTC)

BUSY = Fault(Culprit.UPSTREAM, "429", "the gateway answered 429: slow down")
BROKE = Fault(Culprit.ACCOUNT, "402", "the gateway answered 402: add balance")
CUT = Fault(Culprit.UPSTREAM, "no answer", "no answer within 30 s", ambiguous=True)
BAD_VOICE = Fault(Culprit.VOICE, "400", "the gateway answered 400: no such voice")
BAD_REQUEST = Fault(Culprit.REQUEST, "400", "the gateway answered 400: fix the request")
GONE = Fault(Culprit.NOBODY, "404", "the gateway answered 404: no such task")
ACCEPTED = Accepted("task_2")
CONDEMNED = Report("failed", fail_code="VALIDATION_ERROR", fail_message="no such voice")
TIMED_OUT = Report("failed", voice_id=ID, fail_code="TASK_TIMEOUT", fail_message="too slow")

DEPLOYING: dict[str, Any] = {"status": Status.DEPLOYING}
SUSPECT: dict[str, Any] = {"suspected_at": NOW - HOUR, "controlled_at": NOW - MINUTE}
REMADE = voice(voice_id="cosyvoice-v3-flash-anna2")
"""Made again under its name: the keepalive that is open used the voice before it."""


def after(
    row: Voice | None,
    task: Task,
    answer: Accepted | Report | Fault | None,
    *,
    polled: bool = False,
    now: datetime = NOW,
    policy: Policy = PLAIN,
) -> Transition:
    """Return what an answer changes: to the call itself, or to a poll; None after a crash."""
    match answer:
        case Accepted():
            return transitions.submitted(row, task, answer, cost_micros=60, now=now, policy=policy)
        case Report():
            return transitions.reported(row, task, answer, now=now, policy=policy)
        case Fault() if polled:
            return transitions.unanswered(row, task, answer, now=now, policy=policy)
        case Fault():
            return transitions.refused(row, task, answer, now=now, policy=policy)
        case None:
            return transitions.interrupted(row, task, now=now)


def control(**columns: object) -> Task:
    """Return the running control call by a built-in voice, sent half a minute ago."""
    row = {"kind": Kind.CONTROL, "voice_pk": None, "spoken": "longanlang_v3"}
    return keepalive(**row | columns)


def became(before: Status, now: Status) -> Entry:
    return Entry(Event.VOICE_STATUS_CHANGED, {"from": before, "to": now})


def failed(event: Event, fault: Fault, **detail: object) -> Entry:
    told = {"code": fault.code, "error": fault.message, "task_id": "task_1"}
    return Entry(event, told | detail)


def over(state: TaskState, fault: Fault, *, polls: int | None = None) -> TaskFields:
    """Return the columns of a task that ended now, without success."""
    fields: TaskFields = {
        "state": state,
        "finished_at": NOW,
        "next_poll_at": None,
        "code": fault.code,
        "message": fault.message,
    }
    if state is TaskState.REFUSED:
        fields["possible_cost_micros"] = None  # nothing was charged
    if polls is not None:
        fields["polls"] = polls
    return fields


def succeeded(created_at: datetime | None, polls: int = 1) -> TaskFields:
    return {
        "state": TaskState.SUCCESS,
        "created_at": created_at,
        "finished_at": NOW,
        "next_poll_at": None,
        "polls": polls,
    }


POLLED: TaskFields = {"polls": 2, "next_poll_at": NOW + 10 * SECOND}
"""The columns of a task that was polled once, and is polled again."""


def told(change: Transition) -> list[str]:
    return [str(entry.event) for entry in change.entries]


# every kind


@pytest.mark.parametrize(
    ("row", "task", "fields", "event"),
    [
        *(
            (
                voice(status=status, failures=2, suspected_at=NOW - HOUR),
                keepalive(),
                {"next_at": SENT + HOUR},  # when it is repeated
                Event.KEEPALIVE_SUBMITTED,
            )
            for status in (Status.NEW, Status.DEPLOYING, Status.OK)
        ),
        (  # its acceptance came late: not before it is polled
            voice(),
            keepalive(sent_at=NOW - 2 * HOUR),
            {"next_at": NOW + 20 * SECOND},
            Event.KEEPALIVE_SUBMITTED,
        ),
        (  # the clock was set back during the call
            voice(),
            keepalive(sent_at=NOW + 30 * DAY),
            {"next_at": NOW + HOUR},
            Event.KEEPALIVE_SUBMITTED,
        ),
        (  # the last of a voice whose time is over
            voice(status=Status.LOST, anchored_at=NOW - 14 * DAY),
            keepalive(),
            {"next_at": None},
            Event.KEEPALIVE_SUBMITTED,
        ),
        (
            new_voice(failures=3, last_error="the gateway answered 429: slow down"),
            enrollment(),
            {"status": Status.DEPLOYING, "next_at": None, "last_error": None},
            Event.ENROLLMENT_SUBMITTED,
        ),
        (None, control(), {}, Event.CONTROL_SUBMITTED),
    ],
)
def test_an_accepted_call_is_charged_and_polled_and_proves_nothing_yet(
    row: Voice | None, task: Task, fields: VoiceFields, event: Event
) -> None:
    changed = [became(Status.NEW, Status.DEPLOYING)] if task.kind.is_enrollment else []
    assert after(row, task, ACCEPTED) == Transition(
        voice=fields,
        task={
            "state": TaskState.RUNNING,
            "task_id": "task_2",
            "next_poll_at": NOW + 20 * SECOND,
            "cost_micros": 60,
            "possible_cost_micros": None,
        },
        entries=(Entry(event, {"task_id": "task_2", "cost_micros": 60}), *changed),
    )


@pytest.mark.parametrize(
    ("columns", "next_poll_at"),
    [
        ({"token_digest": "d", "next_poll_at": None}, NOW + 13 * MINUTE + 20 * SECOND),
        ({"token_digest": None, "next_poll_at": NOW}, NOW),  # it was faster than the answer
        ({"state": TaskState.RUNNING, "next_poll_at": NOW}, NOW + 20 * SECOND),
    ],
)
def test_a_task_with_a_webhook_is_polled_once_that_has_come_or_can_come_no_more(
    columns: dict[str, Any], next_poll_at: datetime
) -> None:
    task = enrollment(**{"state": TaskState.INTENT, "task_id": None} | columns)
    assert after(new_voice(), task, ACCEPTED).task["next_poll_at"] == next_poll_at


def test_a_poll_without_an_answer_changes_no_voice_and_pauses_calls_for_the_account_only() -> None:
    for fault in (BUSY, BROKE, replace(CUT, ambiguous=False)):
        breaker = fault if fault is BROKE else None
        kept = after(voice(), keepalive(polls=1), fault, polled=True)
        assert kept == Transition({"next_at": SENT + HOUR}, POLLED, fault=breaker)
        made = after(new_voice(**DEPLOYING), enrollment(polls=1), fault, polled=True)
        assert made == Transition({}, POLLED, fault=breaker)


@pytest.mark.parametrize(
    ("row", "task", "fields"),
    [(voice(), keepalive(), {"next_at": NOW}), (None, control(), {})],
)
def test_a_speech_call_that_a_crash_cut_off_proves_nothing(
    row: Voice | None, task: Task, fields: VoiceFields
) -> None:
    assert after(row, task, None) == Transition(fields, over(TaskState.UNKNOWN, INTERRUPTED))


@pytest.mark.parametrize(
    ("row", "task", "fields"),
    [
        (
            voice(status=Status.UNKNOWN, voice_id=None, failures=3, last_error="interrupted"),
            enrollment(state=TaskState.UNKNOWN),
            {"status": Status.NEW, "failures": 2, "last_error": None},
        ),
        (
            voice(status=Status.UNKNOWN, voice_id=None),
            enrollment(state=TaskState.UNKNOWN),
            {"status": Status.NEW, "failures": 0, "last_error": None},
        ),
        (voice(failures=3), keepalive(state=TaskState.UNKNOWN), {}),
        (None, control(state=TaskState.UNKNOWN), {}),
    ],
)
def test_an_interrupted_call_is_an_intent_again_when_its_answer_comes(
    row: Voice | None, task: Task, fields: VoiceFields
) -> None:
    columns = {"finished_at": None, "code": None, "message": None}
    assert transitions.reopened(row, task) == Transition(
        voice=fields,
        task={"state": TaskState.INTENT, **columns},  # type: ignore[typeddict-item]
        entries=(became(Status.UNKNOWN, Status.NEW),) if fields else (),
    )


# keepalives that were refused, or failed


def retry(row: Voice, fault: Fault = BUSY) -> datetime:
    return schedule.retry_at(
        "anna",
        failures=row.failures + 1,
        anchor=row.anchored_at,
        now=NOW,
        policy=PLAIN,
        retry_after=fault.retry_after,
    )


@pytest.mark.parametrize(
    ("fault", "state"),
    [
        (BUSY, TaskState.REFUSED),
        (replace(BUSY, retry_after=900.0), TaskState.REFUSED),
        (BROKE, TaskState.REFUSED),
        (CUT, TaskState.UNKNOWN),
    ],
)
@pytest.mark.parametrize(
    "row",
    [
        voice(failures=2),
        voice(failures=9, anchored_at=NOW - 7 * DAY + 80 * MINUTE),
        voice(status=Status.LOST),
        voice(status=Status.LOST, anchored_at=NOW - 14 * DAY + SECOND),
    ],
)
def test_a_keepalive_that_was_not_accepted_is_tried_again_and_blames_no_voice(
    row: Voice, fault: Fault, state: TaskState
) -> None:
    again = retry(row, fault)
    cost = 60 if fault is CUT else None  # nobody knows whether it was charged
    assert after(row, keepalive(possible_cost_micros=60), fault) == Transition(
        voice={"failures": row.failures + 1, "last_error": sentence(fault), "next_at": again},
        task=over(state, fault),
        entries=(failed(Event.KEEPALIVE_FAILED, fault, retry_at=again, possible_cost_micros=cost),),
        fault=fault,
    )


@pytest.mark.parametrize("status", [Status.LOST, Status.UNDEPLOYED])
@pytest.mark.parametrize("fault", [BUSY, CUT, BAD_VOICE])
def test_a_voice_that_was_given_up_gets_one_try_for_each_word_of_a_person(
    status: Status, fault: Fault
) -> None:
    change = after(voice(status=status, anchored_at=NOW - 14 * DAY), keepalive(), fault)
    assert change.voice["next_at"] is None
    assert "status" not in change.voice


@pytest.mark.parametrize("suspected_at", [None, NOW - HOUR])
def test_a_refusal_that_names_the_voice_makes_it_a_suspect_and_is_not_the_breakers(
    suspected_at: datetime | None,
) -> None:
    row = voice(suspected_at=suspected_at)
    again = retry(row)
    fields: VoiceFields = {"failures": 1, "last_error": BAD_VOICE.message, "next_at": again}
    assert after(row, keepalive(), BAD_VOICE) == Transition(
        voice=fields if suspected_at else {**fields, "suspected_at": NOW},  # the first is kept
        task=over(TaskState.REFUSED, BAD_VOICE),
        entries=(
            failed(Event.KEEPALIVE_FAILED, BAD_VOICE, retry_at=again, possible_cost_micros=None),
        ),
    )


@pytest.mark.parametrize(
    ("code", "culprit"),
    [("UpstreamError", Culprit.UPSTREAM), ("INSUFFICIENT_CREDITS", Culprit.ACCOUNT)],
)
def test_a_failed_keepalive_that_does_not_name_the_voice_is_the_breakers_concern(
    code: str, culprit: Culprit
) -> None:
    fault, again = Fault(culprit, code, "it failed"), retry(voice())
    report = Report("failed", fail_code=code, fail_message="it failed")
    columns = over(TaskState.FAILED, fault, polls=3)
    assert after(voice(), keepalive(polls=2), report) == Transition(
        voice={"failures": 1, "last_error": f"{code}: it failed", "next_at": again},
        task=columns,
        entries=(failed(Event.KEEPALIVE_FAILED, fault, retry_at=again, possible_cost_micros=None),),
        fault=fault,
    )
    assert after(REMADE, keepalive(polls=2), report) == Transition(task=columns, fault=fault)


@pytest.mark.parametrize(
    ("suspected", "controlled", "sent", "lost"),
    [
        # minutes ago
        (None, None, 1, False),
        (30, None, 1, False),
        (None, 20, 1, False),
        (30, 20, 25, False),
        (30, 20, 20, True),
        (30, 20, 1, True),
    ],
)
def test_a_voice_is_lost_only_when_blamed_again_by_a_call_sent_after_a_control_call(
    suspected: int | None, controlled: int | None, sent: int, *, lost: bool
) -> None:
    row = voice(
        suspected_at=None if suspected is None else NOW - suspected * MINUTE,
        controlled_at=None if controlled is None else NOW - controlled * MINUTE,
    )
    change = after(row, keepalive(sent_at=NOW - sent * MINUTE), CONDEMNED)
    assert (change.voice.get("status") is Status.LOST) is lost


@pytest.mark.parametrize(("age", "lost"), [(7 * DAY - SECOND, False), (7 * DAY, True)])
def test_a_voice_that_deploys_may_be_refused_for_being_early_until_its_window_is_over(
    age: timedelta, *, lost: bool
) -> None:
    row = voice(**DEPLOYING, anchored_at=NOW - age, **SUSPECT)
    change = after(row, keepalive(), CONDEMNED)
    assert (change.voice.get("status") is Status.LOST) is lost


@pytest.mark.parametrize(
    ("before", "code", "age", "status", "retry_at"),
    [
        (Status.OK, "VALIDATION_ERROR", 3 * DAY, Status.LOST, NOW + HOUR),  # slowly, then seldom:
        (Status.OK, "VALIDATION_ERROR", 7 * DAY, Status.LOST, NOW + DAY),  # it may still be there
        (Status.OK, "VALIDATION_ERROR", 14 * DAY - SECOND, Status.LOST, NOW + DAY),
        (Status.OK, "VALIDATION_ERROR", 14 * DAY, Status.LOST, None),
        (Status.LOST, "VALIDATION_ERROR", 3 * DAY, Status.LOST, NOW + HOUR),
        (Status.OK, UNDEPLOYED, 3 * DAY, Status.UNDEPLOYED, None),
    ],
)
def test_a_voice_that_is_condemned(
    before: Status, code: str, age: timedelta, status: Status, retry_at: datetime | None
) -> None:
    row = voice(status=before, anchored_at=NOW - age, **SUSPECT)
    fault = Fault(Culprit.VOICE, code, "gone")
    event = Event.VOICE_LOST if status is Status.LOST else Event.VOICE_UNDEPLOYED
    announced = (became(before, status), Entry(event, {"error": f"{code}: gone"}))
    report = Report("failed", fail_code=code, fail_message="gone")
    assert after(row, keepalive(), report) == Transition(
        voice={
            "failures": 1,
            "last_error": f"{code}: gone",
            "status": status,
            "next_at": retry_at,
        },
        task=over(TaskState.FAILED, fault, polls=1),
        entries=(
            failed(Event.KEEPALIVE_FAILED, fault, retry_at=retry_at, possible_cost_micros=None),
            *(() if before is status else announced),
        ),
    )


@pytest.mark.parametrize(
    ("status", "before", "fault", "is_told"),
    [
        (Status.NEW, None, BAD_VOICE, True),
        (Status.NEW, None, BUSY, False),
        (Status.OK, None, BAD_VOICE, False),
        (Status.DEPLOYING, None, BAD_VOICE, False),
        (Status.LOST, "gone", BAD_VOICE, False),
        (Status.LOST, f"gone; {NEVER_KNOWN}", BAD_VOICE, True),
        (Status.LOST, f"gone; {NEVER_KNOWN}", BUSY, True),
    ],
)
def test_a_voice_that_is_lost_and_never_spoke_is_told_as_one_that_was_never_known(
    status: Status, before: str | None, fault: Fault, *, is_told: bool
) -> None:
    row = voice(status=status, anchored_at=NOW - 8 * DAY, last_error=before, **SUSPECT)
    words = f"; {NEVER_KNOWN}" if is_told else ""
    assert after(row, keepalive(), fault).voice["last_error"] == f"{sentence(fault)}{words}"


@pytest.mark.parametrize(
    ("used", "is_since"),
    [
        (None, False),
        (NOW - MINUTE, False),
        (SENT, False),  # the use that this very task is
        (SENT + SECOND, True),
        (NOW, True),
        (NOW + SECOND, False),  # noted by a clock that was ahead
    ],
)
def test_a_failure_counts_for_nothing_once_the_voice_was_used_since(
    used: datetime | None, *, is_since: bool
) -> None:
    change = after(voice(last_used_at=used), keepalive(), CONDEMNED)
    assert (change.voice == {}) is is_since
    assert (change.entries == ()) is is_since


@pytest.mark.parametrize("sent_at", [SENT, NOW - 2 * HOUR])
@pytest.mark.parametrize("row", [REMADE, voice(last_used_at=NOW - SECOND, next_at=NOW + 3 * DAY)])
def test_an_outdated_keepalive_changes_nothing_of_its_voice(row: Voice, sent_at: datetime) -> None:
    for answer in (Report("processing"), CONDEMNED, BUSY, GONE, None):
        change = after(row, keepalive(sent_at=sent_at), answer, polled=True)
        assert (change.voice, change.entries) == ({}, ()), answer
    assert after(row, keepalive(polls=1), Report("processing")) == Transition(task=POLLED)
    assert after(row, keepalive(), None) == Transition(task=over(TaskState.UNKNOWN, INTERRUPTED))


# keepalives that are open


@pytest.mark.parametrize(
    ("row", "sent_at", "fields", "wait"),
    [
        (voice(), SENT, {"next_at": SENT + HOUR}, 10 * SECOND),
        (  # it is repeated, and polled still
            voice(anchored_at=NOW - 7 * DAY + 2 * HOUR),
            NOW - 20 * MINUTE,
            {"next_at": NOW},
            5 * MINUTE,
        ),
        # sent by a wrong clock: it puts off nothing beyond its polls
        (voice(), NOW + 30 * DAY, {"next_at": NOW + HOUR - 10 * SECOND}, 10 * SECOND),
        # given up
        (voice(status=Status.LOST, anchored_at=NOW - 14 * DAY), SENT, {}, 10 * SECOND),
    ],
)
def test_an_open_keepalive_is_polled_again_and_repeated_in_good_time(
    row: Voice, sent_at: datetime, fields: VoiceFields, wait: timedelta
) -> None:
    columns: TaskFields = {"polls": 2, "next_poll_at": NOW + wait}
    task = keepalive(sent_at=sent_at, polls=1)
    assert after(row, task, Report("processing")) == Transition(fields, columns)


@pytest.mark.parametrize("answer", [Report("processing"), GONE])
def test_a_keepalive_that_never_ends_or_is_not_known_is_given_up_and_tried_again(
    answer: Report | Fault,
) -> None:
    young = keepalive(sent_at=NOW - HOUR + SECOND)
    assert "state" not in after(voice(), young, answer, polled=True).task
    again = retry(voice())
    old = keepalive(sent_at=NOW - HOUR, possible_cost_micros=60)
    assert after(voice(), old, answer, polled=True) == Transition(
        voice={"failures": 1, "last_error": f"no end: {NO_END.message}", "next_at": again},
        task=over(TaskState.UNKNOWN, NO_END),
        entries=(failed(Event.KEEPALIVE_FAILED, NO_END, retry_at=again, possible_cost_micros=60),),
    )


# keepalives that succeeded


TROUBLED: dict[str, Any] = {"failures": 4, "last_error": "429", **SUSPECT}


@pytest.mark.parametrize(
    ("row", "sent_at", "created_at", "answered_at", "used_at", "counts_from"),
    [
        # never later than the gateway's own count
        (voice(**TROUBLED), SENT, SENT - SECOND, NOW, SENT - SECOND, SENT - SECOND),
        (voice(**TROUBLED), SENT, None, NOW, SENT, SENT),
        (voice(), SENT, SENT + SECOND, None, SENT, SENT),
        (voice(), SENT, NOW + DAY, None, SENT, SENT),
        # whatever it was called before
        *(
            (voice(status=status), SENT, SENT, NOW, SENT, SENT)
            for status in (Status.NEW, Status.DEPLOYING, Status.LOST, Status.UNDEPLOYED)
        ),
        # slow: a later use is known, and stays
        (voice(last_used_at=NOW - HOUR), NOW - 2 * HOUR, None, None, NOW - HOUR, NOW - HOUR),
        (voice(last_used_at=SENT + SECOND), SENT, None, None, SENT + SECOND, SENT + SECOND),
        (voice(last_used_at=NOW), SENT, None, None, NOW, NOW),
        (voice(last_used_at=SENT), SENT, SENT, SENT + HOUR, SENT, NOW - HOUR),  # the older age
        # noted by a wrong clock, and replaced
        (voice(last_used_at=NOW + 30 * DAY), SENT, None, None, SENT, SENT),
        # ahead by a month, else each success would be paid for again at once
        (voice(), SENT, SENT - 30 * DAY, NOW - 30 * DAY, NOW - 3 * DAY, SENT),
    ],
)
def test_a_success_is_a_use_and_clears_every_trouble(
    *,
    row: Voice,
    sent_at: datetime,
    created_at: datetime | None,
    answered_at: datetime | None,
    used_at: datetime,
    counts_from: datetime,
) -> None:
    report = Report("success", created_at=created_at, answered_at=answered_at)
    next_at = schedule.due(counts_from, "anna", POLICY)
    event = {
        "task_id": "task_1",
        "used_at": used_at,
        "deadline_at": used_at + 7 * DAY,
        "next_keepalive_at": next_at,
    }
    changed = [] if row.status is Status.OK else [became(row.status, Status.OK)]
    assert after(row, keepalive(sent_at=sent_at, polls=2), report, policy=POLICY) == Transition(
        voice={
            "status": Status.OK,
            "last_used_at": used_at,
            "anchored_at": used_at,
            "next_at": next_at,
            "failures": 0,
            "last_error": None,
            "suspected_at": None,
            "controlled_at": None,
        },
        task=succeeded(created_at, polls=3),
        entries=(Entry(Event.KEEPALIVE_SUCCEEDED, event), *changed),
        success=True,
    )


def test_a_success_of_an_older_voice_of_the_name_proves_only_that_the_account_works() -> None:
    change = after(REMADE, keepalive(), Report("success"))
    assert change == Transition(task=succeeded(None), success=True)


# enrollments that were refused, or cut off


@pytest.mark.parametrize("fault", [BUSY, BROKE, replace(BUSY, retry_after=7200.0)])
@pytest.mark.parametrize("paused", [False, True])
def test_an_enrollment_that_was_certainly_not_made_is_tried_again_by_itself(
    fault: Fault, *, paused: bool
) -> None:
    retry_at = schedule.retry_at(
        "anna", failures=2, anchor=None, now=NOW, policy=PLAIN, retry_after=fault.retry_after
    )
    again = None if paused else retry_at
    event = {"code": fault.code, "error": fault.message, "retry_at": again}
    row, task = new_voice(failures=1, paused=paused), enrollment(possible_cost_micros=60)
    assert after(row, task, fault) == Transition(  # what refuses it may take a thousand keepalives
        voice={"failures": 2, "last_error": fault.message, "next_at": again},
        task=over(TaskState.REFUSED, fault),
        entries=(Entry(Event.ENROLLMENT_FAILED, event),),
    )


@pytest.mark.parametrize(
    ("row", "answer", "fault", "breaker"),
    [
        (new_voice(), CUT, CUT, CUT),
        (new_voice(), None, INTERRUPTED, None),
        (new_voice(**DEPLOYING), Report("processing"), NO_END, None),
    ],
    ids=["answer lost", "crash", "never ended"],
)
def test_an_enrollment_of_which_nobody_knows_whether_it_was_made_is_never_due_again(
    row: Voice, answer: Fault | Report | None, fault: Fault, breaker: Fault | None
) -> None:
    task = enrollment(sent_at=NOW - HOUR, possible_cost_micros=60)
    assert after(row, task, answer) == Transition(
        voice={
            "status": Status.UNKNOWN,
            "next_at": None,
            "failures": 1,
            "last_error": sentence(fault),
        },
        task=over(TaskState.UNKNOWN, fault),
        entries=(
            failed(Event.ENROLLMENT_FAILED, fault, possible_cost_micros=60),
            became(row.status, Status.UNKNOWN),
        ),
        fault=breaker,
    )


# enrollments that ended


@pytest.mark.parametrize(
    ("answer", "status", "voice_id"),
    [
        (BAD_REQUEST, Status.FAILED, None),
        (Report("failed", fail_code=UNDEPLOYED), Status.UNDEPLOYED, None),
        (Report("failed", fail_code=UNDEPLOYED, voice_id=ID), Status.UNDEPLOYED, ID),
        (Report("success", voice_status=UNDEPLOYED, voice_id=ID), Status.UNDEPLOYED, ID),
        (Report("failed", fail_code="SensitiveContentDetected"), Status.FAILED, None),
        # what was too little for it may be enough for keepalives
        (Report("failed", fail_code="INSUFFICIENT_CREDITS"), Status.FAILED, None),
    ],
)
def test_an_enrollment_that_made_no_voice_is_never_repeated_by_itself(
    answer: Fault | Report, status: Status, voice_id: str | None
) -> None:
    if isinstance(answer, Report):
        code = answer.fail_code or UNDEPLOYED
        answer, fault = (
            answer._replace(fail_message="not so"),
            Fault(Culprit.NOBODY, code, "not so"),
        )
        row, state = new_voice(**DEPLOYING), TaskState.FAILED
    else:
        row, state, fault = new_voice(), TaskState.REFUSED, answer
    taken = [Entry(Event.VOICE_UNDEPLOYED, {"error": sentence(fault)})]
    assert after(row, enrollment(possible_cost_micros=60), answer) == Transition(
        voice={
            "status": status,
            "voice_id": voice_id,
            "next_at": None,
            "failures": 1,
            "last_error": sentence(fault),
        },
        task=over(state, fault),
        entries=(
            failed(Event.ENROLLMENT_FAILED, fault, possible_cost_micros=None),
            became(row.status, status),
            *(taken if status is Status.UNDEPLOYED else []),
        ),
    )


@pytest.mark.parametrize(
    ("report", "code"),
    [(TIMED_OUT, "TASK_TIMEOUT"), (Report("success", ID, "DEPLOYING"), "DEPLOYING")],
)
def test_a_voice_that_may_exist_is_spoken_with_at_once(report: Report, code: str) -> None:
    fault = Fault(Culprit.NOBODY, code, "too slow")
    report = report._replace(fail_message="too slow")
    assert after(new_voice(**DEPLOYING, failures=2), enrollment(), report) == Transition(
        voice={
            "voice_id": ID,
            "enrolled_at": SENT,
            "anchored_at": SENT,
            "failures": 0,
            "status": Status.DEPLOYING,
            "last_error": f"{code}: too slow",
            "next_at": NOW,
        },
        task=over(TaskState.FAILED, fault),
        entries=(failed(Event.ENROLLMENT_FAILED, fault, retry_at=NOW),),
    )


@pytest.mark.parametrize("skew", [0 * DAY, 30 * DAY])
@pytest.mark.parametrize(
    "row",
    [
        new_voice(**DEPLOYING, failures=2, last_error="429"),
        new_voice(**DEPLOYING, voice_id=ID),  # an earlier report showed it
        voice(**DEPLOYING, last_used_at=NOW - SECOND),  # it spoke meanwhile
    ],
)
@pytest.mark.parametrize(
    ("shown", "urls", "preview"),
    [
        ({"voice_id": ID}, (), None),
        ({"voice_id": ID, "voice_status": "OK"}, ("https://a.example/1", "https://b"), 0),
    ],
)
def test_an_enrollment_that_made_a_voice_is_reckoned_by_the_gateways_own_clock(
    row: Voice, skew: timedelta, shown: dict[str, str], urls: Sequence[str], preview: int | None
) -> None:
    created_at = NOW - skew - 40 * SECOND
    report = Report(
        "success",
        created_at=created_at,
        answered_at=NOW - skew,
        result_urls=tuple(urls),
        **shown,  # type: ignore[arg-type]
    )
    url = None if preview is None else urls[preview]
    assert after(row, enrollment(polls=3), report, policy=POLICY) == Transition(
        voice={
            "voice_id": ID,
            "enrolled_at": created_at,
            "anchored_at": created_at,
            "failures": 0,
            "last_error": None,
            "status": Status.OK,
            "next_at": schedule.due(NOW - 40 * SECOND, "anna", POLICY),
        },
        task=succeeded(created_at, polls=4),
        entries=(
            Entry(Event.ENROLLMENT_SUCCEEDED, {"task_id": "task_1", "preview_url": url}),
            became(Status.DEPLOYING, Status.OK),
        ),
        success=True,
    )


# enrollments that are open


@pytest.mark.parametrize(
    ("report", "fields"),
    [
        (Report("processing", voice_id=ID, voice_status="DEPLOYING"), {"voice_id": ID}),
        (Report("pending"), {}),
        (Report("success"), {}),  # paid for, and without an id
    ],
)
def test_an_enrollment_without_an_end_or_an_id_is_polled_again_and_keeps_the_id_it_showed(
    report: Report, fields: VoiceFields
) -> None:
    change = after(new_voice(**DEPLOYING), enrollment(polls=1), report)
    assert change == Transition(fields, POLLED)


@pytest.mark.parametrize(
    ("row", "answer", "shown"),
    [
        (new_voice(**DEPLOYING, voice_id=ID), Report("processing"), {}),
        (new_voice(**DEPLOYING), Report("processing", voice_id=ID), {"voice_id": ID}),
        (new_voice(**DEPLOYING, voice_id=ID), GONE, {}),
    ],
)
def test_an_enrollment_that_never_ends_but_showed_its_voice_is_spoken_with(
    row: Voice, answer: Report | Fault, shown: VoiceFields
) -> None:
    old = enrollment(sent_at=NOW - HOUR)
    assert after(row, old, answer, polled=True) == Transition(
        voice={
            **shown,
            "enrolled_at": NOW - HOUR,
            "anchored_at": NOW - HOUR,
            "last_error": sentence(NO_END),
            "next_at": NOW,
        },
        task=over(TaskState.UNKNOWN, NO_END),
        entries=(failed(Event.ENROLLMENT_FAILED, NO_END, retry_at=NOW),),
    )


def test_an_enrollment_whose_id_another_voice_has_made_no_voice() -> None:
    row, task = new_voice(), enrollment()
    change = Transition({"voice_id": ID, "status": Status.OK, "next_at": NOW}, {"polls": 1})
    words = f"the gateway gave it {ID}, which another voice has"
    fields: VoiceFields = {"status": Status.FAILED, "next_at": None, "last_error": words}
    assert without_id(row, task, change) == Transition(
        fields,
        {"polls": 1},
        (
            Entry(Event.ENROLLMENT_FAILED, {"task_id": task.task_id, "error": words}),
            Entry(Event.VOICE_STATUS_CHANGED, {"from": Status.NEW, "to": Status.FAILED}),
        ),
    )


def test_of_an_enrollment_that_goes_on_an_id_that_another_voice_has_is_left_out_alone() -> None:
    change = Transition({"voice_id": ID}, {"polls": 1}, (Entry(Event.VOICE_TOUCHED),))
    words = f"the gateway gave it {ID}, which another voice has"
    assert without_id(new_voice(), enrollment(), change) == replace(
        change, voice={"last_error": words}
    )


def test_a_late_report_of_a_voice_that_spoke_meanwhile_changes_only_its_task() -> None:
    spoke = voice(last_used_at=NOW - SECOND)
    fault = Fault(Culprit.NOBODY, "TASK_TIMEOUT", "too slow")
    assert after(spoke, enrollment(), TIMED_OUT) == Transition(task=over(TaskState.FAILED, fault))
    old = enrollment(sent_at=NOW - HOUR)
    columns = over(TaskState.UNKNOWN, NO_END)
    assert after(spoke, old, Report("processing")) == Transition(task=columns)


@pytest.mark.parametrize(
    ("report", "status"),
    [
        (Report("success"), Status.OK),
        (Report("failed", fail_code="TASK_TIMEOUT"), Status.DEPLOYING),
    ],
)
def test_the_id_that_an_earlier_report_showed_counts_at_the_end(
    report: Report, status: Status
) -> None:
    change = after(new_voice(**DEPLOYING, voice_id=ID), enrollment(), report)
    assert (change.voice["status"], change.voice["voice_id"]) == (status, ID)


def test_an_accepted_enrollment_survives_an_outage_of_any_length() -> None:
    old = enrollment(sent_at=NOW - 6 * DAY)
    change = after(new_voice(**DEPLOYING), old, BUSY, polled=True)
    assert change == Transition(task={"polls": 1, "next_poll_at": NOW + HOUR})


@pytest.mark.parametrize(
    ("sent", "created", "answered", "is_over"),
    [
        # seconds ago; give_up is an hour
        (5 * 86_400, 40, 0, False),
        (30, 3_600, 0, True),
        (30, 86_400 + 40, 86_400, False),
        (30, 3_600, None, False),
        (3_600, 40, None, True),
        (3_600, None, 0, True),
        (30, 26 * 365 * 86_400, 0, False),  # a date of the year 2000 gives up nothing
        (30, 40, -7_900 * 365 * 86_400, False),  # nor does one of the year 9921
        (30, 7 * 86_400, 0, True),  # a whole window is believed
        (3_600, 40, -7_900 * 365 * 86_400, True),
    ],
)
def test_an_open_enrollment_is_as_old_as_the_gateways_own_clock_tells_it(
    sent: int, created: int | None, answered: int | None, *, is_over: bool
) -> None:
    report = Report(
        "processing",
        created_at=None if created is None else NOW - created * SECOND,
        answered_at=None if answered is None else NOW - answered * SECOND,
    )
    task = enrollment(sent_at=NOW - sent * SECOND)
    change = after(new_voice(**DEPLOYING), task, report)
    assert (change.task.get("state") is TaskState.UNKNOWN) is is_over


# a retry


def lost(**columns: Any) -> Voice:  # noqa: ANN401 - any column
    return voice(**{"status": Status.LOST, "recipe": {"prefix": "anna"}} | columns)


def test_a_voice_that_is_made_again_is_as_though_it_were_new() -> None:
    row = lost(
        failures=7,
        last_error="400: no such voice",
        suspected_at=NOW - HOUR,
        controlled_at=NOW - MINUTE,
        held_at=NOW - 9 * DAY,
        remade_at=NOW - 10 * DAY,
    )
    assert afresh(row, now=NOW) == {
        "status": Status.NEW,
        "voice_id": None,
        "next_at": NOW,
        "anchored_at": NOW,
        "enrolled_at": None,
        "last_used_at": None,
        "failures": 0,
        "last_error": None,
        "suspected_at": None,
        "controlled_at": None,
        "held_at": None,
        "remade_at": NOW,
    }


@pytest.mark.parametrize(
    ("row", "remade_at"),
    [
        (lost(), NOW),
        (lost(remade_at=NOW - DAY), NOW),
        (new_voice(status=Status.FAILED), None),  # there was none before: it is the first
        (new_voice(status=Status.FAILED, remade_at=NOW - DAY, paused=True), NOW - DAY),
    ],
    ids=["had a voice", "had two", "had none", "had one, and then none"],
)
def test_a_voice_is_another_one_from_when_it_lost_its_first(
    row: Voice, remade_at: datetime | None
) -> None:
    fields = afresh(row, now=NOW)
    assert fields["remade_at"] == remade_at
    assert fields["next_at"] == (None if row.paused else NOW)


def test_only_a_design_that_was_made_again_sounds_different() -> None:
    remade = [origin for origin in Origin if is_another_voice(lost(origin=origin, remade_at=NOW))]
    assert remade == [Origin.DESIGN]
    assert not is_another_voice(lost(origin=Origin.DESIGN))


# held by the budget


def test_an_enrollment_is_held_with_one_event_and_waits() -> None:
    change = transitions.held(new_voice(), Hold(MIDNIGHT, "held: why"), now=NOW, policy=POLICY)
    detail = {"error": "held: why", "until": MIDNIGHT}
    assert change == Transition(
        voice={"next_at": MIDNIGHT, "last_error": "held: why", "held_at": NOW},
        entries=(Entry(Event.ENROLLMENT_HELD, detail),),
    )


def test_one_that_is_held_again_has_no_second_entry() -> None:
    row = new_voice(held_at=NOW - HOUR)
    change = transitions.held(row, Hold(None, "never begun: why"), now=NOW, policy=POLICY)
    assert change == Transition({"next_at": None, "last_error": "never begun: why"})


def test_a_hold_is_no_due_time_that_looks_like_a_wrong_clocks() -> None:
    hourly = replace(POLICY, interval=HOUR)
    change = transitions.held(new_voice(), Hold(MIDNIGHT, "held"), now=NOW, policy=hourly)
    assert change.voice["next_at"] == NOW + HOUR


def test_what_is_released_forgets_that_it_was_held() -> None:
    released = transitions.released(new_voice(held_at=NOW))
    assert released == Transition({"held_at": None, "last_error": None})
    assert transitions.released(new_voice(last_error="429")) == Transition()


# an old copy of the registry


@pytest.mark.parametrize(
    ("asked_at", "last_pass_at", "in_doubt"),
    [
        (NOW - DAY, NOW - HOUR, True),
        (NOW - DAY, NOW - DAY, True),
        (NOW - DAY + POLICY.silence, NOW - DAY, True),  # the next pass requested it
        (NOW - DAY + POLICY.silence + SECOND, NOW - DAY, False),  # the keeper was off
        (NOW - DAY, None, False),  # there never was a keeper
    ],
)
def test_what_was_asked_for_before_a_pass_may_have_been_requested(
    asked_at: datetime, last_pass_at: datetime | None, *, in_doubt: bool
) -> None:
    row = new_voice(anchored_at=asked_at)
    assert is_in_doubt(row, last_pass_at=last_pass_at, policy=POLICY) is in_doubt


def test_an_enrollment_that_an_old_copy_may_have_forgotten_is_left_to_a_person() -> None:
    task = enrollment(state=TaskState.INTENT, task_id=None, possible_cost_micros=2_000)
    words = "this registry may be an older copy, and the voice may have been requested already"
    told = {"code": "restored", "error": words, "task_id": None, "possible_cost_micros": 2_000}
    assert left_unknown(new_voice(failures=1), task, now=NOW) == Transition(
        voice={
            "status": Status.UNKNOWN,
            "next_at": None,
            "failures": 2,
            "last_error": f"restored: {words}",
        },
        task=over(TaskState.UNKNOWN, RESTORED),
        entries=(
            Entry(Event.ENROLLMENT_FAILED, told),
            became(Status.NEW, Status.UNKNOWN),
        ),
    )


# control calls


CALL = control(polls=1)
BROKEN = Fault(Culprit.UPSTREAM, "UpstreamError", "it failed")
NO_CREDIT = Fault(Culprit.ACCOUNT, "INSUFFICIENT_CREDITS", "it failed")
INVALID = Fault(Culprit.VOICE, "VALIDATION_ERROR", "it failed")
TAKEN = Fault(Culprit.VOICE, UNDEPLOYED, "it failed")
NOT_KNOWN = Fault(Culprit.ACCOUNT, "401", "the key is not known")


@pytest.mark.parametrize(
    ("answer", "change"),
    [
        # Refused, or failed: the breaker's concern.
        (BUSY, Transition(task=over(TaskState.REFUSED, BUSY), fault=BUSY)),
        (CUT, Transition(task=over(TaskState.UNKNOWN, CUT), fault=CUT)),
        *(
            (
                Report("failed", fail_code=fault.code, fail_message="it failed"),
                Transition(task=over(TaskState.FAILED, fault), fault=fault),
            )
            for fault in (BROKEN, NO_CREDIT, INVALID)
        ),
        # The review took the voice that spoke: account and route are right.
        (
            Report("failed", fail_code=UNDEPLOYED, fail_message="it failed"),
            Transition(task=over(TaskState.FAILED, TAKEN), success=True),
        ),
        (
            Report("success", created_at=SENT),
            Transition(task=succeeded(SENT, polls=2), success=True),
        ),
        (Report("processing"), Transition(task=POLLED)),
    ],
)
def test_a_control_call_proves_something_only_by_its_end(
    answer: Fault | Report, change: Transition
) -> None:
    assert after(None, CALL, answer) == change


def test_a_control_call_that_never_ends_shows_that_calls_can_be_made_and_no_more() -> None:
    old = control(sent_at=NOW - HOUR)
    expected = Transition(task=over(TaskState.UNKNOWN, NO_END), only_accepted=True)
    assert after(None, old, Report("processing")) == expected


@pytest.mark.parametrize(("fault", "accepted"), [(BUSY, True), (GONE, True), (NOT_KNOWN, False)])
def test_a_poll_of_a_control_call_without_a_report_ends_the_test(
    fault: Fault, *, accepted: bool
) -> None:
    assert after(None, CALL, fault, polled=True) == Transition(
        task=over(TaskState.UNKNOWN, fault, polls=2),
        fault=None if accepted else fault,
        only_accepted=accepted,
    )


# whatever happens


FAULTS = st.builds(
    Fault,
    st.sampled_from(Culprit),
    st.sampled_from(["400", "402", "429", "502", "no answer", UNDEPLOYED]),
    st.just("it failed"),
    st.none() | st.floats(0, 1e6),
    st.booleans(),
)
WORDS = ["OK", "DEPLOYING", "UNDEPLOYED", "TASK_TIMEOUT", "VALIDATION_ERROR", "UpstreamError"]


@st.composite
def reports(draw: st.DrawFn, now: datetime = NOW) -> Report:
    instants = st.none() | spans(-40 * DAY, 40 * DAY).map(lambda ahead: now + ahead)
    return Report(
        draw(st.sampled_from(["pending", "processing", "success", "failed", "a new word"])),
        voice_id=draw(st.sampled_from([None, ID])),
        voice_status=draw(st.none() | st.sampled_from(WORDS)),
        fail_code=draw(st.none() | st.sampled_from(WORDS)),
        created_at=draw(instants),
        answered_at=draw(instants),
    )


@st.composite
def situations(draw: st.DrawFn) -> tuple[Voice, Task]:
    """Return a voice in any state, and an open task of it sent at any time up to now."""
    instants = st.none() | spans(-40 * DAY, 40 * DAY).map(lambda ahead: NOW + ahead)
    enrolls = draw(st.booleans())
    statuses = [Status.NEW, Status.DEPLOYING] if enrolls else list(Status)
    row = voice(
        status=draw(st.sampled_from(statuses)),
        voice_id=None if enrolls else ID,
        paused=draw(st.booleans()),
        last_used_at=draw(instants),
        anchored_at=NOW + draw(spans(-40 * DAY, 40 * DAY)),
        suspected_at=draw(instants),
        controlled_at=draw(instants),
        failures=draw(st.integers(0, 5000)),
    )
    sent_at = NOW - draw(spans(0 * SECOND, 40 * DAY))
    return row, (enrollment if enrolls else keepalive)(sent_at=sent_at)


@st.composite
def changes(draw: st.DrawFn) -> tuple[Voice, Task, Policy, Transition]:
    """Return what any answer changes in any situation."""
    row, task = draw(situations())
    policy = draw(policies())
    answers = st.just(ACCEPTED) | reports() | FAULTS | st.none()
    change = after(row, task, draw(answers), polled=draw(st.booleans()), policy=policy)
    return row, task, policy, change


@given(changes())
def test_whatever_is_answered_all_that_is_open_has_its_time_and_each_new_status_is_told_once(
    case: tuple[Voice, Task, Policy, Transition],
) -> None:
    row, _, policy, change = case
    due = change.voice.get("next_at")
    assert due is None or (NOW <= due <= NOW + policy.interval and not row.paused)
    poll_at = change.task.get("next_poll_at")
    if change.task.get("state", TaskState.RUNNING) is TaskState.RUNNING:
        assert poll_at is not None
        assert NOW < poll_at <= NOW + max(policy.give_up, policy.retry_cap)
    else:
        assert poll_at is None
        assert change.task["finished_at"] == NOW
    changed = [t for t in change.entries if t.event is Event.VOICE_STATUS_CHANGED]
    status = change.voice.get("status", row.status)
    assert changed == ([] if status is row.status else [became(row.status, status)])
    assert (status is Status.LOST is not row.status) == ("voice.lost" in told(change))


LEGAL = {
    Status.LOST: {Status.OK, Status.UNDEPLOYED},
    Status.NEW: {
        *(Status.DEPLOYING, Status.OK, Status.FAILED, Status.UNKNOWN),
        *(Status.LOST, Status.UNDEPLOYED),
    },
    Status.DEPLOYING: {
        *(Status.OK, Status.FAILED, Status.UNKNOWN),
        *(Status.LOST, Status.UNDEPLOYED),
    },
    Status.OK: {Status.LOST, Status.UNDEPLOYED},
}


Draw = Callable[[st.SearchStrategy[Any]], Any]


@dataclass
class Life:
    """One voice with one open task at a time, and a witness who remembers what was blamed.

    Attributes:
        row, task: as the rules left them.
        now: the only clock.
        blamed: whether an answer has blamed the voice since it last spoke.
        cleared: when a control call succeeded after that, if one did.
        enrollments: how many were, or may have been, accepted and charged.
    """

    policy: Policy
    row: Voice
    now: datetime = NOW
    task: Task | None = None
    blamed: bool = False
    cleared: datetime | None = None
    enrollments: int = 0

    def live(self, draw: Draw) -> bool:
        """Take the next step; return whether there was one."""
        self.now += draw(spans(SECOND, DAY))
        if self.row.suspected_at and not self.row.controlled_at and draw(st.booleans()):
            self.row.controlled_at = self.cleared = self.now
        if self.task is None:
            return self._claim()
        if self.task.state is TaskState.INTENT:
            self._submit(self.task, draw)
        else:
            self._ask(self.task, draw)
        return True

    def _claim(self) -> bool:
        if self.row.next_at is None:
            return False
        self.now = max(self.now, self.row.next_at)
        speaks = self.row.voice_id is not None
        assert speaks or self.row.status is Status.NEW
        make = keepalive if speaks else enrollment
        self.task = make(state=TaskState.INTENT, sent_at=self.now, task_id=None)
        self.row.next_at = self.now + self.policy.longest_call if speaks else None
        return True

    def _submit(self, task: Task, draw: Draw) -> None:
        answer = draw(st.sampled_from(["accepted", "refused", "crash"]))
        fault = draw(FAULTS) if answer == "refused" else None
        given = {"accepted": ACCEPTED, "refused": fault, "crash": None}[answer]
        change = after(self.row, task, given, now=self.now, policy=self.policy)
        if task.kind.is_enrollment and (fault is None or fault.ambiguous):
            self.enrollments += 1
        blames = fault is not None and fault.culprit is Culprit.VOICE
        self._apply(task, change, blames=blames and not task.kind.is_enrollment)

    def _ask(self, task: Task, draw: Draw) -> None:
        if draw(st.booleans()):
            fault = draw(FAULTS)
            change = after(self.row, task, fault, polled=True, now=self.now, policy=self.policy)
            self._apply(task, change, blames=False)
            return
        report = draw(reports(self.now))
        change = after(self.row, task, report, now=self.now, policy=self.policy)
        code = report.fail_code or report.voice_status
        blames = report.state == "failed" and code in ("VALIDATION_ERROR", "UNDEPLOYED")
        if task.kind.is_enrollment and change.voice.get("status") is Status.UNDEPLOYED:
            assert "UNDEPLOYED" in (report.fail_code, report.voice_status)
        self._apply(task, change, blames=blames and not task.kind.is_enrollment)

    def _apply(self, task: Task, change: Transition, *, blames: bool) -> None:
        before, after = self.row.status, change.voice.get("status", self.row.status)
        if after is not before:
            assert after in LEGAL[before]
        gone = after is not before and after in (Status.LOST, Status.UNDEPLOYED)
        if gone and not task.kind.is_enrollment:
            assert blames
            assert self.blamed
            assert self.cleared is not None
            assert self.cleared <= task.sent_at
        if gone and task.kind.is_enrollment:
            assert after is Status.UNDEPLOYED
        if change.success:
            self.blamed, self.cleared = False, None
        self.blamed |= blames
        for column, value in change.voice.items():
            setattr(self.row, column, value)
        for column, value in change.task.items():
            setattr(task, column, value)
        self.task = task if task.state is TaskState.RUNNING else None

    def check(self) -> None:
        """Assert what must hold between any two steps."""
        row = self.row
        kept = row.status in (Status.NEW, Status.DEPLOYING, Status.OK)
        if self.task is None and row.status is not Status.LOST:
            assert (row.next_at is not None) == kept, "kept, or over, and nothing between"
        if self.task is None and row.status is Status.LOST and row.next_at is None:
            assert self.now >= schedule.deadline(row.anchored_at, self.policy), "not tried on"
        if row.status is Status.OK:
            assert row.voice_id is not None
        assert self.enrollments <= 1, "nothing is paid for twice"
        assert row.last_used_at is None or row.last_used_at <= self.now


@settings(max_examples=60)
@given(policies(), st.booleans(), st.data())
def test_every_life_keeps_to_the_legal_ways_and_no_voice_is_forgotten_or_paid_for_twice(
    policy: Policy,
    imported: bool,  # noqa: FBT001 - drawn
    data: st.DataObject,
) -> None:
    row = (
        voice(status=Status.NEW, origin=Origin.IMPORTED, last_used_at=None, next_at=NOW)
        if imported
        else new_voice(next_at=NOW)
    )
    life = Life(policy, row)
    for _ in range(40):
        if not life.live(data.draw):
            break
        life.check()
