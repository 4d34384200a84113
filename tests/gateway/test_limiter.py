"""The client's own limit: even pace, a small burst, first come first served."""

import asyncio
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from voicekeeper.gateway.limiter import Limiter


class FakeTime:
    """A clock that only a sleep moves; each sleep overruns by ``overrun`` seconds."""

    def __init__(self, overrun: float = 0.0) -> None:
        self.seconds = 1_000.0
        self.overrun = overrun

    def now(self) -> datetime:
        return datetime(2026, 5, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)
        self.seconds += seconds + self.overrun


def _limiter(time: FakeTime, rate: float, at_once: int = 1_000) -> Limiter:
    return Limiter(requests_per_second=rate, max_in_flight=at_once, clock=time, sleep=time.sleep)


def _starts(rate: float, count: int, *, overrun: float = 0.0) -> list[float]:
    """Return the seconds, from the first, at which so many simultaneous callers got a turn."""
    time, starts = FakeTime(overrun), list[float]()

    async def one(limiter: Limiter) -> None:
        async with limiter.turn():
            starts.append(time.seconds - 1_000)

    async def main() -> None:
        limiter = _limiter(time, rate)
        await asyncio.gather(*(one(limiter) for _ in range(count)))

    asyncio.run(main())
    return starts


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.mark.parametrize(("rate", "starts"), [(5, [0, 0.2, 0.4, 0.6, 0.8, 1.0]), (0.5, [0, 2, 4])])
def test_turns_are_evenly_spaced(rate: float, starts: list[float]) -> None:
    assert _starts(rate, len(starts)) == pytest.approx(starts)


@pytest.mark.parametrize("rate", [1, 3, 15, 100])
def test_no_second_sees_more_than_the_rate_and_a_tenth(rate: int) -> None:
    starts = _starts(rate, rate * 4)
    for first in starts:
        seen = sum(first <= start < first + 1 - 1e-6 for start in starts)
        assert seen <= rate * 1.1 + 1e-6


def test_a_sleep_that_overruns_does_not_lower_a_high_rate() -> None:
    starts = _starts(100, 401, overrun=0.02)
    assert starts[-1] == pytest.approx(4, abs=0.2)


def test_an_idle_hour_earns_no_more_than_the_burst() -> None:
    time = FakeTime()

    async def main() -> list[float]:
        limiter, starts = _limiter(time, 5), []
        for _ in range(2):
            async with limiter.turn():
                pass
        time.seconds += 3_600
        for _ in range(3):
            async with limiter.turn():
                starts.append(time.seconds)
        return starts

    starts = asyncio.run(main())
    assert [later - earlier for earlier, later in pairwise(starts)] == pytest.approx([0.2, 0.2])


def test_a_clock_that_stands_still_stops_nobody() -> None:
    slept = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async def main() -> None:
        limiter = Limiter(requests_per_second=5, max_in_flight=1, clock=FakeTime(), sleep=sleep)
        for _ in range(10):
            async with limiter.turn():
                pass

    asyncio.run(main())
    assert slept == pytest.approx([0.2] * 9)


def test_who_comes_first_is_served_first_and_no_more_at_once_than_allowed() -> None:
    time, served, inside, most = FakeTime(), list[int](), 0, 0

    async def one(limiter: Limiter, number: int) -> None:
        nonlocal inside, most
        async with limiter.turn():
            served.append(number)
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.001)
            inside -= 1

    async def main() -> None:
        limiter = _limiter(time, 100_000, at_once=3)
        await asyncio.gather(*(one(limiter, number) for number in range(30)))

    asyncio.run(main())
    assert (served, most) == (list(range(30)), 3)


def test_who_is_cancelled_while_waiting_for_a_token_has_taken_nothing() -> None:
    time, gate = FakeTime(), asyncio.Event()

    async def sleep(seconds: float) -> None:
        await gate.wait()
        await time.sleep(seconds)

    async def enter(limiter: Limiter) -> float:
        async with limiter.turn():
            return time.seconds

    async def main() -> float:
        limiter = Limiter(requests_per_second=1, max_in_flight=2, clock=time, sleep=sleep)
        await enter(limiter)
        cancelled = [asyncio.create_task(enter(limiter)) for _ in range(2)]
        await settle()
        last = asyncio.create_task(enter(limiter))
        for task in cancelled:
            task.cancel()
        await asyncio.gather(*cancelled, return_exceptions=True)
        assert all(task.cancelled() for task in cancelled)
        gate.set()
        return await last

    assert asyncio.run(main()) == pytest.approx(1_001)


def test_who_is_cancelled_while_waiting_for_a_place_blocks_nobody_behind() -> None:
    async def enter(limiter: Limiter) -> str:
        async with limiter.turn():
            return "through"

    async def main() -> str:
        limiter = _limiter(FakeTime(), 100, at_once=1)
        async with limiter.turn():
            cancelled = asyncio.create_task(enter(limiter))
            behind = asyncio.create_task(enter(limiter))
            await settle()
            cancelled.cancel()
            await settle()
            assert not behind.done()
        return await behind

    assert asyncio.run(main()) == "through"


def test_more_room_is_taken_at_once_and_less_throws_nobody_out_and_lets_nobody_in() -> None:
    async def main() -> list[str]:
        limiter, seen = _limiter(FakeTime(), 1_000_000, at_once=1), list[str]()
        gates = [asyncio.Event() for _ in range(3)]

        async def one(number: int) -> None:
            async with limiter.turn():
                seen.append(f"in {number}")
                await gates[number].wait()

        calls = [asyncio.create_task(one(number)) for number in range(3)]
        await settle()
        for room in (2, 1):
            seen.append(f"room for {room}")
            limiter.change(requests_per_second=1_000_000, max_in_flight=room)
            await settle()
        for gate in gates:
            gate.set()
            await settle()
            seen.append("left")
        await asyncio.gather(*calls)
        return seen

    order = ["in 0", "room for 2", "in 1", "room for 1", "left", "in 2", "left", "left"]
    assert asyncio.run(main()) == order


def test_another_pace_holds_from_the_next_call_on() -> None:
    async def main() -> list[float]:
        time, starts = FakeTime(), list[float]()
        limiter = _limiter(time, 0.01)
        async with limiter.turn():
            starts.append(time.seconds)
        limiter.change(requests_per_second=1, max_in_flight=1)
        for _ in range(2):
            async with limiter.turn():
                starts.append(time.seconds)
        return starts

    assert asyncio.run(main()) == pytest.approx([1_000, 1_001, 1_002])
