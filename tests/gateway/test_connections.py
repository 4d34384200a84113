"""Connections to the gateway: who shares one, by which proxy, to whom, by which settings."""

import asyncio
import shutil
import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path

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
    Server,
    asked,
    client,
    design,
    failure,
    hangs,
    http,
    outcome,
    poll,
    says,
    serving,
    speak,
    until,
    upstream,
)
from tests.gateway.test_limiter import settle
from tests.tls_support import certified, needs_openssl
from voicekeeper.core.outcome import Accepted, Report
from voicekeeper.core.requests import Request
from voicekeeper.core.secret import SecretStr
from voicekeeper.errors import CallFailed, ConfigError

# Who shares one


@pytest.mark.parametrize("is_warm", [False, True])
def test_a_call_that_is_cancelled_at_any_moment_leaves_no_connection_broken(
    *, is_warm: bool
) -> None:
    async def main() -> int:
        uncut = 0
        async with serving(says(PROCESSING)) as server:
            for moment in range(60):
                async with client(server.base_url) as ours:
                    if is_warm:
                        await poll(ours)
                    call = asyncio.create_task(poll(ours))
                    for _ in range(moment):
                        await asyncio.sleep(0)
                    call.cancel()
                    [ended] = await asyncio.gather(call, return_exceptions=True)
                    uncut += isinstance(ended, Report)
                    for _ in range(2):
                        await poll(ours)
        return uncut

    assert asyncio.run(main()) < 60


@pytest.mark.parametrize("request_", [SPEECH, DESIGN])
@pytest.mark.parametrize("patient", [True, False])
def test_calls_go_on_when_a_gateway_that_hung_for_long_heals(
    request_: Request, *, patient: bool
) -> None:
    async def main() -> tuple[list[object], list[Accepted]]:
        async with (
            serving(hangs) as server,
            client(server.base_url, timeout=0.2, max_in_flight=3) as ours,
        ):
            calls = [asyncio.create_task(ours.submit(request_, MODEL)) for _ in range(9)]
            await until(lambda: len(server.received) == 3)
            if not patient:  # the keeper cancels a call that is too old, wherever it is
                for call in calls[::2]:
                    call.cancel()
            failed = await asyncio.gather(*calls, return_exceptions=True)
            server.answer = says(ACCEPTED)
            later = [ours.submit(request_, MODEL) for _ in range(9)]
            return list(failed), await asyncio.wait_for(asyncio.gather(*later), 10)

    failed, later = asyncio.run(main())
    assert all(isinstance(each, CallFailed | asyncio.CancelledError) for each in failed)
    assert later == [Accepted("task_1")] * 9


@pytest.mark.parametrize(
    "stray", [http({"code": 408}, 408), http({"code": 200, "data": {"taskId": "another's"}})]
)
def test_what_follows_an_answer_is_never_taken_for_an_enrollments_or_a_report(stray: bytes) -> None:
    async def main() -> list[Accepted | Report | CallFailed]:
        async with (
            serving(says(http(ACCEPTED) + stray)) as server,
            client(server.base_url, max_in_flight=1) as ours,
        ):
            submitted = [await ours.submit(each, MODEL) for each in (SPEECH, DESIGN, CLONE)]
            server.answer = says(http(PROCESSING) + stray)
            return [*submitted, *[await outcome(poll(ours)) for _ in range(3)]]

    *submitted, _, second, third = asyncio.run(main())
    assert submitted == [Accepted("task_1")] * 3
    for report in (second, third):
        assert isinstance(report, CallFailed) or report == Report("processing")


def test_calls_that_follow_each_other_share_a_connection() -> None:
    _, server = asked(PROCESSING, *[poll] * 5, max_in_flight=64)
    assert server.connections == 1


def test_every_enrollment_opens_a_connection_of_its_own() -> None:
    async def main() -> Server:
        async with serving(says(ACCEPTED)) as server, client(server.base_url) as ours:
            for request in (SPEECH, SPEECH, DESIGN, CLONE, DESIGN):
                await ours.submit(request, MODEL)
            await until(lambda: server.open == 1)
            return server

    assert asyncio.run(main()).connections == 4


def test_a_connection_that_was_idle_for_long_is_closed_and_not_used_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("voicekeeper.gateway.http_client._IDLE_SECONDS", 0.0)
    _, server = asked(PROCESSING, poll, poll, poll)
    assert server.connections == 3


