"""What rehearsals found, one story each, made short."""

from datetime import timedelta

import pytest

from tests.rehearsal.stage import DAY, HOUR
from voicekeeper.config import Settings
from voicekeeper.rehearsal import Plan, Report, Simulation, faults
from voicekeeper.rehearsal.faults import Jump, Undeploy, lasting


def lived(plan: Plan, *, voices: int, days: int, undated: float = 0.0) -> Report:
    return Simulation(Settings(), plan, voices=voices, days=days, seed=1, undated=undated).run()


def called_lost(plan: Plan, *, voices: int, undated: float = 0.0) -> list[str]:
    """Return the voices that were called LOST in three weeks, and live."""
    report = lived(plan, voices=voices, days=21, undated=undated)
    return [sentence for sentence in report.broken if "was called LOST" in sentence]


@pytest.mark.parametrize("voices", [2, 12])
def test_a_whole_fleet_that_falls_due_under_another_account_s_key_is_not_called_lost(
    voices: int,
) -> None:
    """All were suspects at once, so a built-in voice bore witness against each of them."""
    down = lasting(faults.HOST_DOWN, 10 * DAY, 4 * DAY)
    wrong = lasting(faults.WRONG_ACCOUNT, 14 * DAY - 2 * HOUR, DAY)
    assert called_lost(down + wrong, voices=voices) == []


@pytest.mark.parametrize("voices", [2, 12])
def test_a_fleet_imported_under_another_account_s_key_is_not_called_lost(voices: int) -> None:
    """None had spoken yet, so none of them was asked to bear witness."""
    wrong = lasting(faults.WRONG_ACCOUNT, 0 * DAY, DAY)
    assert called_lost(wrong, voices=voices, undated=1.0) == []


@pytest.mark.parametrize("back", [2 * DAY, 4 * DAY])
def test_a_clock_set_back_while_calls_pause_holds_off_no_probe(back: timedelta) -> None:
    """The probe's time stood in a future that was days away again."""
    wrong = lasting(faults.WRONG_ACCOUNT, 5 * DAY, 4 * DAY)
    plan = wrong + Plan(incidents=(Jump(8 * DAY, -back),))
    assert lived(plan, voices=10, days=16).saveable_lost == 0


def test_what_was_used_unknown_to_us_and_blamed_by_another_account_is_found_again() -> None:
    """Calls that hung had been uses; past the deadlines that we knew of, no voice was tried."""
    outage = lasting(faults.OUTAGE, 10 * DAY, 6.8 * DAY)
    wrong = lasting(faults.WRONG_ACCOUNT, 10 * DAY, 7.4 * DAY)
    assert lived(outage + wrong, voices=6, days=24).saveable_lost == 0


def test_a_fleet_that_the_review_took_before_it_ever_spoke_is_called_so() -> None:
    """Each bore witness against the other, which only another account's key would explain."""
    taken = Plan(incidents=(Undeploy(timedelta(0), 0.0), Undeploy(timedelta(0), 0.0)))
    report = lived(taken, voices=2, days=3, undated=1.0)
    assert report.transitions["NEW-UNDEPLOYED"] == 2
    assert report.broken == []


def test_what_a_wrong_clock_put_off_stays_due_while_calls_pause() -> None:
    """Its due time came near enough to be believed before a call could be made."""
    outage = lasting(faults.OUTAGE, 8 * DAY, 2.5 * DAY)
    ahead = Plan(incidents=(Jump(4 * DAY, 3.6 * DAY), Jump(8.4 * DAY, -3.6 * DAY)))
    assert lived(outage + ahead, voices=10, days=18).broken == []


def test_a_clock_days_ahead_that_is_set_right_in_its_sleep_costs_no_voice() -> None:
    """After the sleep its due times lay near enough ahead to be believed."""
    jumps = Jump(4.5 * DAY, 5.8 * DAY), Jump(8 * DAY, -6.2 * DAY)
    asleep = lasting(faults.SUSPENDED, 6 * DAY, 4.9 * DAY)
    report = lived(asleep + Plan(incidents=jumps), voices=10, days=20)
    assert (report.saveable_lost, report.broken) == (0, [])
