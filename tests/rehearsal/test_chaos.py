"""Everything that can go wrong is drawn from a seed: all of it comes, and the end is calm."""

from collections import Counter
from datetime import timedelta
from functools import cache
from typing import TypeVar

import pytest

from tests.rehearsal.stage import DAY
from voicekeeper.rehearsal import Plan, chaos, faults
from voicekeeper.rehearsal.faults import NAMES, Enroll, Incident, Jump, Kill
from voicekeeper.rehearsal.network import FAULTS

NOUGHT = timedelta(0)
SEEDS = range(200)

Any = TypeVar("Any", bound=Incident)


@cache
def plans(days: int = 365) -> tuple[Plan, ...]:
    return tuple(chaos(seed, days=days, voices=5) for seed in SEEDS)


def incidents(kind: type[Any], *of: Plan) -> list[Any]:
    return [each for plan in of or plans() for each in plan.incidents if isinstance(each, kind)]


def test_the_same_seed_draws_the_same_plan_and_no_other_does() -> None:
    assert chaos(7, days=100, voices=5) == chaos(7, days=100, voices=5)
    assert len({repr(plan) for plan in plans()}) == len(SEEDS)


def test_every_period_and_incident_comes() -> None:
    kinds = Counter(period.kind for plan in plans() for period in plan.periods)
    assert set(kinds) == faults.PERIODS
    assert min(kinds.values()) > 50
    assert min(len(incidents(kind)) for kind in NAMES) > 100


def test_every_fault_of_a_single_call_comes_and_never_so_many_that_no_call_comes_through() -> None:
    storms = [s for plan in plans() for s in plan.periods if s.kind == faults.STORM]
    for rates, most in (
        ([plan.rates for plan in plans()], 0.06),
        ([storm.rates for storm in storms], 0.6),
    ):
        assert {fault for each in rates for fault in each} == set(FAULTS)
        assert all(0 <= sum(each.values()) <= most for each in rates)


def test_clocks_are_wrong_either_way_at_first_and_later_and_right_in_the_end() -> None:
    first = [plan.clock_wrong_by for plan in plans()]
    for wrong in (first, [jump.by for jump in incidents(Jump)]):
        assert min(wrong) < -DAY
        assert max(wrong) > DAY
    assert NOUGHT in first
    for plan in plans():
        jumps = sum((jump.by for jump in incidents(Jump, plan)), plan.clock_wrong_by)
        assert abs(jumps) < timedelta(seconds=1)


def test_some_clocks_are_set_right_while_the_process_is_down() -> None:
    def is_down_at(plan: Plan, at: timedelta) -> bool:
        kills = (kill for kill in incidents(Kill, plan) if not kill.steps)
        return any(kill.at < at < kill.at + kill.restart_after for kill in kills)

    stopped = {is_down_at(plan, jump.at) for plan in plans() for jump in incidents(Jump, plan)}
    assert stopped == {True, False}


def test_processes_die_at_once_and_some_steps_later() -> None:
    assert {kill.steps for kill in incidents(Kill)} == set(range(31))


def test_voices_are_made_both_ways_end_in_every_way_and_have_names_of_their_own() -> None:
    made = incidents(Enroll)
    assert {enroll.design for enroll in made} == {True, False}
    ends = {enroll.name.rstrip("0123456789") for enroll in made}
    assert ends == {"ok", "slow", "reject", "fail"}
    for plan in plans():
        names = Counter(enroll.name for enroll in incidents(Enroll, plan))
        assert set(names.values()) <= {1}


@pytest.mark.parametrize("days", [10, 365])
def test_nothing_goes_wrong_on_the_three_calm_days_at_the_end(days: int) -> None:
    end = (days - 3) * DAY
    for plan in plans(days):
        assert all(NOUGHT <= period.start < period.end <= end for period in plan.periods)
        assert all(NOUGHT <= incident.at <= end for incident in plan.incidents)


def test_some_periods_are_longer_than_a_window_and_none_is_much_longer() -> None:
    lengths = [period.end - period.start for plan in plans() for period in plan.periods]
    assert 7 * DAY < max(lengths) <= 8 * DAY
