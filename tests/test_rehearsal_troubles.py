"""How a person writes down what is to go wrong, and when."""

from datetime import timedelta

import pytest

from voicekeeper.errors import InvalidInput
from voicekeeper.rehearsal.troubles import timed

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


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
def test_a_trouble_has_a_length_and_a_day(text: str, start: timedelta, length: timedelta) -> None:
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
