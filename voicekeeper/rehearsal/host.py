"""The simulated host: a process that keeps voices, and dies; its scheduler; its disk.

The process is the keeper, store and client that ship. Its scheduler is simulated: as APScheduler
does, it makes a pass each tick of the wall clock, stands still after the clock was set back, and is
woken by the daemon's watch over the clocks. Ticks at which a pass could find no work, or write
nothing, are left out, and most of those at which all that is due waits in the limiter.
"""

import asyncio
import math
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from voicekeeper.config import Settings, policy_of
from voicekeeper.core.events import Event, Logger
from voicekeeper.core.secret import SecretStr
from voicekeeper.daemon.context import Context
from voicekeeper.daemon.keeper import Keeper
from voicekeeper.errors import DatabaseHeld, VoicekeeperError
from voicekeeper.gateway import GatewayClient
from voicekeeper.gateway.http_client import httpx
from voicekeeper.rehearsal import faults
from voicekeeper.rehearsal.clock import HostClock
from voicekeeper.rehearsal.faults import Timeline
from voicekeeper.rehearsal.network import KEY
from voicekeeper.rehearsal.upcoming import next_pass_in
from voicekeeper.store.database import Database
from voicekeeper.store.jobs import Claims
from voicekeeper.store.worklist import Worklist

_LOOK = timedelta(seconds=5)
_LONGEST_SLEEP = timedelta(days=1)
_SETTLED_S = 1.0
"""After a write, the delay before the next tick is chosen."""

_TRY_TO_START_AGAIN_S = 60.0


class Killed(BaseException):
    """The process is dead; nothing of it may go on."""


class Host:
    """A machine on which voicekeeper runs as a service.

    Args:
        database: outlives the process.
        transport: the way to the gateway.
        on_start, on_kill, on_crash: called when a process begins, dies, and fails by a bug.
        on_claim: called with the work that a pass took.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        database: Database,
        clock: HostClock,
        timeline: Timeline,
        transport: httpx.AsyncBaseTransport,
        log: Logger,
        on_start: Callable[[], None],
        on_kill: Callable[[], None],
        on_crash: Callable[[Exception], None],
        on_claim: Callable[[Claims], None],
    ) -> None:
        self.settings = settings
        self.policy = policy_of(settings)
        self.worklist = Worklist(database)
        self._database = database
        self.clock = clock
        self.transport = transport
        self.log = log
        self.on_crash = on_crash
        self.on_claim = on_claim
        self._on_start = on_start
        self._on_kill = on_kill
        self._timeline = timeline
        self._process: _Process | None = None
        self._die_in: int | None = None
        self._restart_after = timedelta(0)
        self._restarting: asyncio.TimerHandle | None = None

    @property
    def is_up(self) -> bool:
        """Whether a process runs."""
        return self._process is not None

    def start(self) -> None:
        """Start a process, as the service manager does."""
        self._no_restart()
        self._on_start()
        self._process = _Process(self)

    def kill(self, *, restart_after: timedelta, steps: int = 0) -> None:
        """Let the process die, now or some steps later, and start another in time."""
        self._restart_after = restart_after
        if steps:
            self._die_in = steps
        else:
            self._die()

    def step(self) -> None:
        """Pass a moment at which a process may die; raise `Killed` if it does."""
        if self._die_in is not None:
            self._die_in -= 1
            if self._die_in <= 0:
                self._die()
                raise Killed

    def set_clock(self, by: timedelta) -> None:
        """Set the wall clock."""
        self.clock.wrong_by += by
        if self._process is not None:
            self._process.clock_was_set(by)

    def suspend(self, length: timedelta) -> None:
        """Let the machine sleep."""
        self.clock.suspend(length)
        if self._restarting is not None:  # the service manager's timer goes by the wall clock
            ahead = self._restarting.when() - asyncio.get_running_loop().time()
            self._restart(max(ahead - length.total_seconds(), 0))
        if self._process is not None:
            self._process.clock_was_set(length)

    def storage_fails(self) -> VoicekeeperError | None:
        """Return why the disk cannot be written now, or None."""
        periods = self._timeline.at(self.clock.true)
        if faults.DISK_FULL in periods:
            return VoicekeeperError("the disk of the registry is full; nothing was changed")
        if faults.DATABASE_LOCKED in periods:
            return DatabaseHeld("the registry is busy with another command; try again")
        return None

    def idle_for(self, in_vain: int) -> timedelta:
        """Return for how long no pass could find work, or write anything down; a day at most.

        Args:
            in_vain: so many passes in turn found nothing.
        """
        if self.storage_fails() is not None:
            return min(self._timeline.lasts(self.clock.true), _LONGEST_SLEEP)
        return next_pass_in(
            self._database,
            now=self.clock.now(),
            tick=self.settings.daemon.tick,
            in_vain=in_vain,
        )

    def registry_changed(self) -> None:
        """Have the process look for work that a person's command may have made."""
        if self._process is not None:
            self._process.look_again()

    def stop(self) -> None:
        """End for good."""
        self._no_restart()
        if self._process is not None:
            self._process.die()

    def give_up(self) -> None:
        """End a process that could not begin; the service manager tries again."""
        self._process = None
        self._restart(_TRY_TO_START_AGAIN_S)

    def _die(self) -> None:
        self._die_in = None
        if self._process is not None:
            process, self._process = self._process, None
            self._on_kill()
            process.die()
        self._restart(self._restart_after.total_seconds())

    def _restart(self, after_s: float) -> None:
        self._no_restart()
        self._restarting = asyncio.get_running_loop().call_later(after_s, self.start)

    def _no_restart(self) -> None:
        if self._restarting is not None:
            self._restarting.cancel()
            self._restarting = None


