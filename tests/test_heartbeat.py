"""The dead man's switch, on a real receiver: it pings while voices are kept in time."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.receiver import Receiver
from tests.support import DAY, HOUR, MINUTE, NOW, TICK, Life, imported
from voicekeeper import alerts
from voicekeeper.errors import DatabaseHeld, NotSent
from voicekeeper.heartbeat import Heartbeat
from voicekeeper.secret import SecretStr


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def life(tmp_path: Path) -> Life:
    return Life(tmp_path)


def heartbeat(life: Life, receiver: Receiver) -> Heartbeat:
    async def is_in_time() -> bool:
        return life.registry.is_in_time(now=life.clock.now(), tick=TICK, policy=life.policy)

    ping = partial(alerts.ping, SecretStr(receiver.web_url()))
    return Heartbeat(is_in_time=is_in_time, ping=ping, log=life.log, pace_s=0.01)


def beat(life: Life, receiver: Receiver) -> int:
    """Let it beat once; return how many pings came of it."""
    before = len(receiver.pings)
    asyncio.run(heartbeat(life, receiver).beat())
    return len(receiver.pings) - before


def test_it_pings_after_a_pass_and_falls_silent_when_none_follows(
    life: Life, receiver: Receiver
) -> None:
    life.register(imported("anna"))
    assert beat(life, receiver) == 0  # no pass was ever made
    life.live(HOUR)
    asyncio.run(life.one_pass())
    assert beat(life, receiver) == 1
    life.clock.advance(3 * MINUTE)
    assert beat(life, receiver) == 0


def test_it_falls_silent_when_a_voice_is_overdue_and_speaks_again_when_it_was_used(
    life: Life, receiver: Receiver
) -> None:
    life.register(imported("anna", last_used_at=NOW), imported("berta", last_used_at=NOW))
    life.live(HOUR)
    life.clock.advance(3 * DAY)  # no daemon made a pass
    asyncio.run(life.keeper.stop(0))
    life.worklist.claim(keeper="1@here", now=life.clock.now(), policy=life.policy, calls=0, polls=0)
    assert beat(life, receiver) == 0  # a pass that could begin no call
    life.live(HOUR)
    asyncio.run(life.one_pass())
    assert beat(life, receiver) == 1


def test_a_voice_that_is_paused_or_lost_is_not_overdue(life: Life, receiver: Receiver) -> None:
    life.registry.register([imported("gone")], now=life.clock.now(), policy=life.policy)
    life.register(imported("anna"))
    life.registry.pause("anna", now=life.clock.now())
    life.live(9 * DAY)
    asyncio.run(life.one_pass())
    assert beat(life, receiver) == 1


def test_a_ping_that_fails_is_told_once_until_one_arrives(life: Life, receiver: Receiver) -> None:
    life.register(imported("anna"))
    life.live(MINUTE)
    asyncio.run(life.one_pass())
    heart = heartbeat(life, receiver)
    for status in (500, 404, 200, 503):
        receiver.status = status
        asyncio.run(heart.beat())
    assert [line["error"] for line in life.log.of("heartbeat.failed")] == [
        "the answer was 500",
        "the answer was 503",
    ]


def test_no_failure_of_it_reaches_further_and_no_sentence_shows_the_address(
    life: Life, receiver: Receiver
) -> None:
    async def busy() -> bool:
        raise DatabaseHeld("busy")

    async def well() -> bool:
        return True

    async def broken() -> None:
        raise KeyError("hook-secret")

    ping = partial(alerts.ping, SecretStr("http://127.0.0.1:1/hook-secret"))
    for is_in_time, way in ((busy, ping), (well, ping), (well, broken)):
        asyncio.run(Heartbeat(is_in_time=is_in_time, ping=way, log=life.log).beat())
    errors = [line["error"] for line in life.log.of("heartbeat.failed")]
    assert errors == ["no answer (ConnectError)", "KeyError"]
    assert receiver.pings == []


def test_it_goes_on_at_its_pace_and_a_run_once_beats_once(life: Life, receiver: Receiver) -> None:
    life.register(imported("anna"))
    life.live(MINUTE)
    asyncio.run(life.one_pass())
    heart = heartbeat(life, receiver)

    async def some() -> None:
        task = asyncio.create_task(heart.run())
        while len(receiver.pings) < 3:  # noqa: ASYNC110 - a thread is under way
            await asyncio.sleep(0.005)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await heart.stop(1)

    asyncio.run(some())
    before = len(receiver.pings)
    asyncio.run(heart.once(5))
    assert len(receiver.pings) == before + 1


def test_a_ping_carries_nothing_but_its_address(receiver: Receiver) -> None:
    asyncio.run(alerts.ping(SecretStr(receiver.web_url())))
    assert receiver.pings == ["/ping-0123456789"]
    assert "Authorization" not in receiver.headers[0]


class Endless(httpx.AsyncByteStream):
    """A body that never ends."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            yield b"." * 65536


def test_an_answer_without_an_end_is_an_answer() -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=Endless()))
    asyncio.run(alerts.ping(SecretStr("http://example.com/"), transport=transport))


@pytest.mark.parametrize("address", ["http://127.0.0.1:1/secret", "http://[::bad/secret"])
def test_an_address_that_cannot_be_asked_is_an_error_without_it(address: str) -> None:
    with pytest.raises(NotSent) as caught:
        asyncio.run(alerts.ping(SecretStr(address)))
    assert "secret" not in str(caught.value)
