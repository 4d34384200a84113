"""Whether the day's budget allows an enrollment, and when one that it holds goes on."""

import dataclasses
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import HOUR, NOW, POLICY, SECOND, new_voice
from voicekeeper.core import budget, transitions
from voicekeeper.core.budget import Hold
from voicekeeper.core.events import Event
from voicekeeper.core.models import Kind
from voicekeeper.core.pricing import Spent, usd
from voicekeeper.core.schedule import Policy
from voicekeeper.core.transitions import Entry

MIDNIGHT = datetime(2026, 5, 2, tzinfo=UTC)


def limited(micros: int | None) -> Policy:
    return dataclasses.replace(POLICY, enrollments_per_day=micros)


def hold(kind: Kind, most: int | None, spent: Spent, now: datetime = NOW) -> Hold | None:
    return budget.hold(kind, spent=spent, now=now, policy=limited(most))


@pytest.mark.parametrize(
    ("kind", "most", "spent"),
    [
        (Kind.DESIGN, None, Spent(10**12, 10**12)),
        (Kind.DESIGN, 30_000, Spent()),
        (Kind.DESIGN, 60_000, Spent(20_000, 10_000)),
        (Kind.CLONE, 32_000, Spent(30_000)),
        (Kind.CLONE, 2_000, Spent()),
    ],
)
def test_an_enrollment_that_the_budget_covers_to_the_last_micro_may_begin(
    kind: Kind, most: int | None, spent: Spent
) -> None:
    assert hold(kind, most, spent) is None


@pytest.mark.parametrize(
    ("kind", "most", "spent"),
    [
        (Kind.DESIGN, 59_999, Spent(30_000)),
        (Kind.DESIGN, 60_000, Spent(30_000, 1)),
        (Kind.CLONE, 2_000, Spent(0, 2_000)),
        (Kind.CLONE, 2_000, Spent(60_000)),
    ],
)
def test_one_more_than_the_budget_covers_is_held_until_the_next_utc_day(
    kind: Kind, most: int, spent: Spent
) -> None:
    held = hold(kind, most, spent)
    assert held is not None
    assert held.until == MIDNIGHT


def test_a_hold_tells_what_is_spent_when_it_goes_on_and_what_to_set() -> None:
    assert hold(Kind.DESIGN, 50_000, Spent(30_000, 2_000)) == Hold(
        MIDNIGHT,
        "held until 2026-05-02T00:00:00Z: $0.032 of the day's budget of $0.05 for enrollments is "
        "spent, and a design costs $0.03; to go on now, raise budget.enrollments_usd_per_day and "
        "reload the daemon",
    )


@pytest.mark.parametrize("spent", [Spent(), Spent(30_000)])
@pytest.mark.parametrize("most", [0, 29_999])
def test_one_that_costs_more_than_a_whole_day_is_never_begun_and_says_so(
    most: int, spent: Spent
) -> None:
    held = hold(Kind.DESIGN, most, spent)
    assert held == Hold(
        None,
        "never begun: a design costs $0.03, and budget.enrollments_usd_per_day allows "
        f"{usd(most)}; raise it and reload the daemon",
    )


@pytest.mark.parametrize(
    ("now", "begins"),
    [
        (MIDNIGHT - SECOND, MIDNIGHT),
        (MIDNIGHT, MIDNIGHT + 24 * HOUR),
        (datetime(2026, 5, 2, 1, tzinfo=timezone(timedelta(hours=2))), MIDNIGHT),
        (datetime(2026, 12, 31, 23, 59, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)),
    ],
)
@pytest.mark.usefixtures("far_east")
def test_a_day_is_a_utc_day_wherever_the_host_stands(now: datetime, begins: datetime) -> None:
    assert budget.next_day(now) == begins
    assert budget.day(begins) == budget.day(now) + timedelta(days=1)


@given(
    st.sampled_from([Kind.CLONE, Kind.DESIGN]),
    st.integers(0, 10**6),
    st.integers(0, 10**6),
    st.integers(0, 10**6),
)
def test_no_enrollment_ever_takes_a_day_beyond_its_budget(
    kind: Kind, most: int, certain: int, possible: int
) -> None:
    price = {Kind.CLONE: 2_000, Kind.DESIGN: 30_000}[kind]
    begun = hold(kind, most, Spent(certain, possible)) is None
    assert begun == (certain + possible + price <= most)


def test_an_enrollment_is_held_with_one_event_and_waits() -> None:
    change = transitions.held(new_voice(), Hold(MIDNIGHT, "held: why"), now=NOW, policy=POLICY)
    assert change.voice == {"next_at": MIDNIGHT, "last_error": "held: why", "held_at": NOW}
    assert change.entries == (
        Entry(Event.ENROLLMENT_HELD, {"error": "held: why", "until": MIDNIGHT}),
    )


def test_one_that_is_held_again_is_not_told_again() -> None:
    row = new_voice(held_at=NOW - HOUR)
    change = transitions.held(row, Hold(None, "never begun: why"), now=NOW, policy=POLICY)
    assert change.voice == {"next_at": None, "last_error": "never begun: why"}
    assert change.entries == ()


def test_a_hold_is_no_due_time_that_looks_like_a_wrong_clocks() -> None:
    hourly = dataclasses.replace(POLICY, interval=HOUR)
    change = transitions.held(new_voice(), Hold(MIDNIGHT, "held"), now=NOW, policy=hourly)
    assert change.voice["next_at"] == NOW + HOUR


def test_what_is_released_forgets_that_it_was_held() -> None:
    assert transitions.released(new_voice(held_at=NOW)).voice == {
        "held_at": None,
        "last_error": None,
    }
    assert transitions.released(new_voice(last_error="429")).voice == {}
