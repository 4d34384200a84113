"""One pass: claim what is due, call the gateway, record what it answers.

The story of the program in one class. It decides nothing (the rules do) and knows neither SQL
nor HTTP (the edges do). A pass only claims and starts calls; each call runs on its own, so one
that hangs holds up one voice. When a lane empties and more is due, the next pass follows at
once; otherwise it waits for the scheduler's tick.
"""

import asyncio
from collections.abc import Callable, Collection, Coroutine
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, ParamSpec, TypeVar

from voicekeeper import __version__
from voicekeeper.core import alerting
from voicekeeper.core.events import Event, tell
from voicekeeper.core.schedule import Policy
from voicekeeper.core.webhook import Callbacks
from voicekeeper.daemon.calls import Calls
from voicekeeper.daemon.context import Context
from voicekeeper.daemon.event_log import EventLog
from voicekeeper.daemon.in_flight import Flight, InFlight, Work
from voicekeeper.daemon.upkeep import Upkeep
from voicekeeper.errors import DatabaseAway, NotActive, VoicekeeperError, Withdrawn
from voicekeeper.store.worklist import Outlook

P = ParamSpec("P")
T = TypeVar("T")

STOP_WITHIN_S = 8.0
"""For what is under way when the process is told to stop; the whole stop stays under 10 s."""

_SUCCESSES = (Event.KEEPALIVE_SUCCEEDED, Event.ENROLLMENT_SUCCEEDED)
_FAILURES = (Event.KEEPALIVE_FAILED, Event.ENROLLMENT_FAILED)

_LARGE = 10_000
_COUNT_EVERY_S = 300.0
"""To count so many voices takes longer than a pass; a line for people may be minutes old."""


