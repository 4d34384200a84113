"""The daemon around the keeper, with the real scheduler.

Where days must pass the host's clock is freezegun's, and the scheduler is woken by hand after
each step; where the two clocks drift apart the real loop runs, with a tick of milliseconds.
"""

import asyncio
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from freezegun import freeze_time

from tests.support import (
    DAY,
    HOUR,
    LIMIT_S,
    MINUTE,
    NOW,
    SECOND,
    Life,
    eventually,
    imported,
    wanted,
)
from voicekeeper.config import Settings
from voicekeeper.config import settings as config_tables
from voicekeeper.core.models import Status, TaskState
from voicekeeper.daemon import service as module
from voicekeeper.daemon.reload import Reload
from voicekeeper.daemon.sdnotify import ServiceManager
from voicekeeper.daemon.service import Daemon
from voicekeeper.errors import (
    ConfigError,
    DatabaseAway,
    DatabaseDamaged,
    DatabaseFull,
    DatabaseHeld,
    DatabaseUnusable,
    VoicekeeperError,
)
from voicekeeper.store.jobs import Claims

pytestmark = pytest.mark.anyio

QUICK = timedelta(milliseconds=20)


class Manager:
    """A service manager that listens."""

    def __init__(self, directory: Path) -> None:
        self.address = str(directory / "notify")
        self._line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._line.bind(self.address)
        self._line.setblocking(False)  # noqa: FBT003 - the library's signature
        self._heard: list[str] = []

    @property
    def heard(self) -> list[str]:
        """All that was said so far."""
        with suppress(BlockingIOError):
            while True:
                self._heard.append(self._line.recv(4096).decode())
        return self._heard

    @property
    def passes(self) -> int:
        """How many passes were completed so far."""
        return self.heard.count("WATCHDOG=1")

    async def hear_passes(self, count: int) -> None:
        """Wait until so many passes were completed in all."""
        await eventually(lambda: self.passes >= count)

    def close(self) -> None:
        self._line.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(tmp_path)
    yield manager
    manager.close()


def daemon_of(life: Life, manager: Manager, tick: timedelta = QUICK, **environ: str) -> Daemon:
    return Daemon(
        keeper=life.keeper,
        clock=life.clock,
        tick=tick,
        manager=ServiceManager({"NOTIFY_SOCKET": manager.address, **environ}),
        log=life.log,
    )


@asynccontextmanager
async def running(daemon: Daemon, manager: Manager) -> AsyncIterator[asyncio.Task[None]]:
    """Give a daemon that is ready, and stop it in the end as the service manager does."""
    task = asyncio.create_task(daemon.run())
    await eventually(lambda: task.done() or any(s.startswith("READY=1") for s in manager.heard))
    if task.done():
        await task
    await asyncio.sleep(0.01)  # the run that made it ready ends, so that the next is not left out
    try:
        yield task
    finally:
        if not task.done():
            os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(LIMIT_S):
            await task


class Sweeps:
    """Makes the next passes of a life fail, one for each error given."""

    def __init__(self, life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
        self.errors: list[Exception] = []
        self._claim = life.worklist.claim
        monkeypatch.setattr(life.worklist, "claim", self._claim_or_fail)

    def _claim_or_fail(self, **arguments: Any) -> Claims:  # noqa: ANN401 - the store's
        if self.errors:
            raise self.errors.pop(0)
        return self._claim(**arguments)


@pytest.fixture
def sweeps(life: Life, monkeypatch: pytest.MonkeyPatch) -> Sweeps:
    return Sweeps(life, monkeypatch)


# days and years


async def test_a_month_by_the_real_scheduler_loses_no_voice(life: Life, manager: Manager) -> None:
    names = [f"v{n}" for n in range(5)]
    life.register(*map(imported, names), wanted("made"))
    daemon = daemon_of(life, manager, tick=HOUR)
    with freeze_time(NOW, real_asyncio=True) as frozen:
        async with running(daemon, manager):
            for passes in range(2, 30 * 24 + 2):
                life.clock.advance(HOUR)
                frozen.move_to(life.clock.now())
                daemon._jobs._scheduler.wakeup()  # noqa: SLF001 - freezegun moves no timer
                await manager.hear_passes(passes)
                await life.keeper.settle()
    assert manager.passes == 30 * 24 + 1
    books = life.books()
    assert (len(books.voices), books.clone) == (6, 1)
    for book in books.voices.values():
        assert book.alive
        assert 9 <= book.uses <= 13
    assert life.log.of("pass.failed") == []
    assert life.log.of("clock.jumped") == []


# passes that fail


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (DatabaseHeld("the database is busy"), "the database is busy"),
        (ZeroDivisionError("a bug"), "ZeroDivisionError('a bug')"),
    ],
)
async def test_a_pass_that_fails_is_told_feeds_no_watchdog_and_the_next_one_comes(
    life: Life,
    manager: Manager,
    sweeps: Sweeps,
    error: Exception,
    told: str,
) -> None:
    daemon = daemon_of(life, manager)
    async with running(daemon, manager):
        assert daemon.problem() is None
        sweeps.errors = [error] * 1000
        await eventually(lambda: life.log.of("pass.failed"))
        before, left = manager.passes, len(sweeps.errors)
        await eventually(lambda: len(sweeps.errors) <= left - 3)
        assert manager.passes == before
        assert daemon.problem() == told
        sweeps.errors.clear()
        await manager.hear_passes(before + 2)
        assert daemon.problem() is None
    assert [line["error"] for line in life.log.of("pass.failed")] == [told]


