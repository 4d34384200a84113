"""``Retry-After`` in both forms, and the HTTP dates inside it."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicekeeper.gateway import reply

NOW = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("0", 0),
        ("120", 120),
        (" 120 ", 120),
        ("1.5", 1.5),
        ("0\x1f", 0),
        ("-5", 0),
        ("86400", 86_400),
        ("86401", 86_400),
        ("9" * 5_000, 86_400),
        ("Fri, 01 May 2026 12:01:00 GMT", 60),
        ("Friday, 01-May-26 12:01:00 GMT", 60),
        ("Fri May  1 12:01:00 2026", 60),
        ("Fri, 01 May 2026 11:00:00 GMT", 0),
        ("Fri, 01 May 2099 12:00:00 GMT", 86_400),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("1e3", None),
        ("5, 10", None),
        ("٣", None),
        ("Fri, 99 May 2026 12:00:00 GMT", None),
    ],
)
def test_a_header_is_seconds_from_now_or_nothing(header: str | None, seconds: float | None) -> None:
    assert reply.retry_after(header, answered_at=None, now=NOW) == seconds


def test_a_date_is_read_against_the_gateways_own_clock() -> None:
    wait = reply.retry_after(
        "Fri, 01 May 2026 12:01:00 GMT",
        answered_at=NOW + timedelta(seconds=30),
        now=NOW - timedelta(days=30),
    )
    assert wait == 30


@given(st.text())
def test_no_header_raises_or_asks_for_more_than_a_day(header: str) -> None:
    wait = reply.retry_after(header, answered_at=None, now=NOW)
    assert wait is None or 0 <= wait <= reply.LONGEST_WAIT


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("Fri, 01 May 2026 12:00:00 GMT", NOW),
        ("Fri, 01 May 2026 14:00:00 +0200", NOW),
        ("Fri, 01 May 2026 12:00:00 -0000", NOW),
        ("Fri May  1 12:00:00 2026", NOW),
        ("Fri, 31 Dec 9999 23:00:00 -2300", None),
        ("yesterday", None),
        ("", None),
        (None, None),
    ],
)
def test_a_date_is_an_aware_instant_or_nothing(text: str | None, instant: datetime | None) -> None:
    assert reply.date(text) == instant
