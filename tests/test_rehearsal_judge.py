"""The judge can fail: for each promise a forged story that breaks it, and the break is named.

The stories are told to the judge alone: a gateway, true time, and answers that arrive or do not.
"""

import random
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from tests.rehearsal_support import DAY, HOUR, MINUTE, SECOND, ChangingWeather, Stage
from tests.support import policy
from voicekeeper.config import Settings
from voicekeeper.events import Event
from voicekeeper.models import Status
from voicekeeper.rehearsal import Plan, Rehearsal, troubles
from voicekeeper.rehearsal.clocks import HostClock
from voicekeeper.rehearsal.judge import LEGAL, Judge
from voicekeeper.rehearsal.loop import VirtualLoop
from voicekeeper.rehearsal.network import KEY, Call
from voicekeeper.rehearsal.play import BEGINNING
from voicekeeper.rehearsal.troubles import Kill, Spell
from voicekeeper.request import FLASH
from voicekeeper.sandbox import Answer, Gateway

OURS = "id-anna-"


class Court:
    """A judge, and those whose deeds are judged: they do as a test says."""

    def __init__(self) -> None:
        self.loop = VirtualLoop()
        self.clock = HostClock(self.loop, BEGINNING)
        self.weather = ChangingWeather()
        self.gateway = Gateway(random.Random(0))
        self.judge = Judge(self.gateway, clock=self.clock, weather=self.weather, policy=policy())
        self.judge.started()
        self.gateway.import_voice(OURS, FLASH, BEGINNING)
        self.judge.registered(OURS)

    def wait(self, length: timedelta) -> None:
        self.loop.leap(length.total_seconds())

    def spell(self, kind: str, start: timedelta, length: timedelta) -> None:
        self.weather.begin(Spell(kind, start, start + length))

    def speak(self, *, doom: str | None = None, refused: int | None = None) -> str:
        """Make a speech call with our voice; return its task."""
        body = {"mode": "speech", "voice": OURS, "prompt": "Hello."}
        return self._submit(Call("speech", FLASH, OURS, None), body, doom, refused)

    def enroll(self, name: str) -> str:
        """Request a clone; return its task."""
        body = {"mode": "clone", "prefix": name, "audio_urls": ["https://example.com/a.wav"]}
        return self._submit(Call("clone", FLASH, name, None), body, None, None)

    def poll(self, task_id: str) -> None:
        """Ask for a task, and get the answer."""
        answer = self.gateway.status(FLASH, task_id, self.clock.true, KEY)
        self.judge.delivered(Call("status", FLASH, task_id, None), answer)

    def use(self) -> None:
        """Use our voice, and learn that it worked."""
        task_id = self.speak()
        self.wait(MINUTE)
        self.poll(task_id)

    def turned(self, before: Status, after: Status, voice_id: str | None = OURS) -> None:
        """Let the host say that our voice has another status."""
        fields = {"name": "anna", "from": before, "to": after, "voice_id": voice_id}
        self.judge.told(Event.VOICE_STATUS_CHANGED, fields)

    def settled(self) -> list[str]:
        """Return the judge's sentences, without their dates."""
        self.judge.settle()
        return self.judge.broken

    def _submit(
        self, call: Call, asked: dict[str, Any], doom: str | None, refused: int | None
    ) -> str:
        self.judge.posted(call)
        if refused is not None:
            self.judge.delivered(call, Answer(refused, "No."))
            return ""
        self.judge.reached(call)
        body = {"request_type": "async", "input": asked}
        answer = self.gateway.generate(FLASH, body, self.clock.true, KEY, doom=doom)
        self.judge.answered(call, answer)
        self.judge.delivered(call, answer)
        task_id = answer.data["taskId"]
        assert isinstance(task_id, str)
        return task_id


@pytest.fixture
def court() -> Iterator[Court]:
    court = Court()
    yield court
    court.loop.close()


def test_a_voice_that_is_used_every_three_days_breaks_nothing(court: Court) -> None:
    for _ in range(10):
        court.use()
        court.wait(3 * DAY)

    assert court.settled() == []
    assert court.judge.saveable_losses() == court.judge.unsaveable_losses() == []
    court.use()
    court.judge.check_overdue()
    court.judge.check_healed({"anna"}, set(), 0)
    assert court.settled() == []


# No voice is lost that could have been saved.


