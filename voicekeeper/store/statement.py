"""Statements that the driver runs at its own speed.

What a pass and an answer need are some twenty short statements for a keepalive, each of which
SQLite runs in a few microseconds. Through a session or a connection of SQLAlchemy each costs 30
to 150, for what does not change from one run to the next. So a `Statement` is written in
SQLAlchemy's language, compiled once, and handed to the driver; it converts values to and from what
the column types make of them, by `store.conversion`.
"""

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles

from voicekeeper.store.session import Session
from voicekeeper.store.unreadable import UNREADABLE

Values = tuple[Any, ...]

Clause = sa.Select[*tuple[Any, ...]] | sa.CompoundSelect[Any] | sa.UpdateBase


class InsertIfMissing(sa.Insert):
    """An INSERT that changes nothing where the row's key is there already."""

    inherit_cache = False


@compiles(InsertIfMissing)
def _insert_if_missing(clause: InsertIfMissing, compiler: Any, **options: Any) -> str:  # noqa: ANN401 - the library's
    return f"{compiler.visit_insert(clause, **options)} ON CONFLICT DO NOTHING"


class Statement:
    """A statement of SQLAlchemy's language, made ready once.

    Args:
        clause: a SELECT, INSERT, UPDATE or DELETE, without a list among its parameters: how
            long that is would change the statement.
        columns: names of columns that it sets; each is a parameter of that name.
    """

    def __init__(self, clause: Clause, columns: Collection[str] | None = None) -> None:  # noqa: ARG002
        self._clause = clause

    def run(self, session: Session, /, **values: object) -> int:
        """Run it; return how many rows it changed."""
        return session.connection().execute(self._clause, values).rowcount

    def rows(self, session: Session, /, **values: object) -> list[Values]:
        """Run it; return the rows."""
        return [tuple(row) for row in session.connection().execute(self._clause, values)]

    def scalar(self, session: Session, /, **values: object) -> Any:  # noqa: ANN401 - a column's
        """Run it; return the first column of the first row, or None."""
        row = self.first(session, **values)
        return row[0] if row is not None else None

    def first(self, session: Session, /, **values: object) -> Values | None:
        """Run it; return the only row, or None."""
        rows = self.rows(session, **values)
        return rows[0] if rows else None

    def sifted(
        self, session: Session, /, **values: object
    ) -> tuple[list[Values], list[tuple[Values, str]]]:
        """Run it; return the rows, and unconverted those that cannot be read, with the reason."""
        try:
            return self.rows(session, **values), []
        except UNREADABLE:
            pass
        clause, connection = self._clause, session.connection()
        assert isinstance(clause, sa.Select)  # noqa: S101
        columns = tuple(clause.exported_columns)
        raw = clause.with_only_columns(*(sa.type_coerce(c, sa.types.NullType()) for c in columns))
        processors = [
            c.type.dialect_impl(connection.dialect).result_processor(connection.dialect, None)
            for c in columns
        ]
        good: list[Values] = []
        bad: list[tuple[Values, str]] = []
        for row in connection.execute(raw, values):
            try:
                read = zip(row, processors, strict=True)
                good.append(tuple(v if p is None or v is None else p(v) for v, p in read))
            except UNREADABLE as error:
                bad.append((tuple(row), str(error)))
        return good, bad


def room_for(values: Collection[object]) -> int:
    """Return how many parameters a list is given: a power of two, so that few lists differ."""
    return 1 << (len(values) - 1).bit_length() if values else 0


def listed(name: str, room: int) -> list[sa.BindParameter[Any]]:
    """Return the parameters of a list, for an IN."""
    return [sa.bindparam(f"{name}_{number}") for number in range(room)]


def spread(name: str, values: Collection[object]) -> dict[str, object]:
    """Return the values of those parameters; the last one fills what room is left."""
    room, last = room_for(values), None
    given = iter(values)
    filled = {}
    for number in range(room):
        last = next(given, last)
        filled[f"{name}_{number}"] = last
    return filled
