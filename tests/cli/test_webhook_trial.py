"""A trial call over real sockets: what is the receiver's own answer, and why there is none."""

import asyncio
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support import Life
from tests.test_webhook import called_life
from tests.tls_support import certified, needs_openssl
from tests.web_support import free_port, lead_here, served, settings
from voicekeeper.cli import network
from voicekeeper.core import webhook
from voicekeeper.core.webhook import Reply, Trouble

PUBLIC, OTHER = "voices.example.com", "other.example.com"


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
            try:
                self.wfile.write(body)
            except OSError:
                return  # who asked has gone

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
    return asyncio.run(network.call_webhook(url))


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
            return await network.call_webhook(f"{here}/webhook"), await network.call_webhook(
                f"{here}/hooks"
            )

    ours, elsewhere = asyncio.run(call(life))
    assert ours == Reply(404, is_ours=True)
    assert elsewhere == Reply(404)  # its path at the daemon is another one
    assert not webhook.is_token(webhook.TRIAL)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, b"<html><title>404 Not Found</title></html>"),
        (200, b"ok\n"),
        (200, b"no such webhook\n"),
        (404, b"no such webhook " * 100_000),
        (502, b"<html>Bad Gateway</html>"),
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
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert called(f"http://127.0.0.1:{port}/webhook") == Reply(trouble=Trouble.TIME)


def test_a_program_that_hangs_up_is_told() -> None:
    def hang_up(port: socket.socket) -> None:
        connection, _ = port.accept()
        connection.close()

    with socket.create_server(("127.0.0.1", 0)) as port:
        thread = threading.Thread(target=hang_up, args=(port,))
        thread.start()
        reply = called(f"http://127.0.0.1:{port.getsockname()[1]}/webhook")
        thread.join()
    assert reply.trouble is Trouble.CONNECTION


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
