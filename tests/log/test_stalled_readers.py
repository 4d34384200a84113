"""Whoever stops reading what the daemon writes holds up no keepalive and no end of it."""

import fcntl
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from tests.daemon_support import LIMIT_S, Host, fast_gateway, until
from tests.support import imported
from tests.web_support import free_port
from voicekeeper.daemon.reload_socket import ask
from voicekeeper.log import spool
from voicekeeper.sandbox import SandboxServer

pytestmark = pytest.mark.host

VOICES = [f"voice-{number:02}" for number in range(12)]
WINDOW = timedelta(seconds=6)
SETTINGS = {
    "KEEPALIVE__WINDOW": "6s",
    "KEEPALIVE__INTERVAL": "1.5s",
    "KEEPALIVE__JITTER": "0s",
    "LOG__LEVEL": "debug",
}


class Reader:
    """A reader of a pipe, who can stand still: it hands on what a daemon writes to `pipe`."""

    def __init__(self) -> None:
        (self._near, written), (read, self._far) = os.pipe(), os.pipe()
        fcntl.fcntl(written, fcntl.F_SETPIPE_SZ, 4096)
        self.pipe = read, written
        self._reads = threading.Event()
        self._thread = threading.Thread(target=self._hand_on, daemon=True)
        self._thread.start()

    def stand_still(self) -> None:
        self._reads.clear()

    def read(self) -> None:
        self._reads.set()

    def _hand_on(self) -> None:
        while self._reads.wait() and (data := os.read(self._near, 65_536)):
            os.write(self._far, data)
        os.close(self._near)
        os.close(self._far)


def test_a_log_that_nobody_reads_costs_lines_and_no_voice(tmp_path: Path) -> None:
    port, reader, file, run = free_port(), Reader(), tmp_path / "config.toml", tmp_path / "run"
    run.mkdir()
    file.touch()
    with SandboxServer(fast_gateway(window=WINDOW)) as server:
        host = Host(tmp_path, server.base_url, WEB__LISTEN=f"127.0.0.1:{port}", **SETTINGS)
        for name in VOICES:
            server.import_voice(f"id-{name}")
        host.register(*map(imported, VOICES))
        given = {"VOICEKEEPER_CONFIG": str(file), "RUNTIME_DIRECTORY": str(run)}
        with host.run(pipe=reader.pipe, **given) as daemon:
            until(lambda: server.books().speech > 4 * len(VOICES), "keepalives for a window")
            file.write_text("".join(f'{"x" * 99}{number} = ""\n' for number in range(200)))
            for _ in range(spool.ROOM // len(ask(run).problem) + 1):
                assert ask(run).exit_code == 78
            told_at = server.books().speech
            until(lambda: server.books().speech > told_at + 2 * len(VOICES), "keepalives go on")
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
                assert answer.status == 200
            assert all(voice.alive for voice in server.books().voices.values())
            reader.read()
            assert daemon.await_event("log.dropped", level="warning")["lines"] > 0
            assert len(daemon.told("settings.refused")) > 1
            reader.stand_still()
            for _ in range(10):
                ask(run)
            daemon.send(signal.SIGTERM)
            assert daemon.process.wait(10) == 0
            reader.read()
            daemon.end()
            assert daemon.words == []


def test_settings_that_nobody_writes_hold_up_no_voice(tmp_path: Path) -> None:
    file, writers = tmp_path / "config.toml", list[int]()
    file.touch()

    def is_awaited() -> bool:
        with suppress(OSError):  # nobody reads it
            writers.append(os.open(file, os.O_WRONLY | os.O_NONBLOCK))
        return bool(writers)

    with SandboxServer(fast_gateway(window=WINDOW)) as server:
        host = Host(tmp_path, server.base_url, **SETTINGS)
        server.import_voice("id-anna")
        host.register(imported("anna"))
        with host.run(VOICEKEEPER_CONFIG=str(file)) as daemon:
            daemon.await_event("keepalive.succeeded")
            file.unlink()
            os.mkfifo(file)
            daemon.send(signal.SIGHUP)
            until(is_awaited, "the settings are read")
            kept = len(daemon.told("keepalive.succeeded"))
            daemon.await_event("keepalive.succeeded", count=kept + 2)
            os.write(writers[0], b'[keepalive]\nprompt = "Ho."\n')
            os.close(writers[0])
            daemon.await_event("settings.reloaded", changed=["keepalive.prompt"])
            assert daemon.end(signal.SIGTERM) == 0


def test_an_end_waits_for_nobody_to_read_why(tmp_path: Path) -> None:
    environ = Host(tmp_path, "http://127.0.0.1:1", UPSTREAM__API_KEY_FILE="/nonexistent").environ()
    read, full = os.pipe()
    os.set_blocking(full, False)
    with suppress(BlockingIOError):
        while os.write(full, b"x" * 512):
            pass
    os.set_blocking(full, True)
    program = [sys.executable, "-m", "voicekeeper", "run"]
    done = subprocess.run(
        program, env=environ, stdout=full, stderr=full, timeout=LIMIT_S, check=False
    )
    os.close(read)
    os.close(full)
    assert done.returncode == 78
