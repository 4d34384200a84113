"""Run periodic jobs with APScheduler, for years, whatever becomes of the wall clock.

A job that is late runs at once, and once however often it was missed. After the clock was set back
the scheduler would stand still until the old time is reached again, so one watch compares the two
clocks and schedules all jobs anew.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger

from voicekeeper.core.clock import Clock
from voicekeeper.core.events import Event, Logger, tell

_JUMP_S = 2.0
"""Wall and monotonic time may drift apart by this much between two looks."""

_LOOK_EVERY = timedelta(seconds=5)


class Pace(BaseTrigger):  # type: ignore[misc]  # the library has no types
    """Fires at once, then at a pace, and never in the past: after a leap of the clock only once.

    The library's own trigger lists every run that was missed.
    """

    def __init__(self, pace: timedelta) -> None:
        self.pace = pace

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
        """Return when the next run is due."""
        return now if previous is None else max(now, previous + self.pace)


class Periodic(NamedTuple):
    """A row of the table of jobs; a run handles its own failures."""

    name: str
    run: Callable[[], Coroutine[Any, Any, None]]
    pace: timedelta


class Jobs:
    """Runs a table of jobs.

    Args:
        table: returns all of them, each with the pace that holds now.
        clock: both of its times are compared.
        log: of the events.
    """

    def __init__(
        self, table: Callable[[], Sequence[Periodic]], *, clock: Clock, log: Logger
    ) -> None:
        self._table = table
        self._clock = clock
        self._log = log
        usual = {"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
        self._scheduler = AsyncIOScheduler(timezone=UTC, job_defaults=usual)
        self._offset = 0.0
        self._watch: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to run them, and to watch the clock."""
        self.schedule()
        self._scheduler.start()
        self._offset = self._offset_now()
        self._watch_clock()

    def schedule(self, *, but: str | None = None) -> None:
        """Run each job of the table at once, and from then on at its pace; and no other job.

        Args:
            but: the name of one that goes on as it was.
        """
        for scheduled in self._scheduler.get_jobs():
            if scheduled.id != but:
                scheduled.remove()
        for job in self._table():
            if job.name != but:
                self._scheduler.add_job(_run, Pace(job.pace), [job], id=job.name, name=job.name)

    def pause(self) -> None:
        """Begin no more runs."""
        if self._watch is not None:
            self._watch.cancel()
        self._scheduler.pause()

    def shutdown(self) -> None:
        """Cut short what still runs."""
        self._scheduler.shutdown(wait=False)

    def _watch_clock(self) -> None:
        """Schedule all jobs anew when the wall clock was set or the machine was suspended."""
        before, self._offset = self._offset, self._offset_now()
        jump = self._offset - before
        if abs(jump) > _JUMP_S:
            tell(self._log, Event.CLOCK_JUMPED, seconds=round(jump, 1))
            self.schedule()
        again_in = min(_LOOK_EVERY, *(job.pace for job in self._table()))
        loop = asyncio.get_running_loop()
        self._watch = loop.call_later(again_in.total_seconds(), self._watch_clock)

    def _offset_now(self) -> float:
        return self._clock.now().timestamp() - self._clock.monotonic()


async def _run(job: Periodic) -> None:
    with suppress(asyncio.CancelledError):  # at the end; the scheduler would log it
        await job.run()
