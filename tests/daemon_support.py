"""The real program as a process of its own, with a registry in a directory and fast settings.

Whoever waits here waits for a condition, with a limit that a machine under load still keeps.
"""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import IO, Any, Self

from sqlmodel import col, select

from tests import support
from voicekeeper.core.clock import SystemClock
from voicekeeper.core.models import Task, Voice
from voicekeeper.sandbox import Gateway, SandboxServer
from voicekeeper.store.registry import NewVoice, Registry

LIMIT_S = 30.0
KEY = "sk-made-up-0123456789"

WINDOW = timedelta(seconds=20)
INTERVAL = timedelta(seconds=6)
POLICY = support.policy(window=WINDOW, interval=INTERVAL, jitter=timedelta(seconds=1))

_SETTINGS = {
    "KEEPALIVE__WINDOW": "20s",
    "KEEPALIVE__INTERVAL": "6s",
    "KEEPALIVE__JITTER": "1s",
    "DAEMON__TICK": "0.2s",
    "POLLING__SPEECH_FIRST": "0.2s",
    "POLLING__SPEECH_INTERVAL": "0.2s",
    "POLLING__ENROLLMENT_FIRST": "0.2s",
    "POLLING__ENROLLMENT_INTERVAL": "0.2s",
    "RETRY__BASE": "0.5s",
    "RETRY__CAP": "2s",
    "UPSTREAM__REQUESTS_PER_SECOND": "50",
}


def until(condition: Callable[[], object], what: str = "", *, within: float = LIMIT_S) -> None:
    """Wait until a condition holds.

    Raises:
        AssertionError: it does not come to hold within so many seconds.
    """
    limit = time.monotonic() + within
    while not condition():
        assert time.monotonic() < limit, f"it did not come to be within {within:g} s: {what}"
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    """Tell whether a process lives; one that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # gone, or just going
        return False


def memory_mib(pid: int) -> float:
    """Return how much memory a process has now."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def fast_gateway(
    make: Callable[..., Gateway] = Gateway,
    **options: Any,  # noqa: ANN401 - any of the gateway's options
) -> Gateway:
    """Return a gateway with a window of 20 s, where a task takes half a second at most."""
    usual: dict[str, Any] = {
        "window": WINDOW,
        "speech_time": (timedelta(seconds=0.1), timedelta(seconds=0.3)),
        "enrollment_time": (timedelta(seconds=0.3), timedelta(seconds=0.5)),
    }
    return make(random.Random(1), **(usual | options))


class Daemon:
    """One process of the program; killed at the latest when the block ends.

    Attributes:
        process: as the standard library runs it.
        lines: what it wrote to stdout so far.
        words: what it wrote to stderr so far.
    """

    def __init__(
        self, arguments: list[str], environ: dict[str, str], pipe: tuple[int, int] | None = None
    ) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "voicekeeper", *arguments],
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if pipe is None else pipe[1],
            stderr=subprocess.PIPE,
            text=True,
        )
        if pipe is not None:
            os.close(pipe[1])
        stdout = self.process.stdout if pipe is None else os.fdopen(pipe[0])
        self.lines: list[str] = []
        self.words: list[str] = []
        self._told: list[dict[str, Any]] = []
        self._readers = [
            _thread(_read, stdout, self.lines),
            _thread(_read, self.process.stderr, self.words),
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        return self.process.pid

    def told(self, event: str, **fields: object) -> list[dict[str, Any]]:
        """Return the log lines of an event that have these fields."""
        self._told += map(json.loads, self.lines[len(self._told) :])
        return [
            line
            for line in self._told
            if line["event"] == event and all(line.get(k) == v for k, v in fields.items())
        ]

    def await_event(self, event: str, *, count: int = 1, **fields: object) -> dict[str, Any]:
        """Wait until the log tells of an event so often; return the last of these lines."""

        def told_or_ended() -> bool:
            return len(self.told(event, **fields)) >= count or self.process.poll() is not None

        until(told_or_ended, f"{event} {fields} in {self.lines} {self.words}")
        told = self.told(event, **fields)
        assert len(told) >= count, (self.process.returncode, self.lines, self.words)
        return told[count - 1]

    def memory_mib(self) -> float:
        """Return how much memory it has now."""
        return memory_mib(self.pid)

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self, number: signal.Signals | None = None) -> int:
        """Send a signal, if one is given, wait for the end, and return the exit code."""
        if number is not None:
            self.send(number)
        code = self.process.wait(LIMIT_S)
        for reader in self._readers:
            reader.join(LIMIT_S)
        return code

    def kill(self) -> None:
        """End it without a word, as a power failure would."""
        with suppress(ProcessLookupError):
            self.send(signal.SIGKILL)
        self.end()


