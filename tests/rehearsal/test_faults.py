"""Faults: their written form, the ones at an instant, and the time in which all worked."""

from collections import Counter
from datetime import datetime, timedelta

import pytest

from tests.rehearsal.stage import DAY, HOUR
from voicekeeper.errors import InvalidInput
from voicekeeper.rehearsal import faults
from voicekeeper.rehearsal.clock import BEGINNING
from voicekeeper.rehearsal.faults import Period, Plan, Timeline, has_room, lasting, planned


def period(kind: str, start: int, end: int, **rates: float) -> Period:
    """Return a period between two hours."""
    return Period(kind, start * HOUR, end * HOUR, rates)


def timeline(*periods: Period, **rates: float) -> Timeline:
    return Timeline(Plan(periods, rates=rates))


def hour(number: float) -> datetime:
    return BEGINNING + number * HOUR


def test_periods_last_from_their_starts_up_to_their_ends_and_overlap() -> None:
    line = timeline(period("outage", 2, 6), period("disk-full", 4, 8))
    both, none = ["disk-full", "outage"], list[str]()
    seen = [sorted(line.at(hour(h))) for h in (0, 2 - 0.001, 2, 4 - 0.001, 5, 6, 8 - 0.001, 8, 99)]
    assert seen == [none, none, ["outage"], ["outage"], both, *[["disk-full"]] * 2, none, none]
    assert timeline(period("outage", 2, 6)).at(hour(9)) == {}  # which the clock leaps over


def test_without_rates_no_call_fails() -> None:
    line = timeline(period("outage", 0, 1))
    assert {line.fault(hour(0.5), die / 100) for die in range(100)} == {None}


def test_faults_strike_their_share_of_the_calls() -> None:
    line = timeline(refused=0.1, hang=0.3)
    struck = Counter(line.fault(BEGINNING, (die + 0.5) / 100) for die in range(100))
    assert struck == {"refused": 10, "hang": 30, None: 60}


def test_a_storm_s_rates_come_on_top_or_replace_the_usual_ones_and_go_with_it() -> None:
    line = timeline(
        period("storm", 2, 3, hang=0.5), period("storm", 4, 5, refused=0.9), refused=0.1
    )
    assert [line.fault(hour(2), die) for die in (0.05, 0.3, 0.7)] == ["refused", "hang", None]
    assert [line.fault(hour(3), die) for die in (0.05, 0.3, 0.7)] == ["refused", None, None]
    assert line.fault(hour(4), 0.8) == "refused"


@pytest.mark.parametrize(
    ("periods", "worked"),
    [
        ([], True),
        ([(0, 46)], True),  # the last two hours
        ([(0, 47)], False),
        ([(2, 48)], True),  # the first two
        ([(1, 48)], False),
        ([(0, 20), (22, 48)], True),  # two in the middle
        ([(0, 20), (21, 48)], False),
        ([(0, 20), (19, 47)], False),  # overlapping
        ([(0, 40), (2, 4), (41, 47)], False),  # one within another
        ([(1, 2), (3, 4), (5, 47)], False),  # an hour here and an hour there are not two
        ([(-9, 46)], True),  # begun before
        ([(1, 60)], False),  # and ending after
        ([(50, 60)], True),  # later
    ],
)
def test_it_worked_when_two_hours_at_a_stretch_were_free(
    periods: list[tuple[int, int]], *, worked: bool
) -> None:
    spans = timeline(*(period("outage", *hours) for hours in periods)).of(faults.HARD)
    assert has_room(spans, hour(0), hour(48), 2 * HOUR) is worked


@pytest.mark.parametrize(("since", "room"), [(1, False), (2, True), (3, True)])
def test_what_has_not_ended_leaves_room_before_it_only(since: int, *, room: bool) -> None:
    assert has_room([(hour(since), None)], hour(0), hour(48), 2 * HOUR) is room


def test_each_kind_of_period_can_be_asked_for() -> None:
    line = timeline(period("outage", 1, 2), period("storm", 3, 4), period("outage", 5, 6))
    assert line.of(frozenset({"outage"})) == [(hour(1), hour(2)), (hour(5), hour(6))]
    assert line.of(frozenset({"suspended"})) == []


def test_plans_hold_what_a_period_does_to_the_host_and_add_up() -> None:
    start, length = 3 * HOUR, 2 * HOUR
    assert lasting("outage", start, length) == Plan((period("outage", 3, 5),))
    assert lasting("host-down", start, length).incidents == (faults.Kill(start, 0, length),)
    assert lasting("suspended", start, length).incidents == (faults.Suspend(start, length),)
    first = Plan((period("outage", 1, 2),), rates={"hang": 0.1}, clock_wrong_by=HOUR)
    second = Plan(incidents=(faults.Retry(HOUR),), rates={"hang": 0.2}, clock_wrong_by=-3 * HOUR)
    both = Plan((period("outage", 1, 2),), (faults.Retry(HOUR),), {"hang": 0.2}, -2 * HOUR)
    assert first + second == both


@pytest.mark.parametrize(
    ("text", "start", "length"),
    [
        ("2d@day40", 40 * DAY, 2 * DAY),
        ("1d12h@day0", 0 * DAY, 36 * HOUR),
        ("90m@day1.5", 1.5 * DAY, 1.5 * HOUR),
        (" 2d@day40 ", 40 * DAY, 2 * DAY),
        ("0.5s@day7", 7 * DAY, timedelta(seconds=0.5)),
    ],
)
def test_a_fault_has_a_length_and_a_day(text: str, start: timedelta, length: timedelta) -> None:
    assert planned("host-down", text) == lasting("host-down", start, length)
    assert planned("clock-jump", text) == Plan(incidents=(faults.Jump(start, length),))


def test_only_a_clock_may_go_back() -> None:
    for sign, days in (("+", 5), ("-", -5)):
        jump = faults.Jump(10 * DAY, days * DAY)
        assert planned("clock-jump", f"{sign}5d@day10") == Plan(incidents=(jump,))
        with pytest.raises(InvalidInput, match="must be DURATION@dayN"):
            planned("outage", f"{sign}5d@day10")


@pytest.mark.parametrize(
    "text",
    [
        *("", "2d", "2d@40", "@day40", "2d@day-1", "2d@dayten", "2d@day4.", "2d@day40@day41"),
        *("2@day40", "two days@day40", "-5d@day10", "2d@day1e3", "2d@day40\n2d@day41"),
        *("2d@day100000", "2d@day\u0663"),
    ],
)
def test_any_other_form_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"must be DURATION@dayN such as|before '@dayN'"):
        planned("outage", text)
