"""Statements that the driver runs at its own speed.

What a pass and an answer need are some twenty short statements for a keepalive, each of which
SQLite runs in a few microseconds. Through a session or a connection of SQLAlchemy each costs 30
to 150, for what does not change from one run to the next. So a `Statement` is written in
SQLAlchemy's language, compiled once, and handed to the driver; it converts values to and from what
the column types make of them, by `store.conversion`.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles

from voicekeeper.store.conversion import Processor, from_driver, to_driver
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

    def __init__(self, clause: Clause, columns: Collection[str] | None = None) -> None:
        self._clause = clause
        self._columns = columns
        self._ready: dict[str, _Ready] = {}

    def run(self, session: Session, /, **values: object) -> int:
        """Run it; return how many rows it changed."""
        ready = self._on(session)
        count: int = session.driver.execute(ready.text, ready.bound(values)).rowcount
        return count

    def rows(self, session: Session, /, **values: object) -> list[Values]:
        """Run it; return the rows.

        Raises:
            LookupError, ValueError, TypeError: a row holds a value that is none of its type.
        """
        ready = self._on(session)
        return [ready.read(row) for row in ready.fetched(session, values)]

    def scalar(self, session: Session, /, **values: object) -> Any:  # noqa: ANN401 - a column's
        """Run it; return the first column of the first row, or None.

        Raises:
            LookupError, ValueError, TypeError: it holds a value that is none of its type.
        """
        row = self.first(session, **values)
        return row[0] if row is not None else None

    def first(self, session: Session, /, **values: object) -> Values | None:
        """Run it; return the only row, or None.

        Raises:
            LookupError, ValueError, TypeError: it holds a value that is none of its type.
        """
        rows = self.rows(session, **values)
        return rows[0] if rows else None

    def sifted(
        self, session: Session, /, **values: object
    ) -> tuple[list[Values], list[tuple[Values, str]]]:
        """Run it; return the rows, and as the driver gave them those that cannot be read.

        Returns:
            The rows; and the others, each with the reason.
        """
        ready = self._on(session)
        good: list[Values] = []
        bad: list[tuple[Values, str]] = []
        for row in ready.fetched(session, values):
            try:
                good.append(ready.read(row))
            except UNREADABLE as error:
                bad.append((row, str(error)))
        return good, bad

    def _on(self, session: Session) -> "_Ready":
        ready = self._ready.get(session.dialect.name)
        if ready is None:
            ready = _make_ready(self._clause, self._columns, session.dialect)
            self._ready[session.dialect.name] = ready
        return ready


class _Parameter(NamedTuple):
    """One parameter: named by the caller, or else of a constant value."""

    key: str
    name: str | None
    constant: object
    processor: Processor | None


class _Ready:
    """A statement as one database takes it."""

    def __init__(
        self,
        text: str,
        parameters: Sequence[_Parameter],
        converted: Sequence[tuple[int, Processor]],
        *,
        positional: bool,
    ) -> None:
        self.text = text
        self._keys = None if positional else [parameter.key for parameter in parameters]
        self._parameters = [(p.name, p.processor, p.constant) for p in parameters]
        self._converted = converted

    def bound(self, values: dict[str, object]) -> Sequence[Any] | dict[str, Any]:
        """Return the parameters as the driver takes them."""
        bound = [
            constant
            if name is None
            else values[name]
            if processor is None
            else processor(values[name])
            for name, processor, constant in self._parameters
        ]
        if self._keys is None:
            return bound
        return dict(zip(self._keys, bound, strict=True))

    def fetched(self, session: Session, values: dict[str, object]) -> Iterable[Values]:
        """Run the statement; return the rows as the driver gives them."""
        rows: Iterable[Values] = session.driver.execute(self.text, self.bound(values)).fetchall()
        return rows

    def read(self, row: Values) -> Values:
        """Convert the columns of a row."""
        if not self._converted:
            return row
        read = list(row)
        for index, processor in self._converted:
            value = read[index]
            if value is not None:
                read[index] = processor(value)
        return tuple(read)


def _make_ready(clause: Clause, columns: Collection[str] | None, dialect: sa.Dialect) -> _Ready:
    compiled = clause.compile(dialect=dialect, column_keys=columns)
    unknown = set(columns or ()) - compiled.binds.keys()
    assert not unknown, unknown  # noqa: S101 - SQLAlchemy leaves out what is no column
    names = compiled.positiontup if compiled.positiontup is not None else list(compiled.binds)
    converted = []
    for index, column in enumerate(clause.exported_columns):
        processor = from_driver(column.type, dialect)
        if processor is not None:
            converted.append((index, processor))
    return _Ready(
        compiled.string,
        [_parameter(name, compiled.binds[name], dialect) for name in names],
        converted,
        positional=compiled.positional,
    )


def _parameter(key: str, bind: sa.BindParameter[Any], dialect: sa.Dialect) -> _Parameter:
    assert not bind.expanding, key  # noqa: S101 - as `Statement` says
    processor = to_driver(bind.type, dialect)
    if bind.required:
        return _Parameter(key, bind.key, None, processor)
    value = bind.effective_value
    return _Parameter(key, None, value if processor is None else processor(value), None)


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
