"""The file: how it is made, what is refused, and who may have it."""

import multiprocessing
import os
import random
import socket
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session

from tests.command import newer, overwritten
from tests.support import NOW, database, imported, policy
from voicekeeper.core.enums import SCHEMA
from voicekeeper.errors import (
    DatabaseDamaged,
    DatabaseFull,
    DatabaseHeld,
    DatabaseUnusable,
)
from voicekeeper.store import sqlite as module
from voicekeeper.store.registry import Registry
from voicekeeper.store.sqlite import WAL_IS_SAFE, SqliteDatabase

NOBODY = 65534
LIMIT_S = 30
fork = multiprocessing.get_context("fork")


def execute(path: Path, *statements: str) -> None:
    """Write to a file past voicekeeper."""
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def run(session: Session, statement: str) -> object:
    return session.execute(sa.text(statement)).scalar()


@contextmanager
def as_another_user() -> Iterator[None]:
    """Be somebody whom a mode can keep out; a test runner may be root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


@pytest.fixture
def made(tmp_path: Path) -> SqliteDatabase:
    return database(tmp_path / "a.db")


def test_opening_a_database_touches_nothing(tmp_path: Path) -> None:
    made = SqliteDatabase(tmp_path / "a.db")
    assert not made.exists()
    made.close()
    assert list(tmp_path.iterdir()) == []


def test_prepare_makes_a_file_that_only_its_owner_reads(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        SqliteDatabase(tmp_path / "a.db").prepare(upgrade=False)
    finally:
        os.umask(before)
    assert (tmp_path / "a.db").stat().st_mode & 0o777 == 0o600


def test_prepare_a_second_time_changes_nothing(made: SqliteDatabase, tmp_path: Path) -> None:
    Registry(made).register([imported("anna")], now=NOW, policy=policy())
    before = files(tmp_path)
    made.prepare(upgrade=True)
    made.prepare(upgrade=False)
    assert files(tmp_path) == before
    assert made.schema() == SCHEMA


def test_the_journal_is_wal_only_where_sqlite_is_free_of_its_bug(tmp_path: Path) -> None:
    with database(tmp_path / "a.db").reading() as session:
        assert run(session, "PRAGMA journal_mode") == ("wal" if WAL_IS_SAFE else "delete")
    assert (sqlite3.sqlite_version_info >= (3, 51, 3)) == WAL_IS_SAFE


def test_a_database_moved_to_a_host_with_another_sqlite_gets_its_journal_mode(
    made: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    for safe, mode in ((True, "wal"), (False, "delete")):
        monkeypatch.setattr(module, "WAL_IS_SAFE", safe)
        made.prepare(upgrade=True)
        made.close()
        with made.reading() as session:
            assert run(session, "PRAGMA journal_mode") == mode


def test_a_file_that_another_program_has_open_in_wal_mode_is_used_in_that(
    made: SqliteDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAL_IS_SAFE", False)
    made.close()
    execute(tmp_path / "a.db", "PRAGMA journal_mode = WAL")
    other = sqlite3.connect(tmp_path / "a.db")
    other.execute("SELECT * FROM voice")
    made.prepare(upgrade=True)
    assert made.is_shared_in_wal
    Registry(made).register([imported("anna")], now=NOW, policy=policy())
    made.close()
    other.close()
    made.prepare(upgrade=True)
    assert not made.is_shared_in_wal
    assert [voice.name for voice in Registry(made).all()] == ["anna"]


def test_every_connection_checks_references_and_writes_through(tmp_path: Path) -> None:
    made = SqliteDatabase(tmp_path / "a.db")
    made.prepare(upgrade=True)
    for using in (made.reading, made.writing):
        with using() as session:
            assert run(session, "PRAGMA foreign_keys") == 1
            assert run(session, "PRAGMA synchronous") == 2  # FULL


VOICE = (
    "INSERT INTO voice (name, model, voice_id, origin, status, paused, created_at, anchored_at,"
    " failures) VALUES ({name}, 'm', {voice_id}, {origin}, {status}, 0, '2026', '2026', {failures})"
)
TASK = (
    "INSERT INTO task (voice_pk, model, kind, state, sent_at, polls, task_id)"
    " VALUES ({voice_pk}, 'm', {kind}, {state}, '2026', {polls}, 'task_1')"
)
FINE_VOICE = {
    "name": "'a'",
    "voice_id": "'x'",
    "origin": "'clone'",
    "status": "'OK'",
    "failures": "0",
}
FINE_TASK = {"voice_pk": "NULL", "kind": "'control'", "state": "'intent'", "polls": "0"}


@pytest.mark.parametrize(
    ("row", "fine", "wrong"),
    [
        (VOICE, FINE_VOICE, {"name": "''"}),
        (VOICE, FINE_VOICE, {"name": f"'{'n' * 65}'"}),
        (VOICE, FINE_VOICE, {"origin": "'bought'"}),
        (VOICE, FINE_VOICE, {"status": "'ok'"}),
        (VOICE, FINE_VOICE, {"failures": "-1"}),
        (VOICE, FINE_VOICE, {"voice_id": "NULL"}),
        (TASK, FINE_TASK, {"voice_pk": "4711"}),
        (TASK, FINE_TASK, {"kind": "'speech'"}),
        (TASK, FINE_TASK, {"state": "'lost'"}),
        (TASK, FINE_TASK, {"polls": "-1"}),
        (TASK, FINE_TASK, {"state": "'running'"}),
    ],
)
def test_the_database_refuses_what_no_row_may_hold(
    made: SqliteDatabase, row: str, fine: dict[str, str], wrong: dict[str, str]
) -> None:
    with pytest.raises(IntegrityError), made.writing() as session:
        run_row(session, row.format(**fine | wrong))
    with made.writing() as session:
        run_row(session, row.format(**fine))


def run_row(session: Session, statement: str) -> None:
    session.execute(sa.text(statement))


@pytest.mark.parametrize("upgrade", [True, False])
@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda path: execute(path, "CREATE TABLE songs (title)"),
            "is a database of another program; point database.url elsewhere",
        ),
        (
            lambda path: execute(path, "CREATE TABLE alembic_version (version_num)"),
            "is a database of another program",
        ),
        (overwritten, "is damaged or not a database"),
        (
            lambda path: path.write_bytes(b"SQLite format 3\0" + b"\xff" * 4000),
            "is damaged or not a database",
        ),
        (
            Path.touch,
            "is empty: the registry is gone; nothing was changed; 'voicekeeper restore FILE'",
        ),
        (lambda path: execute(path, "VACUUM"), "is empty: the registry is gone"),
        (Path.mkdir, "is a directory, not a database file"),
    ],
)
def test_what_is_no_registry_of_ours_is_refused_and_left_as_it_was(
    tmp_path: Path, make: Callable[[Path], object], sentence: str, *, upgrade: bool
) -> None:
    path = tmp_path / "a.db"
    make(path)
    before = files(tmp_path)
    made = SqliteDatabase(path)
    with pytest.raises(DatabaseUnusable) as refused:
        made.prepare(upgrade=upgrade)
    made.close()
    assert sentence in str(refused.value)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)
    assert refused.value.exit_code == 78
    assert files(tmp_path) == before


def full_of_voices(path: Path) -> int:
    """Make a registry of many pages; return the size of a page."""
    made = database(path)
    many = [imported(f"voice-{n}") for n in range(300)]
    Registry(made).register(many, now=NOW, policy=policy())
    with made.reading() as session:
        size = run(session, "PRAGMA page_size")
    made.close()
    assert isinstance(size, int)
    return size


def truncated(path: Path) -> None:
    size = full_of_voices(path)
    os.truncate(path, path.stat().st_size - 3 * size)


def with_a_page_overwritten(path: Path) -> None:
    size = full_of_voices(path)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size - 10 * size)
        file.write(b"\xff" * size)


def with_a_flipped_byte(path: Path) -> None:
    """In the root page of the voices: how many cells it has."""
    size = full_of_voices(path)
    with sqlite3.connect(path) as connection:
        query = "SELECT rootpage FROM sqlite_master WHERE name = 'voice'"
        (page,) = connection.execute(query).fetchone()
    connection.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * size + 3)
        was = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([was ^ 0x40]))


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "what every pass needs"])
@pytest.mark.parametrize("spoil", [truncated, with_a_page_overwritten, with_a_flipped_byte])
def test_a_daemon_refuses_a_file_that_is_damaged_anywhere_and_leaves_it_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Path], None], *, whole: bool
) -> None:
    if not whole:
        monkeypatch.setattr(module, "_CHECKED_WHOLE", 0)
    path = tmp_path / "a.db"
    spoil(path)
    before = files(tmp_path)
    made = SqliteDatabase(path)
    with pytest.raises(DatabaseDamaged, match=r"is damaged .*puts a good copy in its") as refused:
        made.prepare(upgrade=True)
    made.close()
    assert "\n" not in str(refused.value)
    assert refused.value.exit_code == 78
    assert files(tmp_path) == before


def test_a_check_that_would_take_too_long_is_left_off_and_costs_nothing_else(
    made: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CHECKED_STEPS", 0)
    monkeypatch.setattr(module, "_STEPS_AT_A_TIME", 1)
    made.prepare(upgrade=True)
    Registry(made).register([imported("anna")], now=NOW, policy=policy())
    assert [voice.name for voice in Registry(made).all()] == ["anna"]


def test_a_check_that_nobody_waits_for_sees_the_whole_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CHECKED_STEPS", 0)
    monkeypatch.setattr(module, "_STEPS_AT_A_TIME", 1)
    path = tmp_path / "a.db"
    with_a_flipped_byte(path)
    spoilt = SqliteDatabase(path)
    spoilt.check(briefly=True)  # which ended before it saw that
    with pytest.raises(DatabaseDamaged):
        spoilt.check()
    spoilt.close()


def test_a_row_with_a_value_that_no_row_may_have_is_no_damage(made: SqliteDatabase) -> None:
    Registry(made).register([imported("anna")], now=NOW, policy=policy())
    execute(
        made.path,
        "PRAGMA ignore_check_constraints = ON",
        "UPDATE voice SET status = 'bogus', failures = 'x', origin = 7",
    )
    made.prepare(upgrade=True)


def test_a_file_that_could_not_be_made_whole_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: SqliteDatabase) -> None:
        raise DatabaseFull("the disk is full")

    monkeypatch.setattr(SqliteDatabase, "_migrate", fail)
    with pytest.raises(DatabaseFull):
        SqliteDatabase(tmp_path / "a.db").prepare(upgrade=True)
    assert files(tmp_path) == {}


def test_a_registry_of_a_newer_version_is_refused(made: SqliteDatabase) -> None:
    newer(made.path)
    with pytest.raises(DatabaseUnusable, match=rf"schema 9999, this one knows {SCHEMA}\)"):
        made.prepare(upgrade=True)


def test_an_older_schema_is_left_to_the_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database(tmp_path / "a.db")
    monkeypatch.setattr("voicekeeper.store.database.SCHEMA", "9999")
    before = files(tmp_path)
    with pytest.raises(DatabaseUnusable, match=rf"schema {SCHEMA} of an older .* start the daemon"):
        SqliteDatabase(tmp_path / "a.db").prepare(upgrade=False)
    assert files(tmp_path) == before


def test_a_missing_directory_is_named_and_not_made(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "a.db"
    with pytest.raises(DatabaseUnusable, match="does not exist; create it, or set") as refused:
        SqliteDatabase(path).prepare(upgrade=True)
    assert refused.value.exit_code == 78
    assert not path.parent.exists()


@pytest.mark.parametrize(("file_mode", "directory_mode"), [(0o600, 0o000), (0o000, 0o755)])
def test_without_permission_the_sentence_says_whose_turn_it_is(
    file_mode: int, directory_mode: int
) -> None:
    with tempfile.TemporaryDirectory() as where:
        path = Path(where) / "a.db"
        SqliteDatabase(path).prepare(upgrade=True)
        before = path.read_bytes()
        path.chmod(file_mode)
        Path(where).chmod(directory_mode)
        try:
            with as_another_user(), pytest.raises(DatabaseUnusable) as refused:
                SqliteDatabase(path).prepare(upgrade=False)
        finally:
            Path(where).chmod(0o700)
            path.chmod(0o600)
        assert path.read_bytes() == before
    assert str(path) in str(refused.value)
    assert refused.value.exit_code == 78


def test_a_file_that_may_only_be_read_can_be_read_and_not_written() -> None:
    with tempfile.TemporaryDirectory() as where:
        path = Path(where) / "a.db"
        SqliteDatabase(path).prepare(upgrade=True)
        path.chmod(0o444)
        Path(where).chmod(0o755)
        made = SqliteDatabase(path)
        with as_another_user():
            made.prepare(upgrade=False)
            assert list(Registry(made).all()) == []
            with pytest.raises(DatabaseUnusable, match="cannot be written by this user"):
                Registry(made).register([imported("anna")], now=NOW, policy=policy())
        made.close()


def test_a_full_disk_says_so_and_nothing_changed(made: SqliteDatabase) -> None:
    with made.reading() as session:
        pages = run(session, "PRAGMA page_count")
        run(session, f"PRAGMA max_page_count = {pages}")
    many = [imported(f"voice-{n}") for n in range(500)]
    with pytest.raises(DatabaseFull, match="is full; nothing was changed"):
        Registry(made).register(many, now=NOW, policy=policy())
    assert list(Registry(made).all()) == []


def _prepare(path: Path, barrier: "multiprocessing.synchronize.Barrier") -> None:
    made = SqliteDatabase(path)
    barrier.wait(LIMIT_S)
    made.prepare(upgrade=True)
    Registry(made).register([imported(f"by-{os.getpid()}")], now=NOW, policy=policy())


def test_eight_processes_at_once_make_one_good_schema(tmp_path: Path) -> None:
    barrier = fork.Barrier(8)
    processes = [fork.Process(target=_prepare, args=(tmp_path / "a.db", barrier)) for _ in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(LIMIT_S)
    assert [process.exitcode for process in processes] == [0] * 8
    made = SqliteDatabase(tmp_path / "a.db")
    assert made.schema() == SCHEMA
    assert len(list(Registry(made).all())) == 8
    with made.reading() as session:
        assert run(session, "PRAGMA integrity_check") == "ok"


def _hold(path: Path, held: "multiprocessing.synchronize.Event") -> None:
    with SqliteDatabase(path).held(NOW):
        held.set()
        fork.Event().wait(LIMIT_S)


def test_a_second_daemon_is_told_who_holds_the_database_until_that_one_is_killed(
    made: SqliteDatabase,
) -> None:
    held = fork.Event()
    holder = fork.Process(target=_hold, args=(made.path, held))
    holder.start()
    assert held.wait(LIMIT_S)
    who = f"pid {holder.pid} on {socket.gethostname()} since 2026-05-01T12:00:00Z"
    with pytest.raises(DatabaseHeld, match=who) as refused, made.held(NOW):
        pass
    assert refused.value.exit_code == 75
    holder.kill()
    holder.join(LIMIT_S)
    with made.held(NOW):
        assert f"pid {os.getpid()} " in made.path.with_name("a.db.lock").read_text()


def test_the_lock_does_not_hinder_commands(made: SqliteDatabase) -> None:
    with made.held(NOW):
        Registry(made).register([imported("anna")], now=NOW, policy=policy())
    with made.held(NOW):
        assert [voice.name for voice in Registry(made).all()] == ["anna"]


def test_a_lock_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(DatabaseUnusable, match="does not exist"),
        SqliteDatabase(tmp_path / "missing" / "a.db").held(NOW),
    ):
        pass


def _hold_nearly_all_the_time(path: Path, begun: Event) -> None:
    driver, chance = sqlite3.connect(path, timeout=60, isolation_level=None), random.Random(1)
    while True:
        driver.execute("BEGIN IMMEDIATE")
        begun.set()
        time.sleep(chance.uniform(0.05, 0.2))
        driver.execute("COMMIT")
        time.sleep(0.015)


def test_a_command_has_its_turn_between_two_transactions_of_a_daemon_that_has_many(
    tmp_path: Path,
) -> None:
    made = database(tmp_path / "voicekeeper.db")
    made.close()
    begun = fork.Event()
    daemon = fork.Process(target=_hold_nearly_all_the_time, args=(made.path, begun), daemon=True)
    daemon.start()
    try:
        assert begun.wait(LIMIT_S)
        for _ in range(5):
            with made.writing():
                pass
            time.sleep(0.02)  # the moment is over
        assert daemon.is_alive()
    finally:
        daemon.kill()
        daemon.join(LIMIT_S)
        made.close()


def test_a_busy_database_says_try_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BUSY_TIMEOUT_S", 0.05)
    made = database(tmp_path / "a.db")
    other = database(tmp_path / "a.db")
    with other.writing() as session:
        run_row(session, VOICE.format(**FINE_VOICE))
        with pytest.raises(DatabaseHeld, match="try again") as refused:
            Registry(made).register([imported("anna")], now=NOW, policy=policy())
    assert refused.value.exit_code == 75


def test_a_transaction_that_fails_changes_nothing(tmp_path: Path) -> None:
    made = database(tmp_path / "a.db")

    def fail() -> None:
        with made.writing() as session:
            run_row(session, VOICE.format(**FINE_VOICE))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with made.reading() as session:
        assert run(session, "SELECT count(*) FROM voice") == 0
