"""The gateway's client before servers that answer whatever a network can bring."""

import asyncio
import gzip
import json
import logging
import re
import socket
import threading
import traceback
import tracemalloc
import zlib
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.gateway.support import (
    ACCEPTED,
    CLONE,
    DESIGN,
    KEY,
    MODEL,
    PROCESSING,
    SPEECH,
    Answer,
    Received,
    asked,
    client,
    closes,
    continues,
    design,
    drips,
    failure,
    floods,
    hangs,
    http,
    poll,
    resets,
    says,
    serving,
    speak,
    until,
)
from voicekeeper.core.outcome import Accepted, Report
from voicekeeper.core.requests import Request, Speech
from voicekeeper.errors import CallFailed, ConfigError, KeyRefused
from voicekeeper.gateway import GatewayClient

# What goes out


@pytest.mark.parametrize("request_", [SPEECH, CLONE, DESIGN])
def test_a_submission_is_the_pages_post(request_: Request) -> None:
    [accepted], server = asked(ACCEPTED, lambda client: client.submit(request_, MODEL))
    [received] = server.received
    assert accepted == Accepted("task_1")
    assert received.line == "POST /api/v1/generateTask/cosyvoice-3-flash HTTP/1.1"
    assert json.loads(received.body) == {"request_type": "async", "input": request_.body()}
    sent = {"authorization": f"Bearer {KEY}"} | dict.fromkeys(
        ("content-type", "accept"), "application/json"
    )
    assert sent.items() <= received.headers.items()
    assert re.fullmatch(r"voicekeeper/\S+", received.headers["user-agent"])


def test_a_poll_is_the_pages_get_and_its_report_carries_the_gateways_own_time() -> None:
    task_id = "a b&c=d/é#?"
    said = {"code": 200, "data": {"taskId": task_id, "state": "processing"}}
    answer = http(said, Date="Fri, 01 May 2026 12:00:00 GMT")
    [report], server = asked(answer, lambda client: client.status(task_id, "own/model"))
    [received] = server.received
    assert report == Report("processing", answered_at=datetime(2026, 5, 1, 12, tzinfo=UTC))
    query = "taskId=a%20b%26c%3Dd%2F%C3%A9%23%3F"
    assert received.line == f"GET /api/v1/statusTask/own%2Fmodel?{query} HTTP/1.1"
    assert received.headers["authorization"] == f"Bearer {KEY}"


def test_a_report_of_another_task_is_none() -> None:
    [failed], _ = asked({"code": 200, "data": {"taskId": 5, "state": "success"}}, poll)
    assert isinstance(failed, CallFailed)
    assert "answered for another task" in str(failed)


@pytest.mark.parametrize(
    "cookie", [b"a=b", b"a=\xff", b"a=b; Expires=Fri, 99 Foo 0000 99:99:99 GMT"]
)
def test_a_cookie_is_never_sent_back_nor_in_the_way_of_the_next_call(cookie: bytes) -> None:
    answer = http(PROCESSING).replace(b"\r\n\r\n", b"\r\nSet-Cookie: " + cookie + b"\r\n\r\n")
    reports, server = asked(answer, poll, poll, max_in_flight=1)
    assert reports == [Report("processing")] * 2
    assert all("cookie" not in received.headers for received in server.received)


# What comes back


def test_a_retry_after_date_is_read_against_the_answers_date() -> None:
    dates = {
        "Date": "Fri, 01 May 2026 12:00:00 GMT",
        "Retry_After": "Fri, 01 May 2026 12:01:30 GMT",
    }
    [failed], _ = asked(http({"code": 429}, 429, **dates), speak)
    assert failed.retry_after == 90


def test_a_page_that_refuses_is_quoted_without_its_markup() -> None:
    page = b"<title>No</title><style>p {}</style><p>content &amp; words\n violate <b>policy</b></p>"
    [failed], _ = asked(http(page, 403), speak)
    assert str(failed).endswith('strategy ("No content & words violate policy")')


