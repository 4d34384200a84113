"""What is wrong at an instant, which calls it strikes, and when all worked."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from voicekeeper.rehearsal import troubles
from voicekeeper.rehearsal.troubles import Plan, Spell, lasting
from voicekeeper.rehearsal.weather import Weather, has_room

BEGINNING = datetime(2030, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


def spell(kind: str, start: int, end: int, **rates: float) -> Spell:
    """Return a spell between two hours."""
    return Spell(kind, start * HOUR, end * HOUR, rates)


def weather(*spells: Spell, **rates: float) -> Weather:
    return Weather(Plan(spells, rates=rates), BEGINNING)


def hour(number: float) -> datetime:
    return BEGINNING + number * HOUR


def test_a_spell_is_there_from_its_start_up_to_its_end() -> None:
    sky = weather(spell("outage", 2, 4))

    seen = [sorted(sky.at(hour(h))) for h in (0, 2 - 0.001, 2, 3, 4 - 0.001, 4, 100)]

    assert seen == [[], [], ["outage"], ["outage"], ["outage"], [], []]


def test_spells_overlap() -> None:
    sky = weather(spell("outage", 2, 6), spell("disk-full", 4, 8))

    assert [sorted(sky.at(hour(h))) for h in (3, 5, 7, 9)] == [
        ["outage"],
        ["disk-full", "outage"],
        ["disk-full"],
        [],
    ]


def test_spells_that_are_all_leapt_over_leave_nothing() -> None:
    assert weather(spell("outage", 2, 6)).at(hour(9)) == {}


def test_without_rates_no_call_fails() -> None:
    sky = weather(spell("outage", 0, 1))

    assert {sky.fault(hour(0.5), die / 100) for die in range(100)} == {None}


def test_faults_strike_their_share_of_the_calls() -> None:
    sky, dice = weather(refused=0.1, hang=0.3), Random(1)

    struck = Counter(sky.fault(BEGINNING, dice.random()) for _ in range(10_000))

    assert struck["refused"] == pytest.approx(1_000, rel=0.1)
    assert struck["hang"] == pytest.approx(3_000, rel=0.1)
    assert struck[None] == pytest.approx(6_000, rel=0.1)


def test_a_storm_s_rates_come_on_top_and_go_with_it() -> None:
    sky = weather(spell("storm", 2, 3, hang=0.5), refused=0.1)

    assert [sky.fault(hour(2), die) for die in (0.05, 0.3, 0.7)] == ["refused", "hang", None]
    assert [sky.fault(hour(3), die) for die in (0.05, 0.3, 0.7)] == ["refused", None, None]


def test_a_storm_s_rate_replaces_the_usual_one_of_the_same_fault() -> None:
    sky = weather(spell("storm", 2, 3, refused=0.9), refused=0.1)

    assert sky.fault(hour(2), 0.8) == "refused"


@pytest.mark.parametrize("kind", sorted(troubles.HARD))
def test_under_every_hard_spell_nothing_works(kind: str) -> None:
    sky = weather(spell(kind, 0, 48))

    assert not sky.worked(hour(0), hour(48), 2 * HOUR)


@pytest.mark.parametrize("kind", [troubles.STORM, troubles.DATABASE_LOCKED])
def test_single_failures_are_no_excuse(kind: str) -> None:
    assert weather(spell(kind, 0, 48)).worked(hour(0), hour(48), 2 * HOUR)


@pytest.mark.parametrize(
    ("spells", "worked"),
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
    spells: list[tuple[int, int]], *, worked: bool
) -> None:
    sky = weather(*(spell("outage", start, end) for start, end in spells))

    assert sky.worked(hour(0), hour(48), 2 * HOUR) is worked


@pytest.mark.parametrize(("since", "room"), [(1, False), (2, True), (3, True)])
def test_what_has_not_ended_leaves_room_before_it_only(since: int, *, room: bool) -> None:
    assert has_room([(hour(since), None)], hour(0), hour(48), 2 * HOUR) is room


def test_each_kind_of_spell_can_be_asked_for() -> None:
    sky = weather(spell("outage", 1, 2), spell("storm", 3, 4), spell("outage", 5, 6))

    assert sky.of(frozenset({"outage"})) == [(hour(1), hour(2)), (hour(5), hour(6))]
    assert sky.of(frozenset({"suspended"})) == []


def test_a_plan_of_one_spell_holds_what_it_does_to_the_host() -> None:
    start, length = 3 * HOUR, 2 * HOUR

    assert lasting("outage", start, length).acts == ()
    assert lasting("host-down", start, length).acts == (troubles.Kill(start, restart_after=length),)
    assert lasting("suspended", start, length).acts == (troubles.Suspend(start, length),)
    assert lasting("outage", start, length).spells == (Spell("outage", start, start + length),)


def test_two_plans_add_up() -> None:
    first = Plan((spell("outage", 1, 2),), rates={"hang": 0.1}, clock_wrong_by=HOUR)
    second = Plan(acts=(troubles.Retry(HOUR),), rates={"hang": 0.2}, clock_wrong_by=-3 * HOUR)

    both = first + second

    assert both == Plan((spell("outage", 1, 2),), (troubles.Retry(HOUR),), {"hang": 0.2}, -2 * HOUR)
