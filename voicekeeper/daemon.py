"""The process that runs for years: a scheduler around the keeper, and its ways to begin and end.

One job, the sweep, coalesced and never dropped for being late. A watchdog compares the two clocks,
because the scheduler stands still after a clock was set back; after a leap ahead its own trigger
would list every run that was missed, and ours makes one. systemd's watchdog is fed by completed
passes only: what counts is progress, not being alive.
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Protocol

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger

from voicekeeper import __version__, reload_socket
from voicekeeper.clock import Clock
from voicekeeper.duration import words
from voicekeeper.errors import (
    DatabaseAway,
    DatabaseDamaged,
    DatabaseFull,
    DatabaseReplaced,
    DatabaseUnusable,
    VoicekeeperError,
    reason,
)
from voicekeeper.events import Event
from voicekeeper.health import voices
from voicekeeper.keeper import Keeper, Logger, tell
from voicekeeper.reload import Reload
from voicekeeper.sdnotify import Notifier
from voicekeeper.store.backup import DailyCopies

STOP_WITHIN_S = 8.0
"""For calls under way when the daemon is told to stop; the whole stop stays under 10 s."""

_JUMP_S = 2.0
"""Wall and monotonic time may drift apart by this much between two looks."""

_LOOK_EVERY_S = 5.0

_COPY_EVERY_S = 3_600.0
"""How often the day's copy of the registry is looked for, and made where it is missing."""

_BALANCE_EVERY_S = 6 * 3_600.0
"""How often the account's balance is asked for, from the start on; topped up, it shows soon."""


class Pace(BaseTrigger):  # type: ignore[misc]  # the library has no types
    """Fires at a pace, and never in the past: after a leap of the clock at once, and only once.

    Attributes:
        pace: between two runs.
    """

    def __init__(self, pace: timedelta) -> None:
        self.pace = pace

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
        """Return when the next run is due; the first is one pace ahead."""
        return max(now, (previous or now) + self.pace)


class Companion(Protocol):
    """What runs beside the passes, and holds none of them up."""

    async def run(self) -> None:
        """Do its work until cancelled."""

    async def once(self, within: float) -> None:
        """Do what is to be done now, in so many seconds."""

    async def stop(self, within: float) -> None:
        """Begin nothing more, and wait so many seconds for what is under way."""


