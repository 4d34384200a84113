"""The lock beside the registry: who asks who has it is in nobody's way."""

import fcntl
import os
import threading
from pathlib import Path

import pytest

from tests.store.test_database import as_another_user
from tests.support import NOW, database
from voicekeeper.store import files
from voicekeeper.store.sqlite import SqliteDatabase


@pytest.fixture
def made(tmp_path: Path) -> SqliteDatabase:
    return database(tmp_path / "a.db")


def test_it_is_held_while_a_daemon_runs(made: SqliteDatabase) -> None:
    assert made.is_held() is None  # no daemon ever ran: its rows tell that
    with made.held(NOW):
        assert made.is_held() is True
    assert made.is_held() is False


def test_by_a_link_the_lock_of_the_file_itself_is_looked_at(
    made: SqliteDatabase, tmp_path: Path
) -> None:
    (tmp_path / "link.db").symlink_to(made.path)
    with made.held(NOW):
        assert files.is_locked(tmp_path / "link.db") is True


def test_who_may_not_open_it_cannot_tell(made: SqliteDatabase) -> None:
    with made.held(NOW):
        os.chmod(files.lock_of(made.path), 0)  # noqa: PTH101 - beside seteuid
    with as_another_user():
        assert made.is_held() is None


def test_a_daemon_that_starts_while_somebody_asks_waits_for_the_answer(
    made: SqliteDatabase,
) -> None:
    with made.held(NOW):
        pass
    asking = os.open(files.lock_of(made.path), os.O_RDONLY)
    fcntl.flock(asking, fcntl.LOCK_SH)
    threading.Timer(0.1, os.close, [asking]).start()
    with made.held(NOW):
        assert made.is_held() is True


def test_a_pipe_in_its_place_holds_nobody_up(made: SqliteDatabase) -> None:
    os.mkfifo(files.lock_of(made.path))
    assert made.is_held() is None
