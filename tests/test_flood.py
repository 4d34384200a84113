"""Whoever floods the daemon's port: no keepalive is late, nothing grows, and it can be stopped."""

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
from tests.test_leap import memory_mib
from tests.web_support import free_port
from voicekeeper.sandbox import SandboxServer

pytestmark = pytest.mark.host

VOICES = [f"voice-{number:02}" for number in range(12)]
SHOWN = [replace(imported(f"paused-{number}"), paused=True) for number in range(300)]
FILES = 1024
"""What a service may have open where nothing else is set."""


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
def files() -> Iterator[None]:
    """Let the test itself open more files than the daemon may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("flood", ["requests", "connections"])
@pytest.mark.usefixtures("files")
def test_a_flood_delays_no_keepalive_and_no_stop(tmp_path: Path, flood: str) -> None:
    port, held = free_port(), deque[socket.socket]()
    if flood == "requests":
        deeds = [partial(ask_and_hang_up, port, path) for path in ("/", "/metrics")]
    else:
        deeds = [partial(connect_and_say_nothing, port, held)]
    with SandboxServer(fast_gateway(window=timedelta(seconds=8))) as server:
        host = Host(
            tmp_path,
            server.base_url,
            WEB__LISTEN=f"127.0.0.1:{port}",
            KEEPALIVE__WINDOW="8s",
            KEEPALIVE__INTERVAL="2s",
        )
        for name in VOICES:
            server.import_voice(f"id-{name}")
        host.register(*map(imported, VOICES), *SHOWN)
        with host.run() as daemon:
            daemon.await_event("keepalive.succeeded", count=len(VOICES))
            daemon.await_event("listener.opened")
            resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (FILES, FILES))
            before, wanted = memory_mib(daemon.pid), server.books().speech + 4 * len(VOICES)
            with flooded(*deeds):
                until(lambda: server.books().speech > wanted, "keepalives through a window")
                assert all(voice.alive for voice in server.books().voices.values())
                assert memory_mib(daemon.pid) - before < 40
                daemon.send(signal.SIGTERM)
                assert daemon.process.wait(10) == 0
            daemon.end()
            levels = [line for line in daemon.lines if '"level": "error"' in line]
            assert [line for line in levels if "voice.at_risk" not in line] == []
    for line in held:
        line.close()
