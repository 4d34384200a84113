"""Run the process: its start, its table of jobs, its signals and its end.

systemd's watchdog is fed by completed passes: what counts is progress, not being alive. While the
disk is full or the database is away it is fed too, for a restart would mend neither.
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from voicekeeper import __version__
from voicekeeper.core.clock import Clock
from voicekeeper.core.duration import words
from voicekeeper.core.events import Event, Logger, tell
from voicekeeper.core.health import Keeping, voices
from voicekeeper.daemon import reload_socket
from voicekeeper.daemon.jobs import Jobs, Periodic
from voicekeeper.daemon.keeper import STOP_WITHIN_S, Keeper
from voicekeeper.daemon.notifier import Notifier
from voicekeeper.daemon.reload import Reload
from voicekeeper.daemon.sdnotify import ServiceManager
from voicekeeper.errors import (
    DatabaseAway,
    DatabaseDamaged,
    DatabaseFull,
    DatabaseReplaced,
    DatabaseUnusable,
    NotActive,
    VoicekeeperError,
    reason,
)
from voicekeeper.notify import Heartbeat
from voicekeeper.store.backup import DailyCopies


class Daemon:
    """Runs a keeper, and what goes beside it, until it is told to stop.

    Args:
        keeper: ready to sweep.
        clock: both of its times are compared.
        tick: between two passes.
        manager: the line to the service manager.
        log: of the events.
        reload: reloads the settings; None to leave SIGHUP, which asks for that, as it is.
        socket_in: the directory in which others may ask for it and hear how it ended.
        copies: those of the registry, one a day; None to make none.
        notifier: brings messages to people; None to bring none.
        heartbeat: pings a dead man's switch; None to ping none.
        limit_stop: called as the stop begins, so that it ends though a thread hangs.
    """

    def __init__(
        self,
        *,
        keeper: Keeper,
        clock: Clock,
        tick: timedelta,
        manager: ServiceManager,
        log: Logger,
        reload: Reload | None = None,
        socket_in: Path | None = None,
        copies: DailyCopies | None = None,
        notifier: Notifier | None = None,
        heartbeat: Heartbeat | None = None,
        limit_stop: Callable[[], object] = lambda: None,
    ) -> None:
        self._keeper = keeper
        self._copies = copies
        self._notifier = notifier
        self._heartbeat = heartbeat
        self._limit_stop = limit_stop
        self._clock = clock
        self._manager = manager
        self._log = log
        self._reload = reload
        self._socket_in = socket_in
        self._reloading = asyncio.Lock()
        self._hangups: set[asyncio.Task[None]] = set()
        self._tick = self._paced(tick)
        self._jobs = Jobs(self._table, clock=clock, log=log)
        self._is_ready = self._is_active = False
        self._last_pass_at: datetime | None = None
        self._last_standby: str | None = None
        self._stop = asyncio.Event()
        self._problem: str | None = None
        self._last_failure: str | None = None
        self._last_copy_failure: str | None = None
        self._fatal: Exception | None = None

    def _table(self) -> Sequence[Periodic]:
        """Return the table of jobs; a standby leaves all but passes to the active keeper."""
        jobs = [
            Periodic("sweep", self._pass, self._tick),
            Periodic("balance", self._keeper.upkeep.note_balance, timedelta(hours=6)),
            Periodic("retention", self._keeper.upkeep.prune, self._keeper.policy.prunes_every),
        ]
        if self._notifier is not None:
            jobs.append(Periodic("messages", self._notifier.look, self._notifier.pace))
        if self._heartbeat is not None:
            jobs.append(Periodic("heartbeat", self._heartbeat.beat, timedelta(minutes=1)))
        if self._copies is not None:  # one a day, and an hour late at most
            jobs.append(Periodic("copies", partial(self._copy, self._copies), timedelta(hours=1)))
        return jobs if self._is_active else jobs[:1]

    async def run(self) -> None:
        """Make passes until told to stop; be ready, and begin the other jobs, after the first.

        Where another keeper is the active one, each pass is an attempt to take over from it. A pass
        that fails is logged, and the next one follows, but where it finds the file damaged or
        replaced. The first one may fail by a full disk or a database that went away alone.

        Raises:
            DatabaseDamaged: a pass found that the file is damaged.
            DatabaseReplaced: a pass found that another file has its place.
            VoicekeeperError: the database could not be used by the first pass.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        if self._reload is not None:
            loop.add_signal_handler(signal.SIGHUP, self._hang_up)
        self._jobs.start()
        async with AsyncExitStack() as requests:
            await self._take_requests(requests)
            await self._stop.wait()
        self._limit_stop()
        if self._is_ready:
            self._manager.stopping()
        self._jobs.pause()
        for task in self._hangups:
            task.cancel()
        beside = [] if self._notifier is None else [self._notifier.stop(STOP_WITHIN_S)]
        calls_left, *_ = await asyncio.gather(self._keeper.stop(STOP_WITHIN_S), *beside)
        self._jobs.shutdown()
        if self._is_ready:
            tell(self._log, Event.DAEMON_STOPPED, calls_left=calls_left)
        if self._fatal is not None:
            raise self._fatal

    def problem(self) -> str | None:
        """Return why voices are not kept just now, from memory; None where they are."""
        keeping = Keeping(self._last_pass_at)
        if self._problem is None and keeping.is_missing(now=self._clock.now(), tick=self._tick):
            return keeping.sentence
        return self._problem

    def _paced(self, tick: timedelta) -> timedelta:
        """Return the time between two passes; at most a third of what the watchdog waits."""
        watched = self._manager.watchdog_interval
        return tick if watched is None else min(tick, timedelta(seconds=watched / 3))

    async def _pass(self) -> None:
        """Make a pass, or stand by; the other jobs begin when this is the active keeper."""
        try:
            await self._keeper.sweep()
        except NotActive as error:
            is_active, status = False, str(error)
            if status != self._last_standby:
                tell(self._log, Event.DAEMON_STANDBY, keeper=error.keeper)
            self._last_standby = status
        except Exception as error:  # noqa: BLE001 - the next pass may do better
            self._pass_failed(error)
            return
        else:
            self._last_standby = None
            is_active, status = True, await self._outlook()
        self._problem = self._last_failure = None
        self._last_pass_at = self._clock.now()
        self._manager.watchdog()
        if self._stop.is_set():  # the last word is that it stops
            return
        if self._is_ready:
            self._manager.status(status)
        else:
            self._manager.ready(status)
        self._is_ready = True
        if is_active != self._is_active:
            self._is_active = is_active
            if is_active:
                tell(self._log, Event.DAEMON_READY, version=__version__, status=status)
            elif self._notifier is not None:
                self._notifier.stand_by()
            self._jobs.schedule(but="sweep")

    def _pass_failed(self, error: Exception) -> None:
        """Log a failed pass, once for all that fail alike; end where no other can do better."""
        is_passing = isinstance(error, (DatabaseAway, DatabaseFull))
        if not (self._is_ready or is_passing):
            self._give_up(error)
            return
        is_known = isinstance(error, VoicekeeperError)
        self._problem = str(error) if is_known else repr(error)
        alike = type(error).__name__ if is_passing else self._problem
        if alike != self._last_failure:
            unforeseen = {} if is_known else {"exc_info": error}
            tell(self._log, Event.PASS_FAILED, error=self._problem, **unforeseen)
        self._last_failure = alike
        if isinstance(error, (DatabaseDamaged, DatabaseReplaced)):
            self._give_up(error)
        elif is_passing or isinstance(error, DatabaseUnusable):
            # A restart would forget the answers that wait to be written down, and mend nothing;
            # where the disk cannot be written to, it would even be the last.
            if self._is_ready:
                self._manager.watchdog()
            self._manager.status(self._problem)

    def _give_up(self, error: Exception) -> None:
        self._fatal = error
        self._stop.set()

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

    async def _copy(self, copies: DailyCopies) -> None:
        """Make the day's copy where it is missing, in a thread that no keepalive waits for."""
        try:
            made = await asyncio.to_thread(copies.make, self._clock.now())
        except Exception as error:  # noqa: BLE001 - no voice depends on it
            if str(error) != self._last_copy_failure:
                tell(self._log, Event.BACKUP_FAILED, error=str(error))
            self._last_copy_failure = str(error)
        else:
            self._last_copy_failure = None
            if made is not None:
                tell(self._log, Event.BACKUP_COMPLETED, file=str(made))

    async def _take_requests(self, requests: AsyncExitStack) -> None:
        """Take requests for a reload, where there is a directory for the socket."""
        if self._reload is None or self._socket_in is None:
            return
        answering = reload_socket.answering(self._socket_in, self.reload)
        try:
            await requests.enter_async_context(answering)
        except OSError as error:  # SIGHUP is left
            told = {"listen": str(self._socket_in), "error": reason(error)}
            tell(self._log, Event.LISTENER_FAILED, **told)

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
            self._jobs.schedule()
            tell(self._log, Event.SETTINGS_RELOADED, changed=changed)

    def _hang_up(self) -> None:
        task = asyncio.create_task(self._reload_on_signal())
        self._hangups.add(task)
        task.add_done_callback(self._hangups.discard)

    async def _reload_on_signal(self) -> None:
        """Reload as the service manager has it of a ``Type=notify-reload``."""
        was_ready = self._is_ready  # to end a reload is to be ready
        if was_ready:
            self._manager.reloading(self._clock.monotonic())
        with suppress(VoicekeeperError):  # it is logged
            await self.reload()
        if was_ready:
            self._manager.ready(await self._outlook())


async def run_once(
    keeper: Keeper,
    *last: Callable[[float], Awaitable[None]],
    limit_stop: Callable[[], object] = lambda: None,
) -> bool:
    """Do all that is due, follow it to its end, and return.

    What failed and is to be tried again later is left to the next run.

    Args:
        keeper: ready to sweep.
        last: what is done at the end, in so many seconds.
        limit_stop: called at a signal to stop, so that it ends though a thread hangs.

    Returns:
        Whether it did what it could: False where something was due and nothing succeeded.

    Raises:
        VoicekeeperError: the database cannot be used.
    """
    stopped = asyncio.Event()

    def stop() -> None:
        limit_stop()
        stopped.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    await keeper.take_over(once=True)
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
        failed = await keeper.nothing_succeeded()
        await _first(keeper.upkeep.prune, stopped.wait)
    await keeper.stop(STOP_WITHIN_S)
    await asyncio.gather(*(do(STOP_WITHIN_S) for do in last))
    return not failed


async def _first(*waits: Callable[[], Awaitable[object]]) -> None:
    """Wait until the first of these ends; leave the others."""
    tasks = [asyncio.ensure_future(wait()) for wait in waits]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
