"""The order of the demonstration: the stand-in, the daemon, the commands, three windows, the end.

One queue holds all that can happen (a line of the daemon's log, its end, a signal), and one loop
takes from it and shows what changed. Nothing else waits.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from queue import Empty, SimpleQueue
from subprocess import Popen
from typing import Final

from voicekeeper.clock import Clock, SystemClock
from voicekeeper.demo import happening, interruption
from voicekeeper.demo.cast import CAST, Part, Row, rows
from voicekeeper.demo.happening import Happening
from voicekeeper.demo.installation import Installation
from voicekeeper.demo.interruption import Interruption
from voicekeeper.demo.verdict import Verdict, judge
from voicekeeper.errors import VoicekeeperError
from voicekeeper.sandbox import Gateway, SandboxServer

WINDOWS: Final = 3

_LOOK_EVERY_S = 0.2
_START_WITHIN_S = 60.0
_LAST_WORDS = 6


@dataclass(frozen=True, slots=True)
class Scene:
    """What there is to see at one instant.

    Attributes:
        rows: of the voices.
        happenings: all that has happened, oldest first.
        at: seconds since the beginning.
        remains: until the verdict; None while the voices are being registered.
        window: after which the stand-in deletes a voice.
    """

    rows: tuple[Row, ...]
    happenings: tuple[Happening, ...]
    at: float
    remains: timedelta | None
    window: timedelta


class _DaemonEnded:
    """The daemon says no more."""


class Demo:
    """One demonstration. It may be played once.

    Args:
        window: after which the stand-in deletes a voice; all else is in proportion to it.
        clock: the story's, and the stand-in's.
    """

    def __init__(
        self, *, window: timedelta = timedelta(seconds=20), clock: Clock | None = None
    ) -> None:
        self.window = window
        self._clock: Clock = SystemClock() if clock is None else clock
        self._began = self._clock.monotonic()
        self._ends: float | None = None
        self._news: SimpleQueue[str | _DaemonEnded | Interruption] = SimpleQueue()
        self._happenings: list[Happening] = []

    def play(self, show: Callable[[Scene], None]) -> Verdict:
        """Play it to its end, and clean up, however it ends.

        Args:
            show: is handed the scene a few times a second.

        Raises:
            VoicekeeperError: the daemon ended early, or a voice could not be registered.
            KeyboardInterrupt, SystemExit: a signal asked for the end.
        """
        with ExitStack() as stack:
            # `put` of a SimpleQueue may be called by a signal handler, whatever it interrupts.
            stack.enter_context(interruption.noted(self._news.put))
            temporary = tempfile.TemporaryDirectory(prefix="voicekeeper-demo-")
            directory = Path(stack.enter_context(temporary))
            sandbox = stack.enter_context(SandboxServer(self._gateway(), clock=self._clock))
            there = Installation(
                directory, base_url=sandbox.base_url, window=self.window, environ=os.environ
            )
            daemon = stack.enter_context(
                there.daemon(on_line=self._news.put, on_end=lambda: self._news.put(_DaemonEnded()))
            )
            look = self._looker(sandbox, daemon, show)
            self._await(self._daemon_is_ready, look, "the daemon did not start")
            for part in CAST:
                if part.voice_id is not None:
                    sandbox.import_voice(part.voice_id)
            for part in filter(lambda part: part.is_kept, CAST):
                self._register(part, there, look)
            # A few ticks more, since the daemon too needs one to begin.
            lasts = self.window * WINDOWS + self.window / 10
            self._ends = self._clock.monotonic() + lasts.total_seconds()
            while self._clock.monotonic() < self._ends:
                look()
            return judge(sandbox.books())

    def _gateway(self) -> Gateway:
        """Return a gateway whose window passes while one watches."""
        return Gateway(
            window=self.window,
            speech_time=(self.window / 100, self.window / 25),
            enrollment_time=(self.window * 3 / 20, self.window * 3 / 10),
        )

    def _looker(
        self, sandbox: SandboxServer, daemon: Popen[str], show: Callable[[Scene], None]
    ) -> Callable[[], None]:
        """Return the turn of the loop: wait a moment for news, and show what there is."""

        def look() -> None:
            for news in self._heard():
                match news:
                    case Interruption():
                        raise news.end()
                    case _DaemonEnded():
                        raise self._ended_early(daemon)
                    case str():
                        self._happenings.append(happening.logged(news, self._at()))
            remains = None
            if self._ends is not None:
                seconds = max(self._ends - self._clock.monotonic(), 0.0)
                remains = timedelta(seconds=seconds)
            books = sandbox.books()
            show(
                Scene(
                    rows=rows(books, now=self._clock.now(), window=self.window),
                    happenings=tuple(self._happenings),
                    at=self._at(),
                    remains=remains,
                    window=self.window,
                )
            )

        return look

    def _heard(self) -> Iterator[str | _DaemonEnded | Interruption]:
        """Yield the news; waits for the first."""
        try:
            yield self._news.get(timeout=_LOOK_EVERY_S)
            while True:
                yield self._news.get_nowait()
        except Empty:
            return

    def _register(self, part: Part, there: Installation, look: Callable[[], None]) -> None:
        self._happenings.append(happening.command(part.command, self._at()))
        with there.command(part.command) as process:
            self._await(
                lambda: process.poll() is not None, look, f"{part.name} is not registered yet"
            )
            said = process.stdout.read().strip() if process.stdout else ""
        if process.returncode != 0:
            raise VoicekeeperError(f"{part.name} could not be registered:", said.splitlines())

    def _await(self, is_so: Callable[[], bool], look: Callable[[], None], otherwise: str) -> None:
        """Look until something is so.

        Raises:
            VoicekeeperError: it does not become so in time.
        """
        limit = self._clock.monotonic() + _START_WITHIN_S
        while not is_so():
            if self._clock.monotonic() > limit:
                raise VoicekeeperError(f"{otherwise} after {_START_WITHIN_S:.0f} s")
            look()

    def _daemon_is_ready(self) -> bool:
        return any(each.event == happening.READY for each in self._happenings)

    def _ended_early(self, daemon: Popen[str]) -> VoicekeeperError:
        code = daemon.wait(_START_WITHIN_S)
        said = [each.text for each in self._happenings if each.kind != "command"]
        none = "" if said else " none"
        return VoicekeeperError(
            f"the daemon ended early, with exit code {code}; it said:{none}", said[-_LAST_WORDS:]
        )

    def _at(self) -> float:
        return self._clock.monotonic() - self._began
