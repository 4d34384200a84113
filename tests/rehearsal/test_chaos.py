"""Everything that can go wrong is drawn from a seed: all of it comes, and the end is calm."""

from collections import Counter
from datetime import timedelta
from functools import cache

import pytest

from voicekeeper.rehearsal import Plan, chaos, faults
from voicekeeper.rehearsal.faults import (
    Delete,
    Enroll,
    Incident,
    Jump,
    Kill,
    Retry,
    Suspend,
    Undeploy,
)
from voicekeeper.rehearsal.network import FAULTS

DAY = timedelta(days=1)
NOUGHT = timedelta(0)
CALM = 3 * DAY
SEEDS = range(200)


@cache
def plans(days: int = 365) -> tuple[Plan, ...]:
    return tuple(chaos(seed, days=days, voices=5) for seed in SEEDS)


def incidents(kind: type[Incident]) -> list[Incident]:
    return [incident for plan in plans() for incident in plan.incidents if type(incident) is kind]


def test_the_same_seed_draws_the_same_plan() -> None:
    assert chaos(7, days=100, voices=5) == chaos(7, days=100, voices=5)


def test_no_two_seeds_draw_the_same_plan() -> None:
    assert len({repr(plan) for plan in plans()}) == len(SEEDS)


def test_every_spell_comes() -> None:
    kinds = Counter(period.kind for plan in plans() for period in plan.periods)
    assert set(kinds) == faults.HARD | {faults.DATABASE_LOCKED, faults.STORM}
    assert min(kinds.values()) > 50


@pytest.mark.parametrize("kind", [Kill, Jump, Suspend, Delete, Undeploy, Enroll, Retry])
def test_every_act_comes(kind: type[Incident]) -> None:
    assert len(incidents(kind)) > 100


def test_every_fault_of_a_single_call_comes_in_calm_years_and_in_storms() -> None:
    usual = {fault for plan in plans() for fault in plan.rates}
    storms = [s for plan in plans() for s in plan.periods if s.kind == faults.STORM]
    stormy = {fault for storm in storms for fault in storm.rates}
    assert usual == set(FAULTS)
    assert stormy == set(FAULTS)


def test_never_do_so_many_calls_fail_that_none_comes_through() -> None:
    for plan in plans():
        assert 0 <= sum(plan.rates.values()) <= 0.06
        for period in plan.periods:
            assert 0 <= sum(period.rates.values()) <= 0.6


def test_clocks_are_wrong_either_way_at_first_and_later() -> None:
    first = [plan.clock_wrong_by for plan in plans()]
    jumps = [incident.by for incident in incidents(Jump) if isinstance(incident, Jump)]
    for wrong in (first, jumps):
        assert any(by > DAY for by in wrong)
        assert any(by < -DAY for by in wrong)
    assert NOUGHT in first


def test_every_wrong_clock_is_set_right_in_the_end() -> None:
    for plan in plans():
        jumps = [incident.by for incident in plan.incidents if isinstance(incident, Jump)]
        assert abs(sum(jumps, plan.clock_wrong_by)) < timedelta(seconds=1)


def test_some_clocks_are_set_right_while_the_process_is_down() -> None:
    def is_down_at(plan: Plan, at: timedelta) -> bool:
        kills = (
            incident
            for incident in plan.incidents
            if isinstance(incident, Kill) and not incident.steps
        )
        return any(kill.at < at < kill.at + kill.restart_after for kill in kills)

    stopped = [
        is_down_at(plan, incident.at)
        for plan in plans()
        for incident in plan.incidents
        if isinstance(incident, Jump)
    ]
    assert set(stopped) == {True, False}


def test_processes_die_at_once_and_some_steps_later() -> None:
    steps = {incident.steps for incident in incidents(Kill) if isinstance(incident, Kill)}
    assert steps == set(range(31))


def test_voices_are_made_both_ways_and_end_in_every_way() -> None:
    made = [incident for incident in incidents(Enroll) if isinstance(incident, Enroll)]
    assert {incident.design for incident in made} == {True, False}
    assert {incident.name.rstrip("0123456789") for incident in made} == {
        "ok",
        "slow",
        "reject",
        "fail",
    }


def test_no_name_is_asked_for_twice() -> None:
    for plan in plans():
        names = Counter(
            incident.name for incident in plan.incidents if isinstance(incident, Enroll)
        )
        assert set(names.values()) <= {1}


@pytest.mark.parametrize("days", [10, 30, 365])
def test_nothing_goes_wrong_on_the_calm_days_at_the_end(days: int) -> None:
    end = days * DAY - CALM
    for plan in plans(days):
        assert all(NOUGHT <= period.start < period.end <= end for period in plan.periods)
        assert all(NOUGHT <= incident.at <= end for incident in plan.incidents)


def test_some_periods_are_longer_than_a_window_and_none_is_much_longer() -> None:
    lengths = [period.end - period.start for plan in plans() for period in plan.periods]
    assert 7 * DAY < max(lengths) <= 8 * DAY
