"""A session whose changes of rows are collected, and written in sets.

The unit of work of an object mapper costs many times what its statements cost, and a pass or a set
of answers writes a handful of rows for each voice. So what changes is collected, and sent as one
``executemany`` for each kind of change: at the commit, or before the next statement of the
session, which sees it.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from typing import Any

import sqlalchemy as sa
import sqlmodel
from sqlalchemy.orm.attributes import set_committed_value
from sqlmodel import SQLModel


class Session(sqlmodel.Session):
    """A session of one transaction."""

    def __init__(self, bind: sa.Engine) -> None:
        super().__init__(bind, expire_on_commit=False)
        self._inserts: dict[type[SQLModel], list[dict[str, Any]]] = defaultdict(list)
        self._updates: dict[Any, tuple[SQLModel, dict[str, Any]]] = {}
        self._sums: dict[tuple[type[SQLModel], tuple[Any, ...]], Counter[str]] = {}

    @cached_property
    def core(self) -> sa.Connection:
        """The connection of its transaction."""
        return self.connection()

    def insert(self, model: type[SQLModel], /, **values: object) -> None:
        """Add a row whose key nobody needs; each row of a model with the same columns."""
        self._inserts[model].append(values)

    def change(self, row: SQLModel, fields: Mapping[str, object]) -> None:
        """Set columns of a row that this session has loaded, in its object at once."""
        if not fields:
            return
        _, changed = self._updates.setdefault(sa.inspect(row, raiseerr=True).key, (row, {}))
        for column, value in fields.items():
            set_committed_value(row, column, value)
            changed[column] = value

    def increase(self, model: type[SQLModel], key: tuple[Any, ...], by: Mapping[str, int]) -> None:
        """Add to sums of a row, which is made if there is none; they never fall below zero."""
        self._sums.setdefault((model, key), Counter()).update(by)

    def run(
        self,
        statement: sa.Executable,
        parameters: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    ) -> sa.CursorResult[*tuple[Any, ...]]:
        """Execute a statement of columns alone, at half the cost of one of objects.

        It leaves objects that were loaded as they are, and does not see those that were added:
        where they matter, and to load some, there are the library's `execute` and `scalars`.
        """
        self.write()
        return self.core.execute(statement, parameters)

    def flush(self, objects: Sequence[Any] | None = None) -> None:
        """Write what was collected, as the mapper does of its own before each of its statements."""
        self.write()
        super().flush(objects)

    def write(self) -> None:
        """Write what was collected."""
        if not (self._inserts or self._updates or self._sums):
            return
        inserts, updates = dict(self._inserts), list(self._updates.values())
        sums = dict(self._sums)
        self._inserts.clear()
        self._updates.clear()
        self._sums.clear()
        connection = self.core
        sets: dict[tuple[type[SQLModel], tuple[str, ...]], list[dict[str, Any]]] = {}
        for row, fields in updates:
            model, columns = type(row), tuple(fields)
            its_key = {f"of_{column.name}": getattr(row, column.name) for column in _key(model)}
            # An executemany takes its columns from the first row.
            sets.setdefault((model, columns), []).append(fields | its_key)
        for (model, _), rows in sets.items():
            connection.execute(_update(model), rows)
        for model, rows in inserts.items():
            connection.execute(_insert(model), rows)
        for (model, key), by in sums.items():
            named = dict(zip((f"of_{column.name}" for column in _key(model)), key, strict=True))
            more = {f"by_{column}": number for column, number in by.items()}
            if connection.execute(_increase(model, tuple(by)), named | more).rowcount == 0:
                new = dict(zip((column.name for column in _key(model)), key, strict=True))
                least = {column: max(0, number) for column, number in by.items()}
                connection.execute(_insert(model), [new | least])


def _key(model: type[SQLModel]) -> tuple[sa.Column[Any], ...]:
    key: tuple[sa.Column[Any], ...] = sa.inspect(model).primary_key
    return key


@cache
def _update(model: type[SQLModel]) -> sa.Update:
    """Return the statement that sets columns, by the names of its parameters, of one row."""
    table = sa.inspect(model).local_table
    return sa.update(table).where(*(c == sa.bindparam(f"of_{c.name}") for c in _key(model)))


@cache
def _insert(model: type[SQLModel]) -> sa.Insert:
    return sa.insert(sa.inspect(model).local_table)


@cache
def _increase(model: type[SQLModel], columns: tuple[str, ...]) -> sa.Update:
    """Return the statement that adds to sums of one row; none falls below zero.

    No error in the books may break a CHECK, and keep a voice from being used.
    """
    table = sa.inspect(model).local_table
    sums = {name: table.c[name] + sa.bindparam(f"by_{name}") for name in columns}
    return _update(model).values(
        {n: sa.case((sum_ > 0, sum_), else_=0) for n, sum_ in sums.items()}
    )
