"""Each invariant can fail: forged evidence violates it, and the violation is named.

The order of the calls, breakers and alerts have tests of their own.
"""

from datetime import timedelta

import pytest

from tests.rehearsal.forged import OURS, Forged
from tests.rehearsal.stage import DAY, HOUR, MINUTE, SECOND, Stage
from voicekeeper.config import Settings
from voicekeeper.core.events import Event
from voicekeeper.core.models import Status
from voicekeeper.core.requests import FLASH
from voicekeeper.rehearsal import Plan, Simulation, faults
from voicekeeper.rehearsal.faults import Kill
from voicekeeper.rehearsal.invariants.calls import TRANSITIONS
from voicekeeper.rehearsal.simulation import BEGINNING


def test_a_voice_that_is_used_every_three_days_breaks_nothing(forged: Forged) -> None:
    for _ in range(10):
        forged.use()
        forged.wait(3 * DAY)
    assert forged.settled() == []
    assert forged.invariants.losses.saveable() == forged.invariants.losses.unsaveable() == []
    forged.use()
    forged.invariants.losses.check_overdue(forged.invariants.evidence.living())
    forged.invariants.losses.check_healed({"anna"}, set(), 0)
    assert forged.settled() == []


# No voice is lost that could have been saved.


def test_a_voice_that_nobody_used_for_a_window_is_lost_and_could_have_been_saved(
    forged: Forged,
) -> None:
    forged.wait(7 * DAY - MINUTE)
    assert forged.invariants.losses.saveable() == []
    forged.wait(2 * MINUTE)
    assert forged.invariants.losses.saveable() == [OURS]
    assert forged.invariants.losses.unsaveable() == []


@pytest.mark.parametrize("kind", sorted(faults.HARD))
def test_nobody_could_save_a_voice_through_two_days_in_which_nothing_worked(
    forged: Forged, kind: str
) -> None:
    forged.period(kind, 5 * DAY, 49 * HOUR)
    forged.wait(8 * DAY)
    assert forged.invariants.losses.unsaveable() == [OURS]
    assert forged.invariants.losses.saveable() == []


def test_two_hours_in_which_all_worked_would_have_been_enough(forged: Forged) -> None:
    forged.period(faults.OUTAGE, 5 * DAY, 20 * HOUR)
    forged.period(faults.HOST_DOWN, 5 * DAY + 22 * HOUR, 30 * HOUR)
    forged.wait(8 * DAY)
    assert forged.invariants.losses.saveable() == [OURS]


@pytest.mark.parametrize("kind", [faults.STORM, faults.DATABASE_LOCKED])
def test_calls_that_fail_one_by_one_are_no_excuse(forged: Forged, kind: str) -> None:
    forged.period(kind, 0 * DAY, 9 * DAY)
    forged.wait(8 * DAY)
    assert forged.invariants.losses.saveable() == [OURS]


def test_a_voice_deleted_for_no_reason_could_not_have_been_saved(forged: Forged) -> None:
    forged.wait(DAY)
    forged.gateway.delete_voice(OURS, forged.clock.true)
    assert forged.invariants.losses.unsaveable() == [OURS]


def test_a_voice_told_of_in_its_last_hour_could_not_have_been_saved(forged: Forged) -> None:
    forged.gateway.import_voice("id-ben-", FLASH, BEGINNING)
    forged.wait(7 * DAY - HOUR)
    forged.invariants.registered("ben", "id-ben-")
    forged.wait(DAY)
    assert forged.invariants.losses.unsaveable() == ["id-ben-"]
    assert forged.invariants.losses.saveable() == [OURS]


def test_a_voice_that_a_person_gave_up_is_no_loss(forged: Forged) -> None:
    forged.invariants.evidence.abandoned.add(OURS)
    forged.wait(8 * DAY)
    assert forged.invariants.losses.saveable() == forged.invariants.losses.unsaveable() == []


# No voice is used again within its interval.


