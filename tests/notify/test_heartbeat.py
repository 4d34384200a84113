"""The dead man's switch, on a real receiver: it pings while voices are kept in time."""

import asyncio
from contextlib import suppress
from functools import partial

import pytest

from tests.receiver import Receiver
from tests.support import DAY, HOUR, MINUTE, NOW, TICK, Life, imported
from voicekeeper import notify
from voicekeeper.core.secret import SecretStr
from voicekeeper.errors import CallFailed, DatabaseHeld, NotSent
from voicekeeper.notify import Heartbeat


def heartbeat(life: Life, receiver: Receiver) -> Heartbeat:
    async def is_in_time() -> bool:
        return life.registry.is_in_time(now=life.clock.now(), tick=TICK, policy=life.policy)

    ping = partial(notify.ping, SecretStr(receiver.web_url()))
    return Heartbeat(is_in_time=is_in_time, ping=ping, log=life.log)


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
    life.worklist.claim(now=life.clock.now(), policy=life.policy, calls=0, polls=0)
    assert beat(life, receiver) == 0  # a pass that could begin no call
    life.live(HOUR)
    asyncio.run(life.one_pass())
    assert beat(life, receiver) == 1


@pytest.mark.parametrize("submits", [True, False], ids=["every try fails", "no task ends"])
def test_it_falls_silent_where_a_voice_is_not_used_whatever_is_tried(
    life: Life, receiver: Receiver, *, submits: bool
) -> None:
    life.register(imported("anna", last_used_at=NOW - 3 * DAY))
    life.upstream.trouble = lambda call: (
        CallFailed("no such thing", code=404) if (call.kind == "submit") is submits else None
    )
    life.live(HOUR)
    asyncio.run(life.one_pass())
    assert beat(life, receiver) == 1
    life.live(3 * HOUR)
    asyncio.run(life.one_pass())
    assert life.voice("anna").next_at is not None
    assert beat(life, receiver) == 0


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
        asyncio.run(heart.once(5))
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

    ping = partial(notify.ping, SecretStr("http://127.0.0.1:1/hook-secret"))
    for is_in_time, way in ((busy, ping), (well, ping), (well, broken)):
        asyncio.run(Heartbeat(is_in_time=is_in_time, ping=way, log=life.log).beat())
    errors = [line["error"] for line in life.log.of("heartbeat.failed")]
    assert errors == ["no answer (ConnectError)", "KeyError"]
    assert receiver.pings == []


def ping(address: str) -> str:
    """Ping an address; return why that failed."""
    try:
        asyncio.run(notify.ping(SecretStr(address)))
    except NotSent as error:
        return str(error)
    return ""


def test_an_answer_without_an_end_is_an_answer() -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        with suppress(ConnectionError):
            while True:
                writer.write(b"." * 65_536)
                await writer.drain()

    async def main() -> None:
        async with await asyncio.start_server(endless, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            await notify.ping(SecretStr(f"http://127.0.0.1:{port}/"))

    asyncio.run(main())


def test_a_ping_goes_where_its_address_has_moved_to(receiver: Receiver) -> None:
    receiver.moved = {"/old": "/between", "/between": receiver.web_url("new")}
    assert ping(receiver.web_url("old")) == ""
    assert receiver.pings == ["/new"]
    assert "Authorization" not in receiver.headers[0]


@pytest.mark.parametrize("status", [301, 404, 500])
def test_only_success_is_a_ping_that_arrived(receiver: Receiver, status: int) -> None:
    receiver.status = status
    assert ping(receiver.web_url()) == f"the answer was {status}"


@pytest.mark.parametrize("location", ["/old", "http://[::bad/", "ftp://127.0.0.1/"])
def test_a_ping_that_is_led_nowhere_has_failed(receiver: Receiver, location: str) -> None:
    receiver.moved = {"/old": location}
    failure = ping(receiver.web_url("old"))
    assert failure.startswith("no answer (")
    assert "/old" not in failure


@pytest.mark.usefixtures("no_proxies")
@pytest.mark.parametrize(
    "environ",
    [
        {"all_proxy": "socks5://127.0.0.1:1", "http_proxy": "PROXY"},
        {"http_proxy": "PROXY", "no_proxy": "[::1],fe80::/10,10.0.0.0/8"},
    ],
)
def test_a_ping_goes_by_the_proxy_that_counts_whatever_else_the_environment_names(
    receiver: Receiver, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value.replace("PROXY", f"http://u:p@127.0.0.1:{receiver.port}"))
    assert ping("http://heartbeat.example/ping") == ""
    assert receiver.pings == ["http://heartbeat.example/ping"]
    assert receiver.headers[0]["Proxy-Authorization"] == "Basic dTpw"


@pytest.mark.usefixtures("no_proxies")
def test_a_proxy_that_is_none_fails_the_ping_by_the_name_of_its_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("https_proxy", "socks5://user:hidden@127.0.0.1:1")
    assert ping("https://heartbeat.example/ping") == (
        "https_proxy: must be the address of an http or https proxy like http://proxy.example:3128"
    )