class Keeper:
    """Keeps the voices of one registry.

    Args:
        context: what its parts work with.
        name: ``PID@HOST``.
        callbacks: how the gateway is to call when an enrollment has ended; None to poll only.

    Attributes:
        stands_by: whether another keeper is the active one, as far as it knows.
        upkeep: what is done beside the passes.
    """

    def __init__(self, context: Context, *, name: str, callbacks: Callbacks | None = None) -> None:
        self._context = context
        self._worklist, self._clock = context.worklist, context.clock
        self._name = name
        self.stands_by = self._is_active = False
        self._passing = asyncio.Lock()
        self._in_flight = InFlight(self._refill)
        self._in_flight.adopt(context.policy)
        self._events = EventLog(context)
        self._calls = Calls(
            context,
            self._events,
            is_active=lambda: self._is_active and not self._in_flight.is_closed,
            callbacks=callbacks,
        )
        self.upkeep = Upkeep(context, self._events)
        self._alerts_taken_at: datetime | None = None
        self._kept: int | None = None
        self._counted_at = 0.0

    @property
    def policy(self) -> Policy:
        """The settings that hold."""
        return self._context.policy

    @property
    def key_refused(self) -> bool:
        """Whether the gateway answered 401 to any call so far."""
        return self._calls.key_refused

    async def take_over(self, *, once: bool = False) -> None:
        """Become the active keeper, and settle what a predecessor left in the middle.

        Args:
            once: whether this keeper ends when all that is due is done.

        Raises:
            NotActive: another keeper is the active one.
            VoicekeeperError: the database cannot be used.
        """
        lines = await self._as_active(
            self._worklist.take_over,
            keeper=self._name,
            version=__version__,
            now=self._clock.now(),
            policy=self.policy,
            once=once,
        )
        self._is_active, self.stands_by = True, False
        self._events.write(lines)

    async def adopt(self, policy: Policy) -> None:
        """Go by other settings from now on; calls under way are recorded by them.

        Raises:
            VoicekeeperError: the database cannot be used; the old settings stay.
        """
        async with self._passing:
            # What was recorded by the old settings is written before the due times are reckoned
            # anew, and what is recorded from here on goes by the new ones.
            old, self._context.policy = self.policy, policy
            await self._calls.recorder.settle()
            try:
                if self._is_active:  # else whoever takes over sees to it
                    replan, now = self._worklist.replan, self._clock.now()
                    await self._context.run(replan, old=old, new=policy, now=now)
            except BaseException:
                self._context.policy = old
                raise
            self._in_flight.adopt(policy)

    async def sweep(self) -> bool:
        """Make one pass; return whether it found work.

        A keeper that is not the active one takes over first, if it may.

        Raises:
            NotActive: another keeper is the active one.
            VoicekeeperError: the database cannot be used; nothing was claimed.
        """
        async with self._passing:
            in_flight = self._in_flight
            if in_flight.is_closed:
                return False
            if not self._is_active:
                await self.take_over()
            claims = await self._as_active(
                self._worklist.claim,
                now=self._clock.now(),
                policy=self.policy,
                calls=in_flight.calls.free,
                polls=in_flight.polls.free,
                busy=in_flight.voices,
                in_flight=in_flight.tasks,
            )
            if claims.lines:  # a command may have changed how many there are
                self._kept = None
            self._events.write(claims.lines)
            self._events.write_unreadable(claims.unreadable)
            in_flight.polls.more, in_flight.calls.more = claims.more_polls, claims.more_calls
            for job in claims.polls:
                in_flight.start(in_flight.polls, job, self._guarded(self._calls.poll))
            for job in claims.calls:
                in_flight.start(in_flight.calls, job, self._guarded(self._calls.submit))
            if claims.alerts:
                await self._take_alerts()
            return bool(claims.polls or claims.calls)

    async def _as_active(self, function: Callable[P, T], *args: P.args, **given: P.kwargs) -> T:
        """Run what only the active keeper may, and note where another one is that."""
        try:
            return await self._context.run(function, *args, **given)
        except NotActive:
            self._is_active, self.stands_by = False, True
            raise

    def _guarded(self, call: Callable[[Flight], Coroutine[Any, Any, None]]) -> Work:
        """Return a call that keeps an error in one voice's work from stopping another's."""

        async def guarded(flight: Flight) -> bool:
            try:
                await call(flight)
            except NotActive:
                self._is_active, self.stands_by = False, True
                return True
            except (Withdrawn, DatabaseAway):
                return True  # nothing was sent; that a database is away is logged by the passes
            except Exception as error:  # noqa: BLE001 - whatever it is, the others go on
                fields = {"name": flight.job.name, "error": str(error) or type(error).__name__}
                tell(self._context.log, Event.PASS_FAILED, **fields, exc_info=error)
                return False
            return True

        return guarded

    async def _refill(self) -> None:
        """Make a pass for a lane that has room again."""
        try:
            await self.sweep()
        except NotActive:
            return  # the next pass logs it
        except VoicekeeperError as error:
            self._events.failed(error)

    async def _take_alerts(self) -> None:
        """Log the alerts that are due; not at each pass, and no failure of it fails the pass."""
        now, last = self._clock.now(), self._alerts_taken_at
        if last is not None and abs(now - last) < alerting.pace(self.policy):
            return
        self._alerts_taken_at = now
        try:
            take = self._worklist.take_alerts
            await self._events.write_and_mark(
                await self._context.run(take, now=now, policy=self.policy)
            )
        except VoicekeeperError as error:
            self._events.failed(error)

    async def poll_called_back(self, digests: Collection[str]) -> int:
        """Ask at once for the tasks whose webhooks came; return how many there are.

        Args:
            digests: of the tokens that came, whoever sent them.

        Raises:
            VoicekeeperError: the database cannot be used.
        """
        now = self._clock.now()
        known = await self._context.run(self._worklist.call_back, digests, now=now)
        if known:
            await self.sweep()
        return known

    async def settle(self) -> None:
        """Wait until no call is under way and none is about to be begun."""
        await self._in_flight.settle()

    async def stop(self, within: float) -> int:
        """Begin no more calls, wait for those under way, and leave the rest to be resumed.

        Args:
            within: seconds to wait.

        Returns:
            How many calls were cut short. Their rows say so, and the next start settles them.
        """
        self._in_flight.is_closed = True
        until = self._clock.monotonic() + within
        with suppress(TimeoutError):
            async with asyncio.timeout(within), self._passing:
                pass  # a pass that is claiming begins its calls first
        left = await self._in_flight.stop(until - self._clock.monotonic())
        with suppress(VoicekeeperError):  # else whoever stands by waits until it counts as dead
            await self._context.run(self._worklist.leave, keeper=self._name)
        return left

    async def outlook(self) -> Outlook:
        """Return how many voices are kept, and when the next one is due.

        Raises:
            VoicekeeperError: the database cannot be used.
        """
        now = self._clock.monotonic()
        kept = self._kept
        if kept is not None and (kept < _LARGE or now - self._counted_at >= _COUNT_EVERY_S):
            kept = None
        outlook = await self._context.run(self._worklist.outlook, kept)
        if kept is None:
            self._kept, self._counted_at = outlook.kept, now
        return outlook

    async def nothing_succeeded(self) -> bool:
        """Return whether work was due and none of it succeeded so far.

        What is due still, when there was room for it, waits for calls that are paused.

        Raises:
            VoicekeeperError: the database cannot be used.
        """
        if not self._calls.logged.isdisjoint(_SUCCESSES):
            return False
        next_at = (await self.outlook()).next_at
        waits = next_at is not None and next_at <= self._clock.now()
        return waits or not self._calls.logged.isdisjoint(_FAILURES)

    async def next_poll_in(self) -> timedelta | None:
        """Return how long until a running task may be asked for; None when none may be.

        Raises:
            VoicekeeperError: the database cannot be used.
        """
        ask, now = self._worklist.next_poll_in, self._clock.now()
        return await self._context.run(ask, now=now, policy=self.policy)
