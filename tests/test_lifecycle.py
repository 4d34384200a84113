"""The life of a voice: each answer's change, and what holds for every life however it goes."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
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
from voicekeeper import lifecycle, schedule
from voicekeeper.answers import Accepted, Report
from voicekeeper.events import Event
from voicekeeper.lifecycle import Change
from voicekeeper.lifecycle.change import sentence
from voicekeeper.models import Kind, Origin, Status, Task, TaskState, Voice
from voicekeeper.schedule import Policy
from voicekeeper.terms import NEVER_KNOWN
from voicekeeper.verdict import UNDEPLOYED, Blame, Fault

PLAIN = replace(POLICY, jitter=0 * SECOND)
ID = "cosyvoice-v3-flash-anna"
SENT = NOW - 30 * SECOND

BUSY = Fault(Blame.UPSTREAM, "429", "the gateway answered 429: slow down")
BROKE = Fault(Blame.ACCOUNT, "402", "the gateway answered 402: add balance")
CUT = Fault(Blame.UPSTREAM, "no answer", "no answer within 30 s", ambiguous=True)
BAD_VOICE = Fault(Blame.VOICE, "400", "the gateway answered 400: no such voice")
BAD_REQUEST = Fault(Blame.REQUEST, "400", "the gateway answered 400: fix the request")
GONE = Fault(Blame.NOBODY, "404", "the gateway answered 404: no such task")


def told(change: Change) -> list[str]:
    """Return the names of the events, and of a change of status where it leads."""
    return [
        f"{telling.event} {telling.detail['to']}"
        if telling.event is Event.VOICE_STATUS_CHANGED
        else str(telling.event)
        for telling in change.tellings
    ]


def reported(row: Voice, task: Task, report: Report, policy: Policy = PLAIN) -> Change:
    return lifecycle.reported(row, task, report, now=NOW, policy=policy)


def refused(row: Voice, task: Task, fault: Fault) -> Change:
    return lifecycle.refused(row, task, fault, now=NOW, policy=PLAIN)


def unanswered(row: Voice, task: Task, fault: Fault) -> Change:
    return lifecycle.unanswered(row, task, fault, now=NOW, policy=PLAIN)


# -- submitted


@pytest.mark.parametrize("status", [Status.NEW, Status.DEPLOYING, Status.OK])
def test_an_accepted_keepalive_proves_nothing_of_its_voice_yet(status: Status) -> None:
    row = voice(status=status, failures=2, suspected_at=NOW - HOUR)
    change = lifecycle.submitted(
        row, keepalive(), Accepted("task_2"), cost_micros=60, now=NOW, policy=PLAIN
    )
    assert change.voice == {"next_at": SENT + HOUR}
    assert change.task == {
        "state": TaskState.RUNNING,
        "task_id": "task_2",
        "next_poll_at": NOW + 20 * SECOND,
        "cost_micros": 60,
        "possible_cost_micros": None,
    }
    assert told(change) == ["keepalive.submitted"]
    assert not change.success


def test_an_accepted_enrollment_is_deploying_and_waits_for_its_task_alone() -> None:
    row = new_voice(failures=3, last_error="the gateway answered 429: slow down")
    change = lifecycle.submitted(
        row, enrollment(), Accepted("task_2"), cost_micros=2_000, now=NOW, policy=PLAIN
    )
    assert change.voice == {"status": Status.DEPLOYING, "next_at": None, "last_error": None}
    assert change.task["state"] is TaskState.RUNNING
    assert change.task["cost_micros"] == 2_000
    assert told(change) == ["enrollment.submitted", "voice.status_changed DEPLOYING"]


# -- refused


@pytest.mark.parametrize(
    ("fault", "state"),
    [
        (BUSY, TaskState.REFUSED),
        (BROKE, TaskState.REFUSED),
        (CUT, TaskState.UNKNOWN),
    ],
)
def test_a_keepalive_that_was_not_accepted_is_tried_again_and_blames_no_voice(
    fault: Fault, state: TaskState
) -> None:
    change = refused(voice(failures=1), keepalive(), fault)
    assert change.task == {
        "state": state,
        "finished_at": NOW,
        "next_poll_at": None,
        "code": fault.code,
        "message": fault.message,
        **({} if fault.ambiguous else {"possible_cost_micros": None}),
    }
    at = change.voice["next_at"]
    assert at is not None
    assert 45 * SECOND <= at - NOW <= 75 * SECOND
    assert change.voice["failures"] == 2
    assert "status" not in change.voice
    assert "suspected_at" not in change.voice
    assert change.fault is fault
    assert told(change) == ["keepalive.failed"]


def test_a_refusal_that_blames_the_voice_makes_it_a_suspect_and_is_not_the_breakers() -> None:
    change = refused(voice(), keepalive(), BAD_VOICE)
    assert change.voice["suspected_at"] == NOW
    assert "status" not in change.voice
    assert change.voice["next_at"] is not None
    assert change.fault is None


def test_the_first_suspicion_is_kept() -> None:
    change = refused(voice(suspected_at=NOW - HOUR), keepalive(), BAD_VOICE)
    assert "suspected_at" not in change.voice


@pytest.mark.parametrize("fault", [BUSY, BROKE])
def test_an_enrollment_that_was_certainly_not_made_is_tried_again_by_itself(fault: Fault) -> None:
    change = refused(new_voice(failures=1), enrollment(), fault)
    assert change.task["state"] is TaskState.REFUSED
    assert set(change.voice) == {"failures", "last_error", "next_at"}
    at = change.voice["next_at"]
    assert at is not None
    assert 45 * SECOND <= at - NOW <= 75 * SECOND
    assert change.fault is None  # what refuses an enrollment may take a thousand keepalives
    assert told(change) == ["enrollment.failed"]


def test_an_enrollment_waits_as_long_as_the_gateway_asks() -> None:
    change = refused(new_voice(), enrollment(), replace(BUSY, retry_after=7200.0))
    assert change.voice["next_at"] == NOW + 2 * HOUR


def test_an_enrollment_whose_answer_was_lost_is_never_due_again() -> None:
    change = refused(new_voice(), enrollment(), CUT)
    assert change.voice["status"] is Status.UNKNOWN
    assert change.voice["next_at"] is None
    assert change.task["state"] is TaskState.UNKNOWN
    assert change.fault is CUT
    assert told(change) == ["enrollment.failed", "voice.status_changed UNKNOWN"]


@given(st.sampled_from(Blame), st.text(max_size=5), st.none() | st.floats(0, 1e6))
def test_no_ambiguous_fault_of_any_kind_repeats_an_enrollment(
    blame: Blame, code: str, asked: float | None
) -> None:
    fault = Fault(blame, code, "it may have been done", asked, ambiguous=True)
    change = refused(new_voice(), enrollment(), fault)
    assert (change.voice["status"], change.voice["next_at"]) == (Status.UNKNOWN, None)


@pytest.mark.parametrize(("fault", "cost"), [(CUT, 60), (BUSY, None)])
def test_a_failure_tells_what_it_may_have_cost_where_nobody_knows(
    fault: Fault, cost: int | None
) -> None:
    kept = refused(voice(), keepalive(possible_cost_micros=60), fault)
    assert kept.tellings[0].detail["possible_cost_micros"] == cost
    made = refused(new_voice(), enrollment(possible_cost_micros=60), fault)
    assert made.tellings[0].detail.get("possible_cost_micros") == cost


def test_an_enrollment_that_breaks_a_rule_of_the_gateway_has_failed() -> None:
    change = refused(new_voice(), enrollment(), BAD_REQUEST)
    assert change.voice["status"] is Status.FAILED
    assert change.voice["next_at"] is None
    assert change.voice["last_error"] == BAD_REQUEST.message
    assert change.task["state"] is TaskState.REFUSED
    assert change.fault is None
    assert told(change) == ["enrollment.failed", "voice.status_changed FAILED"]


# -- reported: keepalives


def test_a_success_is_a_use_and_clears_every_trouble() -> None:
    row = voice(
        failures=4,
        last_error="429",
        suspected_at=NOW - HOUR,
        controlled_at=NOW - 30 * MINUTE,
    )
    report = Report("success", created_at=SENT - SECOND, answered_at=NOW)
    change = reported(row, keepalive(polls=2), report)
    assert change.voice == {
        "status": Status.OK,
        "last_used_at": SENT - SECOND,
        "anchored_at": SENT - SECOND,
        "next_at": NOW + 3 * DAY - 31 * SECOND,
        "failures": 0,
        "last_error": None,
        "suspected_at": None,
        "controlled_at": None,
    }
    assert change.task == {
        "state": TaskState.SUCCESS,
        "created_at": SENT - SECOND,
        "finished_at": NOW,
        "next_poll_at": None,
        "polls": 3,
    }
    assert change.success
    assert told(change) == ["keepalive.succeeded"]
    assert change.tellings[0].detail == {
        "task_id": "task_1",
        "used_at": SENT - SECOND,
        "deadline_at": SENT - SECOND + 7 * DAY,
        "next_keepalive_at": NOW + 3 * DAY - 31 * SECOND,
    }


@pytest.mark.parametrize(
    ("created", "used"),
    [(None, SENT), (SENT + SECOND, SENT), (SENT - SECOND, SENT - SECOND), (NOW + DAY, SENT)],
)
def test_the_last_use_is_never_later_than_the_gateways_own_count(
    created: datetime | None, used: datetime
) -> None:
    change = reported(voice(), keepalive(), Report("success", created_at=created))
    assert change.voice["last_used_at"] == change.voice["anchored_at"] == used


@pytest.mark.parametrize(
    "status", [Status.NEW, Status.DEPLOYING, Status.LOST, Status.UNDEPLOYED, Status.OK]
)
def test_a_voice_that_spoke_is_ok_whatever_it_was_called_before(status: Status) -> None:
    change = reported(voice(status=status), keepalive(), Report("success"))
    assert change.voice["status"] is Status.OK
    expected = [] if status is Status.OK else ["voice.status_changed OK"]
    assert told(change) == ["keepalive.succeeded", *expected]


def test_a_slow_task_does_not_take_back_a_later_use() -> None:
    row = voice(last_used_at=NOW - HOUR)
    change = reported(row, keepalive(sent_at=NOW - 2 * HOUR), Report("success"))
    assert change.voice["last_used_at"] == NOW - HOUR
    assert change.voice["next_at"] == NOW + 3 * DAY - HOUR


def test_a_use_in_the_future_was_noted_by_a_wrong_clock_and_is_replaced() -> None:
    change = reported(voice(last_used_at=NOW + 30 * DAY), keepalive(), Report("success"))
    assert change.voice["last_used_at"] == SENT


@pytest.mark.parametrize(
    ("report", "breaker"),
    [
        (Report("failed", fail_code="UpstreamError"), Blame.UPSTREAM),
        (Report("failed", fail_code="TASK_TIMEOUT"), Blame.UPSTREAM),
        (Report("failed", fail_code="a word nobody knows"), Blame.UPSTREAM),
        (Report("failed"), Blame.UPSTREAM),
        (Report("failed", fail_code="INSUFFICIENT_CREDITS"), Blame.ACCOUNT),
    ],
)
def test_a_failed_keepalive_that_does_not_name_the_voice_is_the_breakers_concern(
    report: Report, breaker: Blame
) -> None:
    change = reported(voice(), keepalive(polls=2), report)
    assert "suspected_at" not in change.voice
    assert change.task["state"] is TaskState.FAILED
    assert change.task["polls"] == 3
    assert change.fault is not None
    assert change.fault.blame is breaker
    assert change.voice["next_at"] is not None
    assert change.voice["next_at"] > NOW


CONDEMNED = Report("failed", fail_code="VALIDATION_ERROR", fail_message="no such voice")


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
    suspected: int | None,
    controlled: int | None,
    sent: int,
    lost: bool,  # noqa: FBT001 - a column of the table
) -> None:
    row = voice(
        suspected_at=None if suspected is None else NOW - suspected * MINUTE,
        controlled_at=None if controlled is None else NOW - controlled * MINUTE,
    )
    change = reported(row, keepalive(sent_at=NOW - sent * MINUTE), CONDEMNED)
    assert (change.voice.get("status") is Status.LOST) is lost
    assert (change.voice["next_at"] == NOW + HOUR) is lost  # it is tried on, slowly
    assert ("voice.lost" in told(change)) is lost


def test_a_lost_voice_is_told_with_the_gateways_words() -> None:
    row = voice(suspected_at=NOW - HOUR, controlled_at=NOW - MINUTE)
    change = reported(row, keepalive(), CONDEMNED)
    assert told(change) == ["keepalive.failed", "voice.status_changed LOST", "voice.lost"]
    assert change.tellings[-1].detail == {"error": "VALIDATION_ERROR: no such voice"}
    assert change.fault is None


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
    status: Status,
    before: str | None,
    fault: Fault,
    is_told: bool,  # noqa: FBT001 - a column of the table
) -> None:
    row = voice(
        status=status,
        anchored_at=NOW - 8 * DAY,
        last_error=before,
        suspected_at=NOW - HOUR,
        controlled_at=NOW - MINUTE,
    )
    change = refused(row, keepalive(), fault)
    words = f"; {NEVER_KNOWN}" if is_told else ""
    assert change.voice["last_error"] == f"{sentence(fault)}{words}"
    assert ("voice.lost" in told(change)) is (fault is BAD_VOICE and status is not Status.LOST)


def test_a_voice_that_the_review_took_away_is_undeployed_and_not_lost() -> None:
    row = voice(suspected_at=NOW - HOUR, controlled_at=NOW - MINUTE)
    change = reported(row, keepalive(), Report("failed", fail_code=UNDEPLOYED))
    assert change.voice["status"] is Status.UNDEPLOYED
    assert told(change) == [
        "keepalive.failed",
        "voice.status_changed UNDEPLOYED",
        "voice.undeployed",
    ]


@pytest.mark.parametrize(("age", "lost"), [(6 * DAY, False), (7 * DAY, True)])
def test_a_voice_that_deploys_may_be_refused_for_being_early_until_its_window_is_over(
    age: timedelta,
    lost: bool,  # noqa: FBT001 - a column of the table
) -> None:
    row = voice(
        status=Status.DEPLOYING,
        anchored_at=NOW - age,
        suspected_at=NOW - HOUR,
        controlled_at=NOW - MINUTE,
    )
    change = reported(row, keepalive(), CONDEMNED)
    assert (change.voice.get("status") is Status.LOST) is lost


@pytest.mark.parametrize("status", [Status.LOST, Status.UNDEPLOYED])
@pytest.mark.parametrize("fault", [BUSY, BROKE, CUT, BAD_VOICE])
def test_a_voice_that_was_given_up_gets_one_try_for_each_word_of_a_person(
    status: Status, fault: Fault
) -> None:
    over = voice(status=status, anchored_at=NOW - 14 * DAY)
    change = refused(over, keepalive(), fault)
    assert change.voice["next_at"] is None
    assert "status" not in change.voice


@pytest.mark.parametrize("fault", [BUSY, BROKE, CUT, BAD_VOICE])
def test_a_lost_voice_is_tried_on_until_its_deadline(fault: Fault) -> None:
    change = refused(voice(status=Status.LOST), keepalive(), fault)
    at = change.voice["next_at"]
    assert at is not None
    assert NOW < at <= NOW + HOUR


def test_a_lost_voice_is_tried_once_a_day_for_one_more_window() -> None:
    """A call whose answer was lost may have been a use that nobody knows of."""
    for age, again in (
        (7 * DAY, NOW + DAY),
        (14 * DAY - SECOND, NOW + DAY),
        (14 * DAY, None),
    ):
        row = voice(
            status=Status.LOST,
            anchored_at=NOW - age,
            suspected_at=NOW - HOUR,
            controlled_at=NOW - MINUTE,
        )
        assert reported(row, keepalive(), CONDEMNED).voice["next_at"] == again


def test_a_lost_voice_is_not_announced_twice() -> None:
    row = voice(status=Status.LOST, suspected_at=NOW - HOUR, controlled_at=NOW - HOUR)
    assert told(reported(row, keepalive(), CONDEMNED)) == ["keepalive.failed"]


@pytest.mark.parametrize(
    "report", [Report("success"), CONDEMNED, Report("failed", fail_code="UpstreamError")]
)
def test_a_keepalive_of_an_older_voice_of_the_name_changes_only_its_task(report: Report) -> None:
    row = voice(voice_id="cosyvoice-v3-flash-anna2")
    change = reported(row, keepalive(spoken=ID), report)
    assert change.voice == {}
    assert change.tellings == ()
    assert change.task["finished_at"] == NOW


@pytest.mark.parametrize("state", ["pending", "processing", "something new"])
def test_an_open_keepalive_is_asked_for_again_and_its_voice_waits(state: str) -> None:
    change = reported(voice(), keepalive(polls=1), Report(state))
    assert change.task == {"polls": 2, "next_poll_at": NOW + 10 * SECOND}
    assert change.voice == {"next_at": SENT + HOUR}
    assert change.tellings == ()


def test_a_voice_whose_patience_ended_is_due_now_while_its_task_is_asked_for_still() -> None:
    row = voice(anchored_at=NOW - 7 * DAY + 2 * HOUR)
    change = reported(row, keepalive(sent_at=NOW - 20 * MINUTE), Report("processing"))
    assert change.voice == {"next_at": NOW}
    assert change.task["next_poll_at"] == NOW + 5 * MINUTE


def test_a_task_that_a_wrong_clock_sent_does_not_put_off_its_voice_beyond_the_interval() -> None:
    change = reported(voice(), keepalive(sent_at=NOW + 30 * DAY), Report("processing"))
    assert change.voice["next_at"] is not None
    assert NOW <= change.voice["next_at"] <= NOW + 3 * DAY


def test_a_keepalive_that_never_ends_is_given_up_and_tried_again() -> None:
    change = reported(voice(), keepalive(sent_at=NOW - HOUR), Report("processing"))
    assert change.task["state"] is TaskState.UNKNOWN
    assert change.voice["failures"] == 1
    assert change.voice["last_error"] == (
        "no end: the gateway accepted the task and never ended it"
    )
    assert change.voice["next_at"] is not None
    assert told(change) == ["keepalive.failed"]


# -- reported: enrollments


DEPLOYING = {"status": Status.DEPLOYING}


@pytest.mark.parametrize("voice_status", [None, "OK"])
def test_an_enrollment_that_went_well_makes_a_voice(voice_status: str | None) -> None:
    report = Report(
        "success",
        voice_id=ID,
        voice_status=voice_status,
        created_at=SENT - SECOND,
        answered_at=NOW,
    )
    change = reported(new_voice(**DEPLOYING), enrollment(polls=3), report)
    assert change.voice == {
        "voice_id": ID,
        "enrolled_at": SENT - SECOND,
        "anchored_at": SENT - SECOND,
        "failures": 0,
        "last_error": None,
        "status": Status.OK,
        "next_at": NOW + 3 * DAY - 31 * SECOND,
    }
    assert change.task["state"] is TaskState.SUCCESS
    assert change.task["polls"] == 4
    assert change.success
    assert told(change) == ["enrollment.succeeded", "voice.status_changed OK"]


@pytest.mark.parametrize(
    ("urls", "preview"), [((), None), (("https://a.example/1", "https://a.example/2"), "1")]
)
def test_the_first_url_of_a_voice_that_was_made_is_its_preview(
    urls: tuple[str, ...], preview: str | None
) -> None:
    report = Report("success", voice_id=ID, voice_status="OK", result_urls=urls)
    change = reported(new_voice(**DEPLOYING), enrollment(), report)
    assert change.preview_url == (preview and f"https://a.example/{preview}")


@pytest.mark.parametrize(
    "report",
    [
        Report("success", voice_id=ID, voice_status="DEPLOYING"),
        Report("success", voice_id=ID, voice_status="a word nobody knows"),
        Report("failed", fail_code="TASK_TIMEOUT", voice_id=ID),
        Report("failed", fail_code="TASK_TIMEOUT", voice_id=ID, voice_status="DEPLOYING"),
        Report("failed", fail_code="UpstreamError", voice_id=ID, voice_status="OK"),
    ],
)
def test_a_voice_that_may_exist_is_spoken_with_at_once(report: Report) -> None:
    change = reported(new_voice(**DEPLOYING), enrollment(), report)
    assert change.voice["voice_id"] == ID
    assert change.voice["next_at"] == NOW
    assert change.voice["status"] is Status.DEPLOYING
    assert change.task["state"] is TaskState.FAILED
    assert told(change) == ["enrollment.failed"]
    assert change.fault is None


@pytest.mark.parametrize(
    ("report", "status"),
    [
        (Report("failed", fail_code="UNDEPLOYED", voice_id=ID), Status.UNDEPLOYED),
        (Report("failed", voice_id=ID, voice_status="UNDEPLOYED"), Status.UNDEPLOYED),
        (Report("success", voice_id=ID, voice_status="UNDEPLOYED"), Status.UNDEPLOYED),
        (Report("failed", fail_code="VALIDATION_ERROR"), Status.FAILED),
        (Report("failed", fail_code="UpstreamError"), Status.FAILED),
        (Report("failed", fail_code="TASK_TIMEOUT"), Status.FAILED),
        (Report("failed", fail_code="INSUFFICIENT_CREDITS"), Status.FAILED),
        (Report("failed"), Status.FAILED),
    ],
)
def test_an_enrollment_that_failed_is_never_repeated_by_itself(
    report: Report, status: Status
) -> None:
    change = reported(new_voice(**DEPLOYING), enrollment(), report)
    assert change.voice["status"] is status
    assert change.voice["next_at"] is None
    assert change.voice["voice_id"] == report.voice_id
    assert change.task["state"] is TaskState.FAILED
    taken_away = ["voice.undeployed"] if status is Status.UNDEPLOYED else []
    assert told(change) == ["enrollment.failed", f"voice.status_changed {status}", *taken_away]


def test_the_id_of_a_voice_is_kept_from_the_first_report_that_shows_it() -> None:
    report = Report("processing", voice_id=ID, voice_status="DEPLOYING")
    change = reported(new_voice(**DEPLOYING), enrollment(polls=1), report)
    assert change.voice == {"voice_id": ID}
    assert change.task == {"polls": 2, "next_poll_at": NOW + 10 * SECOND}


@pytest.mark.parametrize(
    "report", [Report("pending"), Report("processing"), Report("success"), Report("new word")]
)
def test_an_enrollment_without_an_end_or_an_id_is_asked_for_again(report: Report) -> None:
    change = reported(new_voice(**DEPLOYING), enrollment(), report)
    assert change.voice == {}
    assert set(change.task) == {"polls", "next_poll_at"}


def test_an_enrollment_that_never_ends_but_showed_its_voice_is_spoken_with() -> None:
    row = new_voice(status=Status.DEPLOYING, voice_id=ID)
    change = reported(row, enrollment(sent_at=NOW - HOUR), Report("processing"))
    assert change.voice["next_at"] == NOW
    assert change.voice["anchored_at"] == change.voice["enrolled_at"] == NOW - HOUR
    assert "status" not in change.voice
    assert change.task["state"] is TaskState.UNKNOWN


# -- unanswered


@pytest.mark.parametrize("fault", [BUSY, BROKE, replace(CUT, ambiguous=False)])
def test_a_poll_without_an_answer_changes_no_voice_and_pauses_calls_for_the_account_only(
    fault: Fault,
) -> None:
    for row, task in ((voice(), keepalive(polls=1)), (new_voice(**DEPLOYING), enrollment(polls=1))):
        change = unanswered(row, task, fault)
        assert set(change.voice) <= {"next_at"}
        assert change.task == {"polls": 2, "next_poll_at": NOW + 10 * SECOND}
        assert change.fault is (fault if fault is BROKE else None)
        assert change.tellings == ()


def test_an_accepted_enrollment_survives_an_outage_of_any_length() -> None:
    old = enrollment(sent_at=NOW - 6 * DAY)
    change = unanswered(new_voice(**DEPLOYING), old, BUSY)
    assert change.voice == {}
    assert change.task["next_poll_at"] == NOW + HOUR


@pytest.mark.parametrize(
    ("age", "state"), [(HOUR - SECOND, None), (HOUR, TaskState.UNKNOWN), (DAY, TaskState.UNKNOWN)]
)
def test_a_task_that_the_gateway_does_not_know_is_asked_for_until_it_is_given_up(
    age: timedelta, state: TaskState | None
) -> None:
    change = unanswered(voice(), keepalive(sent_at=NOW - age), GONE)
    assert change.task.get("state") == state
    assert change.fault is None
    assert "suspected_at" not in change.voice
    assert change.voice["next_at"] is not None


# -- interrupted


def test_a_keepalive_cut_off_by_a_crash_is_simply_due_again() -> None:
    change = lifecycle.interrupted(voice(), keepalive(state=TaskState.INTENT), now=NOW)
    assert change.voice == {"next_at": NOW}
    assert change.task["state"] is TaskState.UNKNOWN
    assert change.fault is None


def test_an_enrollment_cut_off_by_a_crash_is_never_repeated_by_itself() -> None:
    change = lifecycle.interrupted(new_voice(), enrollment(state=TaskState.INTENT), now=NOW)
    assert change.voice["status"] is Status.UNKNOWN
    assert change.voice["next_at"] is None
    assert change.voice["last_error"] == (
        "interrupted: voicekeeper was stopped before the gateway answered"
    )
    assert change.task["finished_at"] == NOW
    assert change.fault is None
    assert told(change) == ["enrollment.failed", "voice.status_changed UNKNOWN"]


# -- whatever happens


FAULTS = st.builds(
    Fault,
    st.sampled_from(Blame),
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
def changes(draw: st.DrawFn) -> tuple[Voice, Task, Policy, Change]:
    """Return what any answer changes in any situation."""
    row, task = draw(situations())
    policy = draw(policies())
    match draw(st.sampled_from(["submitted", "refused", "reported", "unanswered", "interrupted"])):
        case "submitted":
            accepted = Accepted("task_2")
            change = lifecycle.submitted(
                row, task, accepted, cost_micros=60, now=NOW, policy=policy
            )
        case "refused":
            change = lifecycle.refused(row, task, draw(FAULTS), now=NOW, policy=policy)
        case "reported":
            change = lifecycle.reported(row, task, draw(reports()), now=NOW, policy=policy)
        case "unanswered":
            change = lifecycle.unanswered(row, task, draw(FAULTS), now=NOW, policy=policy)
        case _:
            change = lifecycle.interrupted(row, task, now=NOW)
    return row, task, policy, change


@given(changes())
def test_a_voice_is_never_due_in_the_past_nor_beyond_the_interval_nor_while_paused(
    case: tuple[Voice, Task, Policy, Change],
) -> None:
    row, _, policy, change = case
    at = change.voice.get("next_at")
    if row.paused:
        assert at is None
    if at is not None:
        assert NOW <= at <= NOW + policy.interval


@given(changes())
def test_a_task_is_either_asked_for_in_time_or_over(
    case: tuple[Voice, Task, Policy, Change],
) -> None:
    _, _, policy, change = case
    at = change.task.get("next_poll_at")
    if change.task.get("state", TaskState.RUNNING) is TaskState.RUNNING:
        assert at is not None
        assert NOW < at <= NOW + max(policy.give_up, policy.retry_cap)
    else:
        assert at is None
        assert change.task["finished_at"] == NOW


@given(changes())
def test_every_change_of_a_status_is_told_once_and_no_other(
    case: tuple[Voice, Task, Policy, Change],
) -> None:
    row, _, _, change = case
    changed = [t.detail for t in change.tellings if t.event is Event.VOICE_STATUS_CHANGED]
    after = change.voice.get("status", row.status)
    assert changed == ([] if after is row.status else [{"from": row.status, "to": after}])
    assert (after is Status.LOST is not row.status) == ("voice.lost" in told(change))


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
        self.row.next_at = self.now + self.policy.lease if speaks else None
        return True

    def _submit(self, task: Task, draw: Draw) -> None:
        answer = draw(st.sampled_from(["accepted", "refused", "crash"]))
        fault = draw(FAULTS) if answer == "refused" else None
        at: dict[str, Any] = {"now": self.now, "policy": self.policy}
        if fault is not None:
            change = lifecycle.refused(self.row, task, fault, **at)
        elif answer == "crash":
            change = lifecycle.interrupted(self.row, task, now=self.now)
        else:
            accepted = Accepted("task_2")
            change = lifecycle.submitted(self.row, task, accepted, cost_micros=60, **at)
        if task.kind.is_enrollment and (fault is None or fault.ambiguous):
            self.enrollments += 1
        blames = fault is not None and fault.blame is Blame.VOICE
        self._apply(task, change, blames=blames and not task.kind.is_enrollment)

    def _ask(self, task: Task, draw: Draw) -> None:
        at: dict[str, Any] = {"now": self.now, "policy": self.policy}
        if draw(st.booleans()):
            change = lifecycle.unanswered(self.row, task, draw(FAULTS), **at)
            self._apply(task, change, blames=False)
            return
        report = draw(reports(self.now))
        change = lifecycle.reported(self.row, task, report, **at)
        code = report.fail_code or report.voice_status
        blames = report.state == "failed" and code in ("VALIDATION_ERROR", "UNDEPLOYED")
        if task.kind.is_enrollment and change.voice.get("status") is Status.UNDEPLOYED:
            assert "UNDEPLOYED" in (report.fail_code, report.voice_status)
        self._apply(task, change, blames=blames and not task.kind.is_enrollment)

    def _apply(self, task: Task, change: Change, *, blames: bool) -> None:
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


def test_the_kinds_of_enrollment_are_those_whose_repetition_would_make_a_second_voice() -> None:
    assert {kind for kind in Kind if kind.is_enrollment} == {Kind.CLONE, Kind.DESIGN}
