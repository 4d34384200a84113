"""The HTTP client against servers on loopback that misbehave in every way a network can."""

import asyncio
import gzip
import json
import logging
import re
import socket
import struct
import threading
import traceback
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from voicekeeper.answers import Accepted, Report
from voicekeeper.clock import SystemClock
from voicekeeper.errors import CallFailed, ConfigError, KeyRefused
from voicekeeper.request import Clone, Design, Request, Speech
from voicekeeper.upstream import GatewayClient, Upstream

KEY = "sk-0123456789abcdef"
MODEL = "cosyvoice-3-flash"
SPEECH = Speech(voice="cosyvoice-v3-flash-xxxx", prompt="好")
DESIGN = Design(prefix="demo02", prompt="A warm voice.", preview_text="Hello.")
CLONE = Clone(prefix="demo01", audio_url="https://example.com/reference.wav")
ACCEPTED = {"code": 200, "message": "success", "data": {"taskId": "task_1"}}
PROCESSING = {"code": 200, "message": "success", "data": {"taskId": "t", "state": "processing"}}


@dataclass
class Received:
    """One request as it arrived."""

    line: str
    headers: dict[str, str]
    body: bytes


Answer = Callable[[Received, asyncio.StreamWriter], Awaitable[None]]
"""Answers one request; raising `ConnectionError` ends the connection."""


@dataclass
class Server:
    """A listening socket and what came in through it."""

    answer: Answer
    base_url: str = ""
    port: int = 0
    reads: bool = True
    connections: int = 0
    open: int = 0
    received: list[Received] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        try:
            while True:
                request = await _request(reader) if self.reads else Received("", {}, b"")
                self.received.append(request)
                await self.answer(request, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open -= 1
            writer.close()


async def _request(reader: asyncio.StreamReader) -> Received:
    line, *headers = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
    named = {name.lower(): value for name, value in (h.split(": ", 1) for h in headers)}
    return Received(line, named, await reader.readexactly(int(named.get("content-length", 0))))


@asynccontextmanager
async def _serving(answer: Answer, *, reads: bool = True) -> AsyncIterator[Server]:
    server, tasks = Server(answer, reads=reads), set[asyncio.Task[None]]()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(server.serve(reader, writer)))

    listening = await asyncio.start_server(accept, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    server.base_url = f"http://127.0.0.1:{server.port}/api/v1"
    try:
        yield server
    finally:
        listening.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _client(
    base_url: str,
    *,
    timeout: float = 30.0,
    **options: Any,  # noqa: ANN401 - any argument of the client
) -> GatewayClient:
    usual: dict[str, Any] = {
        "api_key": KEY,
        "requests_per_second": 10_000.0,
        "max_in_flight": 8,
        "clock": SystemClock(),
    }
    return GatewayClient(base_url=base_url, timeout=timeout, **(usual | options))


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - a server's state has no event
            await asyncio.sleep(0.005)


async def _failure(call: Coroutine[Any, Any, object]) -> CallFailed:
    with pytest.raises(CallFailed) as raised:
        await call
    return raised.value


# How a server answers


def _http(body: bytes | dict[str, Any], status: int = 200, **headers: str) -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = {"Content-Length": str(len(content))} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status} Text\r\n{head}\r\n".encode() + content


