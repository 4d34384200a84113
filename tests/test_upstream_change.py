"""The gateway's client and its limiter go by other settings, whatever is under way."""

import asyncio

import pytest

from tests.test_upstream_client import (
    ACCEPTED,
    KEY,
    MODEL,
    SPEECH,
    Answer,
    Received,
    _client,
    _http,
    _says,
    _serving,
    _until,
)
from tests.test_upstream_limiter import FakeTime, _limiter, _settle
from voicekeeper.answers import Accepted
from voicekeeper.errors import CallFailed, KeyRefused
from voicekeeper.upstream import GatewayClient

NEW_KEY = "sk-new"


def change(client: GatewayClient, base_url: str, **options: object) -> None:
    usual = {"api_key": NEW_KEY, "timeout": 30.0, "requests_per_second": 10_000.0}
    client.change(base_url=base_url, **(usual | {"max_in_flight": 8} | options))  # type: ignore[arg-type]


def _waits(gate: asyncio.Event, answer: bytes) -> Answer:
    async def wait(_: Received, writer: object) -> None:
        await gate.wait()
        writer.write(answer)  # type: ignore[attr-defined]

    return wait


def test_the_next_call_goes_to_the_new_address_with_the_new_key() -> None:
    async def main() -> list[str]:
        async with (
            _serving(_says(ACCEPTED)) as old,
            _serving(_says(ACCEPTED)) as new,
            _client(old.base_url) as client,
        ):
            await client.submit(SPEECH, MODEL)
            change(client, new.base_url)
            await client.submit(SPEECH, MODEL)
            await _until(lambda: old.open == 0)  # its idle connections are closed
            return [r.headers["authorization"] for r in (*old.received, *new.received)]

    assert asyncio.run(main()) == [f"Bearer {KEY}", f"Bearer {NEW_KEY}"]


def test_a_call_under_way_ends_as_it_began_and_then_its_connection_is_closed() -> None:
    async def main() -> Accepted:
        gate = asyncio.Event()
        async with (
            _serving(_waits(gate, _http(ACCEPTED))) as old,
            _client(old.base_url) as client,
        ):
            call = asyncio.create_task(client.submit(SPEECH, MODEL))
            await _until(lambda: bool(old.received))
            change(client, "http://127.0.0.1:1")
            await _settle()
            assert old.open == 1
            gate.set()
            accepted = await call
            await _until(lambda: old.open == 0)
            return accepted

    assert asyncio.run(main()) == Accepted("task_1")


def test_a_call_that_waits_for_its_turn_goes_by_the_new_settings() -> None:
    async def main() -> tuple[int, int]:
        gate = asyncio.Event()
        async with (
            _serving(_waits(gate, _http(ACCEPTED))) as old,
            _serving(_says(ACCEPTED)) as new,
            _client(old.base_url, max_in_flight=1) as client,
        ):
            calls = [asyncio.create_task(client.submit(SPEECH, MODEL)) for _ in range(2)]
            await _until(lambda: bool(old.received))
            change(client, new.base_url, max_in_flight=1)
            gate.set()
            await asyncio.gather(*calls)
            return len(old.received), len(new.received)

    assert asyncio.run(main()) == (1, 1)


def test_an_answer_that_echoes_the_old_key_shows_neither() -> None:
    async def main() -> CallFailed:
        gate = asyncio.Event()
        told = {"code": 401, "message": f"{KEY} is revoked"}
        async with (
            _serving(_waits(gate, _http(told, 401))) as old,
            _client(old.base_url) as client,
        ):
            call = asyncio.create_task(client.submit(SPEECH, MODEL))
            await _until(lambda: bool(old.received))
            change(client, "http://127.0.0.1:1")
            gate.set()
            with pytest.raises(CallFailed) as failed:
                await call
            assert KEY not in repr(client)
            return failed.value

    assert KEY not in str(asyncio.run(main()))


def test_a_key_that_no_header_can_carry_changes_nothing() -> None:
    async def main() -> Accepted:
        async with _serving(_says(ACCEPTED)) as old, _client(old.base_url) as client:
            with pytest.raises(KeyRefused):
                change(client, "http://127.0.0.1:1", api_key="two words")
            return await client.submit(SPEECH, MODEL)

    assert asyncio.run(main()) == Accepted("task_1")


def test_to_close_the_client_does_not_wait_for_a_call_by_old_settings() -> None:
    async def main() -> int:
        async with (
            _serving(_waits(asyncio.Event(), b"")) as old,
            _client(old.base_url) as client,
        ):
            call = asyncio.create_task(client.submit(SPEECH, MODEL))
            await _until(lambda: bool(old.received))
            change(client, "http://127.0.0.1:1")
            async with asyncio.timeout(10):
                await client.aclose()
            call.cancel()
            return len(old.received)

    assert asyncio.run(main()) == 1


# the limiter


def _inside(at_once: int, then: int) -> tuple[int, int]:
    """Return how many of many calls are in flight, before and after the limit is another."""
    time, gate, inside = FakeTime(), asyncio.Event(), 0

    async def main() -> tuple[int, int]:
        limiter = _limiter(time, 1_000_000, at_once=at_once)

        async def one() -> None:
            nonlocal inside
            async with limiter.turn():
                inside += 1
                await gate.wait()
                inside -= 1

        calls = [asyncio.create_task(one()) for _ in range(20)]
        await _settle()
        before = inside
        limiter.change(requests_per_second=1_000_000, max_in_flight=then)
        await _settle()
        after = inside
        gate.set()
        await asyncio.gather(*calls)
        return before, after

    return asyncio.run(main())


def test_more_room_is_taken_at_once() -> None:
    assert _inside(2, 5) == (2, 5)


def test_less_room_throws_nobody_out() -> None:
    assert _inside(5, 2) == (5, 5)


def test_with_less_room_nobody_comes_in_before_there_is_some() -> None:
    async def main() -> list[str]:
        limiter, told = _limiter(FakeTime(), 1_000_000, at_once=2), list[str]()
        gates = [asyncio.Event() for _ in range(3)]

        async def one(number: int) -> None:
            async with limiter.turn():
                told.append(f"in {number}")
                await gates[number].wait()

        calls = [asyncio.create_task(one(number)) for number in range(3)]
        await _settle()
        limiter.change(requests_per_second=1_000_000, max_in_flight=1)
        for gate in gates[:2]:
            gate.set()
            await _settle()
            told.append("left")
        gates[2].set()
        await asyncio.gather(*calls)
        return told

    assert asyncio.run(main()) == ["in 0", "in 1", "left", "in 2", "left"]


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


def test_a_limit_that_lets_nobody_through_is_refused() -> None:
    async def main() -> None:
        limiter = _limiter(FakeTime(), 1)
        with pytest.raises(ValueError, match="more than 0"):
            limiter.change(requests_per_second=1, max_in_flight=0)
        async with limiter.turn():
            pass

    asyncio.run(main())
