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
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from types import TracebackType
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


def until(condition: Callable[[], object], what: str = "") -> None:
    """Wait until a condition holds.

    Raises:
        AssertionError: it does not come to hold within the limit.
    """
    limit = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < limit, f"it did not come to be within {LIMIT_S:g} s: {what}"
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    """Tell whether a process lives; one that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # gone, or just going
        return False


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
        self._readers = [
            _reader(stdout, self.lines),
            _reader(self.process.stderr, self.words),
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        return self.process.pid

    def told(self, event: str, **fields: object) -> list[dict[str, Any]]:
        """Return the log lines of an event that have these fields."""
        lines = [json.loads(line) for line in list(self.lines)]
        return [
            line
            for line in lines
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
    """A wire from a daemon to the sandbox, on which answers can be held back.

    Attributes:
        base_url: to give to the daemon.
    """

    def __init__(self, server: SandboxServer) -> None:
        host, _, port = server.url.removeprefix("http://").rpartition(":")
        self._far = (host, int(port))
        self._near = socket.create_server(("127.0.0.1", 0))
        self.base_url = f"http://127.0.0.1:{self._near.getsockname()[1]}/api/v1"
        self._flows = threading.Event()
        self._flows.set()
        self._threads = [_thread(self._accept)]

    def hold_back(self) -> None:
        """Keep every answer back from now on."""
        self._flows.clear()

    def let_go(self) -> None:
        """Hand on what was kept back, and all that follows."""
        self._flows.set()

    def close(self) -> None:
        """Cut the wire; the daemon and the server close their connections themselves."""
        self._flows.set()
        self._near.shutdown(socket.SHUT_RDWR)
        self._near.close()
        for thread in self._threads:
            thread.join(LIMIT_S)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._near.accept()
                self._threads.append(_thread(self._connect, near))

    def _connect(self, near: socket.socket) -> None:
        with near, socket.create_connection(self._far) as far:
            back = _thread(_pump, far, near, self._flows.wait)
            _pump(near, far, lambda: None)
            self._flows.set()
            back.join(LIMIT_S)


def _pump(source: socket.socket, sink: socket.socket, wait: Callable[[], object]) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            wait()
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@contextmanager
def wired(server: SandboxServer) -> Iterator[Wire]:
    """Give a wire to a server that runs."""
    wire = Wire(server)
    try:
        yield wire
    finally:
        wire.close()


def _thread(work: Callable[..., None], *arguments: object) -> threading.Thread:
    thread = threading.Thread(target=work, args=arguments, daemon=True)
    thread.start()
    return thread


def _reader(pipe: IO[str] | None, into: list[str]) -> threading.Thread:
    def read() -> None:
        assert pipe is not None
        with pipe:
            into.extend(line.rstrip("\n") for line in pipe)

    return _thread(read)