def test_a_voice_used_again_though_its_last_use_is_known_is_paid_for_twice(forged: Forged) -> None:
    forged.use()
    forged.wait(DAY)
    forged.use()
    (sentence,) = forged.settled()
    assert f"{OURS} was used again after 1 day, 0:01:00" in sentence


def test_a_use_whose_success_never_came_back_excuses_another(forged: Forged) -> None:
    forged.speak()
    forged.wait(DAY)
    forged.use()
    assert forged.settled() == []


def test_one_lost_answer_excuses_one_use_and_no_second(forged: Forged) -> None:
    forged.speak()
    forged.wait(DAY)
    forged.use()
    forged.wait(DAY)
    forged.use()
    assert len(forged.settled()) == 1


def test_a_clock_that_was_set_meanwhile_excuses_a_use(forged: Forged) -> None:
    forged.use()
    forged.set_clock()
    forged.wait(DAY)
    forged.use()
    assert forged.settled() == []


def test_a_process_that_died_as_it_was_told_of_a_use_is_excused(forged: Forged) -> None:
    forged.use()
    forged.invariants.killed()
    forged.wait(DAY)
    forged.use()
    assert forged.settled() == []


def test_a_process_that_died_long_after_is_not(forged: Forged) -> None:
    forged.use()
    forged.wait(HOUR)
    forged.invariants.killed()
    forged.wait(DAY)
    forged.use()
    assert len(forged.settled()) == 1


def test_a_control_call_is_no_keepalive(forged: Forged) -> None:
    forged.use()
    forged.wait(DAY)
    task_id = forged.speak()
    forged.log(Event.CONTROL_SUBMITTED, task_id=task_id, name="anna")
    assert forged.settled() == []


def test_nor_is_one_that_was_made_and_whose_answer_was_lost(forged: Forged) -> None:
    forged.use()
    forged.wait(DAY)
    forged.speak()
    forged.wait(30 * SECOND)
    forged.log(Event.CONTROL_FAILED, voice_id=OURS, name="anna")
    assert forged.settled() == []


def test_a_lost_control_call_excuses_no_use_of_an_hour_ago(forged: Forged) -> None:
    forged.use()
    forged.wait(DAY)
    forged.speak()
    forged.wait(HOUR)
    forged.log(Event.CONTROL_FAILED, voice_id=OURS, name="anna")
    assert len(forged.settled()) == 1


# No enrollment is paid for twice.


def test_an_enrollment_accepted_twice_is_paid_for_again(forged: Forged) -> None:
    forged.enroll("ben")
    forged.wait(DAY)
    forged.enroll("ben")
    (sentence,) = forged.settled()
    assert "the enrollment of ben was paid for again" in sentence


def test_a_person_may_have_it_made_once_more_and_not_twice_more(forged: Forged) -> None:
    forged.enroll("ben")
    forged.invariants.retried("ben")
    forged.enroll("ben")
    assert forged.settled() == []
    forged.enroll("ben")
    assert len(forged.settled()) == 1


def test_a_retry_of_one_voice_allows_nothing_for_another(forged: Forged) -> None:
    forged.enroll("ben")
    forged.invariants.retried("cleo")
    forged.enroll("ben")
    assert len(forged.settled()) == 1


# Under an account's fault no voice is called lost.


@pytest.mark.parametrize("refused", [None, 400])
def test_a_voice_called_lost_because_another_account_does_not_know_it_is_named(
    forged: Forged, refused: int | None
) -> None:
    forged.gateway.import_voice("id-ben-", FLASH, BEGINNING)
    forged.invariants.registered("ben", "id-ben-")
    forged.period(faults.WRONG_ACCOUNT, 0 * DAY, DAY)
    for _ in range(3):
        task_id = forged.speak(refused=refused, doom=None if refused else "VALIDATION_ERROR")
        forged.wait(MINUTE)
        if task_id:
            forged.poll(task_id)
    forged.turned(Status.OK, Status.LOST)
    (sentence,) = forged.settled()
    assert "anna was called LOST and lives" in sentence


