"""A flood on the daemon's port, a look-up that hangs: no keepalive is late, and no stop."""

import resource
import signal
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from tests.daemon_support import Host, fast_gateway, until
from tests.support import imported
from tests.web_support import free_port
from voicekeeper.sandbox import SandboxServer

pytestmark = pytest.mark.host

VOICES = [f"voice-{number:02}" for number in range(12)]
SHOWN = [replace(imported(f"paused-{number}"), paused=True) for number in range(300)]
WINDOW = timedelta(seconds=8)
SETTINGS = {"KEEPALIVE__WINDOW": "8s", "KEEPALIVE__INTERVAL": "2s"}
FILES = 1024
"""What a service may have open where nothing else is set."""


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    with SandboxServer(fast_gateway(window=WINDOW)) as server:
        yield server


def await_a_window(server: SandboxServer) -> None:
    """Wait until every voice was used as often as in a window."""
    wanted = server.books().speech + 4 * len(VOICES)
    until(lambda: server.books().speech > wanted, "keepalives through a window")
    assert all(voice.alive for voice in server.books().voices.values())


# floods


def ask_and_hang_up(port: int, path: str) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as line:
        line.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())


def connect_and_say_nothing(port: int, held: deque[socket.socket]) -> None:
    line = socket.socket()
    line.setblocking(False)  # noqa: FBT003 - the library's signature
    held.append(line)
    if len(held) > 1_500:
        held.popleft().close()
    line.connect(("127.0.0.1", port))


@contextmanager
def flooded(*deeds: Callable[[], None]) -> Iterator[None]:
    """Do each of these again and again, until the block ends."""
    over = threading.Event()

    def flood(deed: Callable[[], None]) -> None:
        while not over.is_set():
            with suppress(OSError):
                deed()

    threads = [threading.Thread(target=flood, args=(deed,)) for deed in deeds]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


@pytest.fixture
def _files() -> Iterator[None]:
    """Let the test itself open more files than the daemon may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("flood", ["requests", "connections"])
@pytest.mark.usefixtures("_files")
def test_a_flood_delays_no_keepalive_and_no_stop(
    tmp_path: Path, server: SandboxServer, flood: str
) -> None:
    port, held = free_port(), deque[socket.socket]()
    if flood == "requests":
        deeds = [partial(ask_and_hang_up, port, path) for path in ("/", "/metrics")]
    else:
        deeds = [partial(connect_and_say_nothing, port, held)]
    host = Host(tmp_path, server.base_url, WEB__LISTEN=f"127.0.0.1:{port}", **SETTINGS)
    host.register_existing(server, *VOICES)
    host.register(*SHOWN)
    with host.run() as daemon:
        daemon.await_event("keepalive.succeeded", count=len(VOICES))
        daemon.await_event("listener.opened")
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (FILES, FILES))
        before = daemon.memory_mib()
        with flooded(*deeds):
            await_a_window(server)
            assert daemon.memory_mib() - before < 40
            daemon.send(signal.SIGTERM)
            assert daemon.process.wait(10) == 0
        daemon.end()
        errors = [line for line in daemon.lines if '"level": "error"' in line]
        assert [line for line in errors if "voice.at_risk" not in line] == []
    for line in held:
        line.close()


# a thread that hangs, and that nothing can end

SLOW_NAMES = """
import socket, sys, time
look_up = socket.getaddrinfo
def getaddrinfo(host, *args, **options):
    if b"example" in (host if isinstance(host, bytes) else host.encode()):
        print("looked up", file=sys.stderr, flush=True)
        time.sleep(100)
    return look_up(host, *args, **options)
socket.getaddrinfo = getaddrinfo
"""


def test_a_name_server_that_does_not_answer_holds_up_no_stop(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(SLOW_NAMES)
    host = Host(tmp_path, "https://gateway.example.com/api/v1", UPSTREAM__TIMEOUT="0.3s")
    host.register(imported("anna"))
    with host.run(PYTHONPATH=f"{tmp_path}:{Path(__file__).parents[2]}") as daemon:
        daemon.await_event("keepalive.failed", name="anna")
        assert "looked up" in daemon.words
        assert daemon.end(signal.SIGTERM) == 0  # long before the look-up ends
        assert daemon.told("daemon.stopped")
