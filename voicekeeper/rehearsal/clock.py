"""The virtual clock: an event loop in which waiting takes no time, and the host's wrong clock.

The loop leaps to the next timer. Everything that waits by asyncio, the keeper, the client's limiter
and its timeouts, then runs through years in seconds, and in the same order each time.
"""

import asyncio
import math
import selectors
from datetime import UTC, datetime, timedelta
from typing import Final

BEGINNING: Final = datetime(2030, 1, 1, tzinfo=UTC)
"""The true time at which every simulation begins; any would do."""


class Deadlock(Exception):  # noqa: N818 - what it is, not an error to be handled
    """Every task waits for something that never comes."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop with a time of its own: ``elapsed``, in seconds from 0."""

    def __init__(self) -> None:
        self.elapsed = 0.0
        super().__init__(_Leap(self))

    def time(self) -> float:
        """Return the seconds that have passed in here."""
        return self.elapsed

    def leap(self, seconds: float) -> None:
        """Let time pass, to just past its end, so that a timer at the very end of it has run out.

        After some months a moment is longer than the resolution that asyncio allows for, and a
        timer would be due for ever.
        """
        self.elapsed = math.nextafter(self.elapsed + seconds, math.inf)


class _Leap(selectors.SelectSelector):
    """A selector that never waits: nothing but time happens in a simulation."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Deadlock
        self._loop.leap(timeout)
        return []


class HostClock:
    """The host's `Clock`, whose wall time is ``wrong_by`` ahead of the truth."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._asleep = timedelta(0)
        self.wrong_by = timedelta(0)
        self._true, self._true_at = BEGINNING, 0.0

    @property
    def true(self) -> datetime:
        """The true time."""
        elapsed = self._loop.elapsed
        if elapsed != self._true_at:  # read many times at each instant
            self._true = BEGINNING + self._asleep + timedelta(seconds=elapsed)
            self._true_at = elapsed
        return self._true

    def now(self) -> datetime:
        """Return the wall time of the host."""
        return self.true + self.wrong_by

    def monotonic(self) -> float:
        """Return seconds that stand still while the machine is suspended."""
        return self._loop.elapsed

    def suspend(self, length: timedelta) -> None:
        """Let time pass for all but the host."""
        self._asleep += length
        self._true += length
