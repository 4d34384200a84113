"""The calls and polls in flight: each is known until its outcome is recorded."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from voicekeeper.core.schedule import Policy
from voicekeeper.store.jobs import Job


class Flight:
    """A call or poll under way.

    Attributes:
        job: what it is about; that of an enrollment gets its task when its intent is written.
    """

    def __init__(self, job: Job) -> None:
        self.job = job


class Lane:
    """Room for so many calls at a time.

    Attributes:
        size: how many.
        running: those under way.
        more: whether the last pass left work behind for want of room.
    """

    def __init__(self) -> None:
        self.size = 0
        self.running: set[asyncio.Task[bool]] = set()
        self.more = False

    @property
    def free(self) -> int:
        """For how many more there is room; a lane that became smaller may hold too many."""
        return max(0, self.size - len(self.running))


Work = Callable[[Flight], Coroutine[Any, Any, bool]]
"""Makes one call; returns whether its outcome is recorded, or nothing was begun."""


class InFlight:
    """What this process has in flight; polls have their own lane, so they cannot hold up calls.

    Args:
        refill: makes a pass, for a lane that has room again and left work waiting.

    Attributes:
        is_closed: whether no more calls are begun.
    """

    def __init__(self, refill: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self.calls, self.polls = Lane(), Lane()
        self.is_closed = False
        self._refill = refill
        self._refills: set[asyncio.Task[None]] = set()
        self._flights: set[Flight] = set()
        self._backoff_s = 0.0

    def adopt(self, policy: Policy) -> None:
        """Go by other settings from now on."""
        self.polls.size = max(1, policy.max_in_flight // 2)
        self.calls.size = max(1, policy.max_in_flight - self.polls.size)
        self._backoff_s = policy.longest_call.total_seconds()

    @property
    def voices(self) -> tuple[int, ...]:
        """The keys of the voices with a call or poll in flight."""
        keys = (flight.job.voice_pk for flight in self._flights)
        return tuple({key for key in keys if key is not None})

    @property
    def tasks(self) -> set[int]:
        """The keys of their tasks, as far as intents are written."""
        keys = (flight.job.task_pk for flight in self._flights)
        return {key for key in keys if key is not None}

    def start(self, lane: Lane, job: Job, work: Work) -> None:
        """Begin a call or poll in its lane."""
        flight = Flight(job)
        self._flights.add(flight)
        task = asyncio.create_task(work(flight), name=f"{job.kind} {job.name}")
        lane.running.add(task)
        task.add_done_callback(partial(self._ended, lane, flight))

    async def settle(self) -> None:
        """Wait until no call is under way and none is about to be begun."""
        while under_way := [*self.calls.running, *self.polls.running, *self._refills]:
            await asyncio.wait(under_way)

    async def stop(self, within: float) -> int:
        """Wait so many seconds for the calls under way; return how many were cut short."""
        running = [*self.calls.running, *self.polls.running]
        if not running:
            return 0
        _, left = await asyncio.wait(running, timeout=max(0.0, within))
        for call in left:
            call.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        return len(left)

    def _ended(self, lane: Lane, flight: Flight, task: asyncio.Task[bool]) -> None:
        lane.running.discard(task)
        if task.cancelled() or task.result():
            self._flights.discard(flight)
        else:  # nothing says that it is done, so it would be taken again at once
            loop = asyncio.get_running_loop()
            loop.call_later(self._backoff_s, self._flights.discard, flight)
        if lane.more and not self.is_closed and lane.free * 2 >= lane.size:
            lane.more = False
            refill = asyncio.create_task(self._refill())
            self._refills.add(refill)
            refill.add_done_callback(self._refills.discard)