class Host:
    """A machine that voicekeeper is installed on.

    Args:
        directory: for the registry and the key.
        base_url: of its gateway.
        settings: the environment's, over the fast ones: ``UPSTREAM__TIMEOUT="1s"``.
    """

    def __init__(self, directory: Path, base_url: str, **settings: str) -> None:
        self.path = directory / "voicekeeper.db"
        self.database = support.database(self.path)
        self.registry = Registry(self.database)
        self._key_file = directory / "key"
        self._key_file.write_text(f"{KEY}\n")
        usual = {
            "UPSTREAM__BASE_URL": base_url,
            "UPSTREAM__API_KEY_FILE": str(self._key_file),
            "DATABASE__URL": f"sqlite:///{self.path}",
        }
        self._settings = _SETTINGS | usual | settings

    def environ(self, **variables: str | None) -> dict[str, str]:
        """Return the program's environment; a variable that is None is left out."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("VOICEKEEPER_", "NOTIFY_", "WATCHDOG_", "JOURNAL_"))
        }
        named = {f"VOICEKEEPER_{name}": value for name, value in self._settings.items()}
        merged = {**inherited, **named, **variables}
        return {name: value for name, value in merged.items() if value is not None}

    def run(
        self, *options: str, pipe: tuple[int, int] | None = None, **variables: str | None
    ) -> Daemon:
        """Start ``voicekeeper run``.

        Args:
            options: of the command.
            pipe: its stdout, in place of one of its own: the end to read, the end to write.
            variables: of the environment.
        """
        return Daemon(["run", *options], self.environ(**variables), pipe)

    def run_command(self, *arguments: str, **variables: str | None) -> Daemon:
        """Start another command."""
        return Daemon(list(arguments), self.environ(**variables))

    def command(self, *arguments: str) -> int:
        """Run another command to its end and return its exit code."""
        with self.run_command(*arguments) as command:
            return command.end()

    def register(self, *voices: NewVoice) -> None:
        self.registry.register(voices, now=SystemClock().now(), policy=POLICY)

    def register_existing(self, server: SandboxServer, *names: str) -> None:
        """Register voices that exist at the gateway too."""
        for name in names:
            server.import_voice(f"id-{name}")
        self.register(*map(support.imported, names))

    def voice(self, name: str) -> Voice:
        return self.registry.get(name)

    def tasks(self, name: str) -> list[Task]:
        """Return a voice's tasks, oldest first."""
        query = select(Task).where(col(Task.voice_pk) == self.voice(name).id)
        with self.database.reading() as session:
            return list(session.scalars(query.order_by(col(Task.id))))

    def await_passes(self, count: int) -> None:
        """Wait until the daemon has made so many passes more."""
        seen = {self.registry.keeping().last_pass_at}

        def passed() -> bool:
            seen.add(self.registry.keeping().last_pass_at)
            return len(seen) > count

        until(passed, f"{count} passes more")


class Wire:
    """A port that leads to a server, and on which nothing may come through for a while.

    Args:
        target: the server's port of 127.0.0.1, or its socket.

    Attributes:
        port: of 127.0.0.1.
    """

    def __init__(self, target: int | Path) -> None:
        self._target = target
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._there, self._back = threading.Event(), threading.Event()
        self._ends = [self._server]
        self.let_go()

    def __enter__(self) -> Self:
        _thread(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self.let_go()
        for end in self._ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def hold_back(self) -> None:
        """Keep every answer back from now on."""
        self._back.clear()

    def cut(self) -> None:
        """Let nothing through, in either direction."""
        self._there.clear()
        self._back.clear()

    def let_go(self) -> None:
        """Hand on what was kept back, and all that follows."""
        self._there.set()
        self._back.set()

    def _accept(self) -> None:
        with suppress(OSError):  # it was closed
            while True:
                near, _ = self._server.accept()
                if isinstance(self._target, Path):
                    far = socket.socket(socket.AF_UNIX)
                    far.connect(str(self._target))
                else:
                    far = socket.create_connection(("127.0.0.1", self._target))
                self._ends += [near, far]
                _thread(_pump, near, far, self._there)
                _thread(_pump, far, near, self._back)


def _pump(source: socket.socket, sink: socket.socket, flows: threading.Event) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            flows.wait()
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def _read(pipe: IO[str], into: list[str]) -> None:
    with pipe:
        into.extend(line.rstrip("\n") for line in pipe)


def _thread(work: Callable[..., None], *arguments: object) -> threading.Thread:
    thread = threading.Thread(target=work, args=arguments, daemon=True)
    thread.start()
    return thread
