"""The weekly digest: when, and what it tells."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.examples import DAY, HOUR, NOW, POLICY, SECOND
from voicekeeper.core import digest
from voicekeeper.core.costs import Spent
from voicekeeper.core.digest import WEEK, Week
from voicekeeper.core.health import Health
from voicekeeper.core.models import Balance, Breaker, Status, Topic
from voicekeeper.core.notice import Notice

MONDAY = datetime(2026, 5, 4, 8, tzinfo=UTC)


def health(**fields: Any) -> Health:  # noqa: ANN401 - any of its fields
    usual: dict[str, Any] = {
        "by_status": {Status.OK: 12},
        "paused": 0,
        "overdue": 0,
        "at_risk": 0,
        "last_pass_at": NOW,
        "keeper": "1@box",
        "blocked": (),
        "next_at": NOW + 3 * HOUR,
    }
    return Health(**(usual | fields))


def of(fleet: Health, **fields: Any) -> Notice:  # noqa: ANN401
    usual: dict[str, Any] = {"spent": Spent(4200), "lost": (), "deadlines": ()}
    week = Week(**(usual | fields))
    return digest.of_week(week, fleet, now=NOW, tick=10 * SECOND, policy=POLICY, host="box")


@pytest.mark.parametrize(
    ("last_at", "now", "due"),
    [
        (None, NOW, True),
        (MONDAY - SECOND, MONDAY, True),
        (MONDAY - SECOND, MONDAY - SECOND, False),
        (MONDAY, MONDAY, False),
        (MONDAY, MONDAY + WEEK - SECOND, False),
        (MONDAY, MONDAY + WEEK, True),
        (MONDAY, MONDAY + 2 * DAY, False),
        (MONDAY - DAY, MONDAY + 2 * DAY, True),  # the host was down on Monday
        (MONDAY - WEEK, MONDAY + 6 * DAY, True),
        (MONDAY + SECOND / 4, MONDAY + SECOND / 2, False),
        (MONDAY + 30 * DAY, MONDAY, True),  # a wrong clock made it
        (MONDAY + DAY + SECOND, MONDAY, True),
        (MONDAY + DAY, MONDAY, False),
        (MONDAY + HOUR, MONDAY, False),
    ],
)
def test_a_digest_is_made_at_once_and_then_on_mondays(
    last_at: datetime | None, now: datetime, *, due: bool
) -> None:
    assert digest.is_due(last_at, now=now) is due


def test_a_digest_of_a_fleet_that_is_well_says_so() -> None:
    told = of(health(), deadlines=[("anna", NOW + 4 * DAY + 2 * HOUR)])
    assert (told.topic, told.level) == (Topic.DIGEST, "info")
    assert told.title == "voicekeeper on box: this week, 12 voices kept, next due in 3 h"
    assert told.body.splitlines() == [
        "12 voices kept, next due in 3 h.",
        "Least time left: anna 4 d 2 h (until 2026-05-05T14:00:00Z)",
        "Lost in seven days: none",
        "Spent in seven days: $0.0042; keeping costs about $0.096 a year",
        "Nothing waits for you.",
    ]


def test_a_digest_tells_losses_money_and_what_waits_for_a_person() -> None:
    opened = Breaker(model="m", opened_at=NOW, cause="the account is empty")
    told = of(
        health(blocked=(opened,), balance=Balance(micros=1_000, told_at=NOW)),
        spent=Spent(0, 30_000),
        lost=[f"v{n}" for n in range(5)],
        deadlines=[("anna", NOW - timedelta(hours=1))],
    )
    assert told.level == "error"
    assert "Least time left: anna none, its window is over" in told.body
    assert "Lost in seven days: v0, v1, v2 and 2 more" in told.body
    assert "possibly $0.03 more" in told.body
    assert "The balance was $0.001 at" in told.body
    assert "What waits for you:\n- calls for m are paused" in told.body


@pytest.mark.parametrize(
    ("left", "told"),
    [
        (HOUR, "anna 1 h (until 2026-05-01T13:00:00Z)"),
        (SECOND, "anna 1 s (until 2026-05-01T12:00:01Z)"),
        (0 * SECOND, "anna none, its window is over"),
        (-SECOND, "anna none, its window is over"),
    ],
)
def test_a_digest_tells_the_time_left_to_the_last_second(left: timedelta, told: str) -> None:
    lines = of(health(), deadlines=[("anna", NOW + left)]).body.splitlines()
    assert f"Least time left: {told}" in lines


@pytest.mark.parametrize(
    ("lost", "told"),
    [(["a"], "a"), (["a", "b", "c"], "a, b, c"), (list("abcd"), "a, b, c and 1 more")],
)
def test_a_digest_names_three_of_the_lost(lost: list[str], told: str) -> None:
    assert f"Lost in seven days: {told}" in of(health(), lost=lost).body.splitlines()


def test_a_digest_names_the_voices_with_the_least_time_left_in_one_line() -> None:
    told = of(health(), deadlines=[("anna", NOW + HOUR), ("berta", NOW + DAY)]).body
    assert (
        "Least time left: anna 1 h (until 2026-05-01T13:00:00Z), "
        "berta 1 d (until 2026-05-02T12:00:00Z)"
    ) in told.splitlines()


def test_a_digest_tells_for_how_long_the_balance_lasts() -> None:
    fleet = health(balance=Balance(micros=1_000, told_at=NOW - HOUR))
    days = fleet.runway_days(POLICY)
    assert days is not None
    lines = of(fleet).body.splitlines()
    held = f"The balance was $0.001 at 2026-05-01T11:00:00Z, enough for {days} days"
    assert [line for line in lines if line.startswith(held)]


def test_a_digest_is_as_loud_as_what_waits() -> None:
    assert of(health(overdue=1)).level == "warning"
