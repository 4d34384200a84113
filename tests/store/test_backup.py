"""Copies of the registry: made while it is used, checked, whole or not at all."""

import shutil
import signal
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from tests.command import CommandLine, sentence
from tests.daemon_support import KEY, LIMIT_S, Host, fast_gateway
from tests.support import DAY, HOUR, MINUTE, NOW, Life, imported
from voicekeeper.errors import BackupFailed
from voicekeeper.sandbox import SandboxServer
from voicekeeper.store import backup
from voicekeeper.store.backup import KEPT, DailyCopies


def names(path: Path) -> list[str]:
    with sqlite3.connect(path) as connection:
        found = [name for (name,) in connection.execute("SELECT name FROM voice ORDER BY name")]
    connection.close()
    return found


def files(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


# a copy that a person asks for


def test_a_copy_holds_every_voice_and_no_key_in_one_file_for_its_maker_alone(
    cli: CommandLine, tmp_path: Path
) -> None:
    cli.environ["VOICEKEEPER_API_KEY"] = KEY
    cli.ready(imported("anna"), imported("ben"))
    to = tmp_path / "elsewhere"
    to.mkdir()
    ended = cli("backup", str(to / "copy.db"))
    assert (ended.code, ended.out) == (0, "")
    assert f"{to}/copy.db is a copy of {cli.path}" in ended.err
    assert files(to) == {"copy.db"}
    assert (to / "copy.db").stat().st_mode & 0o777 == 0o600
    assert names(to / "copy.db") == ["anna", "ben"]
    assert KEY.encode() not in (to / "copy.db").read_bytes()


def test_a_copy_takes_the_place_of_nothing(cli: CommandLine, tmp_path: Path) -> None:
    cli.ready(imported("anna"))
    there = tmp_path / "copy.db"
    there.write_text("mine")
    assert "exists already; name another file" in sentence(cli("backup", str(there)))
    assert there.read_text() == "mine"
    there.unlink()
    there.symlink_to(tmp_path / "nowhere")
    assert "exists already" in sentence(cli("backup", str(there)))
    assert "is a directory; name the file in it" in sentence(cli("backup", str(tmp_path)))
    missing = sentence(cli("backup", str(tmp_path / "no" / "copy.db")))
    assert f"the directory of {tmp_path}/no/copy.db does not exist" in missing
    cli.path.unlink()
    assert "there is no registry" in sentence(cli("backup", str(tmp_path / "new.db")))


@pytest.mark.parametrize("fault", ["a full disk", "a damaged registry"])
def test_a_copy_that_fails_leaves_nothing_behind(
    cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    cli.ready(*(imported(f"voice-{number}") for number in range(200)))
    before = files(tmp_path)

    def full(_copy: Path, _source: Path) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    if fault == "a full disk":
        monkeypatch.setattr(backup, "fill", full)
        code, words = 1, "copy.db: the disk is full, or would be; nothing is left of it"
    else:
        code, words = 78, "is damaged, so no copy of it was kept"
        with cli.path.open("r+b") as file:
            file.seek(cli.path.stat().st_size // 2)
            file.write(b"\xff" * 8192)
    ended = cli("backup", str(tmp_path / "copy.db"))
    assert ended.code == code
    assert words in sentence(ended)
    assert files(tmp_path) == before


def test_a_registry_that_stays_locked_is_copied_later(
    cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "_BUSY_TIMEOUT_S", 0.05)
    cli.ready(imported("anna"))
    with closing(sqlite3.connect(cli.path, isolation_level=None)) as another:
        another.execute("BEGIN EXCLUSIVE")
        with pytest.raises(BackupFailed, match="is busy with another command; try again"):
            backup.write(cli.path, tmp_path / "copy.db")
    assert not (tmp_path / "copy.db").exists()


def test_a_copy_made_in_the_middle_of_writing_is_one_state_of_the_registry(
    cli: CommandLine, tmp_path: Path
) -> None:
    """Each transaction writes two voices: no copy may hold one of them alone."""
    cli.ready()
    done = threading.Event()

    def write() -> None:
        for number in range(12):
            cli.ready(imported(f"{number}-a"), imported(f"{number}-b"))
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    made = 0
    while not done.is_set() or made < 3:
        backup.write(cli.path, tmp_path / f"copy-{made}.db")
        made += 1
    writer.join()
    counts = [len(names(tmp_path / f"copy-{number}.db")) for number in range(made)]
    assert [count for count in counts if count % 2] == []
    assert counts == sorted(counts)


# the daily ones


def test_a_copy_a_day_is_made_and_fourteen_are_kept(life: Life) -> None:
    life.register(imported("anna"))
    copies = DailyCopies(life.database.path)
    (copies.directory).mkdir()
    (copies.directory / "mine.db").write_text("of a person")
    (copies.directory / ".2026-05-01.db.abc").write_text("of a process that was killed")
    for day in range(KEPT + 3):
        made = copies.make(NOW + day * DAY)
        assert made is not None
        assert made.stat().st_mode & 0o777 == 0o600
        assert copies.make(NOW + day * DAY + 11 * HOUR) is None
    kept = [f"{(NOW + day * DAY).date()}.db" for day in range(3, KEPT + 3)]
    assert files(copies.directory) == {"mine.db", *kept}
    assert names(copies.all()[-1]) == ["anna"]


def test_copies_that_a_wrong_clock_dated_ahead_are_let_go_before_those_of_today(
    life: Life,
) -> None:
    copies = DailyCopies(life.database.path)
    ahead = [NOW + (100 + day) * DAY for day in range(KEPT)]
    for now in ahead:
        copies.make(now)
    for day in range(3):
        made = copies.make(NOW + day * DAY)
        assert made is not None
        assert made.exists()
    days = [now.date() for now in (*(NOW + day * DAY for day in range(3)), *ahead[3:])]
    assert files(copies.directory) == {f"{day}.db" for day in days}


def test_a_pass_waits_for_a_daily_copy_that_takes_long_and_does_not_fail(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voicekeeper.store.sqlite._BUSY_TIMEOUT_S", 0.02)
    life.register(imported("anna"))
    reads, over = threading.Event(), threading.Event()
    real = backup.fill

    def slow(copy: Path, registry: Path) -> None:
        with closing(sqlite3.connect(registry, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM voice").fetchone()
            reads.set()
            over.wait(0.3)
        real(copy, registry)

    monkeypatch.setattr(backup, "fill", slow)
    copies = DailyCopies(life.database.path, turn=life.database.alone)
    copying = threading.Thread(target=copies.make, args=(NOW,), daemon=True)
    copying.start()
    assert reads.wait(LIMIT_S)
    life.live(MINUTE)
    over.set()
    copying.join(LIMIT_S)
    assert life.log.of("pass.failed") == []
    assert life.log.of("keepalive.succeeded") != []
    assert [path.name for path in copies.all()] == ["2026-05-01.db"]


def test_a_daily_copy_leaves_the_registry_its_room(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = shutil.disk_usage(life.database.path.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: room._replace(free=1_000_000))
    with pytest.raises(BackupFailed, match="the disk is full, or would be"):
        DailyCopies(life.database.path).make(NOW)
    assert DailyCopies(life.database.path).all() == []


def test_the_daemon_makes_the_days_copy_and_goes_on_where_it_cannot(tmp_path: Path) -> None:
    with SandboxServer(fast_gateway()) as server:
        server.import_voice("id-anna")
        host = Host(tmp_path, server.base_url)
        host.register(imported("anna"))
        copies = DailyCopies(host.path)
        copies.directory.write_text("in the way")
        with host.run() as daemon:
            daemon.await_event("backup.failed")
            daemon.await_event("keepalive.succeeded", name="anna")
            assert daemon.end(signal.SIGTERM) == 0
        copies.directory.unlink()
        with host.run() as daemon:
            made = daemon.await_event("backup.completed")
            assert daemon.end(signal.SIGTERM) == 0
    assert [str(path) for path in copies.all()] == [made["file"]]
    assert names(copies.all()[0]) == ["anna"]
