"""What an answer changes and tells, in full: every column it sets and every field it tells."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

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
    voice,
)
from voicekeeper import lifecycle, schedule
from voicekeeper.answers import Accepted, Report
from voicekeeper.events import Event
from voicekeeper.facts import is_another_voice
from voicekeeper.lifecycle import Change, TaskFields, Telling
from voicekeeper.lifecycle.change import INTERRUPTED, NO_END, status_told
from voicekeeper.lifecycle.enrollment import afresh
from voicekeeper.models import Origin, Status, Task, TaskState, Voice
from voicekeeper.verdict import UNDEPLOYED, Blame, Fault

PLAIN = replace(POLICY, jitter=0 * SECOND)
ID = "cosyvoice-v3-flash-anna"
BUSY = Fault(Blame.UPSTREAM, "429", "the gateway answered 429: slow down")
BAD_REQUEST = Fault(Blame.REQUEST, "400", "the gateway answered 400: fix the request")
GONE = Fault(Blame.NOBODY, "404", "the gateway answered 404: no such task")
TIMED_OUT = Report("failed", voice_id=ID, fail_code="TASK_TIMEOUT", fail_message="too slow")
DEPLOYING: dict[str, Any] = {"status": Status.DEPLOYING}
SUSPECT: dict[str, Any] = {"suspected_at": NOW - HOUR, "controlled_at": NOW - MINUTE}


def reported(row: Voice, task: Task, report: Report) -> Change:
    return lifecycle.reported(row, task, report, now=NOW, policy=PLAIN)


def submitted(row: Voice, task: Task) -> Change:
    accepted = Accepted("task_2")
    return lifecycle.submitted(row, task, accepted, cost_micros=60, now=NOW, policy=PLAIN)


def became(before: Status, after: Status) -> Telling:
    return Telling(Event.VOICE_STATUS_CHANGED, {"from": before, "to": after})


def over(state: TaskState, code: str, message: str) -> TaskFields:
    """Return the columns of a task that ended now, without success."""
    columns: TaskFields = {
        "state": state,
        "finished_at": NOW,
        "next_poll_at": None,
        "code": code,
        "message": message,
    }
    if state is TaskState.REFUSED:
        columns["possible_cost_micros"] = None
    return columns


RUNNING: TaskFields = {
    "state": TaskState.RUNNING,
    "task_id": "task_2",
    "next_poll_at": NOW + 20 * SECOND,
    "cost_micros": 60,
    "possible_cost_micros": None,
}
ACCEPTED = {"task_id": "task_2", "cost_micros": 60}
NOTHING_MORE = {"possible_cost_micros": None}


def test_an_accepted_keepalive() -> None:
    assert submitted(voice(), keepalive(sent_at=NOW)) == Change(
        voice={"next_at": NOW + HOUR},
        task=RUNNING,
        tellings=(Telling(Event.KEEPALIVE_SUBMITTED, ACCEPTED),),
    )


def test_a_keepalive_whose_acceptance_came_late_is_asked_for_before_its_voice_is_due() -> None:
    assert submitted(voice(), keepalive(sent_at=NOW - 2 * HOUR)).voice == {
        "next_at": NOW + 20 * SECOND
    }


def test_an_accepted_keepalive_of_a_voice_whose_time_is_over_is_the_last() -> None:
    late = voice(status=Status.LOST, anchored_at=NOW - 14 * DAY)
    assert submitted(late, keepalive(sent_at=NOW)).voice == {"next_at": None}


def test_an_accepted_enrollment() -> None:
    assert submitted(new_voice(), enrollment(sent_at=NOW)) == Change(
        voice={"status": Status.DEPLOYING, "next_at": None, "last_error": None},
        task=RUNNING,
        tellings=(
            Telling(Event.ENROLLMENT_SUBMITTED, ACCEPTED),
            became(Status.NEW, Status.DEPLOYING),
        ),
    )


@pytest.mark.parametrize("paused", [False, True])
def test_an_enrollment_that_the_gateway_had_no_time_for(*, paused: bool) -> None:
    change = lifecycle.refused(new_voice(paused=paused), enrollment(), BUSY, now=NOW, policy=PLAIN)
    retry_at = schedule.retry_at("anna", failures=1, anchor=None, now=NOW, policy=PLAIN)
    again = None if paused else retry_at
    assert change == Change(
        voice={"failures": 1, "last_error": BUSY.message, "next_at": again},
        task=over(TaskState.REFUSED, "429", BUSY.message),
        tellings=(
            Telling(
                Event.ENROLLMENT_FAILED, {"code": "429", "error": BUSY.message, "retry_at": again}
            ),
        ),
    )


@pytest.mark.parametrize("never_ended", [False, True])
def test_an_enrollment_of_which_nobody_knows_whether_it_was_made(*, never_ended: bool) -> None:
    lost = Fault(Blame.UPSTREAM, "no answer", "no answer within 30 s", ambiguous=True)
    if never_ended:
        lost, old = NO_END, enrollment(sent_at=NOW - HOUR)
        change = reported(new_voice(**DEPLOYING), old, Report("processing"))
    else:
        change = lifecycle.refused(new_voice(), enrollment(), lost, now=NOW, policy=PLAIN)
    assert change.voice["status"] is Status.UNKNOWN
    assert change.voice["next_at"] is None
    assert change.task == over(TaskState.UNKNOWN, lost.code, lost.message)


def test_an_enrollment_that_breaks_a_rule() -> None:
    change = lifecycle.refused(new_voice(), enrollment(), BAD_REQUEST, now=NOW, policy=PLAIN)
    told = {"code": "400", "error": BAD_REQUEST.message, "task_id": "task_1", **NOTHING_MORE}
    assert change == Change(
        voice={
            "status": Status.FAILED,
            "voice_id": None,
            "next_at": None,
            "failures": 1,
            "last_error": BAD_REQUEST.message,
        },
        task=over(TaskState.REFUSED, "400", BAD_REQUEST.message),
        tellings=(Telling(Event.ENROLLMENT_FAILED, told), became(Status.NEW, Status.FAILED)),
    )


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (UNDEPLOYED, Status.UNDEPLOYED),
        ("SensitiveContentDetected", Status.FAILED),
        ("INSUFFICIENT_CREDITS", Status.FAILED),
    ],
)
def test_an_enrollment_that_made_no_voice(code: str, status: Status) -> None:
    report = Report("failed", fail_code=code, fail_message="not this voice")
    change = reported(new_voice(**DEPLOYING), enrollment(), report)
    told = {"code": code, "error": "not this voice", "task_id": "task_1", **NOTHING_MORE}
    assert change.task == over(TaskState.FAILED, code, "not this voice")
    assert change.voice == {
        "status": status,
        "voice_id": None,
        "next_at": None,
        "failures": 1,
        "last_error": f"{code}: not this voice",
    }
    taken = [Telling(Event.VOICE_UNDEPLOYED, {"error": f"{code}: not this voice"})]
    assert change.tellings == (
        Telling(Event.ENROLLMENT_FAILED, told),
        became(Status.DEPLOYING, status),
        *(taken if status is Status.UNDEPLOYED else []),
    )
    assert change.fault is None  # what was too little for it may be enough for keepalives


def test_an_enrollment_that_may_have_made_a_voice() -> None:
    assert reported(new_voice(**DEPLOYING), enrollment(), TIMED_OUT) == Change(
        voice={
            "voice_id": ID,
            "enrolled_at": NOW - 30 * SECOND,
            "anchored_at": NOW - 30 * SECOND,
            "failures": 0,
            "status": Status.DEPLOYING,
            "last_error": "TASK_TIMEOUT: too slow",
            "next_at": NOW,
        },
        task=over(TaskState.FAILED, "TASK_TIMEOUT", "too slow"),
        tellings=(
            Telling(
                Event.ENROLLMENT_FAILED,
                {"code": "TASK_TIMEOUT", "error": "too slow", "task_id": "task_1", "retry_at": NOW},
            ),
        ),
    )


@pytest.mark.parametrize("skew", [0 * DAY, 30 * DAY])
def test_an_enrollment_that_made_a_voice_is_reckoned_by_the_gateways_own_clock(
    skew: timedelta,
) -> None:
    created_at = NOW - skew - 40 * SECOND
    report = Report("success", voice_id=ID, created_at=created_at, answered_at=NOW - skew)
    change = lifecycle.reported(
        new_voice(**DEPLOYING), enrollment(), report, now=NOW, policy=POLICY
    )
    assert change == Change(
        voice={
            "voice_id": ID,
            "enrolled_at": created_at,
            "anchored_at": created_at,
            "failures": 0,
            "last_error": None,
            "status": Status.OK,
            "next_at": schedule.due(NOW - 40 * SECOND, "anna", POLICY),
        },
        task={
            "state": TaskState.SUCCESS,
            "created_at": created_at,
            "finished_at": NOW,
            "next_poll_at": None,
            "polls": 1,
        },
        tellings=(
            Telling(Event.ENROLLMENT_SUCCEEDED, {"task_id": "task_1"}),
            became(Status.DEPLOYING, Status.OK),
        ),
        success=True,
    )


def test_a_late_report_of_a_voice_that_spoke_meanwhile_changes_only_its_task() -> None:
    spoke = voice(last_used_at=NOW - SECOND)
    assert reported(spoke, enrollment(), TIMED_OUT) == Change(
        task=over(TaskState.FAILED, "TASK_TIMEOUT", "too slow")
    )
    old = enrollment(sent_at=NOW - HOUR)
    assert reported(spoke, old, Report("processing")) == Change(
        task=over(TaskState.UNKNOWN, NO_END.code, NO_END.message)
    )


def test_an_enrollment_that_went_well_makes_a_voice_that_spoke_meanwhile_ok() -> None:
    spoke = voice(status=Status.DEPLOYING, last_used_at=NOW - SECOND)
    change = reported(spoke, enrollment(), Report("success", voice_id=ID))
    assert change.voice["status"] is Status.OK


def test_a_task_that_is_known_no_more_leaves_the_voice_id_that_it_showed() -> None:
    row, old = new_voice(voice_id=ID, **DEPLOYING), enrollment(sent_at=NOW - HOUR)
    change = lifecycle.unanswered(row, old, GONE, now=NOW, policy=PLAIN)
    assert change.voice == {
        "enrolled_at": NOW - HOUR,
        "anchored_at": NOW - HOUR,
        "last_error": f"{NO_END.code}: {NO_END.message}",
        "next_at": NOW,
    }
    assert change.tellings == (
        Telling(
            Event.ENROLLMENT_FAILED,
            {"code": NO_END.code, "error": NO_END.message, "task_id": "task_1", "retry_at": NOW},
        ),
    )


@pytest.mark.parametrize(
    ("code", "age", "status", "retry_at"),
    [
        ("VALIDATION_ERROR", 3 * DAY, Status.LOST, NOW + HOUR),
        ("VALIDATION_ERROR", 8 * DAY, Status.LOST, NOW + DAY),
        ("VALIDATION_ERROR", 14 * DAY, Status.LOST, None),
        (UNDEPLOYED, 3 * DAY, Status.UNDEPLOYED, None),
    ],
)
def test_a_voice_that_is_condemned(
    code: str, age: timedelta, status: Status, retry_at: datetime | None
) -> None:
    row = voice(anchored_at=NOW - age, **SUSPECT)
    change = reported(row, keepalive(), Report("failed", fail_code=code, fail_message="gone"))
    told = {"code": code, "error": "gone", "task_id": "task_1", "retry_at": retry_at}
    event = Event.VOICE_LOST if status is Status.LOST else Event.VOICE_UNDEPLOYED
    assert change == Change(
        voice={
            "failures": 1,
            "last_error": f"{code}: gone",
            "status": status,
            "next_at": retry_at,
        },
        task={**over(TaskState.FAILED, code, "gone"), "polls": 1},
        tellings=(
            Telling(Event.KEEPALIVE_FAILED, told),
            became(Status.OK, status),
            Telling(event, {"error": f"{code}: gone"}),
        ),
    )


@pytest.mark.parametrize("age", [3 * DAY, 7 * DAY - 80 * MINUTE])
@pytest.mark.parametrize("retry_after", [None, 900.0])
@pytest.mark.parametrize("failures", [2, 9])
def test_a_keepalive_that_was_not_accepted(
    age: timedelta, retry_after: float | None, failures: int
) -> None:
    row = voice(anchored_at=NOW - age, failures=failures)
    asked = replace(BUSY, retry_after=retry_after)
    change = lifecycle.refused(row, keepalive(), asked, now=NOW, policy=PLAIN)
    again = schedule.retry_at(
        "anna",
        failures=failures + 1,
        anchor=NOW - age,
        now=NOW,
        policy=PLAIN,
        retry_after=retry_after,
    )
    told = {"code": "429", "error": BUSY.message, "task_id": "task_1", "retry_at": again}
    told |= NOTHING_MORE
    assert change == Change(
        voice={"failures": failures + 1, "last_error": BUSY.message, "next_at": again},
        task=over(TaskState.REFUSED, "429", BUSY.message),
        tellings=(Telling(Event.KEEPALIVE_FAILED, told),),
        fault=asked,
    )


def test_a_keepalive_waits_as_long_as_the_gateway_asks_within_the_deadlines_need() -> None:
    asked = replace(BUSY, retry_after=900.0)
    change = lifecycle.refused(voice(), keepalive(), asked, now=NOW, policy=PLAIN)
    assert change.voice["next_at"] == NOW + 15 * MINUTE
    late = voice(anchored_at=NOW - 7 * DAY + 20 * MINUTE)
    change = lifecycle.refused(late, keepalive(), asked, now=NOW, policy=PLAIN)
    assert change.voice["next_at"] == NOW + 10 * MINUTE


def test_an_open_keepalive_puts_off_no_voice_that_is_given_up_or_used_since_or_not_its_own() -> (
    None
):
    late = voice(status=Status.LOST, anchored_at=NOW - 14 * DAY)
    assert reported(late, keepalive(), Report("processing")).voice == {}
    used = voice(last_used_at=NOW - SECOND, anchored_at=NOW - SECOND)
    assert reported(used, keepalive(), Report("processing")).voice == {}
    remade = voice(voice_id="cosyvoice-v3-flash-anna2")
    assert reported(remade, keepalive(), Report("processing")).voice == {}


def test_a_keepalive_cut_off_by_a_crash() -> None:
    columns = over(TaskState.UNKNOWN, INTERRUPTED.code, INTERRUPTED.message)
    change = lifecycle.interrupted(voice(), keepalive(), now=NOW)
    assert change == Change(voice={"next_at": NOW}, task=columns)
    remade = voice(voice_id="cosyvoice-v3-flash-anna2")
    change = lifecycle.interrupted(remade, keepalive(), now=NOW)
    assert change == Change(task=columns)


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
    change = reported(new_voice(**DEPLOYING), task, report)
    assert (change.task.get("state") is TaskState.UNKNOWN) is is_over


def test_a_voice_id_that_only_the_last_report_shows_is_kept() -> None:
    row, old = new_voice(**DEPLOYING), enrollment(sent_at=NOW - HOUR)
    change = reported(row, old, Report("processing", voice_id=ID))
    assert change.task["state"] is TaskState.UNKNOWN
    assert change.voice["voice_id"] == ID
    assert change.voice["next_at"] == NOW


def test_a_keepalive_of_an_older_voice_proves_that_the_account_works() -> None:
    remade = voice(voice_id="cosyvoice-v3-flash-anna2")
    assert reported(remade, keepalive(), Report("success")).success is True


def test_a_use_is_followed_by_the_next_after_an_interval_less_the_voices_own_share() -> None:
    created_at = NOW - 40 * SECOND
    report = Report("success", created_at=created_at, answered_at=NOW)
    change = lifecycle.reported(voice(), keepalive(), report, now=NOW, policy=POLICY)
    assert change.voice["last_used_at"] == created_at
    assert change.voice["next_at"] == schedule.due(created_at, "anna", POLICY)


def test_a_use_noted_by_a_clock_that_is_ahead_does_not_make_each_success_be_paid_for_again() -> (
    None
):
    """Clock ahead by a month: to it, the gateway's ``createTime`` precedes a use a person told."""
    created_at = NOW - 30 * DAY - 40 * SECOND
    report = Report("success", created_at=created_at, answered_at=NOW - 30 * DAY)
    row = voice(last_used_at=NOW - 3 * DAY)
    change = lifecycle.reported(row, keepalive(), report, now=NOW, policy=POLICY)
    assert change.voice["last_used_at"] == NOW - 3 * DAY
    assert change.voice["next_at"] == schedule.due(NOW - 40 * SECOND, "anna", POLICY)


