"""When: the tables of the rules, and the bounds they promise for every setting and clock."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import DAY, HOUR, MINUTE, NOW, POLICY, SECOND, policies, spans, voice
from voicekeeper.core import schedule
from voicekeeper.core.models import Kind
from voicekeeper.core.schedule import Policy

NAMES = st.text(min_size=1, max_size=8)
AGES = spans(-40 * DAY, 40 * DAY)
"""How long ago something was, by a host's clock that may have been wrong by weeks."""

PLAIN = replace(POLICY, jitter=0 * SECOND)
"""Without jitter, so that a table can name the instant."""


KEPT = replace(POLICY, keep_history=365 * DAY)


@pytest.mark.parametrize(
    ("last_use", "since"),
    [
        (NOW, NOW - 365 * DAY),
        (NOW - DAY, NOW - 366 * DAY),
        (NOW + DAY, NOW - 365 * DAY),
        (NOW - 700 * DAY, NOW - 1065 * DAY),  # a clock that is ahead makes nothing old
        (None, None),
    ],
)
def test_a_history_is_kept_from_the_last_use_or_from_now_the_earlier_of_both(
    last_use: datetime | None, since: datetime | None
) -> None:
    assert schedule.kept_since(NOW, last_use, KEPT) == since


def test_a_history_that_is_kept_for_ever_has_no_end() -> None:
    assert schedule.kept_since(NOW, NOW, replace(KEPT, keep_history=None)) is None


@pytest.mark.parametrize(
    ("keeps", "every"),
    [(365 * DAY, 31536 * SECOND), (10 * DAY, 864 * SECOND), (MINUTE, 10 * SECOND), (None, DAY)],
)
def test_what_is_old_is_looked_for_every_day_and_more_often_where_less_is_kept(
    keeps: timedelta | None, every: timedelta
) -> None:
    assert replace(POLICY, tick=10 * SECOND, keep_history=keeps).prunes_every == every


@given(NAMES, st.integers(0, 1000))
def test_a_share_of_the_jitter_is_below_one(name: str, turn: int) -> None:
    assert 0 <= schedule.jitter_share(name, turn) < 1


def test_the_share_of_a_voice_never_changes_with_a_release() -> None:
    assert schedule.jitter_share("anna") == pytest.approx(0.2244, abs=1e-4)
    assert schedule.jitter_share("anna", 1) == pytest.approx(0.5853, abs=1e-4)


def test_a_fleet_imported_at_once_spreads_evenly_over_the_jitter() -> None:
    dues = [schedule.due(NOW, f"voice-{number}", POLICY) for number in range(1200)]
    quarters = [int((NOW + 3 * DAY - due) / (3 * HOUR)) for due in dues]
    assert all(250 < quarters.count(quarter) < 350 for quarter in range(4))


@pytest.mark.parametrize(
    ("created", "used"),
    [
        (None, NOW),
        (NOW - 2 * SECOND, NOW - 2 * SECOND),
        (NOW + 2 * SECOND, NOW),
        (NOW - 30 * DAY, NOW - 30 * DAY),
        (NOW + 30 * DAY, NOW),
    ],
)
def test_the_last_use_is_the_earlier_of_two_clocks(created: object, used: object) -> None:
    assert schedule.last_use(NOW, created) == used  # type: ignore[arg-type]


@given(NAMES, policies())
def test_a_voice_is_due_within_the_jitter_before_the_interval_ends(
    name: str, policy: Policy
) -> None:
    due = schedule.due(NOW, name, policy)
    assert NOW + policy.interval - policy.jitter <= due <= NOW + policy.interval
    assert due < schedule.deadline(NOW, policy)


@pytest.mark.parametrize(
    ("last_used_at", "enrolled_at", "at"),
    [
        (NOW - DAY, NOW - 30 * DAY, NOW + 6 * DAY),
        (NOW - DAY, None, NOW + 6 * DAY),
        (NOW - 9 * DAY, None, NOW - 2 * DAY),  # over
        (None, NOW - DAY, NOW + 6 * DAY),  # it has not spoken yet
        (None, None, None),
    ],
)
def test_a_deadline_is_known_from_the_last_use_else_from_the_enrollment_and_never_assumed(
    last_used_at: datetime | None, enrolled_at: datetime | None, at: datetime | None
) -> None:
    row = voice(last_used_at=last_used_at, enrolled_at=enrolled_at, anchored_at=NOW - 3 * DAY)
    assert schedule.known_deadline(row, POLICY) == at


