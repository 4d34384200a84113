"""Ctrl-C and its kin, as news among other news.

An exception that can be raised between any two steps can leave a process or a directory behind.
So while the demonstration runs a signal only puts a note where the story looks anyway.
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Final

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Interruption:
    """A signal that asks for the end."""

    number: int

    def end(self) -> BaseException:
        """Return what to raise, so that the process ends with the exit code a shell expects."""
        if self.number == signal.SIGINT:
            return KeyboardInterrupt()
        return SystemExit(128 + self.number)


@contextmanager
def noted(put: Callable[[Interruption], None]) -> Iterator[None]:
    """Hand each signal to ``put``, which must be fit for a signal handler.

    A signal that the parent process chose to ignore, as ``nohup`` does, stays ignored.
    """

    def note(number: int, _frame: FrameType | None) -> None:
        put(Interruption(number))

    before = {
        number: signal.signal(number, note)
        for number in _SIGNALS
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
