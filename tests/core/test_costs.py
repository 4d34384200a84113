"""Money: prices, the budget of a day, and how long the balance lasts."""

import dataclasses
import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import DAY, HOUR, NOW, POLICY, SECOND, policies
from voicekeeper.core import costs
from voicekeeper.core.costs import Hold, Spent, about_usd, billed_characters, dollars, price, usd
from voicekeeper.core.enums import Kind
from voicekeeper.core.schedule import Policy

MIDNIGHT = datetime(2026, 5, 2, tzinfo=UTC)
STEADY = dataclasses.replace(POLICY, interval=2 * DAY, jitter=0 * DAY)
"""A voice is used every other day, for 60 micros."""


# prices


@pytest.mark.parametrize(
    ("text", "characters"),
    [("Hello.", 6), ("你好, Anna", 10), ("ひらがな", 4), ("한국", 2), ("\t\x00", 2), ("", 0)],
)
def test_a_han_character_counts_as_two(text: str, characters: int) -> None:
    assert billed_characters(text) == characters


@pytest.mark.parametrize(
    ("kind", "prompt", "micros"),
    [
        (Kind.KEEPALIVE, "Hello.", 60),
        (Kind.KEEPALIVE, "x" * 10_000, 100_000),
        (Kind.CONTROL, "Hello.", 60),
        (Kind.CLONE, "", 2_000),
        (Kind.DESIGN, "", 30_000),
    ],
)
def test_a_task_costs_the_price_of_the_page(kind: Kind, prompt: str, micros: int) -> None:
    assert price(kind, prompt) == micros
    assert price(kind) == (0 if prompt else micros)


@pytest.mark.parametrize(
    ("micros", "written"),
    [
        (0, "$0.00"),
        (10, "$0.00001"),
        (2_100, "$0.0021"),
        (100_000, "$0.10"),
        (1_000_000, "$1.00"),
        (10_000_000, "$10.00"),
        (1_234_567, "$1.234567"),
        (123_456_789_012_345_678, "$123456789012.345678"),
        (-250_000, "-$0.25"),
    ],
)
def test_an_amount_shows_as_many_places_as_it_needs(micros: int, written: str) -> None:
    assert usd(micros) == written


@pytest.mark.parametrize(
    ("micros", "written"),
    [
        (0, "$0.00"),
        (1, "$0.000001"),
        (99, "$0.000099"),
        (104, "$0.0001"),
        (8_460, "$0.0085"),
        (99_900, "$0.10"),
        (123_456, "$0.12"),
        (1_235_000, "$1.24"),
    ],
)
def test_an_estimate_is_rounded_to_two_digits_or_the_cent_and_never_to_nothing(
    micros: int, written: str
) -> None:
    assert about_usd(micros) == written


@given(st.integers(-(10**15), 10**15))
def test_an_amount_survives_json(micros: int) -> None:
    assert round(json.loads(json.dumps(dollars(micros))) * 1_000_000) == micros


def test_possible_charges_are_written_apart() -> None:
    assert str(Spent(60, 0)) == "$0.00006"
    assert str(Spent(60, 30_000)) == "$0.00006, and possibly $0.03 more"


# the budget


def hold(kind: Kind, most: int | None, spent: Spent) -> Hold | None:
    policy = dataclasses.replace(POLICY, enrollments_per_day=most)
    return costs.hold(kind, spent=spent, now=NOW, policy=policy)


def test_without_a_budget_no_enrollment_is_held() -> None:
    assert hold(Kind.DESIGN, None, Spent(10**12, 10**12)) is None


@given(
    st.sampled_from([Kind.CLONE, Kind.DESIGN]),
    st.integers(0, 10**5),
    st.integers(0, 10**5),
    st.integers(-1, 1),
)
def test_an_enrollment_is_held_exactly_where_it_would_take_the_day_beyond_its_budget(
    kind: Kind, certain: int, possible: int, spare: int
) -> None:
    most = certain + possible + {Kind.CLONE: 2_000, Kind.DESIGN: 30_000}[kind] + spare
    assert (hold(kind, most, Spent(certain, possible)) is None) == (spare >= 0)