@given(NAMES, policies())
def test_a_voice_whose_last_use_nobody_told_is_due_at_once(name: str, policy: Policy) -> None:
    anchor = schedule.assumed_anchor(NOW, policy)
    assert schedule.due(anchor, name, policy) <= NOW
    assert schedule.deadline(anchor, policy) > NOW


EVER = datetime(9999, 12, 31, 23, 59, tzinfo=UTC)
NEVER = datetime(1, 1, 1, tzinfo=UTC)
SENT = NOW - 30 * SECOND


@pytest.mark.parametrize(
    ("sent", "created", "answered", "due"),
    [
        (SENT, None, None, SENT + 3 * DAY),
        (SENT, NOW - 29 * SECOND, NOW, SENT + 3 * DAY),  # the older age counts
        (SENT, NOW - 40 * SECOND, NOW, NOW + 3 * DAY - 40 * SECOND),
        (NOW - 2 * DAY, NOW - 2 * DAY, NOW, NOW + DAY),  # learned of days later
        # a host whose clock is wrong by a month pays no sooner and no later
        (SENT, NOW - 30 * DAY - 29 * SECOND, NOW - 30 * DAY, SENT + 3 * DAY),
        (SENT, NOW + 30 * DAY - 29 * SECOND, NOW + 30 * DAY, SENT + 3 * DAY),
        (SENT, NOW - 30 * DAY, None, NOW + 3 * DAY / 8),  # and not at once without a date
        (NOW - 5 * DAY, NOW - 5 * DAY, None, NOW),  # unless our own clock has it as old
        (SENT, NOW - 7 * DAY, NOW, NOW),  # an age of a whole window is believed once more
        # dates that make no sense neither crash nor are paid for
        (SENT, NOW - 26 * 365 * DAY, NOW, SENT + 3 * DAY),
        (SENT, NOW - 8 * DAY, NOW, SENT + 3 * DAY),
        (SENT, NOW, EVER, SENT + 3 * DAY),
        (SENT, NEVER, EVER, SENT + 3 * DAY),
        (SENT, EVER, NEVER, SENT + 3 * DAY),
        (SENT, EVER, NOW, SENT + 3 * DAY),
        (SENT, EVER, None, SENT + 3 * DAY),
    ],
)
def test_the_next_use_counts_from_the_older_age_that_one_clock_tells(
    sent: datetime, created: datetime | None, answered: datetime | None, due: datetime
) -> None:
    next_at = schedule.next_keepalive(
        "anna", sent_at=sent, created_at=created, answered_at=answered, now=NOW, policy=PLAIN
    )
    assert next_at == due


@given(
    NAMES,
    policies(),
    AGES,
    st.none() | AGES,
    st.none() | AGES,
)
def test_a_success_never_leads_to_the_past_nor_beyond_the_interval(
    name: str,
    policy: Policy,
    sent: timedelta,
    created: timedelta | None,
    answered: timedelta | None,
) -> None:
    due = schedule.next_keepalive(
        name,
        sent_at=NOW - sent,
        created_at=None if created is None else NOW - created,
        answered_at=None if answered is None else NOW - answered,
        now=NOW,
        policy=policy,
    )
    assert NOW <= due <= schedule.latest_due(NOW, policy)


@given(NAMES, policies(), spans(0 * SECOND, 60 * DAY), spans(-DAY, DAY))
def test_a_gateway_that_dates_its_answers_is_believed_however_late_it_answered(
    name: str, policy: Policy, age: timedelta, skew: timedelta
) -> None:
    """With right clocks, ours apart from the gateway's, the next use precedes the deadline."""
    due = schedule.next_keepalive(
        name,
        sent_at=NOW - age,
        created_at=NOW - age + skew,
        answered_at=NOW + skew,
        now=NOW,
        policy=policy,
    )
    assert due == max(NOW, schedule.due(NOW - age, name, policy))


RETRIES = [
    # failures, remaining, wait at least, wait at most
    (1, 4 * DAY, 30 * SECOND, 37.5 * SECOND),
    (2, 4 * DAY, 45 * SECOND, 75 * SECOND),
    (3, 4 * DAY, 90 * SECOND, 150 * SECOND),
    (5, 4 * DAY, 6 * MINUTE, 10 * MINUTE),
    (7, 4 * DAY, 24 * MINUTE, 40 * MINUTE),
    (9, 4 * DAY, HOUR, HOUR),
    (1_000_000, 4 * DAY, HOUR, HOUR),
    (9, 4 * HOUR, 30 * MINUTE, 30 * MINUTE),
    (9, 40 * MINUTE, 5 * MINUTE, 5 * MINUTE),
    (9, MINUTE, 30 * SECOND, 30 * SECOND),
    (9, 0 * SECOND, HOUR, HOUR),
    (9, -DAY, HOUR, HOUR),
    (9, None, HOUR, HOUR),
]