def test_a_voice_that_nobody_used_for_a_window_is_lost_and_could_have_been_saved(
    court: Court,
) -> None:
    court.wait(7 * DAY - MINUTE)
    assert court.judge.saveable_losses() == []

    court.wait(2 * MINUTE)
    assert court.judge.saveable_losses() == [OURS]
    assert court.judge.unsaveable_losses() == []


@pytest.mark.parametrize("kind", sorted(troubles.HARD))
def test_nobody_could_save_a_voice_through_two_days_in_which_nothing_worked(
    court: Court, kind: str
) -> None:
    court.spell(kind, 5 * DAY, 49 * HOUR)
    court.wait(8 * DAY)

    assert court.judge.unsaveable_losses() == [OURS]
    assert court.judge.saveable_losses() == []


def test_two_hours_in_which_all_worked_would_have_been_enough(court: Court) -> None:
    court.spell(troubles.OUTAGE, 5 * DAY, 20 * HOUR)
    court.spell(troubles.HOST_DOWN, 5 * DAY + 22 * HOUR, 30 * HOUR)
    court.wait(8 * DAY)

    assert court.judge.saveable_losses() == [OURS]


@pytest.mark.parametrize("kind", [troubles.STORM, troubles.DATABASE_LOCKED])
def test_calls_that_fail_one_by_one_are_no_excuse(court: Court, kind: str) -> None:
    court.spell(kind, 0 * DAY, 9 * DAY)
    court.wait(8 * DAY)

    assert court.judge.saveable_losses() == [OURS]


def test_a_voice_deleted_for_no_reason_could_not_have_been_saved(court: Court) -> None:
    court.wait(DAY)
    court.gateway.delete_voice(OURS, court.clock.true)

    assert court.judge.unsaveable_losses() == [OURS]


def test_a_voice_told_of_in_its_last_hour_could_not_have_been_saved(court: Court) -> None:
    court.gateway.import_voice("id-ben-", FLASH, BEGINNING)
    court.wait(7 * DAY - HOUR)
    court.judge.registered("id-ben-")
    court.wait(DAY)

    assert court.judge.unsaveable_losses() == ["id-ben-"]
    assert court.judge.saveable_losses() == [OURS]


def test_a_voice_that_a_person_gave_up_is_no_loss(court: Court) -> None:
    court.judge.abandoned.add(OURS)
    court.wait(8 * DAY)

    assert court.judge.saveable_losses() == court.judge.unsaveable_losses() == []


# No voice is used again within its interval.


def test_a_voice_used_again_though_its_last_use_is_known_is_paid_for_twice(court: Court) -> None:
    court.use()
    court.wait(DAY)
    court.use()

    (sentence,) = court.settled()
    assert f"{OURS} was used again after 1 day, 0:01:00" in sentence


def test_a_use_whose_success_never_came_back_excuses_another(court: Court) -> None:
    court.speak()
    court.wait(DAY)
    court.use()

    assert court.settled() == []


def test_one_lost_answer_excuses_one_use_and_no_second(court: Court) -> None:
    court.speak()
    court.wait(DAY)
    court.use()
    court.wait(DAY)
    court.use()

    assert len(court.settled()) == 1


def test_a_clock_that_was_set_meanwhile_excuses_a_use(court: Court) -> None:
    court.use()
    court.judge.clock_touched()
    court.wait(DAY)
    court.use()

    assert court.settled() == []


def test_a_process_that_died_as_it_was_told_of_a_use_is_excused(court: Court) -> None:
    court.use()
    court.judge.killed()
    court.wait(DAY)
    court.use()

    assert court.settled() == []


def test_a_process_that_died_long_after_is_not(court: Court) -> None:
    court.use()
    court.wait(HOUR)
    court.judge.killed()
    court.wait(DAY)
    court.use()

    assert len(court.settled()) == 1


def test_a_control_call_is_no_keepalive(court: Court) -> None:
    court.use()
    court.wait(DAY)
    task_id = court.speak()
    court.judge.told(Event.CONTROL_SUBMITTED, {"task_id": task_id, "name": "anna"})

    assert court.settled() == []


def test_nor_is_one_that_was_made_and_whose_answer_was_lost(court: Court) -> None:
    court.use()
    court.wait(DAY)
    court.speak()
    court.wait(30 * SECOND)
    court.judge.told(Event.CONTROL_FAILED, {"voice_id": OURS, "name": "anna"})

    assert court.settled() == []


