"""The only reader of the wall clock and of the monotonic clock.

Everything else is handed ``now``. Wall time is for deadlines, which are upstream's; monotonic
time is for durations. Both can lie: the wall clock jumps when it is corrected, the monotonic
one stands still while the machine is suspended.
"""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """A port: the host's clock in production, a simulated one in a rehearsal."""

    def now(self) -> datetime:
        """Return the wall time, aware, in UTC."""

    def monotonic(self) -> float:
        """Return seconds from an arbitrary start that never run backwards."""


class SystemClock:
    """The host's two clocks."""

    def now(self) -> datetime:
        """Return the wall time, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds since the machine started, suspends not counted."""
        return time.monotonic()
