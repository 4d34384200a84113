"""The ports of the daemon: whether it lives, whether it keeps, and what a port survives."""

import asyncio
import socket
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.support import SECOND, Life, imported
from tests.web_support import free_port, get, served, settings
from voicekeeper.config import Address, Settings
from voicekeeper.config.settings import Web
from voicekeeper.store import fleet
from voicekeeper.web import listener
from voicekeeper.web.serving import WAITING_MOST, _Shared


def test_health_is_told_from_memory_whatever_becomes_of_the_registry(tmp_path: Path) -> None:
    life, problems = Life(tmp_path), [None, "the disk is full"]
    life.database.close()
    life.database.path.unlink()

    async def never(_: Callable[[], object]) -> None:
        await asyncio.Event().wait()

    async def ask() -> list[tuple[int, str]]:
        web = settings(web=free_port())
        async with served(life, web, problem=lambda: problems.pop(0), offload=never) as client:
            answers = [await client.get(path) for path in ("/healthz", "/readyz", "/readyz")]
            return [(answer.status_code, answer.text) for answer in answers]

    assert asyncio.run(ask()) == [(200, "ok\n"), (200, "ok\n"), (503, "the disk is full\n")]


def test_a_registry_that_cannot_be_read_is_told_in_a_sentence(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.database.close()
    life.database.path.write_bytes(b"this is no database" * 100)
    page, metrics = get(life, "/", "/metrics")
    assert page.status_code == metrics.status_code == 503
    assert "The registry cannot be read" in page.text
    for answer in (page, metrics):
        assert "damaged or not a database" in answer.text
        assert "Traceback" not in answer.text


def test_nothing_can_be_changed_through_it(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.register(imported("anna"))
    before = life.database.path.read_bytes()

    async def try_all() -> set[int]:
        async with served(life, settings(web=free_port())) as client:
            return {
                (await client.request(method, path)).status_code
                for method in ("POST", "PUT", "PATCH", "DELETE")
                for path in ("/", "/healthz", "/readyz", "/metrics")
            }

    assert asyncio.run(try_all()) == {405}
    assert life.database.path.read_bytes() == before


def test_a_standby_serves_health_alone(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.keeper.stands_by = True

    async def ask() -> dict[str, int]:
        port = free_port()
        async with served(life, settings(web=port, webhook=port)) as client:
            paths = ("/", "/metrics", "/healthz", "/readyz")
            answers = {path: (await client.get(path)).status_code for path in paths}
            return answers | {"": (await client.post(f"/webhook/{'f' * 43}")).status_code}

    health = {"/healthz": 200, "/readyz": 200}
    assert asyncio.run(ask()) == health | dict.fromkeys(("/", "/metrics", ""), 503)


def test_a_port_that_another_program_has_is_told_once_and_taken_when_it_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "_AGAIN_S", 0.01)
    life = Life(tmp_path)

    async def serve() -> None:
        taken = socket.create_server(("127.0.0.1", 0))
        let_go = asyncio.get_running_loop().call_later(0.1, taken.close)
        async with served(life, settings(web=taken.getsockname()[1])) as client:
            assert (await client.get("/healthz")).status_code == 200
        let_go.cancel()

    asyncio.run(serve())
    (failed,) = life.log.of("listener.failed")
    assert failed["error"] == "address already in use"
    assert [name for _, name, _ in life.log.lines] == ["listener.failed", "listener.opened"]


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="needs IPv6")
@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_every_address_of_ipv6_is_every_address(tmp_path: Path, host: str) -> None:
    life, port = Life(tmp_path), free_port()
    chosen = Settings(web=Web(listen=Address("::", port)))

    async def serve() -> int:
        async with served(life, chosen) as client:
            return (await client.get(f"http://{host}:{port}/healthz")).status_code

    assert asyncio.run(serve()) == 200


async def _until_closed(port: int, sent: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    try:
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00", b"HTTP/1.1 400"),
        (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n", b"HTTP/1.1 400"),
        (b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n" * 3, b"HTTP/1.1 200"),
        (b"GET /healthz HTTP/1.1\r\n", b""),
        (b"", b""),
    ],
    ids=["another protocol", "endless", "pipelined", "half a request", "nothing"],
)
def test_whatever_a_stranger_sends_the_connection_ends_and_nothing_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: bytes, answer: bytes
) -> None:
    if not answer:
        monkeypatch.setattr(listener, "LONGEST_S", 0.1)
    life, port = Life(tmp_path), free_port()

    async def stranger() -> bytes:
        async with served(life, settings(web=port)):
            return await _until_closed(port, sent)

    answered = asyncio.run(stranger())
    assert answered.startswith(answer)
    assert answered.count(b"HTTP/1.1 ") <= 1
    assert [name for _, name, _ in life.log.lines] == ["listener.opened"]


def test_a_thousand_connections_that_say_nothing_leave_room_when_they_are_gone(
    tmp_path: Path,
) -> None:
    life, port = Life(tmp_path), free_port()

    async def crowd() -> str:
        async with served(life, settings(web=port)) as client:
            silent = {asyncio.create_task(_until_closed(port, b"")) for _ in range(1000)}
            turned_away = 0
            while turned_away < 1000 - listener.MOST:
                ended, silent = await asyncio.wait(silent, return_when=asyncio.FIRST_COMPLETED)
                turned_away += len(ended)
            for connection in silent:
                connection.cancel()
            await asyncio.gather(*silent, return_exceptions=True)
            return (await client.get("/metrics")).text

    told = asyncio.run(crowd())
    assert 'voicekeeper_connections_refused_total{reason="crowded"} 744.0' in told


class Reading:
    """The database thread, which reads nothing before it is let."""

    def __init__(self) -> None:
        self.begun, self.goes_on, self.readings = asyncio.Event(), asyncio.Event(), 0

    async def offload(self, function: Callable[[], object]) -> object:
        self.begun.set()
        self.readings += 1
        await self.goes_on.wait()
        return function()


def test_who_asks_at_once_shares_one_answer_and_beyond_a_few_it_is_503(tmp_path: Path) -> None:
    life, reading = Life(tmp_path), Reading()

    async def story() -> list[int]:
        async with served(life, settings(web=free_port()), offload=reading.offload) as client:
            asked = [asyncio.create_task(client.get("/metrics")) for _ in range(WAITING_MOST + 5)]
            refused, waiting = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
            while len(refused) < 5:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                refused |= done
            reading.goes_on.set()
            return [answer.status_code for answer in await asyncio.gather(*asked)]

    assert Counter(asyncio.run(story())) == {200: WAITING_MOST, 503: 5}
    assert reading.readings == 1


@pytest.mark.parametrize(("took_s", "fresh_s"), [(0, 1), (0.5, 5), (1.5, 15), (60, 15)])
def test_an_answer_is_read_anew_after_a_second_or_ten_times_what_it_took_or_15_s(
    tmp_path: Path, took_s: float, fresh_s: float
) -> None:
    clock = Life(tmp_path).clock
    made = list[httpx.Response]()

    async def slow(function: Callable[[], object]) -> object:
        clock.advance(took_s * SECOND)
        return function()

    async def story() -> None:
        shared = _Shared(lambda: made.append(httpx.Response(200)), slow, clock)  # type: ignore[arg-type, return-value]
        await shared.give()
        clock.advance(fresh_s * SECOND)
        await shared.give()
        assert len(made) == 1
        clock.advance(SECOND / 1000)
        await shared.give()
        assert len(made) == 2

    asyncio.run(story())


def test_a_stop_waits_for_no_answer(tmp_path: Path) -> None:
    async def story() -> None:
        reading = Reading()
        life, chosen = Life(tmp_path), settings(web=free_port())
        async with served(life, chosen, offload=reading.offload) as client:
            asked = asyncio.create_task(client.get("/metrics"))
            await reading.begun.wait()
        with pytest.raises(httpx.TransportError):
            await asked

    asyncio.run(story())


def test_an_answer_that_fails_by_a_bug_is_no_longer_shared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = Life(tmp_path)

    async def story() -> list[int]:
        async with served(life, settings(web=free_port())) as client:
            with monkeypatch.context() as patched:
                patched.setattr(fleet, "figures", lambda *_, **__: 1 / 0)
                broken = await client.get("/metrics")
            life.clock.advance(2 * SECOND)
            return [broken.status_code, (await client.get("/metrics")).status_code]

    assert asyncio.run(story()) == [500, 200]