@pytest.mark.parametrize("later", [NOW - 10 * SECOND, NOW])
def test_a_slow_keepalive_leaves_a_later_use_and_its_due_time(later: datetime) -> None:
    row = voice(last_used_at=later)
    change = lifecycle.reported(row, keepalive(), Report("success"), now=NOW, policy=POLICY)
    assert change.voice["last_used_at"] == later
    assert change.voice["next_at"] == schedule.due(later, "anna", POLICY)


@pytest.mark.parametrize(
    ("code", "blame"),
    [
        ("UpstreamError", Blame.UPSTREAM),
        ("INSUFFICIENT_CREDITS", Blame.ACCOUNT),
        ("VALIDATION_ERROR", None),
    ],
)
def test_a_keepalive_of_an_older_voice_that_failed_is_the_breakers_concern_all_the_same(
    code: str, blame: Blame | None
) -> None:
    remade = voice(voice_id="cosyvoice-v3-flash-anna2")
    change = reported(remade, keepalive(), Report("failed", fail_code=code))
    assert (change.fault.blame if change.fault else None) is blame


@pytest.mark.parametrize(
    ("used", "is_since"),
    [
        (None, False),
        (NOW - MINUTE, False),
        (NOW - 30 * SECOND, False),  # the use that this very task is
        (NOW - 29 * SECOND, True),
        (NOW, True),
        (NOW + SECOND, False),  # noted by a clock that was ahead
    ],
)
def test_a_failure_counts_for_nothing_once_the_voice_was_used_since(
    used: datetime | None, *, is_since: bool
) -> None:
    change = reported(
        voice(last_used_at=used), keepalive(), Report("failed", fail_code="VALIDATION_ERROR")
    )
    assert (change.voice == {}) is is_since