def test_a_hold_says_how_much_is_spent_when_it_ends_and_which_setting_to_raise() -> None:
    assert hold(Kind.DESIGN, 50_000, Spent(30_000, 2_000)) == Hold(
        MIDNIGHT,
        "held until 2026-05-02T00:00:00Z: $0.032 of the day's budget of $0.05 for enrollments is "
        "spent, and a design costs $0.03; to go on now, raise budget.enrollments_usd_per_day and "
        "reload the daemon",
    )


@pytest.mark.parametrize(
    ("most", "until"), [(0, None), (29_999, None), (30_000, MIDNIGHT), (30_001, MIDNIGHT)]
)
def test_an_enrollment_that_costs_more_than_a_whole_day_is_never_begun_and_says_so(
    most: int, until: datetime | None
) -> None:
    held = hold(Kind.DESIGN, most, Spent(30_000))
    assert held is not None
    assert held.until == until
    never = (
        "never begun: a design costs $0.03, and budget.enrollments_usd_per_day allows "
        f"{usd(most)}; raise it and reload the daemon"
    )
    assert (held.sentence == never) is (until is None)


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
def test_a_day_is_a_utc_day_in_every_time_zone(now: datetime, begins: datetime) -> None:
    assert costs.next_day(now) == begins
    assert costs.utc_day(begins) == costs.utc_day(now) + timedelta(days=1)


# the forecast


@pytest.mark.parametrize(
    ("kept", "micros"), [(0, 0), (1, 30), (1_000, 30_000), (10**9, 30 * 10**9)]
)
def test_a_fleet_costs_its_keepalives(kept: int, micros: int) -> None:
    assert costs.keepalive_costs(kept, DAY, STEADY) == micros
    assert costs.keepalive_costs(kept, costs.YEAR, STEADY) == 365 * micros


def test_at_the_defaults_a_voice_costs_eight_tenths_of_a_cent_a_year() -> None:
    """The README's figure: 133 keepalives of six characters."""
    assert costs.keepalive_costs(1, costs.YEAR, POLICY) == 7_964


@pytest.mark.parametrize(
    ("balance", "kept", "interval", "days"),
    [
        (74_870_000, 1, 2 * DAY, 2_495_666),
        (30_000, 1_000, 2 * DAY, 1),
        (29_999, 1_000, 2 * DAY, 0),
        (0, 1, 100 * DAY, 0),  # nothing pays for no day, however seldom a voice is used
        (-1, 1, 100 * DAY, 0),
        (74_870_000, 0, 2 * DAY, None),
    ],
)
def test_a_balance_lasts_as_many_whole_days_as_it_pays(
    balance: int, kept: int, interval: timedelta, days: int | None
) -> None:
    policy = dataclasses.replace(STEADY, interval=interval)
    assert costs.runway_days(balance, kept, policy) == days


@pytest.mark.parametrize(
    ("days", "short", "lasts"),
    [
        (None, False, ""),
        (0, True, ", enough for 0 days of keepalives, so top it up"),
        (1, True, ", enough for 1 day of keepalives, so top it up"),
        (29, True, ", enough for 29 days of keepalives, so top it up"),
        (30, False, ", enough for 30 days of keepalives"),
        (36_500, False, ", enough for 36500 days of keepalives"),
        (36_501, False, ", enough for more than 36500 days of keepalives"),
    ],
)
def test_a_runway_is_written_in_days_up_to_a_century_and_with_the_mend_where_it_is_short(
    days: int | None, lasts: str, *, short: bool
) -> None:
    assert costs.is_short(days) is short
    assert costs.runway(74_870_000, days) == f"the balance is $74.87{lasts}"


def test_a_balance_of_an_earlier_hour_is_written_with_its_hour() -> None:
    assert costs.runway(1_000, 45, told_at=NOW) == (
        "the balance was $0.001 at 2026-05-01T12:00:00Z, enough for 45 days of keepalives"
    )


@given(policies(), st.integers(1, 10**6), st.integers(0, 10**9))
def test_the_cost_of_the_runway_is_in_the_balance_and_a_day_more_is_not(
    policy: Policy, kept: int, balance: int
) -> None:
    days = costs.runway_days(balance, kept, policy)
    assert days is not None
    assert costs.keepalive_costs(kept, days * DAY, policy) <= balance
    assert costs.keepalive_costs(kept, (days + 1) * DAY, policy) > balance