def test_a_connection_that_the_server_closed_while_idle_is_not_used_again() -> None:
    async def main() -> int:
        say = says(ACCEPTED, then_closes=True)
        async with serving(say) as server, client(server.base_url) as ours:
            for _ in range(5):
                await speak(ours)
                await until(lambda: server.open == 0)
            return server.connections

    assert asyncio.run(main()) == 5


# By which proxy


def _by_proxy(
    base_url: str, answer: Answer, monkeypatch: pytest.MonkeyPatch, *, times: int = 1, **env: str
) -> tuple[list[Received], list[Accepted | CallFailed]]:
    """Return what a proxy of the environment was asked for by some calls, and their outcomes."""

    async def main() -> tuple[list[Received], list[Accepted | CallFailed]]:
        async with serving(answer) as proxy:
            environ = {"all_proxy": f"user:hidden@127.0.0.1:{proxy.port}", "no_proxy": "", **env}
            for name, value in environ.items():
                monkeypatch.setenv(name, value)
            async with client(base_url) as ours:
                return proxy.received, [await outcome(design(ours)) for _ in range(times)]

    return asyncio.run(main())


@pytest.mark.usefixtures("no_proxies")
def test_a_proxy_is_told_its_user_and_password(monkeypatch: pytest.MonkeyPatch) -> None:
    [received], outcomes = _by_proxy("http://gateway.example/v1", says(ACCEPTED), monkeypatch)
    assert outcomes == [Accepted("task_1")]
    assert received.line.startswith("POST http://gateway.example/v1/generateTask/")
    assert received.headers["proxy-authorization"] == "Basic dXNlcjpoaWRkZW4="


@pytest.mark.usefixtures("no_proxies")
@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (says(http(b"", 403)), "the proxy refused to connect"),
        (says(b"HTTP/1.1 200 OK\r\n\r\n", then_closes=True), "could not reach the gateway"),
    ],
    ids=["refused", "broken"],
)
def test_a_tunnel_that_fails_has_sent_nothing_and_is_dug_anew_at_the_next_call(
    monkeypatch: pytest.MonkeyPatch, answer: Answer, words: str
) -> None:
    received, outcomes = _by_proxy("https://gateway.example/v1", answer, monkeypatch, times=2)
    assert [each.line for each in received] == ["CONNECT gateway.example:443 HTTP/1.1"] * 2
    assert "authorization" not in received[0].headers
    for failed in outcomes:
        assert isinstance(failed, CallFailed)
        assert not failed.ambiguous
        assert words in str(failed)
        assert "hidden" not in str(failed)


@pytest.mark.usefixtures("no_proxies")
@pytest.mark.parametrize(
    ("scheme", "environ", "named"),
    [
        ("https", {"https_proxy": "gopher://user:hidden@proxy:1"}, "https_proxy: "),
        (
            "http",
            {"http_proxy": "https://proxy.example:1", "SSL_CERT_FILE": "/nowhere/ca.pem"},
            "SSL_CERT_FILE, ",
        ),
    ],
)
def test_an_environment_that_cannot_be_used_is_a_config_error(
    scheme: str, environ: dict[str, str], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in environ.items():
        monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError, match=named) as raised:
        client(f"{scheme}://gateway.example/api/v1")
    assert "hidden" not in str(raised.value)


# To whom, over TLS


async def _tls_call(
    context: ssl.SSLContext, *, before: Callable[[], object] = lambda: None, times: int = 1
) -> tuple[Accepted | CallFailed, bytes]:
    """Make calls to a server; return what came of the last, and what the server was sent."""
    heard = b""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal heard
        heard += await reader.readuntil(b"\r\n\r\n")
        writer.write(http(ACCEPTED, Connection="close"))
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    async with server, client(f"https://127.0.0.1:{port}/api/v1") as ours:
        before()
        ended = [await outcome(speak(ours)) for _ in range(times)][-1]
    return ended, heard


@needs_openssl
@pytest.mark.parametrize(
    ("subject", "is_trusted"),
    [("IP:127.0.0.1", False), ("DNS:gateway.example", True)],
    ids=["of an authority that nobody trusts", "of another host"],
)
def test_a_certificate_that_proves_nothing_is_told_neither_key_nor_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, subject: str, *, is_trusted: bool
) -> None:
    context = certified(tmp_path, subject)
    if is_trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    failed, heard = asyncio.run(_tls_call(context))
    assert isinstance(failed, CallFailed)
    assert not failed.ambiguous
    assert "certificate" in str(failed)
    assert heard == b""