def _says(answer: bytes | dict[str, Any], *, then_closes: bool = False) -> Answer:
    sent = _http(answer) if isinstance(answer, dict) else answer

    async def say(_: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(sent)
        await writer.drain()
        if then_closes:
            raise ConnectionError

    return say


async def _hangs(_: Received, __: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def _resets(_: Received, writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    raise ConnectionError


async def _closes(_: Received, __: asyncio.StreamWriter) -> None:
    raise ConnectionError


async def _drips(_: Received, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.02)


async def _floods(_: Received, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
        await writer.drain()


async def _continues(_: Received, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.02)


# What goes out


@pytest.mark.parametrize("request_", [SPEECH, CLONE, DESIGN])
def test_a_submission_is_the_pages_post(request_: Request) -> None:
    async def main() -> tuple[Accepted, list[Received]]:
        async with _serving(_says(ACCEPTED)) as server, _client(server.base_url) as client:
            return await client.submit(request_, MODEL), server.received

    accepted, [received] = asyncio.run(main())
    assert accepted == Accepted("task_1")
    assert received.line == "POST /api/v1/generateTask/cosyvoice-3-flash HTTP/1.1"
    assert json.loads(received.body) == {"request_type": "async", "input": request_.body()}
    assert received.headers["authorization"] == f"Bearer {KEY}"
    assert received.headers["content-type"] == "application/json"
    assert received.headers["accept"] == "application/json"
    assert re.fullmatch(r"voicekeeper/\S+", received.headers["user-agent"])


def test_a_poll_is_the_pages_get_with_the_task_id_encoded() -> None:
    asked = "a b&c=d/é#?"
    told = {"code": 200, "data": {"taskId": asked, "state": "processing"}}

    async def main() -> tuple[Report, list[Received]]:
        async with _serving(_says(told)) as server, _client(server.base_url + "/") as client:
            return await client.status(asked, "own/model"), server.received

    report, [received] = asyncio.run(main())
    assert report == Report("processing")
    query = "taskId=a%20b%26c%3Dd%2F%C3%A9%23%3F"
    assert received.line == f"GET /api/v1/statusTask/own%2Fmodel?{query} HTTP/1.1"
    assert received.headers["authorization"] == f"Bearer {KEY}"


def test_the_key_wins_over_a_user_in_the_base_url() -> None:
    async def main() -> Server:
        async with _serving(_says(PROCESSING)) as server:
            url = server.base_url.replace("//", "//user:hidden@")
            async with _client(url) as client:
                await client.status("t", MODEL)
            return server

    assert asyncio.run(main()).received[0].headers["authorization"] == f"Bearer {KEY}"


def test_the_client_is_an_upstream() -> None:
    upstream: Upstream = _client("http://127.0.0.1:1")
    assert "127.0.0.1" in repr(upstream)


# What comes back


def test_a_report_carries_the_gateways_own_time() -> None:
    answer = _http(PROCESSING, Date="Fri, 01 May 2026 12:00:00 GMT")

    async def main() -> Report:
        async with _serving(_says(answer)) as server, _client(server.base_url) as client:
            return await client.status("t", MODEL)

    assert asyncio.run(main()).answered_at == datetime(2026, 5, 1, 12, tzinfo=UTC)


def test_a_date_that_is_nonsense_is_no_date() -> None:
    async def main() -> Report:
        answer = _http(PROCESSING, Date="the first of May")
        async with _serving(_says(answer)) as server, _client(server.base_url) as client:
            return await client.status("t", MODEL)

    assert asyncio.run(main()) == Report("processing")


@pytest.mark.parametrize(
    "cookie", [b"a=b", b"a=\xff", b"\xff=b", b"a=b; Expires=Fri, 99 Foo 0000 99:99:99 GMT"]
)
def test_a_cookie_is_never_sent_back_nor_in_the_way_of_the_next_call(cookie: bytes) -> None:
    answer = _http(PROCESSING).replace(b"\r\n\r\n", b"\r\nSet-Cookie: " + cookie + b"\r\n\r\n")

    async def main() -> list[Received]:
        async with _serving(_says(answer)) as server:
            async with _client(server.base_url, max_in_flight=1) as client:
                for _ in range(2):
                    await client.status("t", MODEL)
            return server.received

    assert all("cookie" not in received.headers for received in asyncio.run(main()))


@pytest.mark.parametrize("status", [429, 503, 200])
def test_a_retry_after_date_is_read_against_the_answers_date(status: int) -> None:
    answer = _http(
        {"code": 429},
        status,
        Date="Fri, 01 May 2026 12:00:00 GMT",
        Retry_After="Fri, 01 May 2026 12:01:30 GMT",
    )

    async def main() -> CallFailed:
        async with _serving(_says(answer)) as server, _client(server.base_url) as client:
            return await _failure(client.submit(SPEECH, MODEL))

    assert asyncio.run(main()).retry_after == 90


def test_a_page_that_refuses_is_quoted_without_its_markup() -> None:
    page = b"<title>No</title><style>p {}</style><p>content &amp; words\n violate <b>policy</b></p>"

    async def main() -> CallFailed:
        async with _serving(_says(_http(page, 403))) as server, _client(server.base_url) as client:
            return await _failure(client.submit(SPEECH, MODEL))

    assert str(asyncio.run(main())).endswith('strategy ("No content & words violate policy")')


@pytest.mark.parametrize(
    ("answer", "code", "ambiguous"),
    [
        (_http({"code": 401, "message": "bad key"}, 401), 401, False),
        (_http({"code": 402}, 200), 402, False),
        (_http(b"<html>busy</html>", 429), 429, False),
        (_http(b"<html>&#%s;</html>" % (b"1" * 5_000), 429), 429, False),
        (_http({"code": 401, "message": f"&#{'1' * 5_000};"}, 401), 401, False),
        (_http({"code": 500}, 500), 500, True),
        (_http(b"<html>bad gateway</html>", 502), 502, True),
        (_http({"code": 200, "data": {"taskId": "task_1"}}, 500), 500, True),
        (_http({"code": 504}, 200), 504, True),
        (_http(b"<html>welcome</html>"), None, True),
        (_http(b""), None, True),
        (_http(b"", 204), None, True),
        (_http(b'{"code": 200, "data": {"taskId": "ta'), None, True),
        (_http({"code": 200, "data": {}}), None, True),
        (_http({"code": 200, "data": 74.87}), None, True),
        (_http({"code": 200, "data": {"taskId": ""}}), None, True),
        (_http({"data": {"taskId": "task_1"}}), None, True),
        (_http({"code": 7, "data": {"taskId": "task_1"}}), 7, True),
        (_http(b"", 301, Location="https://example.com/"), 301, False),
        (_http(b"", 307, Location="http://x:port/"), 307, False),
        # The body ends before its declared length.
        (_http(ACCEPTED)[:-1], None, True),
        (b"HTTP/1.1 500 No\r\nContent-Length: 99\r\n\r\n{", 500, True),
        (b"HTTP/1.1 402 No\r\nContent-Length: 99\r\n\r\n{", 402, False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{", None, True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n{}", None, True),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}", None, True),
        # The head is no head.
        (b"HTTP/1.1 200 OK\r\nContent-Le", None, True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", None, True),
        (b"HTTP/1.1 2000 OK\r\n\r\n", None, True),
        (b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n", None, True),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000, None, True),
        (b"SSH-2.0-OpenSSH_9.2\r\n", None, True),
        (b"\x00\xff" * 500, None, True),
        (b"", None, True),
    ],
)  # fmt: skip
def test_an_answer_that_is_no_success_fails_the_call(
    answer: bytes,
    code: int | None,
    *,
    ambiguous: bool,
) -> None:
    async def main() -> tuple[CallFailed, CallFailed, CallFailed, int]:
        say = _says(answer, then_closes=True)
        async with _serving(say) as server, _client(server.base_url) as client:
            return (
                await _failure(client.submit(SPEECH, MODEL)),
                await _failure(client.submit(DESIGN, MODEL)),
                await _failure(client.status("t", MODEL)),
                len(server.received),
            )

    speech, design, status, calls = asyncio.run(main())
    assert (speech.code, speech.ambiguous) == (code, ambiguous)
    assert (design.code, design.ambiguous) == (code, ambiguous)
    assert (status.code, status.ambiguous) == (code, False)
    assert calls == 3


def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    answer = b"HTTP/1.1 200 OK\r\n\r\n" + json.dumps(ACCEPTED).encode()

    async def main() -> Accepted:
        say = _says(answer, then_closes=True)
        async with _serving(say) as server, _client(server.base_url) as client:
            return await client.submit(SPEECH, MODEL)

    assert asyncio.run(main()) == Accepted("task_1")


@pytest.mark.parametrize(
    ("answer", "reads"),
    [(_resets, False), (_resets, True), (_closes, False), (_closes, True)],
    ids=["reset before reading", "reset after reading", "closed before", "closed after"],
)
def test_a_connection_lost_before_the_answer_is_ambiguous(answer: Answer, *, reads: bool) -> None:
    async def main() -> tuple[CallFailed, CallFailed]:
        async with _serving(answer, reads=reads) as server, _client(server.base_url) as client:
            return (
                await _failure(client.submit(DESIGN, MODEL)),
                await _failure(client.status("t", MODEL)),
            )

    submit, status = asyncio.run(main())
    assert (submit.code, submit.ambiguous) == (None, True)
    assert (status.code, status.ambiguous) == (None, False)


def test_a_gateway_that_hangs_is_given_up_after_the_timeout_and_ambiguous() -> None:
    async def main() -> CallFailed:
        async with _serving(_hangs) as server, _client(server.base_url, timeout=0.2) as client:
            return await _failure(client.submit(SPEECH, MODEL))

    failed = asyncio.run(main())
    assert failed.ambiguous
    assert str(failed) == "no answer from the gateway at 127.0.0.1 within 0.2 s"


@pytest.mark.parametrize("answer", [_drips, _continues])
def test_an_answer_that_drips_forever_is_given_up_and_its_connection_closed(
    answer: Answer,
) -> None:
    async def main() -> CallFailed:
        async with _serving(answer) as server:
            async with _client(server.base_url, timeout=0.7, max_in_flight=1) as client:
                failed = await _failure(client.submit(SPEECH, MODEL))
                await _until(lambda: server.open == 0)
                # The place of the call that was given up is free again.
                server.answer = _says(ACCEPTED)
                await client.submit(SPEECH, MODEL)
            return failed

    failed = asyncio.run(main())
    assert failed.ambiguous
    assert str(failed) == "no complete answer from the gateway at 127.0.0.1 within 1.4 s"


def test_a_body_without_end_is_cut_off_and_ambiguous() -> None:
    async def main() -> CallFailed:
        async with _serving(_floods) as server, _client(server.base_url) as client:
            failed = await _failure(client.submit(SPEECH, MODEL))
            await _until(lambda: server.open == 0)
            return failed

    failed = asyncio.run(main())
    assert failed.ambiguous
    assert "sent more than any of its answers holds" in str(failed)


def test_a_body_just_under_the_cap_is_read() -> None:
    answer = _http(json.dumps(ACCEPTED).encode().ljust(1024 * 1024))

    async def main() -> Accepted:
        async with _serving(_says(answer)) as server, _client(server.base_url) as client:
            return await client.submit(SPEECH, MODEL)

    assert asyncio.run(main()) == Accepted("task_1")


def _packed(body: bytes, coding: str = "gzip") -> bytes:
    packed = gzip.compress(body) if coding == "gzip" else zlib.compress(body)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nContent-Length: {len(packed)}"
    return f"{head}\r\n\r\n".encode() + packed


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_body_that_was_packed_unasked_is_read(coding: str) -> None:
    answer = _packed(json.dumps(ACCEPTED).encode(), coding)

    async def main() -> Accepted:
        async with _serving(_says(answer)) as server, _client(server.base_url) as client:
            return await client.submit(SPEECH, MODEL)

    assert asyncio.run(main()) == Accepted("task_1")


def test_a_small_body_that_unpacks_to_a_large_one_takes_no_memory() -> None:
    answer = _packed(bytes(60_000_000))
    assert len(answer) < 64 * 1024

    async def main() -> CallFailed:
        async with _serving(_says(answer)) as server, _client(server.base_url) as client:
            return await _failure(client.submit(SPEECH, MODEL))

    tracemalloc.start()
    try:
        failed = asyncio.run(main())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert failed.ambiguous
    assert "sent more than any of its answers holds" in str(failed)
    assert peak < 10_000_000


# Calls that never leave


def _unused_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def test_a_refused_connection_is_not_ambiguous() -> None:
    async def main() -> CallFailed:
        async with _client(f"http://127.0.0.1:{_unused_port()}/api/v1") as client:
            return await _failure(client.submit(DESIGN, MODEL))

    failed = asyncio.run(main())
    assert (failed.code, failed.ambiguous) == (None, False)
    assert str(failed) == "could not reach the gateway at 127.0.0.1: connection refused"


@pytest.mark.parametrize("answer", [_says(b"HTTP/1.1 400 Bad\r\n\r\n"), _closes, _resets])
def test_a_failed_tls_handshake_is_not_ambiguous(answer: Answer) -> None:
    async def main() -> CallFailed:
        async with (
            _serving(answer, reads=False) as server,
            _client(f"https://127.0.0.1:{server.port}") as client,
        ):
            return await _failure(client.submit(DESIGN, MODEL))

    failed = asyncio.run(main())
    assert not failed.ambiguous
    assert str(failed).startswith("could not reach the gateway at 127.0.0.1: ")


@pytest.mark.parametrize(
    "base_url",
    ["", "gateway", "ftp://gateway.example", "http://", "http://[::1", "http://a\nb/",
     "//host/api", "https://xn--zzzzzz999/api"],
)  # fmt: skip
def test_a_base_url_that_is_none_is_a_config_error(base_url: str) -> None:
    with pytest.raises(ConfigError, match=r"upstream\.base_url: no usable http or https address"):
        _client(base_url)


@pytest.mark.parametrize(
    "base_url",
    ["http://a..example/", "http://x:99999/", "http://" + "a" * 80 + ".example/"],
)
def test_a_host_that_is_nowhere_is_not_ambiguous(
    base_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for proxy in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
        monkeypatch.delenv(proxy.lower(), raising=False)

    async def main() -> CallFailed:
        async with _client(base_url) as client:
            return await _failure(client.submit(DESIGN, MODEL))

    failed = asyncio.run(main())
    assert not failed.ambiguous
    assert str(failed).endswith(": its name cannot be resolved")


def test_text_that_is_no_unicode_fails_before_anything_is_sent() -> None:
    async def main() -> tuple[CallFailed, CallFailed, int]:
        async with _serving(_says(ACCEPTED)) as server, _client(server.base_url) as client:
            return (
                await _failure(client.submit(DESIGN, "\ud800")),
                await _failure(client.status("\ud800", MODEL)),
                server.connections,
            )

    submit, status, connections = asyncio.run(main())
    assert (submit.ambiguous, status.ambiguous, connections) == (False, False, 0)
    assert "no Unicode" in str(submit)


def test_a_closed_client_sends_nothing() -> None:
    async def main() -> tuple[CallFailed, int]:
        async with _serving(_says(ACCEPTED)) as server:
            client = _client(server.base_url)
            await client.aclose()
            return await _failure(client.submit(DESIGN, MODEL)), server.connections

    failed, connections = asyncio.run(main())
    assert (failed.ambiguous, connections) == (False, 0)


def test_cancelling_a_call_passes_through_and_frees_its_place() -> None:
    async def main() -> Accepted:
        async with (
            _serving(_hangs) as server,
            _client(server.base_url, max_in_flight=1) as client,
        ):
            call = asyncio.create_task(client.submit(SPEECH, MODEL))
            await _until(lambda: len(server.received) == 1)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            server.answer = _says(ACCEPTED)
            return await client.submit(SPEECH, MODEL)

    assert asyncio.run(main()) == Accepted("task_1")


@pytest.mark.parametrize("request_", [SPEECH, DESIGN])
@pytest.mark.parametrize("patient", [True, False])
def test_calls_go_on_when_a_gateway_that_hung_for_long_heals(
    request_: Request, *, patient: bool
) -> None:
    async def main() -> tuple[list[object], list[Accepted]]:
        async with (
            _serving(_hangs) as server,
            _client(server.base_url, timeout=0.2, max_in_flight=3) as client,
        ):
            calls = [asyncio.create_task(client.submit(request_, MODEL)) for _ in range(9)]
            await _until(lambda: len(server.received) == 3)
            if not patient:  # the keeper cancels a call that is too old, wherever it is
                for call in calls[::2]:
                    call.cancel()
            failed = await asyncio.gather(*calls, return_exceptions=True)
            server.answer = _says(ACCEPTED)
            later = [client.submit(request_, MODEL) for _ in range(9)]
            return list(failed), await asyncio.wait_for(asyncio.gather(*later), 10)

    failed, later = asyncio.run(main())
    assert all(isinstance(each, CallFailed | asyncio.CancelledError) for each in failed)
    assert later == [Accepted("task_1")] * 9


# Connections


@pytest.mark.parametrize("is_warm", [False, True])
def test_a_call_that_is_cancelled_at_any_moment_leaves_no_connection_broken(
    *, is_warm: bool
) -> None:
    async def main() -> int:
        uncut = 0
        async with _serving(_says(PROCESSING)) as server:
            for moment in range(60):
                async with _client(server.base_url) as client:
                    if is_warm:
                        await client.status("t", MODEL)
                    call = asyncio.create_task(client.status("t", MODEL))
                    for _ in range(moment):
                        await asyncio.sleep(0)
                    call.cancel()
                    uncut += isinstance(
                        (await asyncio.gather(call, return_exceptions=True))[0], Report
                    )
                    for _ in range(2):
                        await client.status("t", MODEL)
        return uncut

    assert asyncio.run(main()) < 60


@pytest.mark.parametrize(
    "stray", [_http({"code": 408}, 408), _http({"code": 200, "data": {"taskId": "another's"}})]
)
def test_what_follows_an_answer_is_never_taken_for_an_enrollments_or_anothers_report(
    stray: bytes,
) -> None:
    async def main() -> list[Accepted | Report | CallFailed]:
        async with (
            _serving(_says(_http(ACCEPTED) + stray)) as server,
            _client(server.base_url, max_in_flight=1) as client,
        ):
            outcomes: list[Accepted | Report | CallFailed] = [
                await client.submit(SPEECH, MODEL),  # whose connection is used again
                *[await client.submit(request, MODEL) for request in (DESIGN, CLONE)],
            ]
            server.answer = _says(_http(PROCESSING) + stray)
            for _ in range(3):
                try:
                    outcomes.append(await client.status("t", MODEL))
                except CallFailed as failed:
                    outcomes.append(failed)
            return outcomes

    speech, *enrollments, _, second, third = asyncio.run(main())
    assert [speech, *enrollments] == [Accepted("task_1")] * 3
    for report in (second, third):
        assert isinstance(report, CallFailed) or report == Report("processing")


@pytest.mark.parametrize("task_id", ["another's", 5])
def test_a_report_of_another_task_is_none(task_id: object) -> None:
    told = {"code": 200, "data": {"taskId": task_id, "state": "success"}}

    async def main() -> CallFailed:
        async with _serving(_says(told)) as server, _client(server.base_url) as client:
            return await _failure(client.status("t", MODEL))

    assert "answered for another task" in str(asyncio.run(main()))


def test_a_name_that_is_looked_up_for_ever_costs_its_own_call_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    over, look_up = threading.Event(), socket.getaddrinfo

    def hang(host: str | bytes, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - the library's
        if "hanging" in str(host):
            over.wait(60)
        return look_up(host, *args, **options)

    async def main() -> tuple[CallFailed, Report]:
        async with (
            _serving(_says(PROCESSING)) as server,
            _client("http://hanging.invalid", timeout=0.5) as nowhere,
            _client(server.base_url) as client,
        ):
            try:
                call = asyncio.create_task(_failure(nowhere.submit(DESIGN, MODEL)))
                await asyncio.sleep(0.1)
                report = await client.status("t", MODEL)
                assert not call.done()
                return await call, report
            finally:
                over.set()

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    failed, report = asyncio.run(main())
    assert not failed.ambiguous
    assert str(failed).endswith("no connection within 0.5 s")
    assert report == Report("processing")


def test_a_client_that_is_closed_while_a_call_takes_its_turn_sends_nothing() -> None:
    async def main() -> tuple[CallFailed, int]:
        async with _serving(_says(ACCEPTED)) as server:
            client = _client(server.base_url)
            failed = await _failure(client.submit(DESIGN, MODEL, on_turn=client.aclose))
            return failed, len(server.received)

    failed, received = asyncio.run(main())
    assert (failed.ambiguous, received) == (False, 0)


def test_calls_that_follow_each_other_share_a_connection() -> None:
    async def main() -> int:
        async with _serving(_says(PROCESSING)) as server:
            async with _client(server.base_url, max_in_flight=64) as client:
                for _ in range(5):
                    await client.status("t", MODEL)
            return server.connections

    assert asyncio.run(main()) == 1


def test_every_enrollment_opens_a_connection_of_its_own() -> None:
    async def main() -> Server:
        async with _serving(_says(ACCEPTED)) as server, _client(server.base_url) as client:
            await client.submit(SPEECH, MODEL)
            for request in (DESIGN, CLONE, DESIGN):
                await client.submit(request, MODEL)
            await _until(lambda: server.open == 1)
            return server

    assert asyncio.run(main()).connections == 4


def test_a_connection_that_was_idle_for_long_is_closed_and_not_used_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("voicekeeper.http_client._IDLE_SECONDS", 0.0)

    async def main() -> Server:
        async with _serving(_says(PROCESSING)) as server, _client(server.base_url) as client:
            for _ in range(3):
                await client.status("t", MODEL)
            await _until(lambda: server.open == 1)
            return server

    assert asyncio.run(main()).connections == 3


def test_a_connection_that_the_server_closed_while_idle_is_not_used_again() -> None:
    async def main() -> int:
        say = _says(ACCEPTED, then_closes=True)
        async with _serving(say) as server, _client(server.base_url) as client:
            for _ in range(5):
                await client.submit(SPEECH, MODEL)
                await _until(lambda: server.open == 0)
            return server.connections

    assert asyncio.run(main()) == 5


@pytest.mark.parametrize("request_", [SPEECH, DESIGN])
def test_as_many_calls_as_allowed_are_in_flight_at_once_and_no_more(request_: Request) -> None:
    inside = most = 0
    full = asyncio.Event()

    async def answer(_: Received, writer: asyncio.StreamWriter) -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        if inside == 6:
            full.set()
        await full.wait()
        await asyncio.sleep(0.01)
        inside -= 1
        writer.write(_http(ACCEPTED))

    async def main() -> list[Accepted]:
        async with (
            _serving(answer) as server,
            _client(server.base_url, max_in_flight=6) as client,
        ):
            return await asyncio.gather(*(client.submit(request_, MODEL) for _ in range(20)))

    assert asyncio.run(main()) == [Accepted("task_1")] * 20
    assert most == 6


def test_a_proxy_of_the_environment_is_used_but_never_for_loopback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)

    async def main() -> tuple[Server, Server]:
        async with _serving(_says(PROCESSING)) as proxy, _serving(_says(PROCESSING)) as server:
            monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
            monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
            for base_url in (server.base_url, "http://gateway.example/api/v1"):
                async with _client(base_url) as client:
                    await client.status("t", MODEL)
            return proxy, server

    proxy, server = asyncio.run(main())
    assert len(server.received) == 1
    assert [received.line for received in proxy.received] == [
        "GET http://gateway.example/api/v1/statusTask/cosyvoice-3-flash?taskId=t HTTP/1.1"
    ]


def _by_proxy(
    base_url: str, answer: bytes, monkeypatch: pytest.MonkeyPatch, *, without: str = ""
) -> tuple[list[Received], CallFailed | None]:
    """Return what a proxy of the environment was asked for by one call, and how that failed."""

    async def main() -> tuple[list[Received], CallFailed | None]:
        async with _serving(_says(answer)) as proxy:
            for name in ("all_proxy", "no_proxy"):
                value = without if name == "no_proxy" else f"user:hidden@127.0.0.1:{proxy.port}"
                monkeypatch.setenv(name, value)
                monkeypatch.setenv(name.upper(), value)
            async with _client(base_url) as client:
                try:
                    await client.submit(DESIGN, MODEL)
                except CallFailed as failed:
                    return proxy.received, failed
                return proxy.received, None

    for scheme in ("http_proxy", "https_proxy"):
        monkeypatch.delenv(scheme, raising=False)
        monkeypatch.delenv(scheme.upper(), raising=False)
    return asyncio.run(main())


def test_a_proxy_is_told_its_user_and_password(monkeypatch: pytest.MonkeyPatch) -> None:
    [received], failed = _by_proxy("http://gateway.example/v1", _http(ACCEPTED), monkeypatch)
    assert failed is None
    assert received.line.startswith("POST http://gateway.example/v1/generateTask/")
    assert received.headers["proxy-authorization"] == "Basic dXNlcjpoaWRkZW4="


def test_a_proxy_that_refuses_a_tunnel_has_sent_nothing_on(monkeypatch: pytest.MonkeyPatch) -> None:
    [received], failed = _by_proxy("https://gateway.example/v1", _http(b"", 403), monkeypatch)
    assert received.line == "CONNECT gateway.example:443 HTTP/1.1"
    assert "authorization" not in received.headers
    assert failed is not None
    assert not failed.ambiguous
    assert "the proxy refused to connect" in str(failed)
    assert "hidden" not in str(failed)


def test_a_tunnel_that_fails_is_dug_anew_at_the_next_call(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> tuple[list[str], list[bool]]:
        async with _serving(_says(b"HTTP/1.1 200 OK\r\n\r\n", then_closes=True)) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", f"127.0.0.1:{proxy.port}")
            monkeypatch.setenv("https_proxy", f"127.0.0.1:{proxy.port}")
            async with _client("https://gateway.example") as client:
                failures = [await _failure(client.submit(SPEECH, MODEL)) for _ in range(3)]
            lines = [received.line for received in proxy.received]
            return lines, [failed.ambiguous for failed in failures]

    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    lines, ambiguous = asyncio.run(main())
    assert lines == ["CONNECT gateway.example:443 HTTP/1.1"] * 3
    assert ambiguous == [False] * 3


@pytest.mark.parametrize(
    "without", ["gateway.invalid:80", "*", "gateway.invalid", ".invalid", "a.example, invalid"]
)
def test_no_proxy_names_the_hosts_to_which_the_way_is_straight(
    without: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    received, failed = _by_proxy(
        "http://gateway.invalid/v1", _http(ACCEPTED), monkeypatch, without=without
    )
    assert received == []
    assert "its name cannot be resolved" in str(failed)


@pytest.mark.parametrize(
    ("variable", "value"),
    [("HTTPS_PROXY", "gopher://user:hidden@proxy:1"), ("SSL_CERT_FILE", "/nowhere/ca.pem")],
)
def test_an_environment_that_cannot_be_used_is_a_config_error(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    monkeypatch.setenv(variable.lower(), value)
    with pytest.raises(ConfigError, match=f"(?i){variable}: |{variable}, ") as raised:
        _client("https://gateway.example/api/v1")
    assert "hidden" not in str(raised.value)


def test_certificates_that_cannot_be_read_are_told_where_only_the_proxy_needs_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in (("HTTP_PROXY", "https://proxy.example:1"), ("NO_PROXY", "")):
        monkeypatch.setenv(name, value)
        monkeypatch.setenv(name.lower(), value)
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
    with pytest.raises(ConfigError, match="SSL_CERT_FILE"):
        _client("http://gateway.example/api/v1")


# The key


@pytest.mark.parametrize(
    "answer",
    [
        _http({"code": 404, "message": "no such task"}, 404),
        _http({"code": 404, "message": "no such task"}, 200),
        _http({"code": 400, "message": "bad task id"}, 400),
        _http({"code": 1001, "message": "no such task"}),
        _http(PROCESSING),
        _http({"code": 200, "message": "success", "data": None}),
    ],
)
def test_an_answer_that_blames_the_request_means_that_the_key_was_taken(answer: bytes) -> None:
    async def main() -> list[Received]:
        async with _serving(_says(answer)) as server, _client(server.base_url) as client:
            await client.check_key()
            return server.received

    [received] = asyncio.run(main())
    assert received.line.startswith("GET /api/v1/statusTask/cosyvoice-3-flash?taskId=")


@pytest.mark.parametrize(
    ("answer", "micros"),
    [
        (_http({"code": 200, "message": "success", "data": 74.87}), 74_870_000),
        (_http({"code": 200, "message": "success", "data": 0}), 0),
        (_http({"code": 200, "message": "success"}), None),
        (_http({"code": 200, "message": "success", "data": {"balance": 5}}), None),
        (_http({"code": 404, "message": "not found"}, 404), None),
        (_http({"code": 404, "message": "not found"}), None),
        (_http(b"<html>not found</html>", 404), None),
    ],
)
def test_the_balance_is_what_the_gateway_tells_or_nothing(
    answer: bytes, micros: int | None
) -> None:
    async def main() -> tuple[int | None, list[Received]]:
        async with _serving(_says(answer)) as server, _client(server.base_url) as client:
            return await client.balance_micros(), server.received

    told, [received] = asyncio.run(main())
    assert told == micros
    assert received.line == "GET /api/v1/apikeys/current-balance HTTP/1.1"
    assert received.headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    "answer",
    [_says(_http({"code": code}, code)) for code in (401, 402, 403, 429, 500)]
    + [_says(_http(b"<html>welcome</html>")), _closes, _resets],
)
def test_a_balance_that_was_not_told_is_a_failure_and_no_amount(answer: Answer) -> None:
    async def main() -> CallFailed:
        async with _serving(answer) as server, _client(server.base_url) as client:
            return await _failure(client.balance_micros())

    assert not asyncio.run(main()).ambiguous


def test_no_call_waits_for_a_balance_that_is_never_told() -> None:
    async def answer(received: Received, writer: asyncio.StreamWriter) -> None:
        if "current-balance" in received.line:
            await _hangs(received, writer)
        told = ACCEPTED if received.line.startswith("POST") else PROCESSING
        await _says(told)(received, writer)

    async def main() -> None:
        async with (
            _serving(answer) as server,
            _client(server.base_url, max_in_flight=1) as client,
        ):
            asking = asyncio.create_task(client.balance_micros())
            await _until(lambda: bool(server.received))
            assert await client.submit(CLONE, MODEL) == Accepted("task_1")
            assert (await client.status("t", MODEL)).state == "processing"
            assert not asking.done()
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    asyncio.run(main())


@pytest.mark.parametrize("status", [200, 401])
def test_a_key_that_the_gateway_does_not_take_is_refused(status: int) -> None:
    async def main() -> None:
        answer = _http({"code": 401, "message": f"invalid key {KEY}"}, status)
        async with _serving(_says(answer)) as server, _client(server.base_url) as client:
            await client.check_key()

    with pytest.raises(KeyRefused, match="401: missing or invalid API key") as raised:
        asyncio.run(main())
    assert KEY not in str(raised.value)


@pytest.mark.parametrize(
    "answer",
    [_says(_http({"code": code}, code)) for code in (402, 403, 429, 500, 503)]
    + [
        _says(_http({"code": 500})),
        _says(_http(b"<html>not found</html>", 404)),
        _says(_http({"detail": "Not Found"}, 404)),
        _says(_http(b"<html>welcome</html>")),
        _says(_http({"code": 404}, 302)),
        _closes,
    ],
)
def test_an_answer_that_leaves_the_key_in_doubt_fails_the_check(answer: Answer) -> None:
    async def main() -> CallFailed:
        async with _serving(answer) as server, _client(server.base_url) as client:
            return await _failure(client.check_key())

    assert not asyncio.run(main()).ambiguous


@pytest.mark.parametrize("key", ["", " ", f"{KEY}\n", f"a {KEY}", f"{KEY}é", f"{KEY}\x00"])
def test_a_key_that_no_header_can_carry_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(KeyRefused, match="the API key is empty, or") as raised:
        _client("http://127.0.0.1:1", api_key=key)
    assert KEY not in "".join(traceback.format_exception(raised.value))


def _chain(error: BaseException | None) -> list[BaseException]:
    if error is None:
        return []
    return [error, *_chain(error.__cause__), *_chain(error.__context__)]


ECHO = {"code": 402, "message": f"Bearer {KEY} has no money", "data": {"x": KEY}}
MASKED = {"code": 200, "data": {"state": "failed", "failMsg": f"Bearer {KEY} has no money"}}


@pytest.mark.parametrize(
    ("answer", "timeout"),
    [
        (_says(_http(ECHO, 402)), 30.0),
        (_says(_http(ECHO)), 30.0),
        (_says(_http(ECHO, 500)), 30.0),
        (_says(_http(KEY.encode())), 30.0),
        (_says(f"HTTP/1.1 {KEY}\r\n\r\n".encode(), then_closes=True), 30.0),
        (_says(_http(b"", 302, Location=f"http://x:{KEY}/")), 30.0),
        (_closes, 30.0),
        (_resets, 30.0),
        (_hangs, 0.2),
        (_drips, 0.2),
        (_floods, 30.0),
        (None, 30.0),
    ],
)
def test_no_failure_shows_the_key(
    answer: Answer | None, timeout: float, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    async def main() -> list[CallFailed]:
        async with _serving(answer or _hangs) as server:
            port = server.port if answer else _unused_port()
            client = _client(f"http://127.0.0.1:{port}", timeout=timeout)
            assert KEY not in repr(client)
            assert KEY not in str(client)
            async with client:
                return [
                    await _failure(client.submit(SPEECH, MODEL)),
                    await _failure(client.submit(DESIGN, MODEL)),
                    await _failure(client.status("t", MODEL)),
                ]

    for failed in asyncio.run(main()):
        assert _chain(failed) == [failed]
        assert KEY not in repr(failed) + str(failed) + str(failed.args) + str(vars(failed))
        assert KEY not in "".join(traceback.format_exception(failed))
    ours = [r.getMessage() for r in caplog.records if "receive_response" not in r.getMessage()]
    assert ours
    assert KEY not in "\n".join(ours)


def test_the_gateways_echo_of_the_key_is_not_passed_on_in_a_report() -> None:
    async def main() -> Report:
        async with _serving(_says(MASKED)) as server, _client(server.base_url) as client:
            return await client.status("t", MODEL)

    assert asyncio.run(main()) == Report("failed", fail_message="Bearer [API key] has no money")


# Anything else


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
_FIELDS = (
    "taskId", "state", "voice_id", "voice_status", "failCode", "failMsg", "createTime",
    "completeTime", "resultJson",
)  # fmt: skip
_ENVELOPES = st.fixed_dictionaries(
    {},
    optional={
        "code": _JSON | st.just(200),
        "message": _JSON,
        "data": _JSON | st.fixed_dictionaries({}, optional=dict.fromkeys(_FIELDS, _JSON)),
    },
)
_BODIES = st.binary() | (_JSON | _ENVELOPES).map(lambda value: json.dumps(value).encode())
_HEADERS = st.dictionaries(
    st.sampled_from(["Date", "Retry-After", "Location", "Content-Encoding", "Set-Cookie"]),
    st.binary().map(lambda value: value.replace(b"\n", b"").replace(b"\r", b"")),
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    status=st.sampled_from([200, 200, 200, 201, 204, 302, 400, 401, 429, 500, 503, 999]),
    headers=_HEADERS,
    body=_BODIES,
)
def test_whatever_is_answered_raises_nothing_but_call_failed(
    status: int, headers: dict[str, bytes], body: bytes
) -> None:
    class Says(httpx.AsyncBaseTransport):
        async def handle_async_request(self, _: httpx.Request) -> httpx.Response:
            raw = [(name.encode(), value) for name, value in headers.items()]
            return httpx.Response(status, headers=raw, stream=httpx.ByteStream(body))

    async def main() -> None:
        async with _client("http://127.0.0.1/", transport=Says(), max_in_flight=1) as client:
            for call in (client.submit(SPEECH, MODEL), client.status("t", MODEL)):
                try:
                    answered = await call
                except CallFailed as failed:
                    str(failed).encode()
                else:
                    json.dumps(repr(answered)).encode()

    asyncio.run(main())