@pytest.mark.parametrize("error", [DatabaseFull, DatabaseUnusable, DatabaseAway])
async def test_what_a_restart_cannot_mend_is_not_answered_with_one(
    life: Life,
    manager: Manager,
    sweeps: Sweeps,
    error: type[VoicekeeperError],
) -> None:
    """It would forget the answers that wait to be written down, and may be the last start."""
    async with running(daemon_of(life, manager), manager):
        sweeps.errors = [error("cannot be written")] * 100_000
        await eventually(lambda: life.log.of("pass.failed"))
        await manager.hear_passes(manager.passes + 3)
        assert sweeps.errors
        assert "STATUS=cannot be written" in manager.heard


async def test_voices_are_not_kept_before_a_pass_and_when_none_has_ended_for_long(
    life: Life, manager: Manager
) -> None:
    daemon = daemon_of(life, manager, tick=HOUR)
    assert "no daemon has ever made a pass; " in str(daemon.problem())
    async with running(daemon, manager):
        life.clock.advance(3 * HOUR)
        assert daemon.problem() is None
        life.clock.advance(SECOND)
        since = "no daemon has made a pass since 2026-05-01T12:00:00Z; "
        assert since in str(daemon.problem())


async def test_passes_that_fail_alike_are_told_once_until_one_succeeds(
    life: Life, manager: Manager, sweeps: Sweeps
) -> None:
    full, busy = DatabaseFull("the disk is full"), DatabaseHeld("busy")
    async with running(daemon_of(life, manager), manager):
        for errors in ([full, full, busy, full], [full]):
            sweeps.errors = [*errors]
            await eventually(lambda: not sweeps.errors)
            await manager.hear_passes(manager.passes + 1)
    told = [line["error"] for line in life.log.of("pass.failed")]
    assert told == ["the disk is full", "busy", "the disk is full", "the disk is full"]


async def test_a_full_disk_at_the_start_is_waited_for(
    life: Life, manager: Manager, sweeps: Sweeps
) -> None:
    life.register(wanted("anna"))
    full = "the disk is full"
    sweeps.errors = [DatabaseFull(full) for _ in range(5)]
    async with running(daemon_of(life, manager), manager):
        await eventually(lambda: life.upstream.submitted("demo01"))
    assert [line["error"] for line in life.log.of("pass.failed")] == [full]
    assert manager.heard[:6] == [f"STATUS={full}"] * 5 + ["WATCHDOG=1"]


async def test_a_file_that_turns_out_damaged_ends_the_daemon(
    life: Life, manager: Manager, sweeps: Sweeps
) -> None:

    with pytest.raises(DatabaseDamaged):  # noqa: PT012 - the daemon ends within
        async with running(daemon_of(life, manager), manager) as task:
            sweeps.errors = [DatabaseDamaged("the file is damaged")]
            await eventually(task.done)
    assert [line["error"] for line in life.log.of("pass.failed")] == ["the file is damaged"]
    assert manager.heard[-1] == "STOPPING=1"


async def test_a_registry_that_cannot_be_used_at_the_start_ends_the_daemon(
    life: Life, manager: Manager, sweeps: Sweeps
) -> None:
    sweeps.errors = [DatabaseHeld("busy")]
    with pytest.raises(DatabaseHeld):
        await daemon_of(life, manager).run()
    assert manager.heard == []


