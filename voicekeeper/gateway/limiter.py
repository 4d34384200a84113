"""The client's own limit on calls: how many a second, and how many at once.

The gateway answers 429 to whoever asks too fast and does not document what too fast is, so the
limit is a setting and calls wait here, in the order in which they came.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from voicekeeper.core.clock import Clock

_BURST_SECONDS = 0.1
"""A bucket holds a tenth of a second's calls, at least one.

Enough to make up for a sleep that overran, and too little for any second to see more than a
tenth more than the rate.
"""


class Limiter:
    """An evenly paced token bucket and a bound on calls in flight; first come, first served."""

    def __init__(
        self,
        *,
        requests_per_second: float,
        max_in_flight: int,
        clock: Clock,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._next = -math.inf
        self._in_flight = 0
        self._queue = asyncio.Lock()
        self._room = asyncio.Event()
        self.change(requests_per_second=requests_per_second, max_in_flight=max_in_flight)

    def change(self, *, requests_per_second: float, max_in_flight: int) -> None:
        """Use other limits from now on.

        Calls in flight keep their places, also where there are more of them than now allowed. The
        call at the head of the queue may have waited out an interval of the old pace.
        """
        self._interval = 1 / requests_per_second
        self._credit = max(0.0, _BURST_SECONDS - self._interval)
        self._next = min(self._next, self._clock.monotonic() + self._interval)
        self._most = max_in_flight
        self._room.set()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn and hold one place in flight until the block ends.

        A call that is cancelled while it waits has taken nothing: neither a place nor a token.
        """
        # Room comes first: a token taken before a wait for room would be spent late, and the
        # calls that waited would go out as one burst.
        async with self._queue:
            while self._in_flight >= self._most:
                self._room.clear()
                await self._room.wait()
            await self._pace()
            self._in_flight += 1
        try:
            yield
        finally:
            self._in_flight -= 1
            self._room.set()

    async def _pace(self) -> None:
        wait = self._next - self._credit - self._clock.monotonic()
        if wait > 0:
            # Never longer than one interval, so that a clock that stood still stops nobody.
            await self._sleep(min(wait, self._interval))
        self._next = max(self._next, self._clock.monotonic()) + self._interval
