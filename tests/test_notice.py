"""The words of messages: what is wrong in the title, why and what to do in the body."""

from datetime import timedelta
from typing import Any

import pytest

from tests.examples import DAY, HOUR, NOW
from voicekeeper.core import notice
from voicekeeper.core.models import AlertKind, Topic
from voicekeeper.core.notice import Item, Notice


def item(subject: str = "anna", **fields: Any) -> Item:  # noqa: ANN401 - any of its fields
    usual: dict[str, Any] = {"level": "error", "cause": "it is gone", "since": NOW}
    return Item(subject, **(usual | fields))


def about(kind: AlertKind, *items: Item) -> Notice:
    return notice.of_alerts(kind, items, host="box")


@pytest.mark.parametrize(
    ("kind", "title"),
    [
        (AlertKind.LOST, "anna is lost"),
        (AlertKind.UNDEPLOYED, "anna is UNDEPLOYED"),
        (AlertKind.RISK, "anna is at risk"),
        (AlertKind.BLOCKED, "all calls of anna are paused"),
    ],
)
def test_a_title_tells_the_host_and_what_is_wrong_with_whom(kind: AlertKind, title: str) -> None:
    told = about(kind, item())
    assert told.title == f"voicekeeper on box: {title}"
    assert told.topic == Topic(kind)
    assert told.body.splitlines()[0] == f"{title} since 2026-05-01T12:00:00Z"
    assert "Why: it is gone" in told.body
    assert "What to do: 'voicekeeper" in told.body


@pytest.mark.parametrize("kind", AlertKind)
def test_every_kind_is_a_topic_and_has_a_mend(kind: AlertKind) -> None:
    told = about(kind, item())
    assert told.topic is not None
    assert told.topic.value == kind.value
    assert "What to do: " in told.body


@pytest.mark.parametrize(
    ("kind", "one", "two"),
    [
        (AlertKind.LOST, "anna speaks again", "anna and berta speak again"),
        (AlertKind.UNDEPLOYED, "anna speaks again", "anna and berta speak again"),
        (AlertKind.RISK, "anna was used again", "anna and berta were used again"),
        (AlertKind.BLOCKED, "anna takes calls again", "anna and berta take calls again"),
    ],
)
def test_an_all_clear_tells_what_it_was_and_how_long(kind: AlertKind, one: str, two: str) -> None:
    ended = item(ended_at=NOW + HOUR)
    told = about(kind, ended)
    assert told.title == f"voicekeeper on box: all clear, {one}"
    assert told.level == "info"
    assert told.body.splitlines() == [
        f"{one}; it lasted from 2026-05-01T12:00:00Z to 2026-05-01T13:00:00Z",
        "It was: it is gone",
    ]
    assert two in about(kind, ended, item("berta", ended_at=NOW + DAY)).title


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


def test_a_message_that_holds_ends_with_the_mend_and_how_often_it_is_told() -> None:
    assert about(AlertKind.BLOCKED, item("m")).body.splitlines() == [
        "all calls of m are paused since 2026-05-01T12:00:00Z",
        "Why: it is gone",
        "What to do: 'voicekeeper check' tells what the gateway says to the key and the balance",
        "This is told once a day until it has ended.",
    ]


def test_many_voices_are_a_number_and_three_names() -> None:
    told = about(AlertKind.LOST, *(item(f"v{n}") for n in range(1000)))
    assert told.title == "voicekeeper on box: 1000 voices are lost: v0, v1, v2 and 997 more"
    assert told.body.count("it is gone") == 1
    assert len(told.body) < 600


@pytest.mark.parametrize(
    ("causes", "lines"),
    [
        (["a", "a"], ["Why: a"]),
        (["a", ""], ["Why: a (1 of 2)"]),  # of the other nobody knows
        (["", ""], []),
        (["a", "b", "b"], ["Why: b (2 of 3)", "Why: a (1 of 3)"]),
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


@pytest.mark.parametrize(("length", "told"), [(300, "x" * 300), (301, "x" * 300 + "…")])
def test_a_cause_is_cut_after_300_characters(length: int, told: str) -> None:
    assert f"Why: {told}" in about(AlertKind.LOST, item(cause="x" * length)).body.splitlines()


def test_a_long_cause_of_many_lines_is_one_short_line() -> None:
    (why,) = [
        line
        for line in about(AlertKind.LOST, item(cause="x\n" * 900)).body.splitlines()
        if line.startswith("Why")
    ]
    assert len(why) < 310
    assert why.endswith("…")


def test_a_message_is_as_loud_as_the_loudest_that_holds() -> None:
    mild, bad = item(level="warning"), item("berta")
    assert about(AlertKind.RISK, mild).level == "warning"
    assert about(AlertKind.RISK, mild, bad).level == "error"
    assert about(AlertKind.RISK, mild, item("berta", ended_at=NOW)).level == "warning"


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


def test_what_ended_while_others_go_on_is_named() -> None:
    told = about(AlertKind.LOST, item(is_new=False), item("berta", ended_at=NOW))
    assert told.title.endswith("anna is lost, as before")
    assert "Over since the last message: berta" in told.body


MADE, NOT_MADE = (
    item(level="info", cause=""),
    item("berta", level="warning", cause="the prefix is taken"),
)


def enrolled(*items: Item) -> Notice:
    return about(AlertKind.ENROLLMENT, *items)


def test_enrollments_that_failed_come_before_those_that_succeeded() -> None:
    told = enrolled(MADE, NOT_MADE)
    assert told == Notice(
        Topic.ENROLLMENT,
        "warning",
        "voicekeeper on box: the enrollment of berta did not succeed; anna was made",
        "Not made, or nobody knows: berta\n"
        "Why: the prefix is taken\n"
        "What to do: 'voicekeeper show NAME' tells why, 'retry NAME' repeats its enrollment; "
        "it is paid for again\n"
        "Made, and kept from now on: anna",
    )


def test_enrollments_that_all_succeeded_ask_for_nothing() -> None:
    assert enrolled(MADE, item("carla", level="info", cause="")) == Notice(
        Topic.ENROLLMENT,
        "info",
        "voicekeeper on box: anna and carla were made",
        "Made, and kept from now on: anna and carla",
    )


def test_enrollments_that_all_failed_are_told_with_why() -> None:
    told = enrolled(NOT_MADE, item("carla", level="warning"))
    assert told.title == "voicekeeper on box: the enrollments of berta and carla did not succeed"
    assert "Made, and kept" not in told.body


def test_a_trial_says_that_nothing_is_wrong() -> None:
    told = notice.trial(host="box")
    assert told == Notice(
        None,
        "info",
        "voicekeeper on box: a trial message",
        "Nothing is wrong: 'voicekeeper alerts test' sent this to show that messages arrive.",
    )
