"""The only reader of the wall clock and of the monotonic clock; everything else is handed ``now``.

Wall time is for deadlines, which are the gateway's; monotonic time is for durations. Both can lie:
the wall clock jumps when it is corrected, the monotonic one stands still during a suspend.
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