async def test_an_outlook_that_cannot_be_read_costs_no_pass_and_no_call(
    life: Life, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    life.register(wanted("anna"))

    def busy(_: int | None) -> None:
        raise DatabaseHeld("the database is busy")

    monkeypatch.setattr(life.worklist, "outlook", busy)

    async with running(daemon_of(life, manager), manager):
        await manager.hear_passes(3)
    assert "READY=1\nSTATUS=the database is busy" in manager.heard
    assert life.voice("anna").status is Status.DEPLOYING
    assert life.log.of("pass.failed") == []


# what the service manager is told


async def test_it_is_ready_after_the_first_pass_and_says_when_it_stops(
    life: Life, manager: Manager
) -> None:
    life.register(*(imported(f"v{n}", last_used_at=NOW - MINUTE) for n in range(12)))
    soonest = min(voice.next_at - NOW for voice in life.registry.all() if voice.next_at)
    life.clock.advance(soonest - 3 * HOUR)
    daemon = daemon_of(life, manager)
    async with running(daemon, manager):
        assert life.registry.keeping().last_pass_at == life.clock.now()
    said = manager.heard
    assert said[0] == "WATCHDOG=1"
    assert said[1] == "READY=1\nSTATUS=12 voices kept, next due in 3 h"
    assert "STOPPING=1" in said[2:]
    (ready,) = life.log.of("daemon.ready")
    assert ready["status"] == "12 voices kept, next due in 3 h"
    assert life.log.lines[-1] == (20, "daemon.stopped", {"calls_left": 0})


class Reloads:
    """Stands in for `Reload`: with settings, and with an error for each reload that has one."""

    def __init__(self, *errors: Exception | None, tick: timedelta = HOUR) -> None:
        self.errors = list(errors)
        self.settings = Settings(daemon=config_tables.Daemon(tick=tick))

    async def __call__(self) -> tuple[str, ...]:
        if self.errors and (error := self.errors.pop(0)) is not None:
            raise error
        return ("daemon.tick",)


def reloaded_daemon(life: Life, manager: Manager, reload: Reloads) -> Daemon:
    return Daemon(
        keeper=life.keeper,
        clock=life.clock,
        tick=DAY,
        manager=ServiceManager({"NOTIFY_SOCKET": manager.address}),
        log=life.log,
        reload=cast("Reload", reload),
    )


async def test_a_hangup_reloads_as_a_service_manager_expects(life: Life, manager: Manager) -> None:
    life.clock.advance(MINUTE)
    async with running(reloaded_daemon(life, manager, Reloads()), manager):
        os.kill(os.getpid(), signal.SIGHUP)
        await eventually(lambda: len([s for s in manager.heard if s.startswith("READY=1")]) == 2)
        await manager.hear_passes(2)  # by the new settings, at once
    begun = manager.heard.index("RELOADING=1\nMONOTONIC_USEC=60000000")
    assert any(said.startswith("READY=1\nSTATUS=") for said in manager.heard[begun:])
    assert life.log.of("settings.reloaded") == [{"changed": ("daemon.tick",)}]


async def test_a_reload_while_it_waits_for_room_does_not_make_it_ready(
    life: Life, manager: Manager, sweeps: Sweeps
) -> None:
    sweeps.errors = [DatabaseFull("full") for _ in range(10_000)]
    begun = asyncio.create_task(reloaded_daemon(life, manager, Reloads()).run())
    await eventually(lambda: manager.heard)
    os.kill(os.getpid(), signal.SIGHUP)
    await eventually(lambda: life.log.of("settings.reloaded"))
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(LIMIT_S):
        await begun
    assert set(manager.heard) == {"STATUS=full"}


@pytest.mark.parametrize(
    ("error", "words"),
    [(ConfigError(["retry.cap: is wrong"], "x"), "retry.cap: is wrong"), (OSError("ah"), "ah")],
)
async def test_a_reload_that_fails_is_told_and_the_daemon_goes_on(
    life: Life, manager: Manager, error: Exception, words: str
) -> None:
    daemon = reloaded_daemon(life, manager, Reloads(error))
    async with running(daemon, manager):
        with pytest.raises(VoicekeeperError):
            await daemon.reload()
        await daemon.reload()
        await manager.hear_passes(2)
    (refused,) = life.log.of("settings.refused")
    assert words in refused["error"]
    assert len(life.log.of("settings.reloaded")) == 1


@pytest.mark.parametrize(
    ("voices", "passed", "status"),
    [
        (0, timedelta(0), "0 voices kept"),
        (1, timedelta(0), "1 voice kept, next due in "),
        (2, 9 * DAY, "2 voices kept, next due now"),
    ],
)
async def test_the_status_is_one_line_of_words(
    tmp_path: Path, manager: Manager, voices: int, passed: timedelta, status: str
) -> None:
    life = Life(tmp_path, max_in_flight=2)  # one call at a time, and that one hangs
    life.upstream.hanging = lambda _: True
    life.register(*(imported(f"v{n}", last_used_at=NOW) for n in range(voices)))
    life.clock.advance(passed)
    async with running(daemon_of(life, manager), manager):
        life.upstream.release.set()
    (ready,) = [said for said in manager.heard if said.startswith("READY=1")]
    assert ready.startswith(f"READY=1\nSTATUS={status}")


@pytest.mark.parametrize(
    ("tick", "watchdog_s", "effective_s"),
    [(10 * SECOND, 30, 10), (HOUR, 30, 10), (HOUR, None, 3600), (SECOND, 90, 1)],
)
async def test_passes_come_often_enough_for_the_watchdog(
    tmp_path: Path, manager: Manager, tick: timedelta, watchdog_s: int | None, effective_s: int
) -> None:
    environ = {} if watchdog_s is None else {"WATCHDOG_USEC": f"{watchdog_s}000000"}
    daemon = daemon_of(Life(tmp_path), manager, tick, **environ)
    async with running(daemon, manager):
        job = daemon._jobs._scheduler.get_job("sweep")  # noqa: SLF001 - it shows nowhere else
        assert job.trigger.pace.total_seconds() == effective_s


# the end


async def test_a_stop_waits_for_the_calls_under_way(life: Life, manager: Manager) -> None:
    life.register(wanted("anna"))
    life.upstream.hanging = lambda _: True
    async with running(daemon_of(life, manager), manager) as task:
        await eventually(lambda: life.upstream.calls)
        os.kill(os.getpid(), signal.SIGINT)
        await eventually(lambda: "STOPPING=1" in manager.heard)
        assert not task.done()
        life.upstream.release.set()
    assert life.voice("anna").status is Status.DEPLOYING
    assert life.log.of("daemon.stopped") == [{"calls_left": 0}]


async def test_a_stop_leaves_a_call_that_hangs_to_be_resumed(
    life: Life, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STOP_WITHIN_S", 0.1)
    life.register(imported("anna"), wanted("berta"))
    life.upstream.hanging = lambda _: True
    began = time.monotonic()
    async with running(daemon_of(life, manager), manager):
        await eventually(lambda: len(life.upstream.calls) == 2)
    assert time.monotonic() - began < 5
    assert not await life.keeper.sweep()  # it begins no more
    assert life.log.of("daemon.stopped") == [{"calls_left": 2}]
    assert life.tasks("anna")[0].state is TaskState.INTENT
    life.upstream.hanging = lambda _: False
    await life.anew(2 * MINUTE)
    assert life.voice("anna").status is Status.OK
    assert life.voice("berta").status is Status.UNKNOWN
    assert life.books().clone == 0


async def test_a_gateway_that_never_tells_the_balance_holds_up_neither_pass_nor_stop(
    life: Life, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    life.register(imported("anna"))
    asked = asyncio.Event()

    async def hang() -> int | None:
        asked.set()
        await asyncio.Event().wait()
        return None

    monkeypatch.setattr(life.upstream, "balance_micros", hang)

    async with running(daemon_of(life, manager), manager):
        await asked.wait()
        await manager.hear_passes(manager.passes + 3)
        await eventually(lambda: life.upstream.submitted("id-anna"))
    assert life.log.of("daemon.stopped") == [{"calls_left": 0}]


def test_a_daemon_that_waits_for_room_ends_when_it_is_told_to(
    tmp_path: Path, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = Life(tmp_path)
    Sweeps(life, monkeypatch).errors = [DatabaseFull("the disk is full") for _ in range(10_000)]

    async def stopped() -> None:
        running = asyncio.create_task(daemon_of(life, manager).run())
        await eventually(lambda: manager.heard)
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(LIMIT_S):
            await running

    asyncio.run(stopped())
    assert set(manager.heard) == {"STATUS=the disk is full"}
