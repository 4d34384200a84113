"""No voice is lost that could have been saved, none waits too long: forged evidence violates it.

Calls and alerts have tests of their own.
"""

from datetime import timedelta

import pytest

from tests.rehearsal.forged import OURS, Forged
from tests.rehearsal.stage import DAY, HOUR, MINUTE, Stage
from voicekeeper.config import Settings
from voicekeeper.rehearsal import Plan, Simulation, faults
from voicekeeper.rehearsal.clock import BEGINNING
from voicekeeper.rehearsal.faults import Kill


def lost(forged: Forged) -> tuple[list[str], list[str]]:
    """Return the lost voices that could have been saved, and that could not."""
    lost = forged.invariants.losses.lost()
    return [v for v in lost if lost[v]], [v for v in lost if not lost[v]]


def overdue(forged: Forged) -> list[str]:
    forged.invariants.losses.check_overdue(forged.invariants.evidence.living())
    return forged.settled()


def test_a_voice_that_is_used_every_three_days_breaks_nothing(forged: Forged) -> None:
    for _ in range(10):
        forged.use()
        forged.wait(3 * DAY)
    forged.use()
    forged.invariants.losses.check_healed({"anna"}, set(), 0)
    assert overdue(forged) == []
    assert lost(forged) == ([], [])


def test_a_voice_that_nobody_used_for_a_window_is_lost_and_could_have_been_saved(
    forged: Forged,
) -> None:
    forged.wait(7 * DAY - MINUTE)
    assert lost(forged) == ([], [])
    forged.wait(2 * MINUTE)
    assert lost(forged) == ([OURS], [])


@pytest.mark.parametrize("kind", sorted(faults.PERIODS))
def test_only_two_days_in_which_nothing_worked_are_an_excuse(forged: Forged, kind: str) -> None:
    forged.period(kind, 5 * DAY, 49 * HOUR)
    forged.wait(8 * DAY)
    assert lost(forged) == (([], [OURS]) if kind in faults.HARD else ([OURS], []))


def test_two_hours_in_which_all_worked_would_have_been_enough(forged: Forged) -> None:
    forged.period(faults.OUTAGE, 5 * DAY, 20 * HOUR)
    forged.period(faults.HOST_DOWN, 5 * DAY + 22 * HOUR, 30 * HOUR)
    forged.wait(8 * DAY)
    assert lost(forged) == ([OURS], [])


def test_a_voice_deleted_for_no_reason_could_not_have_been_saved(forged: Forged) -> None:
    forged.wait(DAY)
    forged.gateway.delete_voice(OURS, forged.clock.true)
    assert lost(forged) == ([], [OURS])


def test_a_voice_registered_in_its_last_hour_could_not_have_been_saved(forged: Forged) -> None:
    forged.gateway.import_voice("id-ben-", "cosyvoice-3-flash", BEGINNING)
    forged.wait(7 * DAY - HOUR)
    forged.invariants.registered("ben", "id-ben-")
    forged.wait(DAY)
    assert lost(forged) == ([OURS], ["id-ben-"])


def test_a_voice_that_a_person_gave_up_is_no_loss(forged: Forged) -> None:
    forged.invariants.evidence.abandoned.add(OURS)
    forged.wait(8 * DAY)
    assert lost(forged) == ([], [])


def test_a_voice_that_is_overdue_when_all_is_well_is_named_once(forged: Forged) -> None:
    forged.wait(3 * DAY + 5 * HOUR)
    assert overdue(forged) == []
    for _ in range(2):
        forged.wait(2 * HOUR)
        (sentence,) = overdue(forged)
        assert f"{OURS} is overdue though all is well" in sentence


@pytest.mark.parametrize("kind", sorted(faults.PERIODS))
def test_a_voice_may_be_overdue_for_six_hours_after_any_fault(forged: Forged, kind: str) -> None:
    forged.period(kind, 3 * DAY, 5 * HOUR)
    forged.wait(3 * DAY + 10 * HOUR)
    assert overdue(forged) == []


@pytest.mark.parametrize(("wrong_by", "named"), [(0 * DAY, 1), (-DAY, 0)])
def test_a_clock_that_is_wrong_from_the_beginning_may_put_a_voice_off(
    wrong_by: timedelta, named: int
) -> None:
    forged = Forged(wrong_by)
    forged.loop.close()
    forged.import_voice("ben", BEGINNING - 3 * DAY)
    forged.wait(DAY)
    assert len(overdue(forged)) == named


def test_a_day_after_the_last_fault_all_is_there_and_nothing_hangs(forged: Forged) -> None:
    forged.invariants.losses.acknowledged |= {"anna", "ben"}
    forged.invariants.losses.check_healed({"anna"}, {"anna"}, 2)
    assert [sentence.partition(": ")[2] for sentence in forged.broken] == [
        "ben was registered and is not there",
        "anna came to no end though all is well",
        "2 tasks hang though all is well",
    ]


# Whole simulations.


def test_a_calm_season_breaks_nothing_and_costs_little() -> None:
    report = Simulation(Settings(), Plan(), voices=3, days=60, seed=1).run()
    assert (report.saveable_lost, report.unsaveable_lost, report.broken) == (0, 0, [])
    assert report.smallest_margin is not None
    assert report.smallest_margin > 3.9 * DAY
    assert report.keepalives <= 3 * 60 / 2.5 + 3
    assert not report.faults


def test_a_host_that_is_never_started_again_loses_voices_and_a_planned_period_excuses_it() -> None:
    kill = Plan(incidents=(Kill(10 * DAY, restart_after=1000 * DAY),))
    planned = faults.lasting(faults.HOST_DOWN, 10 * DAY, 20 * DAY)
    for plan, counts in ((kill, (3, 0)), (planned, (0, 3))):
        report = Simulation(Settings(), plan, voices=3, days=29, seed=1).run()
        assert (report.saveable_lost, report.unsaveable_lost) == counts
        assert report.kept_its_promise == (counts[0] == 0)


def test_a_registry_that_forgets_a_voice_is_found_out() -> None:
    with Stage(voices=2) as stage:
        stage.let_pass(HOUR)
        stage.soon(lambda: stage.registry.remove("v00001", now=stage.now))
        stage.let_pass(8 * DAY)
        stage.heal()
        assert stage.broken()[0].endswith("v00001 was registered and is not there")
        assert stage.broken()[1:] == ["id-v00001- was lost"]


def test_a_registry_that_forgets_uses_pays_twice() -> None:
    with Stage() as stage:
        stage.let_pass(4 * DAY)
        stage.keep("v00001")
        stage.let_pass(HOUR)
        stage.heal()
        (sentence,) = stage.broken()
        assert "id-v00001- was used again after" in sentence
