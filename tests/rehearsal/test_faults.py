"""Faults: their written form, the ones at an instant, and the time in which all worked."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from voicekeeper.errors import InvalidInput
from voicekeeper.rehearsal import faults
from voicekeeper.rehearsal.faults import Period, Plan, Timeline, has_room, lasting, timed

BEGINNING = datetime(2030, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)


def period(kind: str, start: int, end: int, **rates: float) -> Period:
    """Return a period between two hours."""
    return Period(kind, start * HOUR, end * HOUR, rates)


def timeline(*periods: Period, **rates: float) -> Timeline:
    return Timeline(Plan(periods, rates=rates), BEGINNING)


def hour(number: float) -> datetime:
    return BEGINNING + number * HOUR


def test_a_period_lasts_from_its_start_up_to_its_end() -> None:
    line = timeline(period("outage", 2, 4))
    seen = [sorted(line.at(hour(h))) for h in (0, 2 - 0.001, 2, 3, 4 - 0.001, 4, 100)]
    assert seen == [[], [], ["outage"], ["outage"], ["outage"], [], []]


def test_periods_overlap() -> None:
    line = timeline(period("outage", 2, 6), period("disk-full", 4, 8))
    assert [sorted(line.at(hour(h))) for h in (3, 5, 7, 9)] == [
        ["outage"],
        ["disk-full", "outage"],
        ["disk-full"],
        [],
    ]


def test_a_period_that_the_clock_leaps_over_leaves_nothing() -> None:
    assert timeline(period("outage", 2, 6)).at(hour(9)) == {}


def test_without_rates_no_call_fails() -> None:
    line = timeline(period("outage", 0, 1))
    assert {line.fault(hour(0.5), die / 100) for die in range(100)} == {None}


def test_faults_strike_their_share_of_the_calls() -> None:
    line, dice = timeline(refused=0.1, hang=0.3), Random(1)
    struck = Counter(line.fault(BEGINNING, dice.random()) for _ in range(10_000))
    assert struck["refused"] == pytest.approx(1_000, rel=0.1)
    assert struck["hang"] == pytest.approx(3_000, rel=0.1)
    assert struck[None] == pytest.approx(6_000, rel=0.1)


def test_a_storm_s_rates_come_on_top_and_go_with_it() -> None:
    line = timeline(period("storm", 2, 3, hang=0.5), refused=0.1)
    assert [line.fault(hour(2), die) for die in (0.05, 0.3, 0.7)] == ["refused", "hang", None]
    assert [line.fault(hour(3), die) for die in (0.05, 0.3, 0.7)] == ["refused", None, None]


def test_a_storm_s_rate_replaces_the_usual_one_of_the_same_fault() -> None:
    line = timeline(period("storm", 2, 3, refused=0.9), refused=0.1)
    assert line.fault(hour(2), 0.8) == "refused"


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
    line = timeline(*(period("outage", start, end) for start, end in periods))
    assert has_room(line.of(faults.HARD), hour(0), hour(48), 2 * HOUR) is worked


@pytest.mark.parametrize(("since", "room"), [(1, False), (2, True), (3, True)])
def test_what_has_not_ended_leaves_room_before_it_only(since: int, *, room: bool) -> None:
    assert has_room([(hour(since), None)], hour(0), hour(48), 2 * HOUR) is room


def test_each_kind_of_period_can_be_asked_for() -> None:
    line = timeline(period("outage", 1, 2), period("storm", 3, 4), period("outage", 5, 6))
    assert line.of(frozenset({"outage"})) == [(hour(1), hour(2)), (hour(5), hour(6))]
    assert line.of(frozenset({"suspended"})) == []


def test_a_plan_of_one_period_holds_what_it_does_to_the_host() -> None:
    start, length = 3 * HOUR, 2 * HOUR
    assert lasting("outage", start, length).incidents == ()
    assert lasting("host-down", start, length).incidents == (
        faults.Kill(start, restart_after=length),
    )
    assert lasting("suspended", start, length).incidents == (faults.Suspend(start, length),)
    assert lasting("outage", start, length).periods == (Period("outage", start, start + length),)


def test_two_plans_add_up() -> None:
    first = Plan((period("outage", 1, 2),), rates={"hang": 0.1}, clock_wrong_by=HOUR)
    second = Plan(incidents=(faults.Retry(HOUR),), rates={"hang": 0.2}, clock_wrong_by=-3 * HOUR)
    both = first + second
    assert both == Plan((period("outage", 1, 2),), (faults.Retry(HOUR),), {"hang": 0.2}, -2 * HOUR)


@pytest.mark.parametrize(
    ("text", "start", "length"),
    [
        ("2d@day40", 40 * DAY, 2 * DAY),
        ("30h@day90", 90 * DAY, 30 * HOUR),
        ("1d12h@day0", 0 * DAY, 36 * HOUR),
        ("90m@day1.5", 1.5 * DAY, 1.5 * HOUR),
        (" 2d@day40 ", 40 * DAY, 2 * DAY),
        ("0.5s@day7", 7 * DAY, timedelta(seconds=0.5)),
    ],
)
def test_a_period_has_a_length_and_a_day(text: str, start: timedelta, length: timedelta) -> None:
    assert timed(text) == (start, length)
    assert timed(text, signed=True) == (start, length)


def test_a_clock_may_jump_back() -> None:
    assert timed("-5d@day10", signed=True) == (10 * DAY, -5 * DAY)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2d",
        "2d@40",
        "day40",
        "@day40",
        "2d@day",
        "2d@day-1",
        "2d@dayten",
        "2d@day4.",
        "2d@day40@day41",
        "2@day40",
        "two days@day40",
        "--5d@day10",
        "2d @ day40",
        "2d@day1e3",
        "2d@day40\n2d@day41",
    ],
)
@pytest.mark.parametrize("signed", [False, True])
def test_any_other_form_is_refused_in_one_sentence(text: str, *, signed: bool) -> None:
    with pytest.raises(InvalidInput) as refused:
        timed(text, signed=signed)
    assert "must be DURATION@dayN such as" in str(refused.value) or "before '@dayN'" in str(
        refused.value
    )


def test_a_sign_is_for_what_may_go_back() -> None:
    assert timed("+5d@day10", signed=True) == timed("5d@day10")
    with pytest.raises(InvalidInput, match="must be DURATION@dayN"):
        timed("+5d@day10")


def test_an_outage_cannot_last_a_negative_time() -> None:
    with pytest.raises(InvalidInput, match="must be DURATION@dayN"):
        timed("-5d@day10")


@pytest.mark.parametrize("day", ["100000", "9" * 400, "\u0663"])
def test_a_day_beyond_some_centuries_is_refused_too(day: str) -> None:
    with pytest.raises(InvalidInput, match="must be DURATION@dayN"):
        timed(f"2d@day{day}")