def test_a_change_that_leaves_the_status_tells_nothing_of_it() -> None:
    assert status_told(voice(), {"failures": 1}) == ()
    assert status_told(voice(), {"status": Status.OK}) == ()
    assert status_told(voice(), {"status": Status.FAILED}) == (became(Status.OK, Status.FAILED),)


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
        restored_at=NOW - 8 * DAY,
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
        "restored_at": None,
        "remade_at": NOW,
    }


def test_a_paused_voice_that_is_made_again_waits_for_its_resumption() -> None:
    assert afresh(lost(paused=True), now=NOW)["next_at"] is None


@pytest.mark.parametrize(
    ("row", "remade_at"),
    [
        (lost(), NOW),
        (lost(remade_at=NOW - DAY), NOW),
        (new_voice(status=Status.FAILED), None),  # there was none before: it is the first
        (new_voice(status=Status.FAILED, remade_at=NOW - DAY), NOW - DAY),
    ],
    ids=["had a voice", "had two", "had none", "had one, and then none"],
)
def test_a_voice_is_another_one_from_when_it_lost_its_first(
    row: Voice, remade_at: datetime | None
) -> None:
    assert afresh(row, now=NOW)["remade_at"] == remade_at


@pytest.mark.parametrize(
    ("row", "another"),
    [
        (lost(origin=Origin.DESIGN, remade_at=NOW), True),
        (lost(origin=Origin.DESIGN), False),
        (lost(remade_at=NOW), False),
        (lost(origin=Origin.IMPORTED, remade_at=NOW), False),
    ],
    ids=["design, again", "design", "clone, again", "imported, again"],
)
def test_only_a_design_that_was_made_again_sounds_different(row: Voice, *, another: bool) -> None:
    assert is_another_voice(row) is another
