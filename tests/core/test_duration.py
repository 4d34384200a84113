"""Durations and instants, as people and machines write them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import DAY, HOUR, MINUTE, SECOND
from voicekeeper.core import duration


@pytest.mark.parametrize(
    ("written", "length"),
    [
        ("7d", 7 * DAY),
        ("36h", 36 * HOUR),
        ("90m", 90 * MINUTE),
        ("0.5s", SECOND / 2),
        ("1d12h", DAY + 12 * HOUR),
        ("1d2h3m4.5s", DAY + 2 * HOUR + 3 * MINUTE + 4.5 * SECOND),
        ("1.5h", 90 * MINUTE),
        ("0s", timedelta(0)),
        (" 7d\n", 7 * DAY),
        ("36500d", 36500 * DAY),
    ],
)
def test_a_duration_is_numbers_with_units_the_largest_first(
    written: str, length: timedelta
) -> None:
    assert duration.parse(written) == length


@pytest.mark.parametrize(
    "written",
    [
        *("", " ", "7", "d", "7 d", "7D", "7w", "7days", "-7d", "+7d", "1e3s", ".5s", "1.s"),
        *("12h1d", "1h1h", "1d,12h", "1d 12h", "7d!", "x7d", "1d12", "nan", "inf", "P7D"),
    ],
)
def test_anything_else_is_no_duration(written: str) -> None:
    with pytest.raises(ValueError, match=r"must be a duration such as 7d, .*, not '"):
        duration.parse(written)


@pytest.mark.parametrize("written", ["36501d", "1000000h", "9" * 400 + "s"])
def test_a_duration_over_a_century_is_a_mistake(written: str) -> None:
    with pytest.raises(ValueError, match=rf"must be shorter than 100 years, not '{written[:20]}"):
        duration.parse(written)


@pytest.mark.parametrize(
    ("length", "written"),
    [
        (7 * DAY, "7d"),
        (36 * HOUR, "1d12h"),
        (90 * MINUTE, "1h30m"),
        (30 * SECOND, "30s"),
        (SECOND / 2, "0.5s"),
        (timedelta(microseconds=1), "0.000001s"),
        (DAY + SECOND, "1d1s"),
        (100 * DAY, "100d"),
        (timedelta(0), "0s"),
    ],
)
def test_the_compact_form_names_only_the_units_it_needs(length: timedelta, written: str) -> None:
    assert duration.compact(length) == written


@given(st.timedeltas(timedelta(0), 36_500 * DAY))
def test_what_the_compact_form_writes_is_read_back(length: timedelta) -> None:
    assert duration.parse(duration.compact(length)) == length


@pytest.mark.parametrize(
    ("length", "written"),
    [
        (timedelta(0), "0 s"),
        (35 * SECOND, "35 s"),
        (MINUTE, "1 min"),
        (MINUTE + 5 * SECOND, "1 min 5 s"),
        (90 * MINUTE, "1 h 30 min"),
        (2 * HOUR + 59 * SECOND, "2 h"),
        (2 * DAY + 4 * HOUR + 59 * MINUTE, "2 d 4 h"),
        (400 * DAY, "400 d"),
        (-(2 * DAY + 4 * HOUR), "-2 d 4 h"),
        (-5 * SECOND, "-5 s"),
    ],
)
def test_a_person_is_told_the_two_largest_units(length: timedelta, written: str) -> None:
    assert duration.words(length) == written


@pytest.mark.parametrize(
    ("instant", "written"),
    [
        (datetime(2026, 5, 1, 12, tzinfo=UTC), "2026-05-01T12:00:00Z"),
        (datetime(2026, 5, 1, 12, 0, 0, 999_999, tzinfo=UTC), "2026-05-01T12:00:00Z"),
        (datetime(2026, 5, 1, 12, tzinfo=timezone(8 * HOUR)), "2026-05-01T04:00:00Z"),
    ],
)
@pytest.mark.usefixtures("far_east")
def test_an_instant_is_written_in_utc_to_the_whole_second(instant: datetime, written: str) -> None:
    assert duration.rfc3339(instant) == written


@pytest.mark.parametrize(
    "written",
    [
        "2026-05-01T12:00:00Z",
        "2026-05-01T12:00:00+00:00",
        "2026-05-01T20:00:00+08:00",
        "2026-05-01 12:00:00",
        " 2026-05-01T12:00Z ",
    ],
)
@pytest.mark.usefixtures("far_east")
def test_an_instant_is_read_in_any_offset_and_without_one_as_utc(written: str) -> None:
    read = duration.parse_instant(written)
    assert read == datetime(2026, 5, 1, 12, tzinfo=UTC)
    assert read.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "written",
    ["", "now", "yesterday", "2026-13-01", "2026-05-01T25:00Z", "0001-01-01T00:00:00+14:00"],
)
def test_what_is_no_instant_is_refused_with_an_example(written: str) -> None:
    with pytest.raises(ValueError, match="must be a time such as 2026-05-01T12:00:00Z, not ") as no:
        duration.parse_instant(written)
    assert str(no.value).endswith(f"not '{written}'")
