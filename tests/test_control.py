"""The life of a control call, from its submission to each of its ends."""

import pytest

from tests.examples import HOUR, NOW, POLICY, SECOND, keepalive
from voicekeeper.answers import Accepted, Report
from voicekeeper.events import Event
from voicekeeper.lifecycle import Change, Telling, control
from voicekeeper.lifecycle.change import INTERRUPTED, NO_END
from voicekeeper.models import Kind, Task, TaskState
from voicekeeper.verdict import Blame, Fault


def call(**columns: object) -> Task:
    row = {"kind": Kind.CONTROL, "voice_pk": None, "spoken": "longanlang_v3"}
    return keepalive(**row | columns)


def test_an_accepted_call_is_asked_for_and_told_but_proves_nothing_yet() -> None:
    change = control.submitted(
        None, call(), Accepted("task_2"), cost_micros=60, now=NOW, policy=POLICY
    )
    assert change == Change(
        task={
            "state": TaskState.RUNNING,
            "task_id": "task_2",
            "next_poll_at": NOW + 20 * SECOND,
            "cost_micros": 60,
            "possible_cost_micros": None,
        },
        tellings=(Telling(Event.CONTROL_SUBMITTED, {"task_id": "task_2", "cost_micros": 60}),),
    )


@pytest.mark.parametrize(
    ("ambiguous", "state"), [(False, TaskState.REFUSED), (True, TaskState.UNKNOWN)]
)
def test_a_refused_call_is_the_breakers_concern(
    ambiguous: bool,  # noqa: FBT001 - a column of the table
    state: TaskState,
) -> None:
    fault = Fault(Blame.UPSTREAM, "502", "the gateway answered 502", ambiguous=ambiguous)
    change = control.refused(None, call(), fault, now=NOW, policy=POLICY)
    assert change == Change(
        task={
            "state": state,
            "finished_at": NOW,
            "next_poll_at": None,
            "code": "502",
            "message": "the gateway answered 502",
            **({} if ambiguous else {"possible_cost_micros": None}),
        },
        fault=fault,
    )


def test_a_voice_that_the_review_took_shows_that_the_account_and_the_route_are_right() -> None:
    report = Report("failed", fail_code="UNDEPLOYED", fail_message="not this voice")
    change = control.reported(None, call(spoken="id-berta"), report, now=NOW, policy=POLICY)
    assert change == Change(
        task={
            "state": TaskState.FAILED,
            "finished_at": NOW,
            "next_poll_at": None,
            "code": "UNDEPLOYED",
            "message": "not this voice",
        },
        success=True,
    )


def test_only_the_end_in_success_proves_that_account_and_gateway_work() -> None:
    report = Report("success", created_at=NOW - 29 * SECOND)
    change = control.reported(None, call(polls=1), report, now=NOW, policy=POLICY)
    assert change == Change(
        task={
            "state": TaskState.SUCCESS,
            "created_at": NOW - 29 * SECOND,
            "finished_at": NOW,
            "next_poll_at": None,
            "polls": 2,
        },
        success=True,
    )


@pytest.mark.parametrize(
    ("report", "blame"),
    [
        (Report("failed", fail_code="UpstreamError"), Blame.UPSTREAM),
        (Report("failed", fail_code="INSUFFICIENT_CREDITS"), Blame.ACCOUNT),
        (Report("failed", fail_code="VALIDATION_ERROR"), Blame.VOICE),
    ],
)
def test_a_failed_call_passes_its_fault_to_the_breaker(report: Report, blame: Blame) -> None:
    change = control.reported(None, call(), report, now=NOW, policy=POLICY)
    assert change.task["state"] is TaskState.FAILED
    assert change.task["code"] == report.fail_code
    assert change.task["finished_at"] == NOW
    assert change.fault is not None
    assert change.fault.blame is blame
    assert not change.success
    assert not change.passable


def test_an_open_call_is_asked_for_again_and_counts_as_nothing() -> None:
    change = control.reported(None, call(polls=1), Report("processing"), now=NOW, policy=POLICY)
    assert change == Change(task={"polls": 2, "next_poll_at": NOW + 10 * SECOND})


def test_a_call_that_never_ends_shows_that_calls_can_be_made_and_no_more() -> None:
    old = call(sent_at=NOW - HOUR)
    change = control.reported(None, old, Report("processing"), now=NOW, policy=POLICY)
    assert change == Change(
        task={
            "state": TaskState.UNKNOWN,
            "finished_at": NOW,
            "next_poll_at": None,
            "code": NO_END.code,
            "message": NO_END.message,
        },
        passable=True,
    )


@pytest.mark.parametrize(
    "fault",
    [
        Fault(Blame.UPSTREAM, "502", "the gateway answered 502"),
        Fault(Blame.UPSTREAM, "no answer", "no answer within 30 s"),
        Fault(Blame.NOBODY, "404", "no such task"),
    ],
)
def test_a_poll_without_a_report_ends_the_test_and_shows_that_calls_can_be_made(
    fault: Fault,
) -> None:
    change = control.unanswered(None, call(polls=1), fault, now=NOW, policy=POLICY)
    assert change == Change(
        task={
            "state": TaskState.UNKNOWN,
            "finished_at": NOW,
            "next_poll_at": None,
            "code": fault.code,
            "message": fault.message,
            "polls": 2,
        },
        passable=True,
    )


def test_a_poll_refused_for_the_account_is_the_breakers_concern() -> None:
    fault = Fault(Blame.ACCOUNT, "401", "the key is not known")
    change = control.unanswered(None, call(polls=1), fault, now=NOW, policy=POLICY)
    assert change == Change(
        task={
            "state": TaskState.UNKNOWN,
            "finished_at": NOW,
            "next_poll_at": None,
            "code": "401",
            "message": "the key is not known",
            "polls": 2,
        },
        fault=fault,
    )


def test_a_call_cut_off_by_a_crash_tested_nothing() -> None:
    assert control.interrupted(None, call(), now=NOW) == Change(
        task={
            "state": TaskState.UNKNOWN,
            "finished_at": NOW,
            "next_poll_at": None,
            "code": INTERRUPTED.code,
            "message": INTERRUPTED.message,
        }
    )
