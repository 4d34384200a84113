"""The simulated host: its process dies at any step, its disk is full, its scheduler stops."""

from datetime import timedelta

import pytest

from tests.rehearsal.stage import DAY, HOUR, MINUTE, SECOND, Stage
from voicekeeper.config import Settings
from voicekeeper.core.models import Status
from voicekeeper.rehearsal import Plan, Simulation, faults
from voicekeeper.rehearsal.faults import Enroll, Jump, Kill, Suspend
from voicekeeper.rehearsal.host import _Process
from voicekeeper.rehearsal.invariants import Claims

NOW = timedelta(0)


def until_one_is_due(stage: Stage) -> timedelta:
    """Return how long it is until shortly before the first voice is due."""
    due = [voice.next_at for voice in stage.registry.all() if voice.next_at is not None]
    return min(due) - stage.now - MINUTE


def test_a_process_keeps_its_voices() -> None:
    with Stage(voices=2) as stage:
        stage.let_pass(20 * DAY)
        assert stage.host.is_up
        assert [book.alive for book in stage.books.voices.values()] == [True, True]
        assert 10 <= stage.books.speech <= 18
        assert stage.broken() == []


@pytest.mark.parametrize("steps", range(1, 31))
def test_killed_at_any_step_it_loses_nothing_and_pays_for_nothing_twice(steps: int) -> None:
    with Stage(voices=1, seed=steps) as stage:
        stage.let_pass(HOUR)
        stage.do(Kill(NOW, steps))
        stage.do(Enroll(NOW, "ok1", design=False))
        stage.let_pass(9 * DAY)
        stage.heal()
        assert stage.notes.count("killed") == 1
        assert stage.books.clone <= 1
        assert stage.voice("ok1").status in (Status.OK, Status.UNKNOWN)
        assert stage.voice("v00001").status is Status.OK
        assert stage.broken() == []


def test_killed_in_the_middle_of_each_start_it_keeps_its_voice_in_the_end() -> None:
    with Stage() as stage:
        for steps in range(1, 5):
            stage.do(Kill(NOW))
            stage.do(Kill(NOW, steps))
            stage.let_pass(12 * SECOND)
        assert stage.notes.count("killed") == 8
        stage.let_pass(8 * DAY)
        assert stage.broken() == []


def test_until_a_process_that_died_is_started_again_nothing_is_called() -> None:
    with Stage(voices=3) as stage:
        stage.let_pass(DAY)
        stage.do(Kill(NOW, restart_after=5 * DAY))
        before = stage.books
        stage.let_pass(4.9 * DAY)
        assert not stage.host.is_up
        assert (stage.books.speech, stage.books.polls) == (before.speech, before.polls)
        stage.let_pass(0.2 * DAY)
        assert stage.host.is_up
        assert stage.books.speech > before.speech


def test_a_second_death_before_the_restart_puts_it_off_and_starts_one_process_only() -> None:
    with Stage() as stage:
        stage.do(Kill(NOW, restart_after=HOUR))
        stage.let_pass(MINUTE)
        stage.do(Kill(NOW, restart_after=2 * HOUR))
        stage.let_pass(1.5 * HOUR)
        assert not stage.host.is_up
        stage.let_pass(HOUR)
        assert stage.host.is_up
        stage.let_pass(7 * DAY)
        assert stage.broken() == []


@pytest.mark.parametrize("kind", [faults.DISK_FULL, faults.DATABASE_LOCKED])
def test_a_process_that_cannot_begin_is_started_until_it_can(kind: str) -> None:
    with Stage() as stage:
        stage.begin(kind, 3 * HOUR)
        stage.do(Kill(NOW))
        stage.let_pass(2.9 * HOUR)
        assert not stage.host.is_up
        stage.let_pass(12 * MINUTE)
        assert stage.host.is_up
        stage.let_pass(7 * DAY)
        assert stage.broken() == []


def test_a_disk_that_is_full_in_the_middle_stops_calls_and_no_process() -> None:
    with Stage(voices=3) as stage:
        stage.let_pass(HOUR)
        stage.let_pass(until_one_is_due(stage))
        stage.begin(faults.DISK_FULL, 4 * HOUR)
        before = stage.books.speech
        stage.let_pass(3.9 * HOUR)
        assert stage.host.is_up
        assert stage.books.speech == before
        stage.let_pass(12 * MINUTE)
        assert stage.books.speech == before + 1
        assert stage.broken() == []


@pytest.mark.parametrize(
    ("is_woken", "restarts", "broken"),
    [(True, False, []), (False, True, []), (False, False, ["id-v00001- was lost"])],
)
def test_a_scheduler_stands_still_when_the_clock_is_set_back_unless_it_is_woken(
    broken: list[str], monkeypatch: pytest.MonkeyPatch, *, is_woken: bool, restarts: bool
) -> None:
    if not is_woken:
        monkeypatch.setattr(_Process, "wake", lambda _: None)
    with Stage() as stage:
        stage.let_pass(25 * HOUR)
        stage.do(Jump(NOW, -10 * DAY))
        stage.let_pass(HOUR)
        if restarts:
            stage.do(Kill(NOW))
        stage.let_pass(9 * DAY)
        assert stage.broken() == broken


def test_a_machine_that_slept_for_days_uses_its_voice_as_soon_as_it_wakes() -> None:
    with Stage() as stage:
        stage.let_pass(HOUR)
        stage.do(Suspend(NOW, 4 * DAY))
        woke_at = stage.now
        stage.let_pass(MINUTE)
        assert stage.books.voices["id-v00001-"].last_used_at >= woke_at


def test_calls_that_wait_for_days_for_their_turn_cost_few_passes() -> None:
    """At a call in a day their leases end before their turn: what is due is under way already."""
    upstream = Settings().upstream._replace(requests_per_second=1e-5)
    simulation = Simulation(Settings(upstream=upstream), Plan(), voices=3, days=12, seed=1)
    passes: list[Claims] = []
    simulation._host.on_claim = passes.append  # noqa: SLF001
    simulation.run()
    assert len(passes) < 1000  # at 103,680 ticks


def test_a_person_who_asks_for_more_is_not_kept_waiting_by_passes_in_vain() -> None:
    with Stage(voices=2) as stage:
        stage.let_pass(HOUR)
        process = stage.host._process  # noqa: SLF001
        assert process is not None
        process._in_vain = 20  # noqa: SLF001 - so that the next look would be an hour away
        before = stage.books.voices["id-v00001-"].uses
        stage.keep("v00001")
        stage.let_pass(MINUTE)
        assert stage.books.voices["id-v00001-"].uses == before + 1