@pytest.mark.parametrize(("failures", "remaining", "least", "most"), RETRIES)
def test_a_retry_waits_longer_each_time_and_less_near_the_deadline(
    failures: int, remaining: timedelta | None, least: timedelta, most: timedelta
) -> None:
    anchor = None if remaining is None else NOW + remaining - POLICY.window
    for name in ("anna", "ben", "chloe", "dora"):
        at = schedule.retry_at(name, failures=failures, anchor=anchor, now=NOW, policy=POLICY)
        assert least <= at - NOW <= most


@pytest.mark.parametrize(
    ("asked", "remaining", "wait"),
    [
        (600.0, 4 * DAY, 10 * MINUTE),
        (86_400.0, 4 * DAY, DAY),
        (86_400.0, DAY, 12 * HOUR),
        (600.0, 10 * MINUTE, 5 * MINUTE),
        (600.0, None, 10 * MINUTE),
        (600.0, -DAY, 10 * MINUTE),
        (1e9, None, 3 * DAY),
        (1e9, -DAY, 3 * DAY),
        (1e9, 4 * DAY, 2 * DAY),
    ],
)
def test_a_retry_obeys_the_gateway_within_the_deadlines_need(
    asked: float, remaining: timedelta | None, wait: timedelta
) -> None:
    anchor = None if remaining is None else NOW + remaining - POLICY.window
    at = schedule.retry_at(
        "anna", failures=1, anchor=anchor, now=NOW, policy=POLICY, retry_after=asked
    )
    assert at == NOW + wait


def test_a_fleet_that_failed_together_is_tried_again_a_quarter_sooner_or_later() -> None:
    waits = [
        schedule.retry_at(f"voice-{n}", failures=1, anchor=None, now=NOW, policy=POLICY) - NOW
        for n in range(1_000)
    ]
    slower = replace(POLICY, retry_base=10 * MINUTE)
    shares = [
        (schedule.retry_at(f"voice-{n}", failures=1, anchor=None, now=NOW, policy=slower) - NOW)
        / slower.retry_base
        for n in range(1_000)
    ]
    assert min(waits) == 30 * SECOND  # the floor
    assert 0.75 <= min(shares) < 0.76
    assert 1.24 < max(shares) < 1.25


def test_a_wait_is_doubled_twenty_times_at_most() -> None:
    patient = replace(
        POLICY, window=90 * DAY, interval=60 * DAY, retry_base=SECOND, retry_cap=60 * DAY
    )
    for failures in (21, 22, 5_000):
        at = schedule.retry_at("anna", failures=failures, anchor=None, now=NOW, policy=patient)
        assert 0.75 <= (at - NOW) / (2**20 * SECOND) < 1.25


def test_a_voice_has_another_share_at_each_failure() -> None:
    once, twice = (
        schedule.retry_at("anna", failures=failures, anchor=None, now=NOW, policy=POLICY) - NOW
        for failures in (3, 4)
    )
    assert abs(twice - 2 * once) > SECOND


def test_a_gateway_that_asks_for_less_does_not_hasten_the_retry() -> None:
    anchor = NOW - 3 * DAY
    plain = schedule.retry_at("anna", failures=5, anchor=anchor, now=NOW, policy=POLICY)
    asked = schedule.retry_at(
        "anna", failures=5, anchor=anchor, now=NOW, policy=POLICY, retry_after=0.0
    )
    assert asked == plain


@given(NAMES, policies(), st.integers(1, 2000), AGES)
def test_a_retry_waits_at_most_an_eighth_of_what_remains_and_at_least_the_floor(
    name: str, policy: Policy, failures: int, age: timedelta
) -> None:
    at = schedule.retry_at(name, failures=failures, anchor=NOW - age, now=NOW, policy=policy)
    floor = min(30 * SECOND, policy.retry_base)
    remains = schedule.deadline(NOW - age, policy) - NOW
    most = policy.retry_cap
    if remains > 0 * SECOND:
        most = min(most, remains / 8)
    assert floor <= at - NOW <= max(floor, most)
    assert at <= NOW + policy.interval