def test_of_voices_whose_windows_are_over_none_can_tell_whose_the_account_is(
    forged: Forged,
) -> None:
    """A call that the host never heard of may have kept them, but the host cannot know."""
    forged.gateway.import_voice("id-ben-", FLASH, BEGINNING)
    forged.invariants.registered("ben", "id-ben-")
    forged.wait(6 * DAY)
    for voice_id in ("id-anna-", "id-ben-"):
        forged.speak(voice_id)  # and nobody asks how that ended
    forged.wait(2 * DAY)
    forged.period(faults.WRONG_ACCOUNT, 7 * DAY, 2 * DAY)
    for _ in range(2):
        forged.speak(refused=400)
        forged.wait(MINUTE)
    forged.turned(Status.OK, Status.LOST)
    assert not any("called LOST" in sentence for sentence in forged.settled())


def test_by_a_clock_days_ahead_all_windows_may_be_over_and_no_voice_a_witness(
    forged: Forged,
) -> None:
    forged.gateway.import_voice("id-ben-", FLASH, BEGINNING)
    forged.invariants.registered("ben", "id-ben-")
    forged.clock.wrong_by = 3 * DAY
    forged.period(faults.WRONG_ACCOUNT, 3 * DAY, 3 * DAY)
    forged.wait(5 * DAY)
    for _ in range(2):
        forged.speak(refused=400)
        forged.wait(MINUTE)
    forged.turned(Status.OK, Status.LOST)
    assert not any("called LOST" in sentence for sentence in forged.settled())


# LOST and UNDEPLOYED only with evidence; legal steps only.


@pytest.mark.parametrize("after", [Status.LOST, Status.UNDEPLOYED])
def test_a_voice_that_nobody_blamed_is_not_called_gone(forged: Forged, after: Status) -> None:
    forged.turned(Status.OK, after)
    assert f"anna was called {after} and lives" in forged.settled()[0]


def test_one_blame_is_not_enough_and_a_success_takes_it_back(forged: Forged) -> None:
    for _ in range(2):
        blamed = forged.speak(doom="VALIDATION_ERROR")
        forged.wait(MINUTE)
        forged.poll(blamed)
        forged.use()
    forged.turned(Status.OK, Status.LOST)
    assert any("was called LOST" in sentence for sentence in forged.settled())


@pytest.mark.parametrize("code", ["VALIDATION_ERROR", "UNDEPLOYED"])
def test_a_voice_that_was_blamed_twice_may_be_called_gone(forged: Forged, code: str) -> None:
    for _ in range(2):
        blamed = forged.speak(doom=code)
        forged.wait(MINUTE)
        forged.poll(blamed)
    forged.turned(Status.OK, Status.LOST)
    assert forged.settled() == []


@pytest.mark.parametrize("code", ["GENERATION_FAILED", "TASK_TIMEOUT", "INSUFFICIENT_CREDITS"])
def test_other_failures_blame_no_voice(forged: Forged, code: str) -> None:
    for _ in range(3):
        failed = forged.speak(doom=code)
        forged.wait(MINUTE)
        forged.poll(failed)
    forged.turned(Status.OK, Status.LOST)
    assert len(forged.settled()) == 1


def test_a_blame_that_never_arrived_is_no_evidence(forged: Forged) -> None:
    for _ in range(3):
        forged.speak(doom="VALIDATION_ERROR")
        forged.wait(MINUTE)
    forged.turned(Status.OK, Status.LOST)
    assert len(forged.settled()) == 1


def test_a_voice_that_is_gone_may_be_called_so(forged: Forged) -> None:
    forged.gateway.delete_voice(OURS, forged.clock.true)
    forged.turned(Status.OK, Status.LOST)
    assert forged.settled() == []


def test_a_voice_that_the_review_took_may_be_called_undeployed(forged: Forged) -> None:
    forged.gateway.undeploy_voice(OURS, forged.clock.true)
    forged.turned(Status.OK, Status.UNDEPLOYED)
    assert forged.settled() == []


