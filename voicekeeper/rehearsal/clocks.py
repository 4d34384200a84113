"""The two clocks of a rehearsed host, and the truth."""

from datetime import datetime, timedelta

from voicekeeper.rehearsal.loop import VirtualLoop


class HostClock:
    """A `Clock` that may lie.

    Args:
        loop: whose time is the host's monotonic one.
        beginning: the true time at the loop's 0.

    Attributes:
        wrong_by: how far ahead of the truth the wall clock is.
    """

    def __init__(self, loop: VirtualLoop, beginning: datetime) -> None:
        self._loop = loop
        self._beginning = beginning
        self.wrong_by = timedelta(0)
        self._true, self._true_at = beginning, 0.0

    @property
    def true(self) -> datetime:
        """The time everywhere else."""
        elapsed = self._loop.elapsed
        if elapsed != self._true_at:  # asked many times in each moment
            self._true, self._true_at = self._beginning + timedelta(seconds=elapsed), elapsed
        return self._true

    def now(self) -> datetime:
        """Return the wall time of the host."""
        return self.true + self.wrong_by

    def monotonic(self) -> float:
        """Return seconds that stand still while the machine is suspended."""
        return self._loop.elapsed

    def suspend(self, length: timedelta) -> None:
        """Let the world go on without the host."""
        self._beginning += length
        self._true += length
