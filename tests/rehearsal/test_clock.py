"""The virtual clock: waiting takes no time, and years of it stay exact; the host's two clocks."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from datetime import timedelta
from typing import Any

import pytest

from tests.rehearsal.stage import DAY
from voicekeeper.rehearsal.clock import Deadlock, HostClock, VirtualLoop
from voicekeeper.rehearsal.simulation import BEGINNING

YEAR_S = 365 * 86_400.0

Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    loop = VirtualLoop()
    yield loop
    loop.close()


@pytest.fixture
def run(loop: VirtualLoop) -> Run:
    return loop.run_until_complete


def test_a_sleep_of_ten_years_is_over_at_once_and_has_lasted_ten_years(
    loop: VirtualLoop, run: Run
) -> None:
    run(asyncio.sleep(10 * YEAR_S))  # the test's own limit is two minutes
    assert loop.time() == pytest.approx(10 * YEAR_S)


def test_timers_fire_in_the_order_of_their_times_and_those_of_one_instant_at_it(
    loop: VirtualLoop, run: Run
) -> None:
    fired: list[tuple[str, float]] = []

    async def wait(name: str, seconds: float) -> None:
        for _ in range(100):
            await asyncio.sleep(0)  # what is ready goes before any time passes
        await asyncio.sleep(seconds)
        fired.append((name, round(loop.time(), 3)))

    async def all_of_them() -> None:
        await asyncio.gather(
            wait("late", 7200), wait("early", 0.5), wait("twin", 0.5), wait("middle", 60)
        )

    run(all_of_them())
    assert fired == [("early", 0.5), ("twin", 0.5), ("middle", 60.0), ("late", 7200.0)]


def test_short_waits_end_even_after_a_thousand_years(loop: VirtualLoop, run: Run) -> None:
    loop.leap(1000 * YEAR_S)  # here a float's next neighbour is four microseconds away

    async def many_short_waits() -> None:
        for _ in range(1000):
            await asyncio.sleep(1e-7)

    run(many_short_waits())
    assert loop.time() == pytest.approx(1000 * YEAR_S, abs=1.0)


def test_everyone_waiting_for_nothing_is_a_deadlock(run: Run) -> None:
    with pytest.raises(Deadlock):
        run(asyncio.Event().wait())


def test_the_host_s_two_clocks_go_with_the_loop_and_one_may_be_wrong(
    loop: VirtualLoop, run: Run
) -> None:
    clock = HostClock(loop, BEGINNING)
    clock.wrong_by = -5 * DAY
    run(asyncio.sleep(86_400))
    assert abs(clock.true - (BEGINNING + DAY)) < timedelta(milliseconds=1)
    assert clock.now() == clock.true - 5 * DAY
    assert clock.monotonic() == loop.time()


def test_a_suspended_machine_misses_true_time_and_counts_none(loop: VirtualLoop, run: Run) -> None:
    clock = HostClock(loop, BEGINNING)
    clock.wrong_by = DAY
    run(asyncio.sleep(10))
    monotonic = clock.monotonic()
    clock.suspend(3 * DAY)
    assert clock.monotonic() == monotonic
    assert clock.now() - clock.true == DAY
    assert abs(clock.true - BEGINNING - 3 * DAY - timedelta(seconds=10)) < timedelta(seconds=1)