class Daemon:
    """Runs a keeper until it is told to stop.

    Args:
        keeper: ready to sweep, and the only one on its database.
        clock: both of its times are compared.
        tick: between two passes.
        notifier: the line to the service manager.
        log: where events are told.
        reload: takes the settings anew; None to leave SIGHUP, which asks for that, as it is.
        socket_in: the directory in which others may ask for it and hear how it ended.
        copies: those of the registry, one a day; None to make none.
        companions: what runs beside it.
    """

    def __init__(
        self,
        *,
        keeper: Keeper,
        clock: Clock,
        tick: timedelta,
        notifier: Notifier,
        log: Logger,
        reload: Reload | None = None,
        socket_in: Path | None = None,
        copies: DailyCopies | None = None,
        companions: Sequence[Companion] = (),
    ) -> None:
        self._keeper = keeper
        self._copies = copies
        self._companions = companions
        self._clock = clock
        self._notifier = notifier
        self._log = log
        self._reload = reload
        self._socket_in = socket_in
        self._reloading = asyncio.Lock()
        self._hangups: set[asyncio.Task[None]] = set()
        self._tick = self._paced(tick)
        self._scheduler = AsyncIOScheduler(timezone=UTC)
        self._stop = asyncio.Event()
        self._failing: str | None = None
        self._damage: VoicekeeperError | None = None

    async def run(self) -> None:
        """Take over, make the first pass, report ready, and keep voices until told to stop.

        While the disk is full it tries again, at the start too. Any other pass that fails is told,
        and the next one follows; but where the file is damaged, or another one, none can do better.

        Raises:
            DatabaseDamaged: a pass found that the file is damaged.
            DatabaseReplaced: a pass found that another file has its place.
            VoicekeeperError: the database cannot be used at the start.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        if self._reload is not None:
            loop.add_signal_handler(signal.SIGHUP, self._hang_up)
        while not await self._begun():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), self._tick.total_seconds())
            if self._stop.is_set():
                return
        self._notifier.watchdog()
        outlook = await self._outlook()
        self._notifier.ready(outlook)
        tell(self._log, Event.DAEMON_READY, version=__version__, status=outlook)
        self._scheduler.add_job(
            self._pass,
            Pace(self._tick),
            id="sweep",
            coalesce=True,
            max_instances=1,
            misfire_grace_time=None,
        )
        self._scheduler.start()
        watches = [
            asyncio.create_task(self._watch_clock()),
            asyncio.create_task(self._watch_balance()),
            asyncio.create_task(self._watch_copies()),
            *(asyncio.create_task(companion.run()) for companion in self._companions),
        ]
        async with AsyncExitStack() as questions:
            if self._reload is not None and self._socket_in is not None:
                answering = reload_socket.answering(self._socket_in, self.reload)
                try:
                    await questions.enter_async_context(answering)
                except OSError as error:  # SIGHUP is left
                    told = {"listen": str(self._socket_in), "error": reason(error)}
                    tell(self._log, Event.LISTENER_FAILED, **told)
            await self._stop.wait()
        self._notifier.stopping()
        for task in (*watches, *self._hangups):
            task.cancel()
        await asyncio.gather(*watches, *self._hangups, return_exceptions=True)
        self._scheduler.pause()
        left, *_ = await asyncio.gather(
            self._keeper.stop(STOP_WITHIN_S),
            *(companion.stop(STOP_WITHIN_S) for companion in self._companions),
        )
        self._scheduler.shutdown(wait=False)
        tell(self._log, Event.DAEMON_STOPPED, calls_left=left)
        if self._damage is not None:
            raise self._damage

    async def reload(self) -> None:
        """Put the settings in force as they stand now, and make a pass by them at once.

        Raises:
            VoicekeeperError: they cannot be used; the old ones stay in force.
        """
        assert self._reload is not None  # noqa: S101 - else nobody is let ask
        async with self._reloading:
            try:
                changed = await self._reload()
            except VoicekeeperError as error:
                tell(self._log, Event.SETTINGS_REFUSED, error=str(error))
                raise
            except Exception as error:
                tell(self._log, Event.SETTINGS_REFUSED, error=repr(error), exc_info=error)
                raise VoicekeeperError("voicekeeper failed; its log has the details") from error
            self._tick = self._paced(self._reload.settings.daemon.tick)
            if self._scheduler.get_job("sweep") is not None:
                self._scheduler.reschedule_job("sweep", trigger=Pace(self._tick))
                self._scheduler.modify_job("sweep", next_run_time=self._clock.now())
            tell(self._log, Event.SETTINGS_RELOADED, changed=changed)

    def _hang_up(self) -> None:
        task = asyncio.create_task(self._reload_on_signal())
        self._hangups.add(task)
        task.add_done_callback(self._hangups.discard)

    async def _reload_on_signal(self) -> None:
        """Reload as the service manager has it of a ``Type=notify-reload``."""
        was_ready = self._scheduler.running  # to end a reload is to be ready
        if was_ready:
            self._notifier.reloading(self._clock.monotonic())
        with suppress(VoicekeeperError):  # it is told
            await self.reload()
        if was_ready:
            self._notifier.ready(await self._outlook())

    def _paced(self, tick: timedelta) -> timedelta:
        """Return the time between two passes; at most a third of what the watchdog waits."""
        watched = self._notifier.watchdog_interval
        return tick if watched is None else min(tick, timedelta(seconds=watched / 3))

    async def _begun(self) -> bool:
        """Take over and make the first pass; return False while the disk is full.

        The same while the database's server is away.
        """
        try:
            await self._keeper.take_over()
            await self._keeper.sweep()
        except (DatabaseAway, DatabaseFull) as error:
            self._tell(str(error), alike=type(error).__name__)
            self._notifier.status(str(error))
            return False
        self._failing = None
        return True

    async def _pass(self) -> None:
        try:
            await self._keeper.sweep()
        except (DatabaseDamaged, DatabaseReplaced) as error:
            self._tell(str(error))
            self._damage = error
            self._stop.set()
        except (DatabaseAway, DatabaseFull, DatabaseUnusable) as error:
            away = isinstance(error, DatabaseAway)
            self._tell(str(error), alike=type(error).__name__ if away else None)
            # A restart would forget the answers that wait to be written down, and mend nothing;
            # where the disk cannot be written to, it would even be the last.
            self._notifier.watchdog()
            self._notifier.status(str(error))
        except VoicekeeperError as error:
            self._tell(str(error))
        except Exception as error:  # noqa: BLE001 - the next pass may do better
            self._tell(repr(error), exc_info=error)
        else:
            self._failing = None
            self._notifier.watchdog()
            outlook = await self._outlook()
            if not self._stop.is_set():  # the last word is that it stops
                self._notifier.status(outlook)

    def _tell(self, words: str, *, alike: str | None = None, **fields: object) -> None:
        """Tell of a failed pass, once for all that fail alike; a full disk may be so for days.

        Args:
            words: why it failed.
            alike: what all that fail alike have in common, where their words differ.
            fields: further ones.
        """
        if (alike or words) != self._failing:
            tell(self._log, Event.PASS_FAILED, error=words, **fields)
        self._failing = alike or words

    async def _outlook(self) -> str:
        try:
            outlook = await self._keeper.outlook()
        except VoicekeeperError as error:  # a line for people must not end calls under way
            return str(error)
        kept = f"{voices(outlook.kept)} kept"
        if outlook.next_at is None:
            return kept
        wait = outlook.next_at - self._clock.now()
        when = "now" if wait <= timedelta(0) else f"in {words(wait)}"
        return f"{kept}, next due {when}"

    async def _watch_clock(self) -> None:
        """Wake the scheduler when the wall clock was set or the machine was suspended."""
        offset = self._offset()
        while True:
            await asyncio.sleep(min(_LOOK_EVERY_S, self._tick.total_seconds()))
            jump, offset = self._offset() - offset, self._offset()
            if abs(jump) > _JUMP_S:
                tell(self._log, Event.CLOCK_JUMPED, seconds=round(jump, 1))
                self._scheduler.modify_job("sweep", next_run_time=self._clock.now())

    async def _watch_balance(self) -> None:
        while True:
            await self._keeper.look_at_balance()
            await asyncio.sleep(_BALANCE_EVERY_S)

    async def _watch_copies(self) -> None:
        """Make a copy a day, in a thread that no keepalive waits for; a failure is told once."""
        failed = None
        while self._copies is not None:
            make = partial(self._copies.make, self._clock.now())
            try:
                made = await asyncio.to_thread(make)
            except Exception as error:  # noqa: BLE001 - no voice depends on it
                if str(error) != failed:
                    tell(self._log, Event.BACKUP_FAILED, error=str(error))
                failed = str(error)
            else:
                failed = None
                if made is not None:
                    tell(self._log, Event.BACKUP_COMPLETED, file=str(made))
            await asyncio.sleep(_COPY_EVERY_S)

    def _offset(self) -> float:
        return self._clock.now().timestamp() - self._clock.monotonic()


async def run_once(keeper: Keeper, companions: Sequence[Companion] = ()) -> bool:
    """Do all that is due, follow it to its end, and return.

    What failed and is to be tried again later is left to the next run.

    Args:
        keeper: ready to sweep, and the only one on its database.
        companions: what does its part at the end.

    Returns:
        Whether it did what it could: False where something was due and nothing succeeded.

    Raises:
        VoicekeeperError: the database cannot be used.
    """
    await keeper.take_over(once=True)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    while not stopped.is_set():
        found = await keeper.sweep()
        await _first(keeper.settle, stopped.wait)
        if not found:
            wait = await keeper.next_poll_in()
            if wait is None:
                break
            with suppress(TimeoutError):
                await asyncio.wait_for(stopped.wait(), wait.total_seconds())
    failed = False
    if not stopped.is_set():
        failed = await keeper.came_to_nothing()
        await _first(keeper.prune, stopped.wait)
    await keeper.stop(STOP_WITHIN_S)
    await asyncio.gather(*(companion.once(STOP_WITHIN_S) for companion in companions))
    return not failed


async def _first(*waits: Callable[[], Awaitable[object]]) -> None:
    """Wait until the first of these ends; leave the others."""
    tasks = [asyncio.ensure_future(wait()) for wait in waits]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
