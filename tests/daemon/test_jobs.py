"""The jobs that run for years, by the real scheduler: whatever becomes of the wall clock."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from freezegun import freeze_time

from tests.support import DAY, HOUR, NOW, SECOND, FakeClock, Told, eventually
from voicekeeper.daemon import jobs as module
from voicekeeper.daemon.jobs import Jobs, Periodic

pytestmark = pytest.mark.anyio


class Runs:
    """Counts the runs of two jobs, one of a second and one of an hour.

    Attributes:
        pace: of the first.
        hang: whether a run does not end.
    """

    def __init__(self) -> None:
        self.counted = Counter[str]()
        self.pace = SECOND
        self.hang = False
        self.clock = FakeClock()
        self.log = Told()
        self.jobs = Jobs(self.table, clock=self.clock, log=self.log)

    def table(self) -> Sequence[Periodic]:
        async def run(name: str) -> None:
            self.counted[name] += 1
            if self.hang:
                await asyncio.Event().wait()

        return [
            Periodic("quick", lambda: run("quick"), self.pace),
            Periodic("slow", lambda: run("slow"), HOUR),
        ]


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOK_EVERY", timedelta(milliseconds=1))


Pass = Callable[[timedelta], Coroutine[Any, Any, None]]


@asynccontextmanager
async def running(runs: Runs) -> AsyncIterator[Pass]:
    """Start the jobs, and stop them in the end; give what lets time pass."""
    with freeze_time(NOW, real_asyncio=True) as frozen:

        async def let_pass(time: timedelta) -> None:
            runs.clock.advance(time)
            frozen.move_to(runs.clock.now())
            runs.jobs._scheduler.wakeup()  # noqa: SLF001 - freezegun moves no timer
            await asyncio.sleep(0.02)

        runs.jobs.start()
        await eventually(lambda: runs.counted["slow"])
        yield let_pass
        runs.jobs.pause()
        runs.jobs.shutdown()


def played(*jumps: timedelta) -> tuple[Counter[str], Sequence[float]]:
    """Return the runs after the start and these jumps of the wall clock, and what was logged."""
    runs = Runs()

    async def play() -> None:
        async with running(runs) as let_pass:
            for jump in jumps:
                runs.clock.wrong_by += jump
                await let_pass(SECOND)

    asyncio.run(play())
    return runs.counted, [told["seconds"] for told in runs.log.of("clock.jumped")]


def test_each_job_runs_at_once_and_then_at_its_pace() -> None:
    assert played(*[timedelta()] * 5) == ({"quick": 6, "slow": 1}, [])


@pytest.mark.parametrize("jump", [-HOUR, -56 * 365 * DAY], ids=["hour", "years"])
def test_after_a_jump_back_all_jobs_run_at_once_and_go_on(jump: timedelta) -> None:
    counted, jumps = played(jump, timedelta(), timedelta())
    assert jumps == [jump.total_seconds()]
    assert counted == {"quick": 4, "slow": 2}


def test_after_a_leap_ahead_no_job_makes_up_for_the_runs_it_missed() -> None:
    counted, jumps = played(30 * 365 * DAY, timedelta())
    assert jumps == [(30 * 365 * DAY).total_seconds()]
    assert counted["quick"] <= 4
    assert counted["slow"] <= 3


def test_a_small_step_of_the_clock_is_no_jump() -> None:
    assert played(timedelta(seconds=-1.5), timedelta(seconds=1.5))[1] == []


async def test_a_changed_pace_holds_when_the_jobs_are_scheduled_anew() -> None:
    runs = Runs()
    async with running(runs) as let_pass:
        runs.pace = 3 * SECOND
        runs.jobs.schedule()
        await let_pass(timedelta())
        assert runs.counted == {"quick": 2, "slow": 2}
        for _ in range(6):
            await let_pass(SECOND)
    assert runs.counted == {"quick": 4, "slow": 2}


async def test_a_job_that_left_the_table_runs_no_more_and_the_one_named_goes_on_as_it_was() -> None:
    runs = Runs()
    whole = runs.table
    async with running(runs) as let_pass:
        runs.jobs._table = lambda: whole()[:1]  # noqa: SLF001 - what the daemon's table does
        runs.jobs.schedule(but="quick")
        for _ in range(2):
            await let_pass(HOUR)
    assert runs.counted == {"quick": 3, "slow": 1}


async def test_a_run_cut_short_at_the_end_is_no_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    runs = Runs()
    runs.hang = True
    with caplog.at_level(logging.WARNING):
        async with running(runs):
            pass
        await asyncio.sleep(0.01)
    assert caplog.records == []