@given(NAMES, policies(), st.integers(1, 2000), st.none() | AGES, st.floats(0, 1e8))
def test_no_retry_after_takes_a_voice_past_its_deadline_or_the_interval(
    name: str, policy: Policy, failures: int, age: timedelta | None, asked: float
) -> None:
    anchor = None if age is None else NOW - age
    at = schedule.retry_at(
        name, failures=failures, anchor=anchor, now=NOW, policy=policy, retry_after=asked
    )
    floor = min(30 * SECOND, policy.retry_base)
    assert NOW + floor <= at <= NOW + policy.interval
    if anchor is not None and (remains := schedule.deadline(anchor, policy) - NOW) > 0 * SECOND:
        assert at - NOW <= max(floor, remains / 2)


def test_the_longest_call_has_its_turn_at_the_limiter_and_twice_the_timeout() -> None:
    assert POLICY.longest_call == timedelta(seconds=2 * 30 + 8 / 5 + 10)
    assert replace(POLICY, interval=MINUTE).longest_call == MINUTE
    seldom = replace(POLICY, requests_per_second=1e-300)
    assert seldom.longest_call == POLICY.interval


def test_a_keeper_is_dead_after_three_ticks_of_silence_but_not_before_its_calls_are_over() -> None:
    slow = replace(POLICY, tick=10 * MINUTE)
    assert slow.silence == 30 * MINUTE
    assert replace(POLICY, tick=SECOND).silence == POLICY.longest_call


@pytest.mark.parametrize(
    ("remaining", "wait"),
    [
        (4 * DAY, HOUR),  # give_up
        (4 * HOUR, 30 * MINUTE),  # an eighth
        (MINUTE, 50 * SECOND),  # a few polls
        (0 * SECOND, HOUR),  # nothing is left to hurry for
        (-DAY, HOUR),
    ],
)
def test_an_open_keepalive_is_repeated_after_an_eighth_of_what_remained_but_a_few_polls_at_least(
    remaining: timedelta, wait: timedelta
) -> None:
    anchor = NOW + remaining - POLICY.window
    assert schedule.repeat_open_at(sent_at=NOW, anchor=anchor, policy=POLICY) == NOW + wait


@given(policies(), AGES)
def test_an_open_keepalive_is_repeated_after_its_sending_and_before_the_interval(
    policy: Policy, age: timedelta
) -> None:
    ends = schedule.repeat_open_at(sent_at=NOW, anchor=NOW - age, policy=policy)
    assert NOW < ends <= NOW + min(policy.interval, policy.give_up)


@pytest.mark.parametrize(
    ("kind", "first"),
    [
        (Kind.KEEPALIVE, 5 * SECOND),
        (Kind.CONTROL, 5 * SECOND),
        (Kind.CLONE, 20 * SECOND),
        (Kind.DESIGN, 20 * SECOND),
    ],
)
def test_a_task_is_first_asked_for_when_the_page_says(kind: Kind, first: timedelta) -> None:
    policy = replace(POLICY, speech_first=5 * SECOND)
    assert schedule.first_poll(kind, policy) == first


@pytest.mark.parametrize(
    ("give_up", "first"),
    [
        (HOUR, 13 * MINUTE + 20 * SECOND),  # after the last redelivery
        (26 * MINUTE + 40 * SECOND, 13 * MINUTE + 20 * SECOND),
        (20 * MINUTE, 10 * MINUTE),  # in time for a second question
        (MINUTE, 30 * SECOND),
        (30 * SECOND, 20 * SECOND),  # and never sooner than one that nobody calls about
    ],
)
def test_a_task_that_the_gateway_calls_about_is_asked_for_after_its_last_try(
    give_up: timedelta, first: timedelta
) -> None:
    policy = replace(POLICY, give_up=give_up, speech_first=5 * SECOND)
    assert schedule.first_poll(Kind.CLONE, policy, called=True) == first
    assert schedule.first_poll(Kind.CLONE, policy) == 20 * SECOND


@given(policies(), st.sampled_from([Kind.CLONE, Kind.DESIGN]))
def test_a_task_with_a_webhook_is_polled_in_time_all_the_same(policy: Policy, kind: Kind) -> None:
    asked, called = (schedule.first_poll(kind, policy, called=called) for called in (False, True))
    assert asked <= called <= asked + timedelta(minutes=13)
    assert called < policy.give_up
    assert called <= policy.longest_poll


