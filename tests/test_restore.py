"""An older copy of the database put back: every voice is due, none is lost, nothing paid again."""

import shutil
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from tests.daemon_support import Host, fast_gateway
from tests.support import DAY, HOUR, MINUTE, SECOND, Life, imported, wanted
from voicekeeper.core.models import Origin, Status
from voicekeeper.sandbox import SandboxServer


@pytest.fixture
def life(tmp_path: Path) -> Life:
    return Life(tmp_path)


Copy = Callable[[], None]


def copied(life: Life) -> Copy:
    """Copy the registry; return what puts the copy back by hand."""
    life.database.close()
    copy = shutil.copy(life.database.path, life.database.path.with_suffix(".copy"))

    def put_back() -> None:
        life.database.close()
        shutil.copy(copy, life.database.path)

    return put_back


# a copy a week old


def test_from_a_copy_a_week_old_every_voice_is_used_at_once_and_none_is_made_again(
    life: Life,
) -> None:
    names = [f"v{number}" for number in range(5)]
    life.register(*map(imported, names), wanted("cloned"), wanted("designed", Origin.DESIGN))
    life.live(HOUR)
    put_back = copied(life)
    life.live(7 * DAY)
    before = life.books()
    put_back()
    life.live(HOUR)
    after = life.books()
    assert (after.clone, after.design) == (1, 1)
    assert all(voice.alive for voice in after.voices.values())
    assert {v: after.voices[v].uses - before.voices[v].uses for v in after.voices} == dict.fromkeys(
        after.voices, 1
    )
    assert {voice.status for voice in life.registry.all()} == {Status.OK}


WAITING = "waiting"
CUT_OFF = "cut off"
RUNNING = "running"


@pytest.mark.parametrize("moment", [WAITING, CUT_OFF, RUNNING])
def test_an_enrollment_that_was_open_in_the_copy_is_not_paid_for_again(
    life: Life, moment: str
) -> None:
    life.register(imported("anna"))
    life.live(MINUTE)
    life.register(wanted("made"))
    if moment == RUNNING:
        life.live(SECOND)
    elif moment == CUT_OFF:
        (job,) = life.worklist.claim(
            now=life.clock.now(), policy=life.policy, calls=9, polls=0
        ).calls
        life.worklist.intend(job, now=life.clock.now(), policy=life.policy)
    put_back = copied(life)
    life.live(SECOND)
    if moment == CUT_OFF:  # the copy knows nothing of this word either
        life.registry.retry("made", now=life.clock.now())
    life.live(7 * DAY)
    assert life.books().clone == 1
    put_back()
    life.live(HOUR)
    assert life.books().clone == 1
    assert life.voice("anna").status is Status.OK
    assert life.voice("made").status is (Status.OK if moment == RUNNING else Status.UNKNOWN)


def test_it_says_why_it_is_unknown_and_a_retry_makes_it_again(life: Life) -> None:
    life.register(imported("anna"))
    life.live(MINUTE)
    life.register(wanted("made"))
    put_back = copied(life)
    life.live(7 * DAY)
    put_back()
    life.live(MINUTE)
    made = life.voice("made")
    assert (made.status, made.next_at) == (Status.UNKNOWN, None)
    assert made.last_error == (
        "restored: this registry may be an older copy, and the voice may have been requested "
        "already"
    )
    assert [line["name"] for line in life.log.of("enrollment.failed")] == ["made"]
    life.registry.retry("made", now=life.clock.now())
    life.live(HOUR)
    assert life.voice("made").status is Status.OK
    assert life.books().clone == 2


# a registry that is no copy


@pytest.mark.parametrize("off", [MINUTE, HOUR, 2 * DAY])
def test_a_request_that_waited_for_a_daemon_is_made(life: Life, off: timedelta) -> None:
    life.register(imported("anna"))
    life.live(MINUTE)
    life.clock.advance(5 * MINUTE)
    life.register(wanted("made"))
    life.clock.advance(off)
    life.live(HOUR)
    assert life.voice("made").status is Status.OK


def test_a_request_made_while_the_daemon_was_off_for_a_week_is_made(life: Life) -> None:
    life.register(imported("anna"))
    life.live(MINUTE)
    life.clock.advance(6 * DAY)
    life.register(wanted("made"))
    life.clock.advance(DAY)
    life.live(HOUR)
    assert life.voice("made").status is Status.OK
    assert life.books().clone == 1


def test_a_request_that_was_seen_by_a_pass_is_made_after_a_short_rest(life: Life) -> None:
    """So short that nobody put a copy back meanwhile."""
    life.register(imported("anna"))
    life.live(MINUTE)
    life.register(wanted("made"))
    life.clock.advance(HOUR - MINUTE)
    life.live(HOUR)
    assert life.voice("made").status is Status.OK
    assert life.books().clone == 1


def test_a_request_that_waits_for_the_account_is_made_when_that_works(life: Life) -> None:
    """It was begun and refused many times: the registry knows of each."""
    life.gateway._balance_micros = 0  # noqa: SLF001 - the account is filled later
    life.register(wanted("made"))
    life.live(5 * DAY)
    life.live(DAY)
    assert life.voice("made").status is Status.NEW
    life.gateway._balance_micros = None  # noqa: SLF001
    life.live(DAY)
    assert life.voice("made").status is Status.OK
    assert life.books().clone == 1


def test_a_voice_registered_anew_under_an_old_name_is_made(life: Life) -> None:
    life.register(wanted("made"))
    life.live(HOUR)
    life.registry.remove("made", now=life.clock.now())
    life.register(wanted("made"))
    life.live(HOUR)
    assert life.voice("made").status is Status.OK


# the real process


def rest(path: Path) -> None:
    """Have a registry's last pass, and what waits in it, be two hours ago."""
    with closing(sqlite3.connect(path)) as file, file:
        for table, column in (("active", "last_pass_at"), ("voice", "anchored_at")):
            ago = f"strftime('%Y-%m-%d %H:%M:%f', {column}, '-2 hours')"
            file.execute(f"UPDATE {table} SET {column} = {ago}")  # noqa: S608 - our own words


def test_a_daemon_on_a_copy_put_back_pays_for_nothing_again(tmp_path: Path) -> None:
    with SandboxServer(fast_gateway()) as server:
        server.import_voice("id-anna")
        host = Host(tmp_path, server.base_url)
        host.register(imported("anna"))
        with host.run() as daemon:
            daemon.await_event("keepalive.succeeded", name="anna")
            assert daemon.end(signal.SIGTERM) == 0
        host.register(wanted("cloned"))
        host.database.close()
        copy = shutil.copy(host.path, tmp_path / "copy.db")
        rest(Path(copy))
        with host.run() as daemon:
            daemon.await_event("enrollment.succeeded", name="cloned")
            assert daemon.end(signal.SIGTERM) == 0
        host.database.close()
        shutil.copy(copy, host.path)
        with host.run() as daemon:
            daemon.await_event("enrollment.failed", name="cloned", code="restored")
            host.await_passes(3)
            assert daemon.end(signal.SIGTERM) == 0
        assert server.books().clone == 1
        assert all(voice.alive for voice in server.books().voices.values())
    assert host.voice("cloned").status is Status.UNKNOWN
