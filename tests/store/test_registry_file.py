"""The registry's file under the real daemon: shared, replaced, or where files cannot be used."""

import asyncio
import errno
import os
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.command import CommandLine, sentence
from tests.daemon_support import Daemon, Host, fast_gateway
from tests.support import NOW, Life, imported
from voicekeeper.errors import DatabaseReplaced, VoicekeeperError
from voicekeeper.sandbox import SandboxServer
from voicekeeper.store.sqlite import WAL_IS_SAFE

pytestmark = pytest.mark.host

Mount = Callable[..., None]


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    with SandboxServer(fast_gateway()) as server:
        server.import_voice("id-anna")
        yield server


@pytest.fixture
def host(tmp_path: Path, server: SandboxServer) -> Host:
    state = tmp_path / "state"
    state.mkdir()
    host = Host(state, server.base_url)
    host.register(imported("anna"))
    host.database.close()
    return host


@pytest.fixture
def mount() -> Iterator[Mount]:
    """Give what mounts something on a path, until the test is over; only root can."""
    mounted: list[Path] = []

    def mount(*options: str, on: Path) -> None:
        done = subprocess.run(["mount", *options, on], capture_output=True, check=False)
        if os.geteuid() != 0 or done.returncode:
            pytest.skip("needs a root that may mount")
        if on not in mounted:
            mounted.append(on)

    yield mount
    for path in reversed(mounted):
        subprocess.run(["umount", "--lazy", path], check=True)


@pytest.fixture(scope="session")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, str]]:
    """Give the environment of a process whose calls of a kind fail."""
    library = tmp_path_factory.mktemp("faulty") / "host.so"
    source = Path(__file__).parents[1] / "faulty_host.c"
    if shutil.which("gcc") is None:
        pytest.skip("needs a C compiler")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return lambda faults: {"LD_PRELOAD": str(library), "FAULTY_HOST": faults}


def refusal(daemon: Daemon, code: int) -> str:
    """Return the one sentence of a daemon that does not begin."""
    assert daemon.end() == code, (daemon.lines, daemon.words)
    assert daemon.told("daemon.ready") == []
    (words,) = daemon.words
    return words


# shared


@pytest.mark.skipif(WAL_IS_SAFE, reason="this SQLite uses WAL itself")
def test_a_file_that_another_program_has_open_in_wal_mode_is_used_and_a_warning_says_so(
    host: Host,
) -> None:
    with closing(sqlite3.connect(host.path, isolation_level=None)) as browser:
        browser.execute("PRAGMA journal_mode = WAL")
        browser.execute("SELECT * FROM voice").fetchall()
        with host.run() as daemon:
            daemon.await_event("keepalive.succeeded", name="anna")
            (told,) = daemon.told("registry.shared", level="warning")
            assert told["place"] == str(host.path)
            assert told["error"].startswith("another program, such as a browser of databases")
            assert daemon.end(signal.SIGTERM) == 0


# replaced


def replaced(path: Path) -> None:
    copy = path.with_name("copy.db")
    shutil.copyfile(path, copy)
    copy.replace(path)


def removed(path: Path) -> None:
    path.unlink()


def folder_replaced(path: Path) -> None:
    path.parent.rename(path.parent.with_name("before"))
    shutil.copytree(path.parent.with_name("before"), path.parent)


def lock_removed(path: Path) -> None:
    path.with_name(f"{path.name}.lock").unlink()


CHANGES = [
    (replaced, "voicekeeper.db was replaced by another file while it was open"),
    (removed, "voicekeeper.db was removed or renamed while it was open"),
    (folder_replaced, "was replaced by another file while it was open"),
    (lock_removed, "voicekeeper.db.lock was removed or renamed while it was open"),
]