@pytest.mark.parametrize(
    ("kind", "age", "wait"),
    [
        (Kind.KEEPALIVE, 20 * SECOND, 10 * SECOND),
        (Kind.KEEPALIVE, 40 * SECOND, 10 * SECOND),
        (Kind.KEEPALIVE, 4 * MINUTE, MINUTE),
        (Kind.CONTROL, 20 * SECOND, 10 * SECOND),
        (Kind.CLONE, 40 * SECOND, 15 * SECOND),
        (Kind.DESIGN, 4 * MINUTE, MINUTE),
        (Kind.DESIGN, 400 * DAY, HOUR),
        (Kind.KEEPALIVE, -30 * DAY, 10 * SECOND),
    ],
)
def test_a_task_is_asked_for_more_slowly_as_it_grows_older(
    kind: Kind, age: timedelta, wait: timedelta
) -> None:
    policy = replace(POLICY, enrollment_interval=15 * SECOND)
    assert schedule.next_poll(kind, sent_at=NOW - age, now=NOW, policy=policy) == NOW + wait


@given(policies(), st.sampled_from(Kind), AGES)
def test_a_poll_is_neither_early_nor_put_off_beyond_the_longest_wait(
    policy: Policy, kind: Kind, age: timedelta
) -> None:
    at = schedule.next_poll(kind, sent_at=NOW - age, now=NOW, policy=policy)
    assert policy.speech_interval <= at - NOW <= max(policy.give_up, policy.retry_cap)


@pytest.mark.parametrize(
    ("settings", "longest"),
    [
        ({"give_up": 2 * HOUR}, 2 * HOUR),
        ({"retry_cap": 3 * HOUR}, 3 * HOUR),
        ({"give_up": MINUTE, "retry_cap": MINUTE}, timedelta(seconds=2 * 30 + 8 / 5 + 10)),
    ],
)
def test_no_poll_is_further_ahead_than_giving_up_the_cap_or_the_longest_call(
    settings: dict[str, Any], longest: timedelta
) -> None:
    assert replace(POLICY, **settings).longest_poll == longest


@pytest.mark.parametrize(
    ("kind", "sent", "polls", "age"),
    [
        (Kind.KEEPALIVE, 5 * MINUTE, 3, 5 * MINUTE),
        (Kind.KEEPALIVE, -DAY, 3, 30 * SECOND),
        (Kind.CONTROL, -DAY, 3, 30 * SECOND),
        (Kind.CLONE, -DAY, 3, 3 * MINUTE),
        (Kind.DESIGN, -DAY, 3, 3 * MINUTE),
        (Kind.DESIGN, 5 * MINUTE, 3, 5 * MINUTE),
    ],
)
def test_a_task_is_as_old_as_its_polls_even_if_the_clock_was_set_back(
    kind: Kind, sent: timedelta, polls: int, age: timedelta
) -> None:
    policy = replace(POLICY, enrollment_interval=MINUTE)
    told = schedule.age(kind, sent_at=NOW - sent, polls=polls, now=NOW, policy=policy)
    assert told == age


def test_a_lost_voice_is_tried_for_a_window_after_its_deadline() -> None:
    assert schedule.lost_retries_end(NOW, POLICY) == NOW + 14 * DAY


@pytest.mark.parametrize(
    ("age", "cap", "wait"),
    [
        (0 * DAY, HOUR, HOUR),
        (7 * DAY - SECOND, HOUR, HOUR),
        (7 * DAY, HOUR, DAY),
        (7 * DAY, 2 * DAY, 2 * DAY),
        (7 * DAY, 30 * DAY, 3 * DAY),
        (DAY, 30 * DAY, 3 * DAY),
    ],
)
def test_a_lost_voice_is_tried_hourly_to_its_deadline_and_then_daily(
    age: timedelta, cap: timedelta, wait: timedelta
) -> None:
    policy = replace(POLICY, retry_cap=cap, interval=3 * DAY)
    assert schedule.next_lost_retry(NOW - age, now=NOW, policy=policy) == NOW + wait


@pytest.mark.parametrize(
    ("ahead", "is_set_back"),
    [(None, False), (-DAY, False), (HOUR, False), (HOUR + SECOND, True), (30 * DAY, True)],
)
def test_a_pass_that_lies_ahead_tells_that_the_clock_was_set_back(
    ahead: timedelta | None, *, is_set_back: bool
) -> None:
    last_pass_at = None if ahead is None else NOW + ahead
    assert schedule.is_set_back(last_pass_at, now=NOW, policy=POLICY) is is_set_back
