"""The daemon around the keeper, with the real scheduler.

Where days must pass the host's clock is freezegun's, and the scheduler is woken by hand after
each step; where the two clocks drift apart the real loop runs, with a tick of milliseconds.
"""

import asyncio
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from freezegun import freeze_time

from tests.support import (
    DAY,
    HOUR,
    MINUTE,
    NOW,
    SECOND,
    Call,
    Life,
    imported,
    wanted,
)
from voicekeeper.config import Settings
from voicekeeper.config import settings as config_tables
from voicekeeper.core.models import Balance, Status, TaskState
from voicekeeper.daemon import jobs, once
from voicekeeper.daemon import service as module
from voicekeeper.daemon.jobs import Pace
from voicekeeper.daemon.reload import Reload
from voicekeeper.daemon.sdnotify import ServiceManager
from voicekeeper.daemon.service import Daemon
from voicekeeper.errors import (
    CallFailed,
    ConfigError,
    DatabaseAway,
    DatabaseDamaged,
    DatabaseFull,
    DatabaseHeld,
    DatabaseUnusable,
    VoicekeeperError,
)
from voicekeeper.sandbox import Gateway
from voicekeeper.store.jobs import Claims

LIMIT_S = 30.0
QUICK = timedelta(milliseconds=20)


async def until(condition: Callable[[], object]) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(LIMIT_S):
        while not condition():  # noqa: ASYNC110 - what a test looks at has no event
            await asyncio.sleep(0.0005)


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
        await until(lambda: self.passes >= count)

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
    await until(lambda: task.done() or any(s.startswith("READY=1") for s in manager.heard))
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


# days and years


def test_thirty_days_by_the_real_scheduler_lose_no_voice(tmp_path: Path, manager: Manager) -> None:
    life = Life(tmp_path)
    names = [f"v{n}" for n in range(5)]
    life.register(*map(imported, names), wanted("made"))
    daemon = daemon_of(life, manager, tick=HOUR)

    async def month() -> None:
        with freeze_time(NOW, real_asyncio=True) as frozen:
            async with running(daemon, manager):
                for passes in range(2, 30 * 24 + 2):
                    life.clock.advance(HOUR)
                    frozen.move_to(life.clock.now())
                    daemon._jobs._scheduler.wakeup()  # noqa: SLF001 - freezegun moves no timer
                    await manager.hear_passes(passes)
                    await life.keeper.settle()

    asyncio.run(month())
    assert manager.passes == 30 * 24 + 1
    books = life.books()
    assert (len(books.voices), books.clone) == (6, 1)
    for book in books.voices.values():
        assert book.alive
        assert 9 <= book.uses <= 13
    assert life.log.of("pass.failed") == []
    assert life.log.of("clock.jumped") == []


# clocks that are set


@pytest.mark.parametrize("jump", [-HOUR, HOUR], ids=["back", "forward"])
def test_a_clock_that_is_set_stops_no_pass(
    tmp_path: Path, manager: Manager, jump: timedelta
) -> None:
    """The wall clock jumps; the monotonic one goes on."""
    life = Life(tmp_path)
    daemon = daemon_of(life, manager)

    async def jumps() -> None:
        with freeze_time(NOW, real_asyncio=True) as frozen:
            async with running(daemon, manager):

                async def pass_by(count: int) -> None:
                    for _ in range(count):
                        before = manager.passes
                        life.clock.advance(QUICK)
                        frozen.move_to(life.clock.now())
                        await manager.hear_passes(before + 1)

                await pass_by(3)
                assert life.log.of("clock.jumped") == []
                life.clock.wrong_by += jump
                frozen.move_to(life.clock.now())
                await until(lambda: life.log.of("clock.jumped"))
                await pass_by(3)

    asyncio.run(jumps())
    (told,) = life.log.of("clock.jumped")
    assert told == {"seconds": jump.total_seconds()}