@pytest.mark.parametrize(
    ("answer", "code", "ambiguous"),
    [
        (http({"code": 401, "message": "bad key"}, 401), 401, False),
        (http(b"<html>&#%s;</html>" % (b"1" * 5_000), 429), 429, False),
        (http(b"<html>welcome</html>"), None, True),
        (http(b"", 204), None, True),
        (http(b'{"code": 200, "data": {"taskId": "ta'), None, True),
        (http({"code": 200, "data": {}}), None, True),
        (http({"data": {"taskId": "task_1"}}), None, True),
        (http(b"", 301, Location="https://example.com/"), 301, False),
        (http(b"", 307, Location="http://x:port/"), 307, False),
        # The body ends before its declared length.
        (http(ACCEPTED)[:-1], None, True),
        (b"HTTP/1.1 500 No\r\nContent-Length: 99\r\n\r\n{", 500, True),
        (b"HTTP/1.1 402 No\r\nContent-Length: 99\r\n\r\n{", 402, False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{", None, True),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}", None, True),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 2\r\n\r\n{}", None, True),
        # The head is no head.
        (b"HTTP/1.1 200 OK\r\nContent-Le", None, True),
        (b"SSH-2.0-OpenSSH_9.2\r\n", None, True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", None, True),
        (b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n", None, True),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000, None, True),
        (b"", None, True),
    ],
)  # fmt: skip
def test_an_answer_that_is_no_success_fails_the_call(
    answer: bytes, code: int | None, *, ambiguous: bool
) -> None:
    failed, server = asked(says(answer, then_closes=True), speak, design, poll)
    assert [(f.code, f.ambiguous) for f in failed] == [(code, ambiguous)] * 2 + [(code, False)]
    assert len(server.received) == 3


@pytest.mark.parametrize("answer", [resets, closes])
@pytest.mark.parametrize("reads", [True, False])
def test_a_connection_lost_before_the_answer_is_ambiguous(answer: Answer, *, reads: bool) -> None:
    failed, _ = asked(answer, design, poll, reads=reads)
    assert [(f.code, f.ambiguous) for f in failed] == [(None, True), (None, False)]


def test_a_gateway_that_hangs_is_given_up_after_the_timeout_and_its_place_is_free_again() -> None:
    async def main() -> CallFailed:
        async with serving(hangs) as server:
            async with client(server.base_url, timeout=0.2, max_in_flight=1) as ours:
                failed = await failure(speak(ours))
                server.answer = says(ACCEPTED)
                await speak(ours)
            return failed

    failed = asyncio.run(main())
    assert failed.ambiguous
    assert str(failed) == "no answer from the gateway at 127.0.0.1 within 0.2 s"


@pytest.mark.parametrize("answer", [drips, continues])
def test_an_answer_that_drips_forever_is_given_up_and_its_connection_closed(answer: Answer) -> None:
    async def main() -> CallFailed:
        async with serving(answer) as server:
            async with client(server.base_url, timeout=0.7, max_in_flight=1) as ours:
                failed = await failure(speak(ours))
                await until(lambda: server.open == 0)
                # The place of the call that was given up is free again.
                server.answer = says(ACCEPTED)
                await speak(ours)
            return failed

    failed = asyncio.run(main())
    assert failed.ambiguous
    assert str(failed) == "no complete answer from the gateway at 127.0.0.1 within 1.4 s"


def _packed(body: bytes, coding: str = "gzip") -> bytes:
    packed = gzip.compress(body) if coding == "gzip" else zlib.compress(body)
    return http(packed, Content_Encoding=coding)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\n\r\n" + json.dumps(ACCEPTED).encode(),  # it ends with its connection
        http(json.dumps(ACCEPTED).encode().ljust(1024 * 1024)),
        _packed(json.dumps(ACCEPTED).encode()),
        _packed(json.dumps(ACCEPTED).encode(), "deflate"),
    ],
    ids=["without a length", "as large as may be", "gzip unasked", "deflate unasked"],
)
def test_a_whole_answer_is_read_in_whatever_form_it_comes(answer: bytes) -> None:
    assert asked(says(answer, then_closes=True), speak)[0] == [Accepted("task_1")]


@pytest.mark.parametrize("answer", [floods, says(_packed(bytes(60_000_000)))])
def test_a_body_too_large_packed_or_not_is_cut_off_and_takes_no_memory(answer: Answer) -> None:
    tracemalloc.start()
    try:
        [failed], server = asked(answer, speak)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert failed.ambiguous
    assert "sent more than any of its answers holds" in str(failed)
    assert server.open == 0
    assert peak < 10_000_000


# Calls that never leave


def _unused_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


async def _fails(base_url: str, **options: Any) -> CallFailed:  # noqa: ANN401 - of the client
    async with client(base_url, **options) as ours:
        return await failure(design(ours))


def test_a_refused_connection_is_not_ambiguous() -> None:
    failed = asyncio.run(_fails(f"http://127.0.0.1:{_unused_port()}/api/v1"))
    assert (failed.code, failed.ambiguous) == (None, False)
    assert str(failed) == "could not reach the gateway at 127.0.0.1: connection refused"


@pytest.mark.parametrize("answer", [says(b"HTTP/1.1 400 Bad\r\n\r\n"), closes, resets])
def test_a_failed_tls_handshake_is_not_ambiguous(answer: Answer) -> None:
    async def main() -> CallFailed:
        async with serving(answer, reads=False) as server:
            return await _fails(f"https://127.0.0.1:{server.port}")

    failed = asyncio.run(main())
    assert not failed.ambiguous
    assert str(failed).startswith("could not reach the gateway at 127.0.0.1: ")


def test_a_base_url_that_cannot_be_called_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match=r"upstream\.base_url: no usable http or https address"):
        client("https://xn--zzzzzz999/api")


