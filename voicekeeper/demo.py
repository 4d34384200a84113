"""Show the promise in a minute: three voices are kept alive, a fourth is deleted.

The sandbox stands in for the gateway, with a window of seconds instead of days. The real daemon
and the real commands run against it as processes of their own, in a temporary folder, with settings
of their own. The lines and the outcome are read from the sandbox's books, never from the registry:
a keeper must not be its own judge.
"""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from voicekeeper.core.clock import SystemClock
from voicekeeper.core.costs import usd
from voicekeeper.core.duration import compact, words
from voicekeeper.errors import VoicekeeperError
from voicekeeper.sandbox import Books, Gateway, SandboxServer, VoiceBook

WINDOWS: Final = 3

_PROGRAM: Final = (sys.executable, "-m", "voicekeeper", "--config", "config.toml")
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SERVICE_MANAGERS: Final = frozenset(
    {"CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"}
)
_LOOK_EVERY_S: Final = 0.2
_START_WITHIN_S: Final = 60.0
_STOP_WITHIN_S: Final = 12.0
_LAST_LINES: Final = 6


@dataclass(frozen=True, slots=True)
class Voice:
    """One voice of the demonstration.

    Attributes:
        origin: how it came to be, in words.
        mark: a part of its id that no other id has.
        command: registers it; empty for the voice that is not kept.
    """

    name: str
    origin: str
    mark: str
    command: str = ""

    def book(self, books: Books) -> VoiceBook | None:
        """Return what the sandbox knows of it; None before it exists."""
        return next((book for key, book in books.voices.items() if self.mark in key), None)


VOICES: Final = (
    Voice("narrator", "imported", "voice-narrator", "add voice-narrator --name narrator"),
    Voice("host", "cloned", "-h-", "clone host --prefix h --audio-url https://example.com/a.wav"),
    Voice("guide", "designed", "-g-", "design guide --prefix g --prompt Warm. --preview-text Hi."),
    Voice("stray", "not registered", "voice-stray"),
)


def run(say: Callable[[str], None], *, window: timedelta = timedelta(seconds=20)) -> None:
    """Run the demonstration for three windows and print the outcome.

    Args:
        say: prints a line.
        window: after which the sandbox deletes a voice; all else is in proportion to it.

    Raises:
        VoicekeeperError: the promise was broken, a voice could not be registered, or the daemon
            ended early.
        KeyboardInterrupt, SystemExit: a signal asked for the end. Nothing is left behind.
    """
    say(
        "The gateway deletes a custom voice that is not used for 7 days. Here a sandbox\n"
        f"on this machine does so after {words(window)}. The real daemon keeps three of four\n"
        "voices. The table shows how long each has left.\n"
    )
    gateway = Gateway(
        window=window,
        speech_time=(window / 100, window / 25),
        enrollment_time=(window * 3 / 20, window * 3 / 10),
    )
    with (
        _signals_noted() as signals,
        TemporaryDirectory(prefix="voicekeeper-demo-") as folder,
        SandboxServer(gateway) as sandbox,
    ):
        books = _Run(Path(folder), sandbox, window, signals, say).play()
    say("\n".join(outcome(books)))
    if problems := list(broken(books)):
        raise VoicekeeperError(f"not as promised: {'; '.join(problems)}")
    say(
        "\nAs promised: the three that were kept live, and the fourth is gone for good.\n"
        "This was read from the sandbox's books; nothing left this machine.\n\n"
        "Next: 'voicekeeper add --help' for a voice of your own; the README for the rest."
    )


@dataclass(slots=True)
class _Run:
    """One run against a sandbox, from the daemon's start to the last window."""

    folder: Path
    sandbox: SandboxServer
    window: timedelta
    signals: list[int]
    say: Callable[[str], None]
    clock: SystemClock = field(default_factory=SystemClock)
    began: float = field(init=False)
    statuses: list[str] = field(default_factory=list)
    next_line: float = 0.0

    def play(self) -> Books:
        """Return the sandbox's books as they are at the end, while the daemon still runs."""
        self.began = self.clock.monotonic()
        (self.folder / "config.toml").touch()  # so that no other is read
        log = self.folder / "daemon.log"
        with self._process("run", log) as daemon:
            self._wait(daemon, lambda: "daemon.ready" in _text(log), "the daemon is not ready")
            for voice in VOICES:
                if voice.origin in ("imported", "not registered"):
                    self.sandbox.import_voice(voice.mark)
            self.say("       " + "".join(f"{voice.name:<16}" for voice in VOICES).rstrip())
            for voice in VOICES:
                if voice.command:
                    self._register(voice, daemon)
            # A few ticks more than three windows: the daemon too needs one to begin.
            ends = self.clock.monotonic() + (self.window * (WINDOWS + 0.1)).total_seconds()
            while self.clock.monotonic() < ends:
                self._look(daemon)
            return self.sandbox.books()

    def _register(self, voice: Voice, daemon: subprocess.Popen[bytes]) -> None:
        self.say(f"{self._at():3.0f} s  $ voicekeeper {voice.command}")
        output = self.folder / "command.log"
        with self._process(voice.command, output) as process:
            problem = f"{voice.name} is not registered"
            self._wait(daemon, lambda: process.poll() is not None, problem)
        if process.returncode:
            said = _text(output).splitlines()
            raise VoicekeeperError(f"{voice.name} could not be registered:", said)

    def _wait(
        self, daemon: subprocess.Popen[bytes], is_done: Callable[[], bool], problem: str
    ) -> None:
        limit = self.clock.monotonic() + _START_WITHIN_S
        while not is_done():
            if self.clock.monotonic() > limit:
                raise VoicekeeperError(f"{problem} after {_START_WITHIN_S:.0f} s")
            self._look(daemon)

    def _look(self, daemon: subprocess.Popen[bytes]) -> None:
        """Wait a moment; print a line where a status changed, and each quarter of the window."""
        with suppress(subprocess.TimeoutExpired):
            code = daemon.wait(_LOOK_EVERY_S)
            last = _text(self.folder / "daemon.log").splitlines()[-_LAST_LINES:]
            sentence = f"the daemon ended early, with exit code {code}; its last lines:"
            raise VoicekeeperError(sentence, last)
        if self.signals:
            number = self.signals[0]
            raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)
        books = self.sandbox.books()
        pages = [voice.book(books) for voice in VOICES]
        statuses = [status(page) for page in pages]
        if any(pages) and (statuses != self.statuses or self._at() >= self.next_line):
            self.statuses = statuses
            self.next_line = self._at() + self.window.total_seconds() / 4
            now = self.clock.now()
            cells = "".join(f"{cell(page, self.window, now):<16}" for page in pages)
            self.say(f"{self._at():3.0f} s  {cells.rstrip()}")

    def _at(self) -> float:
        return self.clock.monotonic() - self.began

    @contextmanager
    def _process(self, command: str, output: Path) -> Iterator[subprocess.Popen[bytes]]:
        """Run a command, its output in a file, and stop it in the end.

        It has a process group of its own, so that Ctrl-C reaches only this program.
        """
        with (
            output.open("wb") as out,
            subprocess.Popen(  # noqa: S603 - our own program, by its full path
                [*_PROGRAM, *shlex.split(command)],
                cwd=self.folder,
                env=environment(os.environ, self.sandbox.base_url, self.window),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                process_group=0,
            ) as process,
        ):
            try:
                yield process
            finally:
                process.terminate()
                try:
                    process.wait(_STOP_WITHIN_S)
                except subprocess.TimeoutExpired:
                    process.kill()


