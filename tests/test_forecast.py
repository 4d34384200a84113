"""What it costs to keep the fleet, and how long the balance lasts for it."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import DAY, NOW, POLICY, policies
from voicekeeper.core import forecast
from voicekeeper.core.schedule import Policy

STEADY = dataclasses.replace(POLICY, interval=2 * DAY, jitter=0 * DAY)
"""A voice is used every other day, for 60 micros."""


@pytest.mark.parametrize(
    ("kept", "micros"), [(0, 0), (1, 30), (1_000, 30_000), (10**9, 30 * 10**9)]
)
def test_a_fleet_costs_its_keepalives(kept: int, micros: int) -> None:
    assert forecast.cost_micros(kept, DAY, STEADY) == micros
    assert forecast.cost_micros(kept, forecast.YEAR, STEADY) == 365 * micros


def test_at_the_defaults_a_voice_costs_eight_tenths_of_a_cent_a_year() -> None:
    """The README's figure: 133 keepalives of six characters."""
    assert forecast.cost_micros(1, forecast.YEAR, POLICY) == 7_964


@pytest.mark.parametrize(
    ("balance", "kept", "days"),
    [
        (74_870_000, 1, 2_495_666),
        (30_000, 1_000, 1),
        (29_999, 1_000, 0),
        (0, 1, 0),
        (-5_000_000, 1, 0),
        (74_870_000, 0, None),
    ],
)
def test_a_balance_lasts_as_many_whole_days_as_it_pays(
    balance: int, kept: int, days: int | None
) -> None:
    assert forecast.runway_days(balance, kept, STEADY) == days


@pytest.mark.parametrize("balance", [0, -1])
def test_nothing_pays_for_no_day_however_seldom_a_voice_is_used(balance: int) -> None:
    seldom = dataclasses.replace(STEADY, interval=100 * DAY)
    assert forecast.runway_days(balance, 1, seldom) == 0


@pytest.mark.parametrize(("days", "short"), [(None, False), (0, True), (29, True), (30, False)])
def test_a_month_is_time_enough_to_top_up(days: int | None, *, short: bool) -> None:
    assert forecast.is_short(days) is short


@pytest.mark.parametrize(
    ("days", "lasts"),
    [
        (None, ""),
        (0, ", enough for 0 days of keepalives, so top it up"),
        (1, ", enough for 1 day of keepalives, so top it up"),
        (29, ", enough for 29 days of keepalives, so top it up"),
        (30, ", enough for 30 days of keepalives"),
        (36_500, ", enough for 36500 days of keepalives"),
        (36_501, ", enough for more than 36500 days of keepalives"),
        (2_495_666, ", enough for more than 36500 days of keepalives"),
    ],
)
def test_a_runway_is_told_in_days_up_to_a_century_and_with_the_mend_where_it_is_short(
    days: int | None, lasts: str
) -> None:
    assert forecast.runway(74_870_000, days) == f"the balance is $74.87{lasts}"


def test_a_balance_of_an_earlier_hour_is_told_with_its_hour() -> None:
    told = forecast.runway(1_000, 45, told_at=NOW)
    assert told == (
        "the balance was $0.001 at 2026-05-01T12:00:00Z, enough for 45 days of keepalives"
    )


@given(policies(), st.integers(1, 10**6), st.integers(0, 10**9))
def test_what_the_runway_costs_is_in_the_balance_and_a_day_more_is_not(
    policy: Policy, kept: int, balance: int
) -> None:
    days = forecast.runway_days(balance, kept, policy)
    assert days is not None
    assert forecast.cost_micros(kept, days * DAY, policy) <= balance
    assert forecast.cost_micros(kept, (days + 1) * DAY, policy) > balance