def test_a_registry_that_is_removed_gets_no_empty_one_in_its_place(host: Host) -> None:
    with host.run() as daemon:
        daemon.await_event("backup.completed")
        removed(host.path)
        assert daemon.end() == 75, daemon.lines
    for command, code in (("run", 78), ("status", 3), ("list", 78)):
        with host.run_command(command) as again:
            assert again.end() == code
            told = " ".join([*again.lines, *again.words])
            assert f"{host.path} is gone; nothing was changed; 'voicekeeper restore FILE'" in told
    assert not host.path.exists()
    (copy,) = host.path.with_name("voicekeeper.db.backups").iterdir()
    assert host.command("restore", str(copy)) == 0
    with host.run() as daemon:
        daemon.await_event("keepalive.succeeded", name="anna")
        assert daemon.end(signal.SIGTERM) == 0


def test_a_run_that_makes_an_empty_registry_says_so(host: Host) -> None:
    for made in (True, False):
        if made:
            removed(host.path)
        with host.run("--once") as run:
            assert run.end() == 0
        told = [line["place"] for line in run.told("registry.created", level="warning")]
        assert told == [str(host.path)] * made


@pytest.mark.parametrize(("change", "told"), CHANGES)
def test_a_pass_fails_where_the_file_or_its_lock_is_another_one(
    tmp_path: Path, change: Callable[[Path], None], told: str
) -> None:
    (tmp_path / "state").mkdir()
    life = Life(tmp_path / "state")
    with life.database.held(life.clock.now()):
        change(life.database.path)
        with pytest.raises(DatabaseReplaced, match=told):
            asyncio.run(life.keeper.sweep())


def test_a_command_that_writes_where_the_file_was_replaced_says_so(life: Life) -> None:
    life.register(imported("anna"))
    replaced(life.database.path)
    with pytest.raises(Exception, match="was replaced or removed while it was open"):
        life.registry.remove("anna", now=life.clock.now())


# a second name


def test_by_a_link_a_daemon_finds_the_lock_of_the_first(host: Host) -> None:
    link = host.path.parent.with_name("link.db")
    link.symlink_to(host.path)
    with host.run() as daemon:
        daemon.await_event("daemon.ready")
        with host.run(VOICEKEEPER_DATABASE__URL=f"sqlite:///{link}") as second:
            assert f"another voicekeeper daemon holds {host.path}: pid" in refusal(second, 75)
    assert [path.name for path in link.parent.glob("link.db*")] == ["link.db"]


def test_a_file_with_two_names_is_refused(host: Host) -> None:
    os.link(host.path, host.path.parent / "second.db")
    with host.run() as daemon:
        words = refusal(daemon, 78)
    assert words.startswith(f"voicekeeper: {host.path} has a second name (a hard link)")
    assert f"'find / -xdev -samefile {host.path}' tells which: remove one of the two" in words
    assert sentence(CommandLine(host.path)("keep", "anna")) == words


def test_what_was_left_by_a_start_that_was_killed_as_it_made_the_file_is_no_second_name(
    host: Host,
) -> None:
    left = host.path.with_name(f".{host.path.name}.abcd_123")
    os.link(host.path, left)
    host.database.prepare(upgrade=False)
    assert not left.exists()


def test_a_file_that_is_mounted_without_its_folder_is_refused(host: Host, mount: Mount) -> None:
    there = host.path.parent.with_name("a folder") / host.path.name
    there.parent.mkdir()
    there.touch()
    mount("--bind", str(host.path), on=there)
    with host.run(VOICEKEEPER_DATABASE__URL=f"sqlite:///{there}") as daemon:
        assert f"{there} is mounted without its folder" in refusal(daemon, 78)


# file systems


def test_without_hard_links_a_registry_is_made_and_kept(
    host: Host, faulty: Callable[[str], dict[str, str]]
) -> None:
    host.path.unlink()
    with host.run_command("add", "id-anna", "--name", "anna", **faulty("links")) as add:
        assert add.end() == 0, add.words
    assert sorted(path.name for path in host.path.parent.iterdir()) == [
        "key",
        "voicekeeper.db",
    ]
    with host.run_command("run", "--once", **faulty("links")) as run:
        assert run.end() == 0
        assert run.told("keepalive.succeeded", name="anna")


