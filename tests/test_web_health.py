"""The ports of the daemon: whether it lives, whether it keeps, and what a port survives."""

import asyncio
import socket
import threading
from collections import Counter
from pathlib import Path

import httpx
import pytest

from tests.support import MINUTE, SECOND, Life, imported
from tests.web_support import LIMIT_S, free_port, get, served, settings
from voicekeeper.config import Address, Settings
from voicekeeper.config.settings import Web
from voicekeeper.errors import DatabaseFull
from voicekeeper.store.survey import Survey
from voicekeeper.web import listener, serving
from voicekeeper.web.site import WAITING_MOST


def passed(life: Life) -> None:
    """Let the life's keeper make a pass."""
    asyncio.run(_pass(life))


async def _pass(life: Life) -> None:
    await life.keeper.take_over()
    await life.one_pass()


def test_a_daemon_whose_loop_turns_is_alive_whatever_else_is_wrong(tmp_path: Path) -> None:
    life = Life(tmp_path)
    (alive,) = get(life, "/healthz")
    assert (alive.status_code, alive.text) == (200, "ok\n")


def test_it_is_ready_when_a_pass_has_ended_lately(tmp_path: Path) -> None:
    life = Life(tmp_path)
    (before,) = get(life, "/readyz")
    passed(life)
    (after,) = get(life, "/readyz")
    life.clock.advance(3 * MINUTE)
    (late,) = get(life, "/readyz")
    assert [before.status_code, after.status_code, late.status_code] == [503, 200, 503]
    assert before.text.startswith("no daemon has ever made a pass; ")
    assert late.text.startswith("no daemon has made a pass since 2026-05-01T12:00:00Z; ")


def test_it_is_not_ready_while_the_database_takes_no_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = Life(tmp_path)
    passed(life)

    def full(_: Survey) -> None:
        raise DatabaseFull("the disk is full")

    monkeypatch.setattr(Survey, "check_writable", full)
    (answer,) = get(life, "/readyz")
    assert (answer.status_code, answer.text) == (503, "the disk is full\n")