class _Process:
    """One life of the daemon, from its start to its death."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._tick = host.settings.daemon.tick
        self._loop = asyncio.get_running_loop()
        self._dead = False
        self._others = asyncio.all_tasks()
        self._timer: asyncio.TimerHandle | None = None
        self._looking: asyncio.TimerHandle | None = None
        self._sweeping = False
        self._setting = False
        self._looks_again = False
        self._in_vain = 0
        self._prune_at = 0.0
        self._not_before = host.clock.now()
        context = Context(
            worklist=host.worklist,
            gateway=GatewayClient(
                host.settings.upstream,
                SecretStr(KEY),
                clock=host.clock,
                transport=host.transport,
            ),
            clock=host.clock,
            log=host.log,
            offload=self._offload,
            policy=host.policy,
        )
        self._keeper = Keeper(context, name="1@rehearsal")
        self._main = self._loop.create_task(self._begin())

    def die(self) -> None:
        """End at once: whatever still runs finds no disk and no network."""
        self._dead = True
        for timer in (self._timer, self._looking):
            if timer is not None:
                timer.cancel()
        for task in asyncio.all_tasks() - self._others:
            task.cancel()

    def clock_was_set(self, by: timedelta) -> None:
        """Wait for a wall time, as APScheduler does, until the watch over the clocks wakes it."""
        if self._timer is not None:
            self._timer.cancel()
        before = self._host.clock.now() - by
        self._not_before = max(self._not_before, before + self._tick)
        self._set_timer()
        look = min(_LOOK, self._tick)
        self._looking = self._loop.call_later(look.total_seconds(), self.wake)

    def wake(self) -> None:
        """Reschedule after the clock was set."""
        self._not_before = self._host.clock.now()
        self.look_again()

    def look_again(self) -> None:
        """Expect work at the next tick, whatever is planned."""
        self._looks_again = True
        self._set_timer()

    async def _begin(self) -> None:
        try:
            await self._keeper.take_over()
            await self._keeper.sweep()
        except VoicekeeperError:
            self._dead = True
            self._host.give_up()
        else:
            self._set_timer()

    async def _offload(self, function: Callable[[], Any]) -> Any:  # noqa: ANN401 - any result
        await asyncio.sleep(0)
        self._live_on()
        failure = self._host.storage_fails()
        if failure is not None:
            raise failure
        result = function()
        if isinstance(result, Claims):
            self._looks_again = False
            self._in_vain = 0 if result.calls or result.polls else self._in_vain + 1
            self._host.on_claim(result)
        elif not self._sweeping:
            self._in_vain = 0  # an answer was written down
        self._live_on()
        self._set_timer()
        return result

    def _live_on(self) -> None:
        if self._dead:
            raise Killed
        self._host.step()

    def _set_timer(self) -> None:
        """Wait for the next tick at which a pass may find work."""
        if not self._setting:
            self._setting = True
            self._loop.call_later(_SETTLED_S, self._set_timer_now)

    def _set_timer_now(self) -> None:
        self._setting = False
        if self._timer is not None:
            self._timer.cancel()
        if self._dead:
            return
        now = self._host.clock.now()
        ahead = self._tick if self._looks_again else self._host.idle_for(self._in_vain)
        ticks = max(1, math.ceil(ahead / self._tick))
        at = max(now + ticks * self._tick, self._not_before)
        self._timer = self._loop.call_later((at - now).total_seconds(), self._ticked)

    def _ticked(self) -> None:
        self._not_before = self._host.clock.now() + self._tick
        if not self._sweeping:
            self._sweeping = True
            self._loop.create_task(self._pass())

    async def _pass(self) -> None:
        host = self._host
        try:
            await self._keeper.sweep()
            if host.clock.monotonic() >= self._prune_at:  # at its pace, but after a pass only
                pace = host.policy.prunes_every.total_seconds()
                self._prune_at = host.clock.monotonic() + pace
                await self._keeper.upkeep.prune()
        except VoicekeeperError as error:
            host.log.log(40, Event.PASS_FAILED, error=str(error))
        except Exception as error:  # noqa: BLE001 - a bug that the real daemon would log and survive
            host.on_crash(error)
        finally:
            self._sweeping = False
            if not self._dead:
                self._set_timer()
