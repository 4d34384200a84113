"""A registry in this process's memory: no file, nobody else, and gone when it is closed."""

import sqlite3
from contextlib import closing
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from voicekeeper.store.session import Session
from voicekeeper.store.sqlite import SqliteDatabase
from voicekeeper.store.turns import Turns


class MemoryDatabase(SqliteDatabase):
    """An empty registry for one thread, which lives no longer than it is open.

    What a file needs for the sake of others, its locks and its queue, is left out: nobody else
    can have this one. So it does not change either while it is read.
    """

    def __init__(self) -> None:
        super().__init__(Path(":memory:"))
        session = self.lent_session()
        with closing(sqlite3.connect(":memory:")) as empty:
            empty.deserialize(_empty_registry())
            empty.backup(session.driver)
        self.take_back(session)

    def begin(self, session: Session, mode: str) -> None:
        """Begin a transaction, if it is to write.

        Not within another: all sessions have one connection, so the end of this one would be the
        end of that one.
        """
        assert not session.driver.in_transaction, mode  # noqa: S101 - as a file refuses it
        if mode != self._reads:
            session.driver.execute("BEGIN")

    def commit(self, session: Session) -> None:
        """Commit it, if one was begun."""
        if session.driver.in_transaction:
            session.driver.execute("COMMIT")

    def _turns_to_write(self) -> Turns | None:
        return None

    def _turns_to_read(self) -> Turns | None:
        return None


@cache
def _empty_registry() -> bytes:
    """Return the file of a registry without a voice; to migrate anew takes long."""
    with TemporaryDirectory() as directory:
        database = SqliteDatabase(Path(directory) / "empty.db")
        database.prepare(upgrade=True)
        database.close()
        with closing(sqlite3.connect(database.path)) as file:
            file.execute("PRAGMA journal_mode = DELETE")  # what has a WAL is not read from memory
        return database.path.read_bytes()
