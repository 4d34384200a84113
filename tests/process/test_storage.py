"""Storage that fails under the real daemon: it says what is wrong, and goes on where it can."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.command import newer
from tests.daemon_support import Host
from tests.support import MINUTE, Life, driver_of, imported, wanted
from voicekeeper.core.models import Status
from voicekeeper.errors import DatabaseFull
from voicekeeper.sandbox import SandboxServer

pytestmark = pytest.mark.host


# a file that is no registry any more


def torn(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def overwritten(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"\xff" * 8192)


def emptied(path: Path) -> None:
    os.truncate(path, 0)


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (torn, "is damaged"),
        (overwritten, "is damaged"),
        (emptied, "is empty: the registry is gone"),
        (directory, "is a directory, not a database file"),
        (newer, "was written by a newer voicekeeper (schema 9999"),
    ],
)
def test_a_daemon_that_finds_no_good_registry_ends_with_78_and_changes_nothing(
    host: Host, server: SandboxServer, spoil: Callable[[Path], None], told: str
) -> None:
    host.register(*(imported(f"voice-{number}") for number in range(100)))
    host.database.close()
    spoil(host.path)
    before = host.path.is_file() and host.path.read_bytes()
    with host.run() as daemon:
        assert daemon.end() == 78
    (sentence,) = daemon.words
    assert sentence.startswith(f"voicekeeper: {host.path} {told}")
    assert before == (host.path.is_file() and host.path.read_bytes())
    assert daemon.lines == []
    assert server.books().speech == 0


# a disk that is full


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a disk of half a megabyte; only root can make one."""
    where = tmp_path / "disk"
    where.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k,mode=700", "tmpfs", str(where)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs a root that may mount")
    yield where
    subprocess.run(["umount", "--lazy", str(where)], check=True)


def fill(disk: Path) -> Path:
    """Take all the room there is, to the last byte."""
    rest = disk / "rest"
    with rest.open("wb", buffering=0) as file:
        for size in (4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return rest


def test_a_daemon_on_a_full_disk_goes_on_by_itself_when_there_is_room(
    small_disk: Path, server: SandboxServer
) -> None:
    host = Host(small_disk, server.base_url)
    server.import_voice("id-anna")
    host.register(imported("anna"), wanted("berta"))
    rest = fill(small_disk)
    with host.run() as daemon:
        told = daemon.await_event("pass.failed")
        assert "is full; nothing was changed; make room, and it goes on" in told["error"]
        rest.unlink()
        daemon.await_event("enrollment.succeeded", name="berta")
        daemon.await_event("keepalive.succeeded", name="anna")
        rest = fill(small_disk)
        daemon.await_event("pass.failed", count=2)
        rest.unlink()
        daemon.await_event("keepalive.succeeded", name="anna", count=2)
        assert daemon.end(signal.SIGTERM) == 0
    assert all(voice.alive for voice in server.books().voices.values())
    assert server.books().clone == 1


def limit_pages(life: Life, count: int) -> None:
    with life.database.writing() as session:
        driver_of(session).execute(f"PRAGMA max_page_count = {count}")


def test_a_pass_that_finds_the_disk_full_makes_no_call_and_the_next_one_makes_all(
    tmp_path: Path,
) -> None:
    """By SQLite's own limit, for machines where nobody may mount a disk."""
    names = [f"v{number}" for number in range(200)]
    life = Life(tmp_path, max_in_flight=400, requests_per_second=1000.0)
    life.register(*map(imported, names))
    limit_pages(life, 1)
    for _ in range(2):
        with pytest.raises(DatabaseFull):
            asyncio.run(life.keeper.sweep())
    limit_pages(life, 2**31)
    assert life.upstream.calls == []
    life.live(MINUTE)
    assert life.books().speech == len(names)
    assert {voice.status for voice in life.registry.all()} == {Status.OK}