def test_a_lost_control_call_excuses_no_use_of_an_hour_ago(court: Court) -> None:
    court.use()
    court.wait(DAY)
    court.speak()
    court.wait(HOUR)
    court.judge.told(Event.CONTROL_FAILED, {"voice_id": OURS, "name": "anna"})

    assert len(court.settled()) == 1


# No enrollment is paid for twice.


def test_an_enrollment_accepted_twice_is_paid_for_again(court: Court) -> None:
    court.enroll("ben")
    court.wait(DAY)
    court.enroll("ben")

    (sentence,) = court.settled()
    assert "the enrollment of ben was paid for again" in sentence


def test_a_person_may_have_it_made_once_more_and_not_twice_more(court: Court) -> None:
    court.enroll("ben")
    court.judge.retried("ben")
    court.enroll("ben")
    assert court.settled() == []

    court.enroll("ben")
    assert len(court.settled()) == 1


def test_a_retry_of_one_voice_allows_nothing_for_another(court: Court) -> None:
    court.enroll("ben")
    court.judge.retried("cleo")
    court.enroll("ben")

    assert len(court.settled()) == 1


# Under an account's fault few calls are made, and no voice is called lost.


@pytest.mark.parametrize("kind", sorted(troubles.ACCOUNT))
def test_a_hundred_calls_under_an_account_s_fault_are_too_many(court: Court, kind: str) -> None:
    court.spell(kind, 0 * DAY, 2 * HOUR)
    for _ in range(100):
        court.speak(refused=402)

    assert f"calls were made under {kind}" in court.settled()[0]


def test_a_probe_now_and_then_is_none_too_many(court: Court) -> None:
    court.spell(troubles.BALANCE_EMPTY, 0 * DAY, 20 * HOUR)
    for _ in range(40):
        court.speak(refused=402)
        court.wait(HOUR / 2)

    assert court.settled() == []


def test_a_hundred_calls_in_an_outage_are_not_the_account_s(court: Court) -> None:
    court.spell(troubles.OUTAGE, 0 * DAY, 2 * HOUR)
    for _ in range(100):
        court.speak(refused=503)

    assert court.settled() == []


@pytest.mark.parametrize("refused", [None, 400])
def test_a_voice_called_lost_because_another_account_does_not_know_it_is_named(
    court: Court, refused: int | None
) -> None:
    court.gateway.import_voice("id-ben-", FLASH, BEGINNING)
    court.judge.registered("id-ben-")
    court.spell(troubles.WRONG_ACCOUNT, 0 * DAY, DAY)
    for _ in range(3):
        task_id = court.speak(refused=refused, doom=None if refused else "VALIDATION_ERROR")
        court.wait(MINUTE)
        if task_id:
            court.poll(task_id)
    court.turned(Status.OK, Status.LOST)

    (sentence,) = court.settled()
    assert "anna was called LOST and lives" in sentence


# LOST and UNDEPLOYED only with evidence; legal steps only.


@pytest.mark.parametrize("after", [Status.LOST, Status.UNDEPLOYED])
def test_a_voice_that_nobody_blamed_is_not_called_gone(court: Court, after: Status) -> None:
    court.turned(Status.OK, after)

    assert f"anna was called {after} and lives" in court.settled()[0]


def test_one_blame_is_not_enough_and_a_success_takes_it_back(court: Court) -> None:
    for _ in range(2):
        blamed = court.speak(doom="VALIDATION_ERROR")
        court.wait(MINUTE)
        court.poll(blamed)
        court.use()
    court.turned(Status.OK, Status.LOST)

    assert any("was called LOST" in sentence for sentence in court.settled())


@pytest.mark.parametrize("code", ["VALIDATION_ERROR", "UNDEPLOYED"])
def test_a_voice_that_was_blamed_twice_may_be_called_gone(court: Court, code: str) -> None:
    for _ in range(2):
        blamed = court.speak(doom=code)
        court.wait(MINUTE)
        court.poll(blamed)
    court.turned(Status.OK, Status.LOST)

    assert court.settled() == []