def test_without_locks_it_is_refused_and_the_file_system_named(
    host: Host, faulty: Callable[[str], dict[str, str]]
) -> None:
    before = host.path.read_bytes()
    with host.run_command("run", **faulty("locks")) as daemon:
        words = refusal(daemon, 78)
    assert words.startswith(f"voicekeeper: the file system of {host.path} has no locks")
    with host.run_command("keep", "anna", **faulty("locks")) as keep:
        assert keep.end() == 78
        (words,) = keep.words
    assert words.startswith(f"voicekeeper: the file system of {host.path} has no locks")
    assert host.path.read_bytes() == before


def test_a_mount_that_is_read_only_is_told_as_one(host: Host, mount: Mount) -> None:
    state = host.path.parent
    mount("--bind", str(state), on=state)
    mount("-o", "remount,bind,ro", on=state)
    with host.run() as daemon:
        words = refusal(daemon, 78)
    told = "is on a file system that is read-only here; mount it to be written"
    assert words.startswith(f"voicekeeper: {host.path}.lock {told}")
    cli = CommandLine(state.with_name("other.db"))
    there = {"VOICEKEEPER_DATABASE__URL": f"sqlite:///{host.path}"}
    assert cli("list", environ=there).code == 0
    ended = cli("keep", "anna", environ=there)
    assert (ended.code, told in sentence(ended)) == (78, True)
    none = {"VOICEKEEPER_DATABASE__URL": f"sqlite:///{state}/new.db"}
    assert told in sentence(cli("add", "id-anna", "--name", "anna", environ=none))


def test_a_quota_that_is_used_up_is_waited_for_like_a_full_disk(
    host: Host, faulty: Callable[[str], dict[str, str]]
) -> None:
    with host.run_command("run", **faulty("quota")) as daemon:
        told = daemon.await_event("pass.failed")["error"]
        assert told == (
            f"the quota on the disk of {host.path} is used up; make room, and it goes on"
        )
        assert daemon.end(signal.SIGTERM) == 0
        assert daemon.words == []


@pytest.mark.parametrize("error", [errno.EMFILE, errno.EIO, errno.ESTALE])
def test_a_lock_that_cannot_be_opened_for_now_is_no_reason_to_give_up_for_good(
    host: Host, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    def fail(*_: object) -> int:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr("voicekeeper.store.files.open_plain", fail)
    with pytest.raises(VoicekeeperError) as refused, host.database.held(NOW):
        pass
    assert refused.value.exit_code == 1  # which a service manager starts again
    words = os.strerror(error).lower()
    assert str(refused.value).startswith(f"{host.path}.lock: {words}; try again, and see to")


def test_a_disk_without_room_for_the_lock_is_waited_for_by_the_next_start(
    host: Host, mount: Mount
) -> None:
    disk = host.path.parent.with_name("disk")
    disk.mkdir()
    mount("-t", "tmpfs", "-o", "nr_inodes=2,mode=700", "none", on=disk)
    (disk / "rest").touch()
    full = {"VOICEKEEPER_DATABASE__URL": f"sqlite:///{disk}/voicekeeper.db"}
    with host.run_command("run", **full) as daemon:
        assert f"the disk of {disk}/voicekeeper.db.lock is full" in refusal(daemon, 1)


def test_a_daemon_whose_file_is_replaced_ends_to_be_started_anew(host: Host) -> None:
    with host.run() as daemon:
        daemon.await_event("daemon.ready")
        replaced(host.path)
        assert daemon.end() == 75, daemon.lines
    told = f"{host.path} was replaced by another file while it was open"
    assert daemon.told("pass.failed", level="error")[-1]["error"].startswith(told)
    assert daemon.words[-1].startswith(f"voicekeeper: {told}")
