"""Stories of bugs: clocks that were wrong, answers that came late or lacked something."""

from dataclasses import replace

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
from voicekeeper.core import breaker as breakers
from voicekeeper.core import outcome, schedule, transitions
from voicekeeper.core.models import Breaker, Kind, Status, TaskState
from voicekeeper.core.outcome import Accepted, Culprit, Fault, Outcome, Report

ID = "cosyvoice-v3-flash-anna"


def test_an_open_task_of_a_voice_used_since_does_not_make_it_due() -> None:
    row = voice(last_used_at=NOW - MINUTE, anchored_at=NOW - MINUTE, next_at=NOW + 3 * DAY)
    old = keepalive(sent_at=NOW - 2 * HOUR)
    policy = replace(POLICY, give_up=6 * HOUR)
    change = transitions.reported(row, old, Report("processing"), now=NOW, policy=policy)
    assert change.voice.get("next_at", row.next_at) == NOW + 3 * DAY


def test_an_unanswered_poll_of_an_older_task_does_not_make_a_voice_due() -> None:
    row = voice(last_used_at=NOW - MINUTE, anchored_at=NOW - MINUTE, next_at=NOW + 3 * DAY)
    old = keepalive(sent_at=NOW - 2 * HOUR)
    fault = Fault(Culprit.UPSTREAM, "502", "x")
    change = transitions.unanswered(row, old, fault, now=NOW, policy=POLICY)
    assert change.voice.get("next_at", row.next_at) == NOW + 3 * DAY


def test_a_failure_of_a_task_older_than_the_last_use_changes_nothing_of_the_voice() -> None:
    row = voice(last_used_at=NOW - MINUTE, anchored_at=NOW - MINUTE, next_at=NOW + 3 * DAY)
    old = keepalive(sent_at=NOW - HOUR)
    for report in (Report("processing"), Report("failed", fail_code="VALIDATION_ERROR")):
        change = transitions.reported(row, old, report, now=NOW, policy=POLICY)
        assert change.voice == {}


def test_an_open_task_of_a_voice_given_up_does_not_make_it_due() -> None:
    row = voice(status=Status.LOST, next_at=None, anchored_at=NOW - 14 * DAY)
    change = transitions.reported(row, keepalive(), Report("processing"), now=NOW, policy=POLICY)
    assert change.voice.get("next_at") is None


def test_an_open_task_of_an_older_voice_of_the_name_changes_only_itself() -> None:
    row = new_voice(next_at=NOW + HOUR, failures=5)  # a retry of the enrollment backs off
    for change in (
        transitions.reported(row, keepalive(), Report("processing"), now=NOW, policy=POLICY),
        transitions.unanswered(
            row, keepalive(), Fault(Culprit.NOBODY, "404", "x"), now=NOW, policy=POLICY
        ),
        transitions.unanswered(
            row, keepalive(), Fault(Culprit.UPSTREAM, "502", "x"), now=NOW, policy=POLICY
        ),
        transitions.interrupted(row, keepalive(state=TaskState.INTENT), now=NOW),
    ):
        assert change.voice == {}


def test_the_id_that_an_earlier_report_showed_is_spoken_with_after_a_timeout() -> None:
    row = new_voice(status=Status.DEPLOYING, voice_id=ID)
    report = Report("failed", fail_code="TASK_TIMEOUT")
    change = transitions.reported(row, enrollment(), report, now=NOW, policy=POLICY)
    assert change.voice["status"] is Status.DEPLOYING
    assert change.voice["next_at"] == NOW


def test_a_success_without_the_id_that_an_earlier_report_showed_is_a_success() -> None:
    row = new_voice(status=Status.DEPLOYING, voice_id=ID)
    change = transitions.reported(row, enrollment(), Report("success"), now=NOW, policy=POLICY)
    assert change.voice["status"] is Status.OK


def test_a_failed_enrollment_that_names_a_voice_is_spoken_with_unless_the_review_took_it() -> None:
    for code in ("UpstreamError", "PROCESSING_TIMEOUT", "a new word", None):
        report = Report("failed", fail_code=code, voice_id=ID)
        assert outcome.of_report(Kind.CLONE, report)[0] is Outcome.DEPLOYED_LATER, code


def test_a_late_success_without_a_date_is_followed_before_the_deadline() -> None:
    sent_at = NOW - 7 * DAY + 3 * HOUR
    due = schedule.next_keepalive(
        "anna", sent_at=sent_at, created_at=sent_at, answered_at=None, now=NOW, policy=POLICY
    )
    assert due < schedule.deadline(sent_at, POLICY)


def test_patience_past_the_deadline_is_as_long_as_with_time_to_spare() -> None:
    ends = schedule.repeat_open_at(sent_at=NOW, anchor=NOW - 8 * DAY, policy=POLICY)
    assert ends == NOW + POLICY.give_up


def test_a_clock_set_back_during_a_call_does_not_make_the_voice_due_at_once() -> None:
    task = keepalive(sent_at=NOW + 30 * DAY)
    change = transitions.submitted(
        voice(), task, Accepted("t"), cost_micros=60, now=NOW, policy=POLICY
    )
    next_at = change.voice["next_at"]
    assert next_at is not None
    assert NOW <= next_at <= NOW + POLICY.interval


def test_patience_with_a_task_that_a_wrong_clock_sent_does_end() -> None:
    now, row, task = NOW, voice(next_at=NOW), keepalive(sent_at=NOW + 30 * DAY)
    for _ in range(1000):
        now += 10 * SECOND
        change = transitions.reported(row, task, Report("processing"), now=now, policy=POLICY)
        next_at = change.voice["next_at"]
        if change.task.get("state") or (next_at is not None and next_at <= now):
            return
        task.polls = change.task["polls"]
    raise AssertionError("after 1000 polls in 2 h 46 min the voice still waits")


def test_a_control_task_that_is_not_known_blames_nobody() -> None:
    breaker = Breaker(model="m", run=0, probes=0)
    fields = breakers.after_control_fault(
        breaker,
        Fault(Culprit.NOBODY, "404", "no such task"),
        is_ours=False,
        anchor=None,
        now=NOW,
        policy=POLICY,
    )
    assert fields.get("opened_at") is None


def test_a_very_long_base_does_not_overflow() -> None:
    policy = replace(POLICY, retry_base=36_500 * DAY, retry_cap=36_500 * DAY)
    schedule.retry_at("anna", failures=30, anchor=None, now=NOW, policy=policy)


# 14 an enrollment's late word about a voice that was used since
def test_an_enrollment_that_ends_late_does_not_take_back_a_use() -> None:
    row = voice(
        status=Status.OK, last_used_at=NOW - MINUTE, anchored_at=NOW - MINUTE, next_at=NOW + 3 * DAY
    )
    for report in (Report("processing"), Report("failed", fail_code="TASK_TIMEOUT", voice_id=ID)):
        task = enrollment(sent_at=NOW - HOUR)
        change = transitions.reported(row, task, report, now=NOW, policy=POLICY)
        assert change.voice.get("status", Status.OK) is Status.OK, report
        assert change.voice.get("next_at", row.next_at) == NOW + 3 * DAY, report
        assert change.voice.get("anchored_at", row.anchored_at) == NOW - MINUTE, report