def environment(environ: Mapping[str, str], base_url: str, window: timedelta) -> dict[str, str]:
    """Return the environment of the demonstration's processes, without the host's own set-up.

    The settings are in proportion to the window: with one of 20 s a voice is used every 6 s, and
    the daemon looks each half second. The processes run in another folder, so the path that this
    program is imported from is added.
    """
    path = filter(None, (str(Path(__file__).parents[1]), environ.get("PYTHONPATH")))
    kept = {
        name: value
        for name, value in environ.items()
        if not name.upper().startswith("VOICEKEEPER_") and name not in _SERVICE_MANAGERS
    }
    polling = ("SPEECH_FIRST", "SPEECH_INTERVAL", "ENROLLMENT_FIRST", "ENROLLMENT_INTERVAL")
    settings = {
        "API_KEY": "made-up-for-the-demo",
        "DATABASE__URL": "sqlite:///registry.db",
        "UPSTREAM__BASE_URL": base_url,
        "UPSTREAM__TIMEOUT": compact(window / 4),
        "UPSTREAM__REQUESTS_PER_SECOND": "50",
        "KEEPALIVE__WINDOW": compact(window),
        "KEEPALIVE__INTERVAL": compact(window * 3 / 10),
        **{f"POLLING__{name}": compact(window / 50) for name in polling},
        "RETRY__BASE": compact(window / 40),
        "DAEMON__TICK": compact(window / 40),
    }
    ours = {f"VOICEKEEPER_{name}": value for name, value in settings.items()}
    return kept | ours | {"PYTHONPATH": os.pathsep.join(path)}


def status(page: VoiceBook | None) -> str:
    """Return a voice's status for a table: ``-`` before it exists, ``deleted`` once it is gone."""
    return "-" if page is None else page.status if page.alive else "deleted"


def cell(page: VoiceBook | None, window: timedelta, now: datetime) -> str:
    """Return a voice's status and how long it has left."""
    if page is None or not page.alive:
        return status(page)
    return f"{page.status} {words(max(page.last_used_at + window - now, timedelta(0)))}"


def outcome(books: Books) -> Iterator[str]:
    """Yield the lines that tell how each voice ended and what it cost."""
    yield f"\nVOICE     ORIGIN          KEEPALIVES  AFTER {WINDOWS} WINDOWS"
    for voice in VOICES:
        page = voice.book(books)
        uses = page.uses if page and voice.command else "-"
        yield f"{voice.name:<8}  {voice.origin:<14}  {uses:>10}  {_end(page)}"
    yield (
        f"\n{books.speech} keepalives, {books.clone + books.design} enrollments and"
        f" {books.polls} polls; at the gateway's prices {usd(books.cost_micros)}."
    )


def _end(page: VoiceBook | None) -> str:
    if page is None:
        return "never created"
    if page.deleted_at is not None:
        return f"deleted, {words(page.deleted_at - page.last_used_at)} after its last use"
    return "alive" if page.status == "OK" else f"alive, but {page.status}"


def broken(books: Books) -> Iterator[str]:
    """Yield a clause for each promise that the books at the end do not bear out."""
    for voice in VOICES:
        page = voice.book(books)
        if voice.command and (_end(page) != "alive" or page is None or not page.uses):
            yield f"{voice.name}: {_end(page)}, used {page.uses if page else 0} times"
        elif not voice.command and not _end(page).startswith("deleted"):
            yield f"{voice.name}, which is not kept: {_end(page)}"
    for mode, count in (("clone", books.clone), ("design", books.design)):
        if count > 1:
            yield f"the {mode} was requested, and paid for, {count} times"


@contextmanager
def _signals_noted() -> Iterator[list[int]]:
    """Collect signals instead of raising, so that no process or folder is left behind.

    A signal that the parent process ignores, as under ``nohup``, stays ignored.
    """
    noted: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: noted.append(number))
        for number in _SIGNALS
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _text(file: Path) -> str:
    return file.read_text("utf-8", "replace")