@pytest.mark.parametrize("before", Status)
@pytest.mark.parametrize("after", Status)
def test_every_other_step_of_a_status_is_named(
    forged: Forged, before: Status, after: Status
) -> None:
    forged.turned(before, after, voice_id=None)
    words = [] if (before, after) in TRANSITIONS else [f"anna went from {before} to {after}"]
    assert [sentence.partition(": ")[2] for sentence in forged.settled()] == words


# What was acknowledged is there, nothing is overdue, no task hangs.


def test_a_voice_that_was_acknowledged_and_is_not_there_is_named(forged: Forged) -> None:
    forged.invariants.losses.acknowledged |= {"anna", "ben"}
    forged.invariants.losses.check_healed({"anna"}, set(), 0)
    assert "ben was registered and is not there" in forged.settled()[0]


def test_a_voice_that_is_overdue_when_all_is_well_is_named(forged: Forged) -> None:
    forged.wait(3 * DAY + 5 * HOUR)
    forged.invariants.losses.check_overdue(forged.invariants.evidence.living())
    assert forged.settled() == []
    forged.wait(2 * HOUR)
    forged.invariants.losses.check_overdue(forged.invariants.evidence.living())
    assert f"{OURS} is overdue though all is well" in forged.settled()[0]


@pytest.mark.parametrize(("wrong_by", "named"), [(0 * DAY, 1), (-DAY, 0)])
def test_a_clock_that_is_wrong_from_the_beginning_may_put_a_voice_off(
    wrong_by: timedelta, named: int
) -> None:
    forged = Forged(wrong_by)
    forged.loop.close()
    forged.gateway.import_voice("id-ben-", FLASH, BEGINNING, last_used_at=BEGINNING - 3 * DAY)
    forged.invariants.registered("ben", "id-ben-")
    forged.wait(DAY)
    forged.invariants.losses.check_overdue(forged.invariants.evidence.living())
    assert len(forged.settled()) == named


def test_a_voice_that_came_to_no_end_is_named(forged: Forged) -> None:
    forged.invariants.losses.check_healed({"anna"}, {"anna"}, 0)
    assert "anna came to no end though all is well" in forged.settled()[0]


def test_tasks_that_hang_are_counted(forged: Forged) -> None:
    forged.invariants.losses.check_healed({"anna"}, set(), 2)
    assert "2 tasks hang though all is well" in forged.settled()[0]


# Whole rehearsals.


def test_a_calm_season_breaks_nothing_and_costs_little() -> None:
    report = Simulation(Settings(), Plan(), voices=3, days=60, seed=1).run()
    assert report.kept_its_promise
    assert (report.saveable_lost, report.unsaveable_lost, report.broken) == (0, 0, [])
    assert report.smallest_margin is not None
    assert report.smallest_margin > 3.9 * DAY
    assert report.keepalives <= 3 * 60 / 2.5 + 3
    assert not report.faults


def test_a_host_that_is_never_started_again_loses_what_it_could_have_saved() -> None:
    kill = Kill(10 * DAY, restart_after=1000 * DAY)
    report = Simulation(Settings(), Plan(incidents=(kill,)), voices=3, days=30, seed=1).run()
    assert report.saveable_lost == 3
    assert not report.kept_its_promise


def test_the_same_death_in_a_spell_that_tells_of_it_is_nobody_s_fault() -> None:
    plan = faults.lasting(faults.HOST_DOWN, 10 * DAY, 20 * DAY)
    report = Simulation(Settings(), plan, voices=3, days=29, seed=1).run()
    assert (report.saveable_lost, report.unsaveable_lost) == (0, 3)


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
        stage.soon(lambda: stage.registry.keep("v00001", now=stage.now))
        stage.soon(stage.host.registry_changed)
        stage.let_pass(10 * SECOND + HOUR)
        stage.heal()
        (sentence,) = stage.broken()
        assert "id-v00001- was used again after" in sentence