@pytest.mark.usefixtures("no_proxies")
@pytest.mark.parametrize(
    "base_url", ["http://a..example/", "http://x:99999/", f"http://{'a' * 80}.example/"]
)
def test_a_host_that_is_nowhere_is_not_ambiguous(base_url: str) -> None:
    failed = asyncio.run(_fails(base_url))
    assert not failed.ambiguous
    assert str(failed).endswith(": its name cannot be resolved")


@pytest.mark.usefixtures("no_proxies")
def test_a_name_that_is_looked_up_for_ever_costs_its_own_call_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    over, look_up = threading.Event(), socket.getaddrinfo

    def hang(host: str | bytes, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - the library's
        if "hanging" in str(host):
            over.wait(60)
        return look_up(host, *args, **options)

    async def main() -> tuple[CallFailed, Report]:
        async with serving(says(PROCESSING)) as server, client(server.base_url) as ours:
            try:
                call = asyncio.create_task(_fails("http://hanging.invalid", timeout=0.5))
                await asyncio.sleep(0.1)
                report = await poll(ours)
                assert not call.done()
                return await call, report
            finally:
                over.set()

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    failed, report = asyncio.run(main())
    assert not failed.ambiguous
    assert str(failed).endswith("no connection within 0.5 s")
    assert report == Report("processing")


def test_a_request_that_cannot_be_built_fails_before_anything_is_sent() -> None:
    no_text = Speech(voice="\ud800", prompt="Hello.")
    [failed], server = asked(ACCEPTED, lambda client: client.submit(no_text, MODEL))
    assert (failed.ambiguous, server.connections) == (False, 0)


@pytest.mark.parametrize("early", [True, False])
def test_a_client_that_is_closed_before_a_calls_turn_or_in_it_sends_nothing(*, early: bool) -> None:
    async def main() -> tuple[CallFailed, int]:
        async with serving(says(ACCEPTED)) as server:
            ours = client(server.base_url)
            if early:
                await ours.aclose()
            failed = await failure(ours.submit(DESIGN, MODEL, on_turn=ours.aclose))
            return failed, len(server.received)

    failed, received = asyncio.run(main())
    assert (failed.ambiguous, received) == (False, 0)


# The key, and the balance


@pytest.mark.parametrize(
    "answer",
    [
        http({"code": 404, "message": "no such task"}, 404),
        http({"code": 400, "message": "bad task id"}, 400),
        http({"code": 1001, "message": "no such task"}),
        http(PROCESSING),
        http({"code": 200, "message": "success", "data": None}),
    ],
)
def test_an_answer_that_blames_the_request_means_that_the_key_was_taken(answer: bytes) -> None:
    [date], server = asked(answer, GatewayClient.check_key)
    assert date is None
    [received] = server.received
    assert received.line.startswith("GET /api/v1/statusTask/cosyvoice-3-flash?taskId=")


@pytest.mark.parametrize("status", [200, 401])
def test_a_key_that_the_gateway_does_not_take_is_refused(status: int) -> None:
    answer = http({"code": 401, "message": f"invalid key {KEY}"}, status)
    with pytest.raises(KeyRefused, match="401: missing or invalid API key") as raised:
        asked(answer, GatewayClient.check_key)
    assert KEY not in str(raised.value)


@pytest.mark.parametrize(
    "answer",
    [
        *(says(http({"code": code}, code)) for code in (402, 403, 429, 500, 503)),
        *(says(http({"code": 500})), says(http(b"<html>not found</html>", 404))),
        *(says(http({"detail": "Not Found"}, 404)), says(http(b"<html>welcome</html>"))),
        *(says(http({"code": 404}, 302)), closes),
    ],
)
def test_an_answer_that_leaves_the_key_in_doubt_fails_the_check(answer: Answer) -> None:
    [failed], _ = asked(answer, GatewayClient.check_key)
    assert isinstance(failed, CallFailed)
    assert not failed.ambiguous


@pytest.mark.parametrize(
    ("answer", "micros"),
    [
        (http({"code": 200, "message": "success", "data": 74.87}), 74_870_000),
        (http({"code": 200, "message": "success", "data": 0}), 0),
        (http({"code": 200, "message": "success"}), None),
        (http({"code": 200, "message": "success", "data": {"balance": 5}}), None),
        (http({"code": 404, "message": "not found"}, 404), None),
        (http(b"<html>not found</html>", 404), None),
    ],
)
def test_the_balance_is_what_the_gateway_tells_or_nothing(
    answer: bytes, micros: int | None
) -> None:
    [told], server = asked(answer, GatewayClient.balance_micros)
    [received] = server.received
    assert told == micros
    assert received.line == "GET /api/v1/apikeys/current-balance HTTP/1.1"
    assert received.headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    "answer",
    [says(http({"code": 401}, 401)), says(http({"code": 500})), says(http(b"<html>")), closes],
)
def test_a_balance_that_was_not_told_is_a_failure_and_no_amount(answer: Answer) -> None:
    [failed], _ = asked(answer, GatewayClient.balance_micros)
    assert isinstance(failed, CallFailed)
    assert not failed.ambiguous


