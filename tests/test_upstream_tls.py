"""The way to the gateway over real TLS: nobody gets the key who cannot prove to be the gateway."""

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from voicekeeper.answers import Accepted
from voicekeeper.clock import SystemClock
from voicekeeper.errors import CallFailed
from voicekeeper.request import FLASH, Speech
from voicekeeper.upstream import GatewayClient

KEY = "sk-made-up-0123456789"
BODY = b'{"code": 200, "data": {"taskId": "task_1"}}'

pytestmark = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="openssl is not installed (Debian: openssl)"
)


def certified(directory: Path, subject: str) -> ssl.SSLContext:
    """Return what a server needs that has a certificate of its own making, in ``cert.pem``."""
    key, certificate = directory / "key.pem", directory / "cert.pem"
    words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=v"]
    words += ["-addext", f"subjectAltName={subject}", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", *words], capture_output=True, check=True, timeout=60)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


async def call(
    context: ssl.SSLContext, *, before: Callable[[], object] = lambda: None, times: int = 1
) -> tuple[Accepted | CallFailed, bytes]:
    """Make a call to a server; return what came of the last, and what the server was sent.

    Args:
        context: of the server.
        before: called when the client is there, before its first call.
        times: how many calls.
    """
    heard = b""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal heard
        heard += await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len(BODY)}\r\n\r\n"
        writer.write(head.encode() + BODY)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    client = GatewayClient(
        base_url=f"https://127.0.0.1:{port}/api/v1",
        api_key=KEY,
        timeout=30.0,
        requests_per_second=100.0,
        max_in_flight=1,
        clock=SystemClock(),
    )
    outcome: Accepted | CallFailed | None = None
    async with server, client:
        before()
        for _ in range(times):
            try:
                outcome = await client.submit(Speech(voice="id", prompt="Hello."), FLASH)
            except CallFailed as failed:
                outcome = failed
    assert outcome is not None
    return outcome, heard


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
    failed, heard = asyncio.run(call(context))
    assert isinstance(failed, CallFailed)
    assert not failed.ambiguous
    assert "certificate" in str(failed)
    assert heard == b""


def test_a_certificate_of_an_authority_that_the_environment_trusts_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = certified(tmp_path, "IP:127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    accepted, heard = asyncio.run(call(context))
    assert accepted == Accepted("task_1")
    assert f"Authorization: Bearer {KEY}".encode() in heard


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
    outcome, _ = asyncio.run(call(context, before=replace, times=2))
    assert outcome == Accepted("task_1")


def test_authorities_that_cannot_be_read_any_more_leave_those_that_were_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trusted = tmp_path / "cert.pem"
    context = certified(tmp_path, "DNS:gateway.example")
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    failed, _ = asyncio.run(call(context, before=trusted.unlink, times=2))
    assert isinstance(failed, CallFailed)
    assert "certificate is not trusted" in str(failed)
