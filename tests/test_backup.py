"""Copies of the registry: made while it is used, checked, whole or not at all; and put back."""

import os
import shutil
import signal
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from tests.command import CommandLine, sentence
from tests.daemon_support import KEY, LIMIT_S, Host, fast_gateway, until
from tests.support import DAY, HOUR, MINUTE, NOW, Life, imported, wanted
from voicekeeper.core.enums import SCHEMA
from voicekeeper.core.models import Status
from voicekeeper.errors import BackupFailed
from voicekeeper.sandbox import SandboxServer
from voicekeeper.store import backup
from voicekeeper.store import restore as restoring
from voicekeeper.store.backup import KEPT, DailyCopies
from voicekeeper.store.restore import Copy, restore
from voicekeeper.store.sqlite import SqliteDatabase


@pytest.fixture(autouse=True)
def no_wait_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test pulls the plug."""
    for module in (backup, restoring):
        monkeypatch.setattr(module, "sync", lambda _: None)


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path / "voicekeeper.db")


@pytest.fixture
def life(tmp_path: Path) -> Life:
    return Life(tmp_path)


def names(path: Path) -> list[str]:
    with sqlite3.connect(path) as connection:
        found = [name for (name,) in connection.execute("SELECT name FROM voice ORDER BY name")]
    connection.close()
    return found


def files(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


# a copy that a person asks for


def test_a_copy_holds_every_voice_in_one_file_for_its_maker_alone(
    cli: CommandLine, tmp_path: Path
) -> None:
    cli.ready(imported("anna"), imported("ben"))
    to = tmp_path / "elsewhere"
    to.mkdir()
    ended = cli("backup", str(to / "copy.db"))
    assert (ended.code, ended.out) == (0, "")
    assert f"{to}/copy.db is a copy of {cli.path}" in ended.err
    assert files(to) == {"copy.db"}
    assert (to / "copy.db").stat().st_mode & 0o777 == 0o600
    assert names(to / "copy.db") == ["anna", "ben"]


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


def test_a_disk_that_fills_up_leaves_nothing_behind(
    cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli.ready(imported("anna"))
    before = files(tmp_path)

    def full(_copy: Path, _source: Path) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(backup, "fill", full)
    ended = sentence(cli("backup", str(tmp_path / "copy.db")))
    assert ended.endswith("copy.db: the disk is full, or would be; nothing is left of it")
    assert files(tmp_path) == before


def test_a_damaged_registry_leaves_no_copy_that_looks_whole(
    cli: CommandLine, tmp_path: Path
) -> None:
    cli.ready(*(imported(f"voice-{number}") for number in range(200)))
    with cli.path.open("r+b") as file:
        file.seek(cli.path.stat().st_size // 2)
        file.write(b"\xff" * 8192)
    before = files(tmp_path)
    ended = cli("backup", str(tmp_path / "copy.db"))
    assert ended.code == 78
    assert "is damaged" in sentence(ended)
    assert files(tmp_path) == before


def test_a_registry_that_stays_locked_is_copied_later(
    cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "_PATIENCE_S", 0.05)
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


def test_a_copy_does_not_hold_the_api_key(cli: CommandLine, tmp_path: Path) -> None:
    cli.environ["VOICEKEEPER_API_KEY"] = KEY
    cli.ready(imported("anna"))
    cli("backup", str(tmp_path / "copy.db"))
    assert KEY.encode() not in (tmp_path / "copy.db").read_bytes()


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
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voicekeeper.store.sqlite._BUSY_TIMEOUT_S", 0.02)
    life = Life(tmp_path)
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
    copies = DailyCopies(life.database.path)
    with pytest.raises(BackupFailed, match="the disk is full, or would be"):
        copies.make(NOW)
    assert copies.all() == []


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


# put back


def test_after_a_restore_every_voice_is_used_at_once_and_nothing_is_paid_for_again(
    life: Life, tmp_path: Path
) -> None:
    life.register(imported("anna"), wanted("cloned"))
    life.live(HOUR)
    backup.write(life.database.path, tmp_path / "copy.db")
    life.register(imported("later"))
    life.live(HOUR)
    before = life.books()
    life.database.close()
    copy = Copy(tmp_path / "copy.db")
    done = restore(life.database, copy, now=life.clock.now(), policy=life.policy)
    assert (done.voices, [each.name for each in done.missing], done.unknown) == (2, ["later"], [])
    assert (done.changed, done.removed) == ([], [])
    assert done.replaced is not None
    assert names(done.replaced) == ["anna", "cloned", "later"]
    life.live(HOUR)
    after = life.books()
    assert after.clone == 1
    used = {v: after.voices[v].uses - before.voices[v].uses for v in after.voices}
    assert used == {"id-anna": 1, "id-later": 0, life.voice("cloned").voice_id: 1}
    assert [voice.status for voice in life.registry.all()] == [Status.OK, Status.OK]


def test_what_was_asked_for_before_a_pass_of_either_registry_is_unknown_after_a_restore(
    life: Life, tmp_path: Path
) -> None:
    life.register(imported("anna"), wanted("waiting", prefix="waiting"))
    life.registry.pause("waiting", now=life.clock.now())
    life.live(HOUR)
    life.clock.advance(HOUR)
    life.register(wanted("begun", prefix="begun"))  # no pass of the copy is later
    backup.write(life.database.path, tmp_path / "copy.db")
    life.live(HOUR)
    life.database.close()
    copy = Copy(tmp_path / "copy.db")
    done = restore(life.database, copy, now=life.clock.now(), policy=life.policy)
    assert done.unknown == ["begun", "waiting"]
    assert [(each.name, each.voice_id is None) for each in done.changed] == [("begun", False)]
    life.live(HOUR)
    assert {life.voice(name).status for name in done.unknown} == {Status.UNKNOWN}
    assert len(life.upstream.submitted("begun")) == 1
    life.registry.resume("waiting", now=life.clock.now(), policy=life.policy)
    life.registry.retry("waiting", now=life.clock.now())
    life.live(HOUR)
    assert life.voice("waiting").status is Status.OK


@pytest.mark.parametrize("beside", ["nothing", "another registry"])
def test_on_another_machine_what_waits_in_the_copy_is_left_to_a_person(
    life: Life, tmp_path: Path, beside: str
) -> None:
    life.register(imported("anna"))
    life.live(MINUTE)
    life.register(wanted("waiting"))
    backup.write(life.database.path, tmp_path / "copy.db")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    there = Life(elsewhere, gateway=life.gateway)
    there.clock = life.clock
    there.upstream._clock = life.clock  # noqa: SLF001 - one world, two machines
    there.keeper = there.new_keeper()
    there.database.close()
    if beside == "nothing":
        for path in elsewhere.iterdir():
            path.unlink()
    life.live(timedelta(seconds=30))  # it is made on the old machine
    made = life.books().clone
    copy = Copy(tmp_path / "copy.db")
    done = restore(there.database, copy, now=life.clock.now(), policy=life.policy)
    assert (done.unknown, done.removed) == (["waiting"], [])
    there.live(HOUR)
    assert there.voice("waiting").status is Status.UNKNOWN
    assert "may be an older copy" in (there.voice("waiting").last_error or "")
    assert there.voice("anna").status is Status.OK
    assert life.books().clone == made


def test_on_a_new_machine_what_was_asked_for_while_no_daemon_ran_is_made(
    life: Life, tmp_path: Path
) -> None:
    life.register(imported("anna"))
    life.live(HOUR)
    life.clock.advance(HOUR)
    life.register(wanted("waiting"))
    backup.write(life.database.path, tmp_path / "copy.db")
    life.database.close()
    life.database.path.unlink()
    copy = Copy(tmp_path / "copy.db")
    done = restore(life.database, copy, now=life.clock.now(), policy=life.policy)
    assert done.unknown == []
    life.live(HOUR)
    assert (life.voice("waiting").status, life.books().clone) == (Status.OK, 1)


def test_a_restore_names_what_the_replaced_registry_knew_and_the_copy_does_not(
    cli: CommandLine, tmp_path: Path
) -> None:
    cli.ready(imported("anna"), imported("berta"), imported("clara"))
    copy = tmp_path / "copy.db"
    cli("backup", str(copy))
    cli("remove", "berta")
    cli("remove", "clara")
    cli("add", "id-clara-2", "--name", "clara")
    cli("add", "id-new", "--name", "new-voice")
    cli.ready(wanted("asked"))
    ended = cli("restore", str(copy))
    assert ended.code == 0
    lines, add = ended.err.splitlines(), "voicekeeper add"
    assert lines[1:-1] == [
        "note: the copy does not know 2 voices of the registry that it replaced:",
        "  # asked had no voice_id yet",
        f"  {add} id-new --name new-voice --model cosyvoice-3-flash",
        "note: 1 voice had another voice_id in the registry that was replaced:",
        f"  voicekeeper remove clara && {add} id-clara-2 --name clara --model cosyvoice-3-flash",
        "note: 1 voice of the copy had been removed since, and will be used again:",
        "  voicekeeper remove berta",
    ]


def test_of_many_voices_a_restore_names_twenty_and_where_the_others_stand(
    cli: CommandLine, tmp_path: Path
) -> None:
    cli.ready(imported("anna"))
    copy = tmp_path / "copy.db"
    cli("backup", str(copy))
    cli.ready(*(imported(f"v{number:02}") for number in range(25)))
    lines = cli("restore", str(copy)).err.splitlines()
    assert sum(line.startswith("  voicekeeper add id-v") for line in lines) == 20
    replaced = next(path for path in tmp_path.iterdir() if ".replaced-" in path.name)
    assert lines[-2] == (
        f"  and 5 more; 'VOICEKEEPER_DATABASE__URL=sqlite:///{replaced} voicekeeper export' "
        "writes out what was replaced."
    )


def spoilt(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"\xff" * 8192)


def foreign(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE notes (text)")
    connection.close()


def newer(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()


@pytest.mark.parametrize(
    ("spoil", "code", "words"),
    [
        (lambda path: path.unlink(), 1, "to restore"),
        (lambda path: path.write_text("no database, but some text of a person"), 78, "damaged"),
        (lambda path: path.write_bytes(b""), 78, "is damaged or empty"),
        (spoilt, 78, "is damaged"),
        (foreign, 78, "a database of another program; nothing was changed"),
        (newer, 78, "was written by a newer voicekeeper (schema 9999"),
    ],
)
def test_a_copy_that_is_no_good_is_refused_before_anything_is_touched(
    cli: CommandLine, tmp_path: Path, spoil: Callable[[Path], None], code: int, words: str
) -> None:
    cli.ready(*(imported(f"voice-{number}") for number in range(200)))
    copy = tmp_path / "copy.db"
    cli("backup", str(copy))
    spoil(copy)
    before = cli.path.read_bytes()
    ended = cli("restore", str(copy))
    assert ended.code == code
    assert words in sentence(ended)
    assert str(copy) in ended.err
    assert cli.path.read_bytes() == before
    kept = {"voicekeeper.db", "voicekeeper.db.lock", "config.toml"}
    assert files(tmp_path) - {"copy.db"} <= kept


def test_a_restore_needs_no_registry_and_mends_a_damaged_one(
    cli: CommandLine, tmp_path: Path
) -> None:
    cli.ready(imported("anna"))
    copy = tmp_path / "copy.db"
    cli("backup", str(copy))
    cli.path.write_text("this was a registry")
    ended = cli("restore", str(copy))
    assert ended.code == 0
    replaced = next(path for path in tmp_path.iterdir() if ".replaced-" in path.name)
    assert replaced.read_text() == "this was a registry"
    assert f"What was there before is kept as {replaced}." in ended.err
    cli.path.unlink()
    ended = cli("restore", str(copy))
    assert (ended.code, cli.names()) == (0, ["anna"])
    assert "is kept" not in ended.err
    missing = cli("restore", str(copy), environ={"VOICEKEEPER_DATABASE__URL": "sqlite:////no/v.db"})
    assert (missing.code, "the directory of /no/v.db" in missing.err) == (78, True)


def test_a_copy_cannot_be_restored_onto_itself(cli: CommandLine) -> None:
    cli.ready(imported("anna"))
    assert "is the registry itself" in sentence(cli("restore", str(cli.path)))


def test_a_restore_waits_for_no_daemon_but_is_refused_with_75(tmp_path: Path) -> None:
    with SandboxServer(fast_gateway()) as server:
        server.import_voice("id-anna")
        host = Host(tmp_path, server.base_url)
        host.register(imported("anna"))
        assert host.command("backup", str(tmp_path / "copy.db")) == 0
        with host.run() as daemon:
            daemon.await_event("keepalive.succeeded", name="anna")
            assert host.command("restore", str(tmp_path / "copy.db")) == 75
            daemon.await_event("keepalive.succeeded", name="anna", count=2)
            assert daemon.end(signal.SIGTERM) == 0
        used = server.books().voices["id-anna"].uses
        host.database.close()
        assert host.command("restore", str(tmp_path / "copy.db")) == 0
        with host.run() as daemon:
            until(lambda: server.books().voices["id-anna"].uses > used, "a use at once")
            assert daemon.end(signal.SIGTERM) == 0


@pytest.mark.host
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take on another user")
def test_root_restores_for_the_owner_of_the_registry(
    cli: CommandLine, tmp_path: Path, owned: Path
) -> None:
    cli.ready(imported("anna"))
    state, mine = owned, tmp_path / "root"
    mine.mkdir(mode=0o700)
    copy = mine / "copy.db"
    assert cli("backup", str(copy)).code == 0
    path = state / "voicekeeper.db"
    there = {"VOICEKEEPER_DATABASE__URL": f"sqlite:///{path}"}
    for _ in range(2):
        assert cli.process("restore", str(copy), environ=there).code == 0
        assert {file.stat().st_uid for file in state.iterdir()} == {65_534}
        assert path.stat().st_mode & 0o777 == 0o600
    made = cli.process("backup", str(mine / "again.db"), environ=there)
    assert (made.code, (mine / "again.db").stat().st_uid) == (0, 0)
    assert {file.stat().st_uid for file in state.iterdir()} == {65_534}


def test_a_copy_of_an_older_schema_is_migrated_before_it_takes_its_place(
    cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli.ready(imported("anna"))
    copy = tmp_path / "copy.db"
    cli("backup", str(copy))
    with sqlite3.connect(copy) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0004'")
    connection.close()
    migrated = []

    def migrate(database: SqliteDatabase) -> None:
        migrated.append(database.path.parent)
        with database.writing() as session:
            session.connection().exec_driver_sql(
                f"UPDATE alembic_version SET version_num = '{SCHEMA}'"  # noqa: S608
            )

    monkeypatch.setattr(SqliteDatabase, "_migrate", migrate)
    assert cli("restore", str(copy)).code == 0
    assert migrated == [cli.path.parent]
    assert cli.names() == ["anna"]