@needs_openssl
def test_a_certificate_of_an_authority_that_the_environment_trusts_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = certified(tmp_path, "IP:127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    accepted, heard = asyncio.run(_tls_call(context))
    assert accepted == Accepted("task_1")
    assert f"Authorization: Bearer {KEY}".encode() in heard


@needs_openssl
def test_authorities_that_are_replaced_while_it_runs_are_trusted_from_the_second_call_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new, trusted = tmp_path / "old", tmp_path / "new", tmp_path / "trusted.pem"
    for directory in (old, new):
        directory.mkdir()
    certified(old, "IP:127.0.0.1")
    context = certified(new, "IP:127.0.0.1")
    shutil.copy(old / "cert.pem", trusted)
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    replace = partial(shutil.copy, new / "cert.pem", trusted)
    accepted, heard = asyncio.run(_tls_call(context, before=replace, times=2))
    assert accepted == Accepted("task_1")
    assert f"Authorization: Bearer {KEY}".encode() in heard


@needs_openssl
def test_authorities_that_cannot_be_read_any_more_leave_those_that_were_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trusted = tmp_path / "cert.pem"
    context = certified(tmp_path, "DNS:gateway.example")
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    failed, _ = asyncio.run(_tls_call(context, before=trusted.unlink, times=2))
    assert isinstance(failed, CallFailed)
    assert "certificate is not trusted" in str(failed)


# By which settings

NEW_KEY = SecretStr("sk-new")


def _waits(gate: asyncio.Event, answer: bytes) -> Answer:
    async def wait(_: Received, writer: asyncio.StreamWriter) -> None:
        await gate.wait()
        writer.write(answer)

    return wait


def test_the_next_call_goes_to_the_new_address_with_the_new_key() -> None:
    async def main() -> list[str]:
        async with (
            serving(says(ACCEPTED)) as old,
            serving(says(ACCEPTED)) as new,
            client(old.base_url) as ours,
        ):
            await speak(ours)
            ours.change(upstream(new.base_url), NEW_KEY)
            await speak(ours)
            await until(lambda: old.open == 0)  # its idle connections are closed
            return [r.headers["authorization"] for r in (*old.received, *new.received)]

    assert asyncio.run(main()) == [f"Bearer {KEY}", "Bearer sk-new"]


def test_a_call_under_way_ends_as_it_began_and_one_that_waits_goes_by_the_new_settings() -> None:
    async def main() -> tuple[list[Accepted], int, int]:
        gate = asyncio.Event()
        async with (
            serving(_waits(gate, http(ACCEPTED))) as old,
            serving(says(ACCEPTED)) as new,
            client(old.base_url, max_in_flight=1) as ours,
        ):
            calls = [asyncio.create_task(speak(ours)) for _ in range(2)]
            await until(lambda: bool(old.received))
            ours.change(upstream(new.base_url, max_in_flight=1), NEW_KEY)
            await settle()
            assert old.open == 1
            gate.set()
            accepted = await asyncio.gather(*calls)
            await until(lambda: old.open == 0)
            return accepted, len(old.received), len(new.received)

    assert asyncio.run(main()) == ([Accepted("task_1")] * 2, 1, 1)


def test_an_answer_that_echoes_the_old_key_shows_neither() -> None:
    async def main() -> CallFailed:
        gate = asyncio.Event()
        told = {"code": 401, "message": f"{KEY} is revoked"}
        async with serving(_waits(gate, http(told, 401))) as old, client(old.base_url) as ours:
            call = asyncio.create_task(failure(speak(ours)))
            await until(lambda: bool(old.received))
            ours.change(upstream("http://127.0.0.1:1"), NEW_KEY)
            gate.set()
            return await call

    assert KEY not in str(asyncio.run(main()))


def test_to_close_the_client_waits_for_no_call() -> None:
    async def main() -> int:
        async with serving(hangs) as old, client(old.base_url) as ours:
            call = asyncio.create_task(speak(ours))
            await until(lambda: bool(old.received))
            ours.change(upstream("http://127.0.0.1:1"), NEW_KEY)
            async with asyncio.timeout(10):
                await ours.aclose()
            assert not call.done()
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
            return len(old.received)

    assert asyncio.run(main()) == 1
