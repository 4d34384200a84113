"""A registry in this process's memory: no file, nobody else, and gone when it is closed."""

import sqlite3
from contextlib import closing
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import sqlalchemy as sa
from sqlalchemy.pool import StaticPool

from voicekeeper.store.sqlite import SqliteDatabase


class MemoryDatabase(SqliteDatabase):
    """An empty registry for one thread, which lives no longer than it is open."""

    def __init__(self) -> None:
        engine = sa.create_engine(
            "sqlite://", creator=_registry, poolclass=StaticPool, hide_parameters=True
        )
        super().__init__(Path(":memory:"), engine)


def _registry() -> sqlite3.Connection:
    registry = sqlite3.connect(":memory:", isolation_level=None)
    with closing(sqlite3.connect(":memory:")) as empty:
        empty.deserialize(_empty_registry())
        empty.backup(registry)
    return registry


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
