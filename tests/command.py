"""The command line for a test: in this process at a fixed time, or as a process of its own."""

import contextlib
import io
import json
import os
import pty
import re
import sqlite3
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from fcntl import ioctl
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

from tests import support
from tests.daemon_support import until
from tests.support import FakeClock
from voicekeeper.cli import main
from voicekeeper.core.models import Active, Breaker, HistoryEntry, Voice
from voicekeeper.store.registry import NewVoice, Registry
from voicekeeper.store.sqlite import SqliteDatabase


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended: its exit code and all it wrote."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:  # noqa: ANN401 - whatever the command printed
        return json.loads(self.out)


@dataclass
class CommandLine:
    """A registry, and the commands on it.

    Attributes:
        path: of the database; made ready unless a test wants it missing.
        environ: what the commands find in their environment.
        clock: what the commands in this process read; it stands at ``NOW``.
    """

    path: Path
    clock: FakeClock = field(default_factory=FakeClock)
    environ: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("VOICEKEEPER_")}
        for noisy in ("NO_COLOR", "FORCE_COLOR", "CREDENTIALS_DIRECTORY", "COLUMNS"):
            kept.pop(noisy, None)
        nowhere = self.path.with_name("config.toml")
        nowhere.touch()
        self.environ = {
            **kept,
            "TERM": "xterm-256color",
            "VOICEKEEPER_CONFIG": str(nowhere),
            "VOICEKEEPER_DATABASE__URL": f"sqlite:///{self.path}",
            **self.environ,
        }

    def __call__(
        self, *args: str, stdin: bytes = b"", environ: Mapping[str, str] | None = None
    ) -> Ended:
        """Run one command in this process."""
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("os.environ", {**self.environ, **(environ or {})})
            patch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
            patch.setattr("voicekeeper.cli.session.SystemClock", lambda: self.clock)
            with (
                contextlib.redirect_stdout(out),
                contextlib.redirect_stderr(err),
                pytest.raises(SystemExit) as ended,
            ):
                main(args)
        assert isinstance(ended.value.code, int)
        written = (stream.detach().getvalue().decode() for stream in (out, err))
        return Ended(ended.value.code, *written)

    def process(
        self, *args: str, stdin: bytes = b"", environ: Mapping[str, str] | None = None
    ) -> Ended:
        """Run one command as a process of its own, at the real time."""
        done = subprocess.run(
            self.command(*args),
            input=stdin,
            env={**self.environ, **(environ or {})},
            capture_output=True,
            timeout=60,
            check=False,
        )
        return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())

    def command(self, *args: str) -> Sequence[str]:
        """Return the words that start a process."""
        return [sys.executable, "-W", "error", "-m", "voicekeeper", *args]

    @contextlib.contextmanager
    def database(self) -> Iterator[SqliteDatabase]:
        """Give the database; it is made when it is missing."""
        database = support.database(self.path)
        try:
            yield database
        finally:
            database.close()

    def ready(self, *voices: NewVoice) -> "CommandLine":
        """Make the registry, with these voices in it."""
        with self.database() as database:
            Registry(database).register(voices, now=self.clock.now(), policy=support.policy())
        return self

    def change(self, name: str, **columns: Any) -> None:  # noqa: ANN401 - any column
        """Set columns of a voice."""
        with self.database() as database, database.writing() as session:
            voice = session.scalars(select(Voice).where(Voice.name == name)).one()
            for column, value in columns.items():
                setattr(voice, column, value)

    def add_row(self, row: HistoryEntry | Breaker) -> None:
        with self.database() as database, database.writing() as session:
            session.add(row)

    @contextlib.contextmanager
    def once_registered(self, name: str, deed: Callable[[], object]) -> Iterator[None]:
        """Do something as soon as a voice is registered, while a command in the block waits."""

        def work() -> None:
            until(lambda: name in self.names(), f"{name} registered")
            deed()

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            thread.join()

    def passed(self, ago: timedelta = timedelta(0), *, keeper: str = "1@here") -> None:
        """Let a daemon have made a pass."""
        at = self.clock.now() - ago
        with self.database() as database, database.writing() as session:
            active = session.get_one(Active, 1)
            active.keeper = active.version = keeper
            active.started_at = active.last_pass_at = active.beat = at

    def rows(self) -> dict[str, list[dict[str, Any]]]:
        """Return every row of voices and of history."""
        with self.database() as database, database.reading() as session:
            return {
                table.__name__: [row.model_dump() for row in session.scalars(select(table))]
                for table in (Voice, HistoryEntry)
            }

    def voice(self, name: str) -> Voice:
        with self.database() as database:
            return Registry(database).get(name)

    def names(self) -> list[str]:
        with self.database() as database:
            return [voice.name for voice in Registry(database).all()]


def overwritten(path: Path) -> None:
    path.write_text("these are the voices of our company\n" * 100, "utf-8")


def torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:2048])


def another_programs(path: Path) -> None:
    path.unlink()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE songs (title TEXT)")


def newer(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")


def sentence(ended: Ended) -> str:
    """Return the one sentence of a refusal: nothing else was written, and nothing on stdout."""
    assert ended.out == ""
    assert ended.code != 0
    assert "Traceback" not in ended.err
    assert ended.err.startswith("voicekeeper")
    assert ended.err.count("\n") == 1
    return ended.err.rstrip("\n")


def on_a_terminal(cli: CommandLine, *args: str, environ: Mapping[str, str] | None = None) -> Ended:
    """Run a command whose three streams are a terminal of 80 columns; ``out`` is what it shows."""
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with subprocess.Popen(
        cli.command(*args),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**cli.environ, "PYTHONUTF8": "1", **(environ or {})},
    ) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                shown += os.read(ours, 4096)
            except OSError:  # the terminal is gone with its last process
                break
        code = process.wait(60)
    os.close(ours)
    return Ended(code, shown.decode().replace("\r\n", "\n"), "")


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
