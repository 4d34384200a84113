"""The words of messages: what is wrong in the title, why and what to do in the body; the digest."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.examples import DAY, HOUR, NOW, POLICY, SECOND
from voicekeeper.core import messages
from voicekeeper.core.costs import Spent
from voicekeeper.core.health import Health
from voicekeeper.core.messages import WEEK, Item, Text, Week
from voicekeeper.core.models import AlertKind, Balance, Breaker, Status


def item(subject: str = "anna", **fields: Any) -> Item:  # noqa: ANN401 - any of its fields
    usual: dict[str, Any] = {"level": "error", "cause": "it is gone", "since": NOW}
    return Item(subject, **(usual | fields))


def about(kind: AlertKind, *items: Item) -> Text:
    return messages.of_alerts(kind, items, host="box")


MAKES_ANEW = "'voicekeeper show NAME' tells why; 'retry NAME' makes a new one"
REPEATS = "'voicekeeper show NAME' tells why, 'retry NAME' repeats its enrollment"
TELLS_TRIES = "'voicekeeper history NAME' tells what was tried"
TELLS_ACCOUNT = "'voicekeeper check' tells what the gateway says to the key"


@pytest.mark.parametrize(
    ("kind", "is_", "mend", "ends", "end"),
    [
        (AlertKind.LOST, "anna is lost", MAKES_ANEW, "speaks again", "speak again"),
        (AlertKind.UNDEPLOYED, "anna is UNDEPLOYED", REPEATS, "speaks again", "speak again"),
        (AlertKind.RISK, "anna is at risk", TELLS_TRIES, "was used again", "were used again"),
        (
            AlertKind.BLOCKED,
            "all calls of anna are paused",
            TELLS_ACCOUNT,
            "takes calls again",
            "take calls again",
        ),
    ],
)
def test_a_message_tells_what_is_wrong_with_whom_and_why_and_at_last_its_end(
    kind: AlertKind, is_: str, mend: str, ends: str, end: str
) -> None:
    told = about(kind, item())
    assert told.title == f"voicekeeper on box: {is_}"
    since, why, to_do, again = told.body.splitlines()
    assert (since, why) == (f"{is_} since 2026-05-01T12:00:00Z", "Why: it is gone")
    assert to_do.startswith(f"What to do: {mend}")
    assert again == "This is told once a day until it has ended."
    ended = item(ended_at=NOW + HOUR)
    assert about(kind, ended) == Text(
        "info",
        f"voicekeeper on box: all clear, anna {ends}",
        f"anna {ends}; it lasted from 2026-05-01T12:00:00Z to 2026-05-01T13:00:00Z\n"
        "It was: it is gone",
    )
    both = about(kind, ended, item("berta", ended_at=NOW + DAY))
    assert both.title.endswith(f"all clear, anna and berta {end}")


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["a"], "a"),
        (["a", "b"], "a and b"),
        (["a", "b", "c"], "a, b and c"),
        (["a", "b", "c", "d"], "a, b, c and 1 more"),
    ],
)
def test_three_are_named_and_the_others_counted(names: list[str], told: str) -> None:
    title = about(AlertKind.BLOCKED, *map(item, names)).title
    assert title == f"voicekeeper on box: all calls of {told} are paused"


@pytest.mark.parametrize(
    ("causes", "lines"),
    [
        (["a", "a"], ["Why: a"]),
        (["a", ""], ["Why: a (1 of 2)"]),  # of the other nobody knows
        (["", ""], []),
        (["a", "b", "c"], ["Why: a (1 of 3)", "Why: b (1 of 3)", "Why: c (1 of 3)"]),
        (
            ["a", "b", "b", "c", "d"],
            ["Why: b (2 of 5)", "Why: a (1 of 5)", "Why: c (1 of 5)", "and 1 cause more"],
        ),
        (
            ["a", "b", "b", "c", "c", "c", "d", "e", ""],
            ["Why: c (3 of 9)", "Why: b (2 of 9)", "Why: a (1 of 9)", "and 2 causes more"],
        ),
    ],
)
def test_each_cause_is_told_once_the_commonest_first_and_few_of_them(
    causes: list[str], lines: list[str]
) -> None:
    items = [item(f"v{number}", cause=cause) for number, cause in enumerate(causes)]
    _, *told = about(AlertKind.LOST, *items).body.splitlines()
    assert told[:-2] == lines


@pytest.mark.parametrize(
    ("cause", "told"),
    [("x" * 300, "x" * 300), ("x" * 301, "x" * 300 + "…"), ("x\n" * 900, "x " * 150 + "…")],
)
def test_a_cause_is_one_line_and_cut_after_300_characters(cause: str, told: str) -> None:
    assert f"Why: {told}" in about(AlertKind.LOST, item(cause=cause)).body.splitlines()


def test_a_message_is_as_loud_as_the_loudest_that_holds() -> None:
    mild, bad = item(level="warning"), item("berta")
    assert about(AlertKind.RISK, mild).level == "warning"
    assert about(AlertKind.RISK, mild, bad).level == "error"
    assert about(AlertKind.RISK, mild, item("berta", ended_at=NOW)).level == "warning"


def test_many_voices_are_a_number_and_those_that_ended_are_named_below() -> None:
    told = about(AlertKind.LOST, *(item(f"v{n}") for n in range(1000)), item("z", ended_at=NOW))
    assert told.title == "voicekeeper on box: 1000 voices are lost: v0, v1, v2 and 997 more"
    assert "Over since the last message: z" in told.body.splitlines()


@pytest.mark.parametrize(
    ("new", "tail"),
    [((True, True), ""), ((False, True), ", 1 of them new"), ((False,) * 2, ", as before")],
)
def test_a_title_tells_what_is_new(new: tuple[bool, bool], tail: str) -> None:
    first, second = new
    told = about(AlertKind.LOST, item(is_new=first), item("berta", is_new=second))
    assert told.title.endswith(f"2 voices are lost: anna and berta{tail}")


def test_the_first_deadline_is_told_of_voices_at_risk() -> None:
    first, second = NOW + timedelta(hours=40), NOW + timedelta(hours=47)
    one = about(AlertKind.RISK, item(deadline_at=first)).body
    assert "Its window is over at 2026-05-03T04:00:00Z" in one
    two = about(AlertKind.RISK, item(deadline_at=first), item("berta", deadline_at=second)).body
    assert "The first window (anna) is over at 2026-05-03T04:00:00Z" in two


MADE, NOT_MADE = (
    item(level="info", cause=""),
    item("berta", level="warning", cause="the prefix is taken"),
)


def enrolled(*items: Item) -> Text:
    return about(AlertKind.ENROLLMENT, *items)


def test_enrollments_that_failed_come_before_those_that_succeeded() -> None:
    told = enrolled(MADE, NOT_MADE)
    assert told == Text(
        "warning",
        "voicekeeper on box: the enrollment of berta did not succeed; anna was made",
        "Not made, or nobody knows: berta\n"
        "Why: the prefix is taken\n"
        "What to do: 'voicekeeper show NAME' tells why, 'retry NAME' repeats its enrollment; "
        "it is paid for again\n"
        "Made, and kept from now on: anna",
    )


def test_enrollments_that_all_ended_alike_are_one_sentence() -> None:
    failed = enrolled(NOT_MADE, item("carla", level="warning"))
    assert failed.title == "voicekeeper on box: the enrollments of berta and carla did not succeed"
    assert enrolled(MADE, item("carla", level="info", cause="")) == Text(
        "info",
        "voicekeeper on box: anna and carla were made",
        "Made, and kept from now on: anna and carla",
    )


def test_a_trial_says_that_nothing_is_wrong() -> None:
    told = messages.trial(host="box")
    assert told == Text(
        "info",
        "voicekeeper on box: a trial message",
        "Nothing is wrong: 'voicekeeper alerts test' sent this to show that messages arrive.",
    )


# the digest

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


def digest(fleet: Health, **fields: Any) -> Text:  # noqa: ANN401
    usual: dict[str, Any] = {"spent": Spent(4200), "lost": (), "deadlines": ()}
    week = Week(**(usual | fields))
    return messages.of_week(week, fleet, now=NOW, tick=10 * SECOND, policy=POLICY, host="box")


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
    assert messages.is_digest_due(last_at, now=now) is due


def test_a_digest_of_a_fleet_that_is_well_says_so() -> None:
    deadlines = [("anna", NOW + 4 * DAY + 2 * HOUR), ("berta", NOW + 5 * DAY)]
    on_tuesday, on_wednesday = "2026-05-05T14:00:00Z", "2026-05-06T12:00:00Z"
    told = digest(health(), deadlines=deadlines)
    assert told.level == "info"
    assert told.title == "voicekeeper on box: this week, 12 voices kept, next due in 3 h"
    assert told.body.splitlines() == [
        "12 voices kept, next due in 3 h.",
        f"Least time left: anna 4 d 2 h (until {on_tuesday}), berta 5 d (until {on_wednesday})",
        "Lost in seven days: none",
        "Spent in seven days: $0.0042; keeping costs about $0.096 a year",
        "Nothing waits for you.",
    ]


def test_a_digest_tells_losses_money_and_what_waits_for_a_person() -> None:
    opened = Breaker(model="m", opened_at=NOW, cause="the account is empty")
    told = digest(
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
    lines = digest(health(), deadlines=[("anna", NOW + left)]).body.splitlines()
    assert f"Least time left: {told}" in lines


def test_a_digest_tells_for_how_long_the_balance_lasts_and_is_as_loud_as_its_findings() -> None:
    fleet = health(balance=Balance(micros=1_000, told_at=NOW - HOUR))
    days = fleet.runway_days(POLICY)
    assert days is not None
    lines = digest(fleet).body.splitlines()
    held = f"The balance was $0.001 at 2026-05-01T11:00:00Z, enough for {days} days"
    assert [line for line in lines if line.startswith(held)]
    assert digest(health(overdue=1)).level == "warning"
