"""The virtual clock: waiting takes no time, and years of it stay exact; the host's two clocks."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from voicekeeper.rehearsal.clock import Deadlock, HostClock, VirtualLoop

BEGINNING = datetime(2030, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
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


def test_timers_fire_in_the_order_of_their_times(loop: VirtualLoop, run: Run) -> None:
    fired: list[tuple[str, float]] = []

    async def wait(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        fired.append((name, round(loop.time(), 3)))

    async def all_of_them() -> None:
        await asyncio.gather(wait("late", 7200), wait("early", 0.5), wait("middle", 60))

    run(all_of_them())
    assert fired == [("early", 0.5), ("middle", 60.0), ("late", 7200.0)]


def test_timers_of_one_instant_all_fire_at_it(loop: VirtualLoop, run: Run) -> None:
    fired: list[float] = []

    async def wait() -> None:
        await asyncio.sleep(5)
        fired.append(loop.time())

    async def all_of_them() -> None:
        await asyncio.gather(*(wait() for _ in range(3)))

    run(all_of_them())
    assert len(set(fired)) == 1


def test_what_is_ready_goes_before_any_time_passes(loop: VirtualLoop, run: Run) -> None:
    async def yield_often() -> float:
        for _ in range(100):
            await asyncio.sleep(0)
        return loop.time()

    assert run(yield_often()) == pytest.approx(0.0, abs=1e-9)


def test_short_waits_end_even_after_a_thousand_years(loop: VirtualLoop, run: Run) -> None:
    loop.leap(1000 * YEAR_S)  # here a float's next neighbour is four microseconds away

    async def many_short_waits() -> None:
        for _ in range(1000):
            await asyncio.sleep(1e-7)

    run(many_short_waits())
    assert loop.time() == pytest.approx(1000 * YEAR_S, abs=1.0)


def test_a_timeout_ends_what_hangs(loop: VirtualLoop, run: Run) -> None:
    async def hang() -> None:
        async with asyncio.timeout(3600):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        run(hang())
    assert loop.time() == pytest.approx(3600)


def test_everyone_waiting_for_nothing_is_a_deadlock(run: Run) -> None:
    event = asyncio.Event()
    waiting = event.wait()
    with pytest.raises(Deadlock):
        run(waiting)


def test_the_host_s_two_clocks_go_with_the_loop(loop: VirtualLoop, run: Run) -> None:
    clock = HostClock(loop, BEGINNING)
    run(asyncio.sleep(86_400))
    assert clock.now() == clock.true
    assert abs(clock.true - (BEGINNING + DAY)) < timedelta(milliseconds=1)
    assert clock.monotonic() == loop.time()


def test_a_wrong_wall_clock_changes_neither_truth_nor_durations(loop: VirtualLoop) -> None:
    clock = HostClock(loop, BEGINNING)
    clock.wrong_by = -5 * DAY
    assert clock.now() == BEGINNING - 5 * DAY
    assert clock.true == BEGINNING
    assert clock.monotonic() == 0.0


def test_a_suspended_machine_misses_true_time_and_counts_none(loop: VirtualLoop, run: Run) -> None:
    clock = HostClock(loop, BEGINNING)
    clock.wrong_by = DAY
    run(asyncio.sleep(10))
    monotonic = clock.monotonic()
    clock.suspend(3 * DAY)
    assert clock.monotonic() == monotonic
    assert clock.now() - clock.true == DAY
    assert abs(clock.true - BEGINNING - 3 * DAY - timedelta(seconds=10)) < timedelta(seconds=1)