def test_no_call_waits_for_a_balance_that_is_never_told() -> None:
    async def answer(received: Received, writer: asyncio.StreamWriter) -> None:
        if "current-balance" in received.line:
            await hangs(received, writer)
        await says(ACCEPTED if received.line.startswith("POST") else PROCESSING)(received, writer)

    async def main() -> None:
        async with serving(answer) as server, client(server.base_url, max_in_flight=1) as ours:
            asking = asyncio.create_task(ours.balance_micros())
            await until(lambda: bool(server.received))
            assert await design(ours) == Accepted("task_1")
            assert (await poll(ours)).state == "processing"
            assert not asking.done()
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    asyncio.run(main())


def _chain(error: BaseException | None) -> list[BaseException]:
    if error is None:
        return []
    return [error, *_chain(error.__cause__), *_chain(error.__context__)]


ECHO = {"code": 402, "message": f"Bearer {KEY} has no money", "data": {"x": KEY}}


@pytest.mark.parametrize(
    ("answer", "timeout"),
    [
        (says(http(ECHO, 402)), 30.0),
        (says(http(ECHO)), 30.0),
        (says(http(KEY.encode())), 30.0),
        (says(f"HTTP/1.1 {KEY}\r\n\r\n".encode(), then_closes=True), 30.0),
        (says(http(b"", 302, Location=f"http://x:{KEY}/")), 30.0),
        (closes, 30.0),
        (resets, 30.0),
        (hangs, 0.2),
        (drips, 0.2),
        (floods, 30.0),
        (None, 30.0),
    ],
)
def test_no_failure_shows_the_key(
    answer: Answer | None, timeout: float, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    async def main() -> list[CallFailed]:
        async with serving(answer or hangs) as server:
            port = server.port if answer else _unused_port()
            async with client(f"http://127.0.0.1:{port}", timeout=timeout) as ours:
                assert KEY not in repr(ours) + str(ours)
                return [await failure(call(ours)) for call in (speak, design, poll)]

    for failed in asyncio.run(main()):
        assert _chain(failed) == [failed]
        assert KEY not in repr(failed) + str(failed) + str(failed.args) + str(vars(failed))
        assert KEY not in "".join(traceback.format_exception(failed))
    ours = [r.getMessage() for r in caplog.records if "receive_response" not in r.getMessage()]
    assert ours
    assert KEY not in "\n".join(ours)
