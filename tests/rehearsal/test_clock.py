"""The virtual clock: waiting takes no time, and years of it stay exact; the host's two clocks."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta

import pytest

from tests.rehearsal.stage import DAY
from voicekeeper.rehearsal.clock import BEGINNING, Deadlock, HostClock, VirtualLoop

YEAR_S = 365 * 86_400.0


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    loop = VirtualLoop()
    yield loop
    loop.close()


def test_timers_fire_in_the_order_of_their_times_and_those_of_one_instant_at_it(
    loop: VirtualLoop,
) -> None:
    fired: list[tuple[str, float]] = []

    async def wait(name: str, seconds: float) -> None:
        for _ in range(100):
            await asyncio.sleep(0)  # what is ready goes before any time passes
        await asyncio.sleep(seconds)
        fired.append((name, round(loop.time(), 3)))

    async def all_of_them() -> None:
        waits = [("late", 10 * YEAR_S), ("early", 0.5), ("twin", 0.5), ("middle", 60)]
        await asyncio.gather(*(wait(name, seconds) for name, seconds in waits))

    loop.run_until_complete(all_of_them())
    assert fired == [("early", 0.5), ("twin", 0.5), ("middle", 60.0), ("late", 10 * YEAR_S)]


def test_short_waits_end_even_after_a_thousand_years(loop: VirtualLoop) -> None:
    loop.leap(1000 * YEAR_S)  # here a float's next neighbour is four microseconds away
    for _ in range(1000):
        loop.run_until_complete(asyncio.sleep(1e-7))
    assert loop.time() == pytest.approx(1000 * YEAR_S, abs=1.0)


def test_everyone_waiting_for_nothing_is_a_deadlock(loop: VirtualLoop) -> None:
    with pytest.raises(Deadlock):
        loop.run_until_complete(asyncio.Event().wait())


def test_the_host_s_two_clocks_go_with_the_loop_and_one_may_be_wrong(loop: VirtualLoop) -> None:
    clock = HostClock(loop)
    clock.wrong_by = -5 * DAY
    loop.run_until_complete(asyncio.sleep(86_400))
    assert abs(clock.true - (BEGINNING + DAY)) < timedelta(milliseconds=1)
    assert clock.now() == clock.true - 5 * DAY
    assert clock.monotonic() == loop.time() == pytest.approx(86_400)


def test_a_suspended_machine_misses_true_time_and_counts_none(loop: VirtualLoop) -> None:
    clock = HostClock(loop)
    clock.wrong_by = DAY
    loop.run_until_complete(asyncio.sleep(10))
    monotonic = clock.monotonic()
    clock.suspend(3 * DAY)
    assert clock.monotonic() == monotonic
    assert clock.now() - clock.true == DAY
    assert abs(clock.true - BEGINNING - 3 * DAY - timedelta(seconds=10)) < timedelta(seconds=1)