def test_a_registry_that_cannot_be_read_is_told_in_a_sentence(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.database.close()
    life.database.path.write_bytes(b"this is no database" * 100)
    metrics, ready = get(life, "/metrics", "/readyz")
    assert (metrics.status_code, ready.status_code) == (503, 503)
    assert "damaged or not a database" in metrics.text
    assert "Traceback" not in metrics.text


def test_nothing_can_be_changed_through_it(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.register(imported("anna"))
    before = life.database.path.read_bytes()

    async def try_all() -> set[int]:
        port = free_port()
        async with served(life, settings(web=port)), httpx.AsyncClient() as client:
            return {
                (await client.request(method, f"http://127.0.0.1:{port}{path}")).status_code
                for method in ("POST", "PUT", "PATCH", "DELETE")
                for path in ("/healthz", "/readyz", "/metrics")
            }

    assert asyncio.run(try_all()) == {405}
    assert life.database.path.read_bytes() == before


def test_without_settings_no_port_is_opened(tmp_path: Path) -> None:
    life = Life(tmp_path)

    async def serve() -> None:
        async with serving(
            settings,
            keeper=life.keeper,
            database=life.database,
            clock=life.clock,
            log=life.log,
        ):
            await asyncio.sleep(0)

    asyncio.run(serve())
    assert life.log.lines == []


def test_a_port_that_another_program_has_is_told_once_and_taken_when_it_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "_AGAIN_S", 0.01)
    life = Life(tmp_path)

    async def serve() -> None:
        taken = socket.create_server(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        let_go = asyncio.get_running_loop().call_later(0.1, taken.close)
        async with served(life, settings(web=port)), httpx.AsyncClient() as client:
            assert (await client.get(f"http://127.0.0.1:{port}/healthz")).status_code == 200
        let_go.cancel()

    asyncio.run(serve())
    (failed,) = life.log.of("listener.failed")
    assert failed["error"] == "address already in use"
    assert [name for _, name, _ in life.log.lines] == ["listener.failed", "listener.opened"]


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="needs IPv6")
@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_every_address_of_ipv6_is_every_address(tmp_path: Path, host: str) -> None:
    life = Life(tmp_path)
    port = free_port()
    chosen = Settings(web=Web(listen=Address("::", port)))

    async def serve() -> int:
        async with served(life, chosen), httpx.AsyncClient() as client:
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
    life = Life(tmp_path)

    async def stranger() -> bytes:
        port = free_port()
        async with served(life, settings(web=port)):
            return await _until_closed(port, sent)

    answered = asyncio.run(stranger())
    assert answered.startswith(answer)
    assert answered.count(b"HTTP/1.1 ") <= 1
    assert [name for _, name, _ in life.log.lines] == ["listener.opened"]


def test_a_thousand_connections_that_say_nothing_leave_room_when_they_are_gone(
    tmp_path: Path,
) -> None:
    life = Life(tmp_path)

    async def crowd() -> str:
        port = free_port()
        async with served(life, settings(web=port)), httpx.AsyncClient(timeout=30) as client:
            silent = {asyncio.create_task(_until_closed(port, b"")) for _ in range(1000)}
            turned_away = 0
            while turned_away < 1000 - listener.MOST:
                ended, silent = await asyncio.wait(silent, return_when=asyncio.FIRST_COMPLETED)
                turned_away += len(ended)
            for connection in silent:
                connection.cancel()
            await asyncio.gather(*silent, return_exceptions=True)
            return (await client.get(f"http://127.0.0.1:{port}/metrics")).text

    told = asyncio.run(crowd())
    assert 'voicekeeper_connections_refused_total{reason="crowded"} 744.0' in told


def test_who_asks_at_once_shares_one_answer_and_beyond_a_few_it_is_503(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    life, looks, goes_on = Life(tmp_path), list[str](), threading.Event()
    passed(life)

    def slow(_: Survey) -> None:
        looks.append("looked")
        goes_on.wait(LIMIT_S)

    monkeypatch.setattr(Survey, "check_writable", slow)

    async def story() -> list[int]:
        port = free_port()
        async with (
            served(life, settings(web=port)),
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=LIMIT_S) as client,
        ):
            asked = [asyncio.create_task(client.get("/readyz")) for _ in range(WAITING_MOST + 5)]
            refused, waiting = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
            while len(refused) < 5:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                refused |= done
            goes_on.set()
            answers = await asyncio.gather(*asked)
            answers.append(await client.get("/readyz"))  # within a second of the last
            assert looks == ["looked"]
            life.clock.advance(2 * SECOND)
            answers.append(await client.get("/readyz"))
            assert looks == ["looked", "looked"]
            return [answer.status_code for answer in answers]

    assert Counter(asyncio.run(story())) == {200: WAITING_MOST + 2, 503: 5}


def test_a_stop_waits_for_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    life, begun, goes_on = Life(tmp_path), threading.Event(), threading.Event()

    def hangs(_: Survey) -> None:
        begun.set()
        goes_on.wait(LIMIT_S)

    monkeypatch.setattr(Survey, "check_writable", hangs)

    async def story() -> int:
        port = free_port()
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", timeout=LIMIT_S
        ) as client:
            async with served(life, settings(web=port)):
                asked = asyncio.create_task(client.get("/readyz"))
                await asyncio.to_thread(begun.wait, LIMIT_S)
            answer = await asked
            assert not goes_on.is_set()
            goes_on.set()
            return answer.status_code

    assert asyncio.run(story()) == 503


def test_look_ups_of_names_that_hang_hold_up_no_answer(tmp_path: Path) -> None:
    life, over = Life(tmp_path), threading.Event()
    passed(life)

    async def story() -> int:
        port = free_port()
        async with (
            served(life, settings(web=port)),
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=LIMIT_S) as client,
        ):
            for _ in range(64):  # in the threads in which the loop looks names up
                asyncio.get_running_loop().run_in_executor(None, over.wait, LIMIT_S)
            try:
                return (await client.get("/readyz")).status_code
            finally:
                over.set()

    assert asyncio.run(story()) == 200
