"""An event loop in which waiting takes no time: it leaps to the next thing that is to happen.

Everything that waits by asyncio, the keeper, the client's limiter and its timeouts, then lives
through years in seconds, and in the same order each time.
"""

import asyncio
import math
import selectors


class Deadlock(Exception):  # noqa: N818 - what it is, not an error to be handled
    """Everyone waits for something that never comes."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop with a time of its own, in seconds from 0.

    Attributes:
        elapsed: the seconds that have passed in here.
    """

    def __init__(self) -> None:
        self.elapsed = 0.0
        super().__init__(_Leap(self))

    def time(self) -> float:
        """Return the seconds that have passed in here."""
        return self.elapsed

    def leap(self, seconds: float) -> None:
        """Let time pass, and be past: what waits for the very end of it no longer waits.

        After some months a moment is longer than the resolution that asyncio allows for, and a
        timer would be due for ever.
        """
        self.elapsed = math.nextafter(self.elapsed + seconds, math.inf)


class _Leap(selectors.SelectSelector):
    """A selector that never waits: nothing but time happens in a rehearsal."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Deadlock
        self._loop.leap(timeout)
        return []
