"""What a person is told of: how loud, when first, when again, and when no more."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.examples import DAY, HOUR, MINUTE, NOW, POLICY, SECOND, voice
from voicekeeper.core import alerting
from voicekeeper.core.events import Event, Level
from voicekeeper.core.models import AlertKind, Breaker, Status
from voicekeeper.core.requests import FLASH


def anchored(left: timedelta, window: timedelta = 7 * DAY) -> datetime:
    """Return the last use of a voice with so much of its window left."""
    return NOW - window + left


# how loud


@pytest.mark.parametrize(
    ("left", "risky", "dire"),
    [
        (48 * HOUR, False, False),
        (48 * HOUR - SECOND, True, False),
        (12 * HOUR, True, False),
        (12 * HOUR - SECOND, True, True),
        (-HOUR, True, True),
    ],
)
def test_a_voice_is_at_risk_under_48_hours_and_more_so_under_12(
    left: timedelta, *, risky: bool, dire: bool
) -> None:
    assert (anchored(left) < alerting.risky_before(NOW, POLICY)) is risky
    assert (anchored(left) < alerting.dire_before(NOW, POLICY)) is dire
    kept = voice(anchored_at=anchored(left))
    assert alerting.is_at_risk(kept, now=NOW, policy=POLICY) is risky


@pytest.mark.parametrize(
    "columns", [{"next_at": None}, {"voice_id": None}, {"status": Status.LOST}], ids=str
)
def test_a_voice_that_is_not_kept_is_not_at_risk(columns: dict[str, Any]) -> None:
    unkept = voice(anchored_at=anchored(HOUR), **columns)
    assert not alerting.is_at_risk(unkept, now=NOW, policy=POLICY)


@pytest.mark.parametrize(
    ("window", "interval", "risky", "dire"),
    [
        (7 * DAY, 3 * DAY, 2 * DAY, 12 * HOUR),
        (7 * DAY, DAY, 2 * DAY, 12 * HOUR),
        (7 * DAY, 6 * DAY, 12 * HOUR, 3 * HOUR),
        (70 * SECOND, 30 * SECOND, 20 * SECOND, 5 * SECOND),
        (14 * DAY, 3 * DAY, 4 * DAY, DAY),
    ],
)
def test_both_bounds_follow_the_window_and_leave_an_ordinary_turn_alone(
    window: timedelta, interval: timedelta, risky: timedelta, dire: timedelta
) -> None:
    policy = replace(POLICY, window=window, interval=interval)
    assert alerting.risky_before(NOW, policy) == anchored(risky, window)
    assert alerting.dire_before(NOW, policy) == anchored(dire, window)
    assert NOW - interval > alerting.risky_before(NOW, policy)


@pytest.mark.parametrize(
    ("kind", "left", "level"),
    [
        (AlertKind.RISK, DAY, "warning"),
        (AlertKind.RISK, 12 * HOUR, "warning"),
        (AlertKind.RISK, 12 * HOUR - SECOND, "error"),
        (AlertKind.LOST, DAY, "error"),
        (AlertKind.LOST, -DAY, "error"),
        (AlertKind.UNDEPLOYED, HOUR, "warning"),
    ],
)
def test_an_alert_is_as_loud_as_its_event_and_a_risk_by_the_time_left(
    kind: AlertKind, left: timedelta, level: Level
) -> None:
    assert alerting.level(kind, anchored(left), now=NOW, policy=POLICY) == level


# why


def test_a_risk_is_blamed_on_paused_calls_before_the_voices_own_failure() -> None:
    paused = Breaker(model=FLASH, opened_at=NOW, cause="the account is empty")
    flowing = Breaker(model=FLASH, run=2, cause=None)
    failed, untried = voice(last_error="502: bad gateway"), voice()
    assert alerting.cause_of_risk(failed, paused) == "the account is empty"
    assert alerting.cause_of_risk(failed, flowing) == "502: bad gateway"
    assert alerting.cause_of_risk(failed, None) == "502: bad gateway"
    assert alerting.cause_of_risk(untried, None) == "no keepalive has been made in time"


# when


def test_a_small_step_of_the_clock_repeats_nothing_and_a_wrong_clock_silences_nothing() -> None:
    due, next_try = NOW + alerting.AGAIN, NOW + POLICY.retry_cap
    assert due <= alerting.latest_turn(NOW - MINUTE)
    assert due > alerting.latest_turn(NOW - 2 * HOUR)
    assert next_try <= alerting.latest_send(NOW - MINUTE, POLICY)
    assert next_try > alerting.latest_send(NOW - 2 * HOUR, POLICY)


def test_the_grace_is_a_thousandth_of_the_window_and_holds_two_looks() -> None:
    policy = replace(POLICY, window=1_000 * MINUTE)
    assert alerting.grace(policy) == MINUTE
    assert alerting.pace(policy) == 30 * SECOND


# messages


def waiting(**fields: Any) -> alerting.Waiting:  # noqa: ANN401 - any of its fields
    usual: dict[str, Any] = {
        "oldest": NOW - 5 * MINUTE,
        "newest": NOW - 2 * MINUTE,
        "news": 0,
        "repeats": 0,
        "ends": 0,
        "holding": 0,
        "last_at": None,
    }
    return alerting.Waiting(**(usual | fields))


@pytest.mark.parametrize(
    ("fields", "due"),
    [
        ({"news": 1}, True),
        ({"news": 1, "newest": NOW - MINUTE}, True),
        ({"news": 1, "newest": NOW - 59 * SECOND}, False),  # more may come
        ({"news": 1, "newest": NOW, "oldest": NOW - 10 * MINUTE}, True),  # long enough
        ({"news": 1, "newest": NOW, "oldest": NOW - 9 * MINUTE}, False),
        ({"news": 1, "last_at": NOW - 59 * MINUTE}, False),  # gathered
        ({"news": 1, "last_at": NOW}, False),
        ({"news": 1, "last_at": NOW - HOUR}, True),
        ({"news": 1, "last_at": NOW + 30 * DAY}, True),  # by a wrong clock
        ({"ends": 1}, True),
        ({"ends": 1, "last_at": NOW - MINUTE}, True),  # good news waits for nothing
        ({"ends": 1, "newest": NOW}, False),
        ({"ends": 9, "holding": 1}, False),
        ({"ends": 1, "holding": 1, "repeats": 1, "newest": NOW}, True),
        ({"repeats": 1, "last_at": NOW}, True),
    ],
    ids=str,
)
def test_a_message_waits_until_its_kind_is_settled(fields: dict[str, Any], *, due: bool) -> None:
    assert alerting.is_message_due(waiting(**fields), now=NOW, policy=POLICY) is due


def test_a_kind_is_settled_after_a_minute_of_seven_days() -> None:
    assert alerting.settling(POLICY) == MINUTE
    assert alerting.settling(replace(POLICY, window=10_080 * SECOND)) == SECOND


def test_after_a_run_nothing_more_is_waited_for() -> None:
    new = waiting(news=1, newest=NOW)
    assert not alerting.is_message_due(new, now=NOW, policy=POLICY)
    assert alerting.is_message_due(new, now=NOW, policy=POLICY, settled=True)


@pytest.mark.parametrize(
    ("tries", "age", "outdated", "wait"),
    [
        (1, MINUTE, False, 30 * SECOND),
        (2, MINUTE, False, MINUTE),
        (5, MINUTE, True, 8 * MINUTE),
        (9, 6 * DAY, False, HOUR),
        (10_000, 7 * DAY, False, HOUR),
        (9, 7 * DAY + SECOND, False, None),
        (9, DAY, True, HOUR),
        (9, DAY + SECOND, True, None),
    ],
)
def test_a_message_that_fails_is_tried_again_and_given_up_in_the_end(
    tries: int, age: timedelta, wait: timedelta | None, *, outdated: bool
) -> None:
    again = alerting.send_again_at(
        tries, made_at=NOW - age, outdated=outdated, now=NOW, policy=POLICY
    )
    assert again == (None if wait is None else NOW + wait)


@pytest.mark.parametrize("tries", [21, 22, 23, 5_000])
def test_the_wait_for_a_message_is_doubled_twenty_times_at_most(tries: int) -> None:
    patient = replace(POLICY, retry_base=SECOND, retry_cap=90 * DAY)
    again = alerting.send_again_at(tries, made_at=NOW, outdated=False, now=NOW, policy=patient)
    assert again == NOW + 2**20 * SECOND


@pytest.mark.parametrize(
    ("event", "status", "ends"),
    [
        (Event.ENROLLMENT_SUCCEEDED, Status.OK, True),
        (Event.ENROLLMENT_FAILED, Status.FAILED, True),
        (Event.ENROLLMENT_FAILED, Status.UNKNOWN, True),
        (Event.ENROLLMENT_FAILED, Status.UNDEPLOYED, False),  # an alert of its own
        (Event.ENROLLMENT_FAILED, Status.NEW, False),  # to be tried again
        (Event.ENROLLMENT_FAILED, Status.DEPLOYING, False),  # a keepalive tries it
        (Event.ENROLLMENT_SUBMITTED, Status.DEPLOYING, False),
        (Event.KEEPALIVE_FAILED, Status.UNKNOWN, False),
    ],
)
def test_the_end_of_an_enrollment(event: Event, status: Status, *, ends: bool) -> None:
    assert alerting.ends_enrollment(event, status) is ends
