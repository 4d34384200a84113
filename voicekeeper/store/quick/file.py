"""The file of a registry, and one look at it."""

# ruff: noqa: S608 - queries are made of constants, and what is given is bound

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from voicekeeper.core.enums import SCHEMA
from voicekeeper.store import files
from voicekeeper.store.quick.columns import Read, written

_BUSY_TIMEOUT_S: Final = 0.25
"""A commit takes less; after that the registry waits for its turn, and tells who has it."""

_UNSURE: Final = (sqlite3.Error, ValueError, TypeError, LookupError, OverflowError)


class Unsure(Exception):  # noqa: N818 - it is no error: somebody else knows
    """A glance is not enough; ask the registry."""


class File:
    """One look at a registry's file; within its block, all answers are of one state of it.

    Args:
        path: of the file, absolute.

    Raises:
        Unsure: from any step.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        # As an address, so that SQLite makes no file where there is none.
        escaped = str(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
        self._uri = f"file://{escaped}?mode=rw"

    def __enter__(self) -> Self:
        try:
            self._connection = sqlite3.connect(
                self._uri, uri=True, timeout=_BUSY_TIMEOUT_S, isolation_level=None
            )
        except _UNSURE as error:
            raise Unsure from error
        try:
            self._connection.execute("BEGIN")
            self._check_schema()
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._connection.close()
        if isinstance(error, _UNSURE):
            raise Unsure from error

    def _check_schema(self) -> None:
        if self.ask("SELECT version_num FROM alembic_version") != [(SCHEMA,)]:
            raise Unsure

    def is_held(self) -> bool | None:
        """Tell whether a daemon holds the registry; None where nobody can tell."""
        return files.is_locked(self._path)

    def rows(
        self, table: str, columns: Mapping[str, Read], rest: str, **given: object
    ) -> list[dict[str, Any]]:
        """Return rows of a table, each of its columns read.

        Args:
            table: whose rows.
            columns: all of them, and their readers.
            rest: of the query, from WHERE on.
            given: the parameters of that.
        """
        found = self.ask(f"SELECT {', '.join(columns)} FROM {table} {rest}", **given)
        return [
            {name: read(value) for (name, read), value in zip(columns.items(), row, strict=True)}
            for row in found
        ]

    def ask(self, query: str, **given: object) -> list[tuple[Any, ...]]:
        """Return what a query finds, as the file has it."""
        values = {name: written(value) for name, value in given.items()}
        return self._connection.execute(query, values).fetchall()