@pytest.mark.parametrize("code", ["GENERATION_FAILED", "TASK_TIMEOUT", "INSUFFICIENT_CREDITS"])
def test_other_failures_blame_no_voice(court: Court, code: str) -> None:
    for _ in range(3):
        failed = court.speak(doom=code)
        court.wait(MINUTE)
        court.poll(failed)
    court.turned(Status.OK, Status.LOST)

    assert len(court.settled()) == 1


def test_a_blame_that_never_arrived_is_no_evidence(court: Court) -> None:
    for _ in range(3):
        court.speak(doom="VALIDATION_ERROR")
        court.wait(MINUTE)
    court.turned(Status.OK, Status.LOST)

    assert len(court.settled()) == 1


def test_a_voice_that_is_gone_may_be_called_so(court: Court) -> None:
    court.gateway.delete_voice(OURS, court.clock.true)
    court.turned(Status.OK, Status.LOST)

    assert court.settled() == []


def test_a_voice_that_the_review_took_may_be_called_undeployed(court: Court) -> None:
    court.gateway.undeploy_voice(OURS, court.clock.true)
    court.turned(Status.OK, Status.UNDEPLOYED)

    assert court.settled() == []


@pytest.mark.parametrize("before", Status)
@pytest.mark.parametrize("after", Status)
def test_every_other_step_of_a_status_is_named(court: Court, before: Status, after: Status) -> None:
    court.turned(before, after, voice_id=None)

    words = [] if (before, after) in LEGAL else [f"anna went from {before} to {after}"]
    assert [sentence.partition(": ")[2] for sentence in court.settled()] == words


# What was acknowledged is there, nothing is overdue, no task hangs.


def test_a_voice_that_was_acknowledged_and_is_not_there_is_named(court: Court) -> None:
    court.judge.acknowledged |= {"anna", "ben"}
    court.judge.check_healed({"anna"}, set(), 0)

    assert "ben was registered and is not there" in court.settled()[0]


def test_a_voice_that_is_overdue_when_all_is_well_is_named(court: Court) -> None:
    court.wait(3 * DAY + 5 * HOUR)
    court.judge.check_overdue()
    assert court.settled() == []

    court.wait(2 * HOUR)
    court.judge.check_overdue()
    assert f"{OURS} is overdue though all is well" in court.settled()[0]


def test_a_voice_that_came_to_no_end_is_named(court: Court) -> None:
    court.judge.check_healed({"anna"}, {"anna"}, 0)
    assert "anna came to no end though all is well" in court.settled()[0]


def test_a_voice_past_saving_that_is_called_before_another_is_named(court: Court) -> None:
    court.gateway.import_voice("id-late-", FLASH, court.clock.true)
    court.judge.registered("id-late-")
    court.wait(8 * DAY)
    court.gateway.import_voice("id-young-", FLASH, court.clock.true)
    court.judge.registered("id-young-")
    court.judge._known["id-young-"].used_at = court.clock.true  # noqa: SLF001 - as told
    court.judge.claimed(["id-young-", "id-late-"])
    assert court.settled() == []
    court.judge.claimed(["id-late-", "id-young-"])
    assert "id-late- was past saving and called before id-young-" in court.settled()[0]


def test_tasks_that_hang_are_counted(court: Court) -> None:
    court.judge.check_healed(set(), set(), 2)

    assert "2 tasks hang though all is well" in court.settled()[0]


# Whole rehearsals.


def test_a_calm_season_breaks_nothing_and_costs_little() -> None:
    report = Rehearsal(Settings(), Plan(), voices=3, days=60, seed=1).run()

    assert report.kept_its_promise
    assert (report.saveable_lost, report.unsaveable_lost, report.broken) == (0, 0, [])
    assert report.smallest_margin is not None
    assert report.smallest_margin > 3.9 * DAY
    assert report.keepalives <= 3 * 60 / 2.5 + 3
    assert not report.faults


def test_a_host_that_is_never_started_again_loses_what_it_could_have_saved() -> None:
    kill = Kill(10 * DAY, restart_after=1000 * DAY)
    report = Rehearsal(Settings(), Plan(acts=(kill,)), voices=3, days=30, seed=1).run()

    assert report.saveable_lost == 3
    assert not report.kept_its_promise


def test_the_same_death_in_a_spell_that_tells_of_it_is_nobody_s_fault() -> None:
    plan = troubles.lasting(troubles.HOST_DOWN, 10 * DAY, 20 * DAY)
    report = Rehearsal(Settings(), plan, voices=3, days=29, seed=1).run()

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