def test_without_the_watchdog_a_clock_set_back_would_stop_every_pass(
    tmp_path: Path, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the watchdog is there for, so that nobody takes it out as useless."""
    monkeypatch.setattr(jobs, "_JUMP_S", 1e9)
    life = Life(tmp_path)
    daemon = daemon_of(life, manager)

    async def set_back() -> None:
        with freeze_time(NOW, real_asyncio=True) as frozen:
            async with running(daemon, manager):
                life.clock.wrong_by -= HOUR
                frozen.move_to(life.clock.now())
                before = manager.passes
                for _ in range(10):
                    life.clock.advance(QUICK)
                    frozen.move_to(life.clock.now())
                    daemon._jobs._scheduler.wakeup()  # noqa: SLF001
                    await asyncio.sleep(0.002)
                assert manager.passes == before

    asyncio.run(set_back())


def test_a_leap_ahead_is_followed_by_one_pass_and_not_by_all_that_were_missed() -> None:
    pace, leapt = Pace(SECOND), NOW + 56 * 365 * DAY
    assert pace.get_next_fire_time(None, NOW) == NOW
    assert pace.get_next_fire_time(NOW, NOW) == NOW + SECOND
    assert pace.get_next_fire_time(NOW, leapt) == leapt
    assert pace.get_next_fire_time(leapt, leapt) == leapt + SECOND


# passes that fail


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (DatabaseHeld("the database is busy"), "the database is busy"),
        (ZeroDivisionError("a bug"), "ZeroDivisionError('a bug')"),
    ],
)
def test_a_pass_that_fails_is_told_and_the_next_one_comes(
    tmp_path: Path,
    manager: Manager,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    told: str,
) -> None:
    life = Life(tmp_path)
    sweeps = Sweeps(life, monkeypatch)
    daemon = daemon_of(life, manager)

    async def passes() -> None:
        async with running(daemon, manager):
            sweeps.errors = [error]
            await until(lambda: not sweeps.errors)
            before = manager.passes
            await manager.hear_passes(before + 2)

    asyncio.run(passes())
    assert [line["error"] for line in life.log.of("pass.failed")] == [told]


def test_the_watchdog_is_fed_by_completed_passes_only(
    tmp_path: Path, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = Life(tmp_path)
    sweeps = Sweeps(life, monkeypatch)
    daemon = daemon_of(life, manager)

    async def passes() -> None:
        async with running(daemon, manager):
            sweeps.errors = [DatabaseHeld("busy") for _ in range(1000)]
            await until(lambda: life.log.of("pass.failed"))
            before, left = manager.passes, len(sweeps.errors)
            await until(lambda: len(sweeps.errors) <= left - 3)
            assert manager.passes == before
            sweeps.errors.clear()
            await manager.hear_passes(before + 1)

    asyncio.run(passes())


@pytest.mark.parametrize("error", [DatabaseFull, DatabaseUnusable, DatabaseAway])
def test_what_a_restart_cannot_mend_is_not_answered_with_one(
    tmp_path: Path,
    manager: Manager,
    monkeypatch: pytest.MonkeyPatch,
    error: type[VoicekeeperError],
) -> None:
    """It would forget the answers that wait to be written down, and may be the last start."""
    life = Life(tmp_path)
    sweeps = Sweeps(life, monkeypatch)

    async def passes() -> None:
        async with running(daemon_of(life, manager), manager):
            sweeps.errors = [error("cannot be written") for _ in range(100_000)]
            await until(lambda: life.log.of("pass.failed"))
            await manager.hear_passes(manager.passes + 3)
            assert sweeps.errors
            assert "STATUS=cannot be written" in manager.heard

    asyncio.run(passes())


def test_passes_that_fail_alike_are_told_once_until_one_succeeds(
    tmp_path: Path, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = Life(tmp_path)
    sweeps = Sweeps(life, monkeypatch)
    full, busy = DatabaseFull("the disk is full"), DatabaseHeld("busy")

    async def passes() -> None:
        async with running(daemon_of(life, manager), manager):
            for errors in ([full, full, busy, full], [full]):
                sweeps.errors = [*errors]
                await until(lambda: not sweeps.errors)
                await manager.hear_passes(manager.passes + 1)

    asyncio.run(passes())
    told = [line["error"] for line in life.log.of("pass.failed")]
    assert told == ["the disk is full", "busy", "the disk is full", "the disk is full"]


def test_a_full_disk_at_the_start_is_waited_for(
    tmp_path: Path, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = Life(tmp_path)
    life.register(wanted("anna"))
    full = "the disk is full"
    sweeps = Sweeps(life, monkeypatch)
    sweeps.errors = [DatabaseFull(full) for _ in range(5)]

    async def passes() -> None:
        async with running(daemon_of(life, manager), manager):
            await until(lambda: life.upstream.submitted("demo01"))

    asyncio.run(passes())
    assert [line["error"] for line in life.log.of("pass.failed")] == [full]
    assert manager.heard[:6] == [f"STATUS={full}"] * 5 + ["WATCHDOG=1"]


def test_a_daemon_that_waits_for_room_ends_when_it_is_told_to(
    tmp_path: Path, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = Life(tmp_path)
    Sweeps(life, monkeypatch).errors = [DatabaseFull("the disk is full") for _ in range(10_000)]

    async def stopped() -> None:
        running = asyncio.create_task(daemon_of(life, manager).run())
        await until(lambda: manager.heard)
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(LIMIT_S):
            await running

    asyncio.run(stopped())
    assert set(manager.heard) == {"STATUS=the disk is full"}


def test_a_file_that_turns_out_damaged_ends_the_daemon(
    tmp_path: Path, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = Life(tmp_path)
    sweeps = Sweeps(life, monkeypatch)

    async def passes() -> None:
        async with running(daemon_of(life, manager), manager) as task:
            sweeps.errors = [DatabaseDamaged("the file is damaged")]
            await until(task.done)

    with pytest.raises(DatabaseDamaged):
        asyncio.run(passes())
    assert [line["error"] for line in life.log.of("pass.failed")] == ["the file is damaged"]
    assert manager.heard[-1] == "STOPPING=1"


def test_a_registry_that_cannot_be_used_at_the_start_ends_the_daemon(
    tmp_path: Path, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = Life(tmp_path)
    Sweeps(life, monkeypatch).errors = [DatabaseHeld("busy")]
    with pytest.raises(DatabaseHeld):
        asyncio.run(daemon_of(life, manager).run())
    assert manager.heard == []


def test_an_outlook_that_cannot_be_read_costs_no_pass_and_no_call(
    tmp_path: Path, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = Life(tmp_path)
    life.register(wanted("anna"))

    def busy(_: int | None) -> None:
        raise DatabaseHeld("the database is busy")

    monkeypatch.setattr(life.worklist, "outlook", busy)

    async def passes() -> None:
        async with running(daemon_of(life, manager), manager):
            await manager.hear_passes(3)

    asyncio.run(passes())
    assert "READY=1\nSTATUS=the database is busy" in manager.heard
    assert life.voice("anna").status is Status.DEPLOYING
    assert life.log.of("pass.failed") == []


# what the service manager is told


def test_it_is_ready_after_the_first_pass_and_says_when_it_stops(
    tmp_path: Path, manager: Manager
) -> None:
    life = Life(tmp_path)
    life.register(*(imported(f"v{n}", last_used_at=NOW - MINUTE) for n in range(12)))
    soonest = min(voice.next_at - NOW for voice in life.registry.all() if voice.next_at)
    life.clock.advance(soonest - 3 * HOUR)
    daemon = daemon_of(life, manager)

    async def briefly() -> None:
        async with running(daemon, manager):
            assert life.registry.keeping().last_pass_at == life.clock.now()

    asyncio.run(briefly())
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


def test_a_hangup_reloads_as_the_service_manager_expects(tmp_path: Path, manager: Manager) -> None:
    life = Life(tmp_path)
    life.clock.advance(MINUTE)

    async def briefly() -> None:
        async with running(reloaded_daemon(life, manager, Reloads()), manager):
            os.kill(os.getpid(), signal.SIGHUP)
            await until(lambda: len([s for s in manager.heard if s.startswith("READY=1")]) == 2)
            await manager.hear_passes(2)  # by the new settings, at once

    asyncio.run(briefly())
    begun = manager.heard.index("RELOADING=1\nMONOTONIC_USEC=60000000")
    assert any(said.startswith("READY=1\nSTATUS=") for said in manager.heard[begun:])
    assert life.log.of("settings.reloaded") == [{"changed": ("daemon.tick",)}]


def test_a_reload_while_it_waits_for_room_does_not_make_it_ready(
    tmp_path: Path, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = Life(tmp_path)
    Sweeps(life, monkeypatch).errors = [DatabaseFull("full") for _ in range(10_000)]

    async def reloaded() -> None:
        begun = asyncio.create_task(reloaded_daemon(life, manager, Reloads()).run())
        await until(lambda: manager.heard)
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: life.log.of("settings.reloaded"))
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(LIMIT_S):
            await begun

    asyncio.run(reloaded())
    assert set(manager.heard) == {"STATUS=full"}


@pytest.mark.parametrize(
    ("error", "words"),
    [(ConfigError(["retry.cap: is wrong"], "x"), "retry.cap: is wrong"), (OSError("ah"), "ah")],
)
def test_a_reload_that_fails_is_told_and_the_daemon_goes_on(
    tmp_path: Path, manager: Manager, error: Exception, words: str
) -> None:
    life = Life(tmp_path)

    async def briefly() -> None:
        daemon = reloaded_daemon(life, manager, Reloads(error))
        async with running(daemon, manager):
            with pytest.raises(VoicekeeperError):
                await daemon.reload()
            await daemon.reload()
            await manager.hear_passes(2)

    asyncio.run(briefly())
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
def test_the_status_is_one_line_of_words(
    tmp_path: Path, manager: Manager, voices: int, passed: timedelta, status: str
) -> None:
    life = Life(tmp_path, max_in_flight=2)  # one call at a time, and that one hangs
    life.upstream.hanging = lambda _: True
    life.register(*(imported(f"v{n}", last_used_at=NOW) for n in range(voices)))
    life.clock.advance(passed)

    async def briefly() -> None:
        async with running(daemon_of(life, manager), manager):
            life.upstream.release.set()

    asyncio.run(briefly())
    (ready,) = [said for said in manager.heard if said.startswith("READY=1")]
    assert ready.startswith(f"READY=1\nSTATUS={status}")


@pytest.mark.parametrize(
    ("tick", "watchdog_s", "effective_s"),
    [(10 * SECOND, 30, 10), (HOUR, 30, 10), (HOUR, None, 3600), (SECOND, 90, 1)],
)
def test_passes_come_often_enough_for_the_watchdog(
    tmp_path: Path, manager: Manager, tick: timedelta, watchdog_s: int | None, effective_s: int
) -> None:
    environ = {} if watchdog_s is None else {"WATCHDOG_USEC": f"{watchdog_s}000000"}
    daemon = daemon_of(Life(tmp_path), manager, tick, **environ)

    async def briefly() -> None:
        async with running(daemon, manager):
            job = daemon._jobs._scheduler.get_job("sweep")  # noqa: SLF001 - it shows nowhere else
            assert job.trigger.pace.total_seconds() == effective_s

    asyncio.run(briefly())


# the end


def test_a_stop_waits_for_the_calls_under_way(tmp_path: Path, manager: Manager) -> None:
    life = Life(tmp_path)
    life.register(wanted("anna"))
    life.upstream.hanging = lambda _: True

    async def stopped() -> None:
        async with running(daemon_of(life, manager), manager) as task:
            await until(lambda: life.upstream.calls)
            os.kill(os.getpid(), signal.SIGINT)
            await until(lambda: "STOPPING=1" in manager.heard)
            assert not task.done()
            life.upstream.release.set()

    asyncio.run(stopped())
    assert life.voice("anna").status is Status.DEPLOYING
    assert life.log.of("daemon.stopped") == [{"calls_left": 0}]


def test_a_stop_leaves_a_call_that_hangs_to_be_resumed(
    tmp_path: Path, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STOP_WITHIN_S", 0.1)
    life = Life(tmp_path)
    life.register(imported("anna"), wanted("berta"))
    life.upstream.hanging = lambda _: True

    async def stopped() -> None:
        async with running(daemon_of(life, manager), manager):
            await until(lambda: len(life.upstream.calls) == 2)

    began = time.monotonic()
    asyncio.run(stopped())
    assert time.monotonic() - began < 5
    assert life.log.of("daemon.stopped") == [{"calls_left": 2}]
    assert life.tasks("anna")[0].state is TaskState.INTENT
    life.upstream.hanging = lambda _: False
    life.live(2 * MINUTE)
    assert life.voice("anna").status is Status.OK
    assert life.voice("berta").status is Status.UNKNOWN
    assert life.books().clone == 0


def test_a_call_that_hangs_holds_up_no_pass(tmp_path: Path, manager: Manager) -> None:
    life = Life(tmp_path)
    life.register(imported("anna"))
    life.upstream.hanging = lambda call: call.subject == "id-anna"

    async def passes() -> None:
        async with running(daemon_of(life, manager), manager):
            await until(lambda: life.upstream.calls)
            life.register(imported("berta"))
            await until(lambda: life.upstream.submitted("id-berta"))
            before = manager.passes
            await manager.hear_passes(before + 3)
            life.upstream.release.set()

    asyncio.run(passes())


def test_the_balance_is_noted_from_the_start_on(tmp_path: Path, manager: Manager) -> None:
    life = Life(tmp_path)

    async def noted() -> None:
        async with running(daemon_of(life, manager), manager):
            await until(lambda: life.rows(Balance))

    asyncio.run(noted())
    assert [balance.micros for balance in life.rows(Balance)] == [74_870_000]


def test_a_gateway_that_never_tells_the_balance_holds_up_neither_pass_nor_stop(
    tmp_path: Path, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = Life(tmp_path)
    life.register(imported("anna"))
    asked = asyncio.Event()

    async def hang() -> int | None:
        asked.set()
        await asyncio.Event().wait()
        return None

    monkeypatch.setattr(life.upstream, "balance_micros", hang)

    async def passes() -> None:
        async with running(daemon_of(life, manager), manager):
            await asked.wait()
            await manager.hear_passes(manager.passes + 3)
            await until(lambda: life.upstream.submitted("id-anna"))

    asyncio.run(passes())
    assert life.log.of("daemon.stopped") == [{"calls_left": 0}]


# once


QUICKLY: dict[str, Any] = {
    "speech_first": timedelta(milliseconds=50),
    "speech_interval": timedelta(milliseconds=50),
    "enrollment_first": timedelta(milliseconds=50),
    "enrollment_interval": timedelta(milliseconds=50),
}


def quick_life(directory: Path) -> Life:
    """Return a life whose tasks take parts of a second."""
    short = (timedelta(seconds=0.1), timedelta(seconds=0.2))
    gateway = Gateway(speech_time=short, enrollment_time=short)
    return Life(directory, gateway=gateway, **QUICKLY)


def do_once(life: Life, *, beside: Callable[[], Coroutine[Any, Any, None]] | None = None) -> bool:
    """Run once, while time passes; return whether anything that was due succeeded."""

    async def run() -> bool:
        async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as group:
            time_goes_on = group.create_task(_pass_time(life))
            if beside is not None:
                group.create_task(beside())
            done = await once.run_once(life.keeper)
            time_goes_on.cancel()
        return done

    return asyncio.run(run())


async def _pass_time(life: Life) -> None:
    while True:
        life.clock.advance(timedelta(milliseconds=10))
        await asyncio.sleep(0.01)


def test_once_does_all_that_is_due_and_follows_it_to_its_end(tmp_path: Path) -> None:
    life = quick_life(tmp_path)
    names = [f"v{n}" for n in range(30)]
    life.register(*map(imported, names), wanted("made"), imported("later", last_used_at=NOW))
    do_once(life)
    statuses = {voice.name: voice.status for voice in life.registry.all()}
    assert statuses.pop("later") is Status.NEW
    assert set(statuses.values()) == {Status.OK}
    assert (life.books().speech, life.books().clone) == (30, 1)


def test_once_leaves_what_failed_to_the_next_run(tmp_path: Path) -> None:
    life = quick_life(tmp_path)
    life.register(*map(imported, ("anna", "berta")))

    def broken(call: Call) -> Exception | None:
        anna = call.kind == "submit" and call.subject == "id-anna"
        return CallFailed("server error", code=500, ambiguous=True) if anna else None

    life.upstream.trouble = broken
    assert do_once(life)  # berta spoke
    assert (life.voice("anna").status, life.voice("anna").failures) == (Status.NEW, 1)
    assert life.voice("berta").status is Status.OK
    life.upstream.trouble = lambda _: None
    life.clock.advance(HOUR)
    life.keeper = life.new_keeper()
    do_once(life)
    assert life.voice("anna").status is Status.OK


@pytest.mark.parametrize("code", [401, 402, 403])
def test_once_ends_when_the_account_is_refused(tmp_path: Path, code: int) -> None:
    life = quick_life(tmp_path)
    life.register(*(imported(f"v{n}") for n in range(30)))
    life.upstream.trouble = lambda _: CallFailed("refused", code=code)
    assert not do_once(life)
    assert len(life.upstream.calls) <= life.policy.max_in_flight
    assert len(life.log.of("upstream.blocked")) == 1
    assert life.keeper.key_refused is (code == 401)
    life.keeper = life.new_keeper()
    assert not do_once(life)  # calls are paused, and voices wait
    life.upstream.trouble = lambda _: None
    life.clock.advance(HOUR)
    life.keeper = life.new_keeper()
    assert do_once(life)
    assert {voice.status for voice in life.registry.all()} == {Status.OK}


def test_once_has_failed_where_something_was_due_and_nothing_succeeded(tmp_path: Path) -> None:
    life = quick_life(tmp_path)
    life.register(imported("anna"), wanted("made"))
    life.upstream.trouble = lambda _: CallFailed("slow down", code=429)
    assert not do_once(life)
    life.keeper = life.new_keeper()
    assert do_once(life)  # nothing is due until the retries are


def test_once_has_failed_where_a_task_was_accepted_and_ended_without_success(
    tmp_path: Path,
) -> None:
    life = quick_life(tmp_path)
    life.register(imported("gone"))
    life.gateway.delete_voice("id-gone", life.clock.now())
    assert not do_once(life)


@pytest.mark.parametrize("why", ["nothing", "paused", "held", "later"])
def test_once_has_not_failed_where_nothing_was_due(tmp_path: Path, why: str) -> None:
    life = Life(tmp_path, enrollments_per_day=0, **QUICKLY)
    voices = {
        "paused": [imported("anna", paused=True)],
        "held": [wanted("anna")],
        "later": [imported("anna", last_used_at=NOW)],
    }
    life.register(*voices.get(why, []))
    assert do_once(life)


def test_once_is_stopped_by_a_signal_while_a_call_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(once, "STOP_WITHIN_S", 0.1)
    life = quick_life(tmp_path)
    life.register(imported("anna"))
    life.upstream.hanging = lambda _: True

    async def stop() -> None:
        await until(lambda: life.upstream.calls)
        os.kill(os.getpid(), signal.SIGTERM)

    do_once(life, beside=stop)
    assert [task.state for task in life.tasks("anna")] == [TaskState.INTENT]
