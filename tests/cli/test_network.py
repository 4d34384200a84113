"""What commands ask over real sockets: a preview's audio, and a trial call to the webhook."""

import asyncio
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support import Life
from tests.test_webhook import called_life
from tests.tls_support import certified, needs_openssl
from tests.web_support import free_port, lead_here, served, settings
from voicekeeper.cli import network
from voicekeeper.cli.network import call_webhook, download
from voicekeeper.core import webhook
from voicekeeper.core.webhook import Reply, Trouble
from voicekeeper.errors import FetchFailed

WAVE = b"RIFF....WAVE" * 1000
PUBLIC, OTHER = "voices.example.com", "other.example.com"


# a preview


@asynccontextmanager
async def answering(*answers: bytes) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Serve these answers on loopback, one a connection; give the address and what was asked."""
    left, asked = list(answers), list[bytes]()
    tasks = set[asyncio.Task[None] | None]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        try:
            asked.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(left.pop(0))
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        async with server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked
    finally:
        await asyncio.gather(*(task for task in tasks if task is not None))


def answer(body: bytes = WAVE, status: str = "200 OK", **headers: str) -> bytes:
    lines = {"Content-Type": "audio/wav", "Content-Length": str(len(body))} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


def to(location: str) -> bytes:
    return answer(b"", "302 Found", Location=location, Set_Cookie="a=b")


def downloaded(*answers: bytes) -> tuple[bytes, Sequence[bytes]]:
    async def main() -> tuple[bytes, Sequence[bytes]]:
        async with answering(*answers) as (base, asked):
            return await download(f"{base}/a.wav?token=secret", most=50_000), asked

    return asyncio.run(main())


def test_audio_is_downloaded_without_key_or_cookie() -> None:
    got, asked = downloaded(to("/b.wav"), answer())
    assert got == WAVE
    assert [line.split(b"\r\n")[0] for line in asked] == [
        b"GET /a.wav?token=secret HTTP/1.1",
        b"GET /b.wav HTTP/1.1",
    ]
    said = b"".join(asked).lower()
    assert b"authorization" not in said
    assert b"cookie" not in said


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("file:///etc/passwd", "neither http nor https"),
        ("", "neither http nor https"),
        ("http://example.com:port/", "is not reached"),
        ("http://127.0.0.1:99999/", "is not reached"),
        ("http://[::1", "is not reached"),
        ("https://sandbox.invalid/a.wav", "is not reached"),
    ],
)
def test_a_url_that_leads_nowhere_is_told_in_a_sentence(url: str, words: str) -> None:
    with pytest.raises(FetchFailed, match=words):
        asyncio.run(download(url))


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([to("file:///etc/passwd")], "is not reached (UnsupportedProtocol)"),
        ([to("/again")] * 6, "is not reached (TooManyRedirects)"),
        ([answer(b"", "404 Not Found")], "127.0.0.1 answered 404"),
        ([answer(Content_Type="text/html; charset=utf-8")], "sent no audio but text/html"),
        ([answer(Content_Type="application/json")], "sent no audio but application/json"),
        ([answer(b"x" * 60_000)], "it is larger than 0 MB"),
        ([answer(b"")], "127.0.0.1 sent nothing"),
        ([answer(b"half", Content_Length="9")], "is not reached (RemoteProtocolError)"),
        ([b"what?\r\n\r\n"], "is not reached"),
    ],
)
def test_a_preview_that_is_not_to_be_had_is_told_in_a_sentence(
    answers: Sequence[bytes], words: str
) -> None:
    with pytest.raises(FetchFailed) as failed:
        downloaded(*answers)
    assert words in str(failed.value)
    assert "secret" not in str(failed.value)


def test_an_environment_without_a_way_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "socks5://me:hidden@127.0.0.1:1")
    with pytest.raises(FetchFailed, match="https_proxy: must be the address") as failed:
        asyncio.run(download("https://example.com/a.wav"))
    assert "hidden" not in str(failed.value)


def test_a_host_that_drips_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "DOWNLOAD_S", 0.3)

    async def main() -> None:
        ended = asyncio.Event()

        async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer(b"", Content_Length="1000"))
            gone = asyncio.create_task(reader.read(1))
            with suppress(ConnectionError):
                while not gone.done():
                    writer.write(b".")
                    await asyncio.wait([gone], timeout=0.05)
                writer.close()
                await writer.wait_closed()
            ended.set()

        server = await asyncio.start_server(drip, "127.0.0.1", 0)
        async with server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/a.wav"
            with pytest.raises(FetchFailed, match="it took longer than"):
                await download(url)
            await ended.wait()

    asyncio.run(main())


# a trial call to the webhook


@contextmanager
def program(
    status: int, body: bytes = b"", *, tls: ssl.SSLContext | None = None, **headers: str
) -> Iterator[int]:
    """Run another program that answers every call the same; give its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with suppress(OSError):  # who asked has gone
                self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401
            """Keep quiet."""

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """Say nothing of a handshake that the other side broke off."""

    with Quiet(("127.0.0.1", 0), Handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def called(url: str) -> Reply:
    return network.answer(call_webhook(url))


@pytest.fixture
def near(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let two names lead to this machine, and no other name anywhere."""
    lead_here(monkeypatch, PUBLIC, OTHER)


def test_the_receiver_is_known_by_its_own_words_and_looks_nothing_up(tmp_path: Path) -> None:
    life, _ = called_life(tmp_path)
    port = free_port()

    async def call(life: Life) -> tuple[Reply, Reply]:
        async with served(life, settings(webhook=port)):
            here = f"http://127.0.0.1:{port}"
            return await call_webhook(f"{here}/webhook"), await call_webhook(f"{here}/hooks")

    ours, elsewhere = asyncio.run(call(life))
    assert ours == Reply(404, is_ours=True)
    assert elsewhere == Reply(404)  # its path at the daemon is another one
    assert not webhook.is_token(webhook.TRIAL)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, b"<html><title>404 Not Found</title></html>"),
        (200, b"no such webhook\n"),
        (404, b"no such webhook " * 100_000),
        (301, b""),
    ],
)
def test_no_page_of_another_program_passes_for_it(status: int, body: bytes) -> None:
    with program(status, body, Location="http://127.0.0.1:9/") as port:
        assert called(f"http://127.0.0.1:{port}/webhook") == Reply(status)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])  # a name has often two addresses
def test_a_port_where_nobody_listens_refuses(host: str) -> None:
    assert called(f"http://{host}:{free_port()}/webhook") == Reply(
        trouble=Trouble.CONNECTION, reason="connection refused"
    )


@pytest.mark.usefixtures("near")
@pytest.mark.parametrize("host", ["nowhere.example.com", f"{'a' * 70}.example.com", "a..com"])
def test_a_name_that_leads_nowhere_is_told(host: str) -> None:
    assert called(f"https://{host}/webhook").trouble is Trouble.NAME


def test_a_program_that_says_nothing_is_left_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "TRIAL_S", 0.2)
    monkeypatch.setattr(network, "DOWNLOAD_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert called(f"{url}/webhook") == Reply(trouble=Trouble.TIME)
        with pytest.raises(FetchFailed, match=r"it took longer than 0\.2 s"):
            asyncio.run(download(f"{url}/a.wav"))


def test_a_program_that_hangs_up_is_told() -> None:
    def hang_up() -> None:
        port.accept()[0].close()

    with socket.create_server(("127.0.0.1", 0)) as port:
        thread = threading.Thread(target=hang_up)
        thread.start()
        reply = called(f"http://127.0.0.1:{port.getsockname()[1]}/webhook")
        thread.join()
    assert reply.trouble is Trouble.CONNECTION


def test_a_name_server_that_hangs_holds_up_no_answer_and_no_end() -> None:
    code = """
import socket, time
from voicekeeper.cli import network
socket.getaddrinfo = lambda *_, **__: time.sleep(100)
network.TRIAL_S = 0.2
print(network.answer(network.call_webhook("https://voices.example.com/webhook")).trouble)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("time\n", "")


@needs_openssl
@pytest.mark.usefixtures("near")
def test_a_certificate_is_as_good_as_who_signed_it_and_for_whom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = certified(tmp_path, f"DNS:{PUBLIC}")
    with program(404, b"no such webhook\n", tls=tls) as port:
        nobodys = called(f"https://{PUBLIC}:{port}/webhook")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
        trusted = called(f"https://{PUBLIC}:{port}/webhook")
        others = called(f"https://{OTHER}:{port}/webhook")
        plain = called(f"http://{PUBLIC}:{port}/webhook")
    assert nobodys == Reply(trouble=Trouble.TLS, reason="self-signed certificate")
    assert trusted == Reply(404, is_ours=True)
    assert plain.trouble is Trouble.CONNECTION
    assert others.trouble is Trouble.TLS
    assert "mismatch" in others.reason
