"""Single rows: made from what a statement returned, changed and added by statements made once.

The unit of work of an object mapper costs many times what its statement costs, and a pass writes
a handful of rows. So rows are objects of their models that no session knows, or that one has
loaded, and what changes is sent as it is assigned.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm.attributes import set_committed_value
from sqlalchemy.orm.base import DEFAULT_STATE_ATTR
from sqlmodel import SQLModel

from voicekeeper.store.session import Session
from voicekeeper.store.statement import Statement

Row = TypeVar("Row", bound=SQLModel)
OtherRow = TypeVar("OtherRow", bound=SQLModel)


def table_of(model: type[SQLModel]) -> sa.Table:
    """Return the table of a model."""
    table: sa.Table = sa.inspect(model).local_table
    return table


def made(model: type[Row], values: Sequence[object]) -> Row:
    """Return the object of a stored row; to change it, `assign`.

    Args:
        model: of the row.
        values: of its columns, in the order of its table.
    """
    row = object.__new__(model)  # not by the mapper, which prepares each for a session
    row.__dict__.update(zip(_columns(model), values, strict=True))
    return row


def columns(*models: type[SQLModel]) -> list[sa.Column[Any]]:
    """Return the columns of the tables of models, in order."""
    return [column for model in models for column in table_of(model).columns]


def pair(
    first: type[Row], second: type[OtherRow], values: Sequence[object]
) -> tuple[Row, OtherRow | None]:
    """Return the objects of two rows that are joined; None for a second that there is not.

    Args:
        first: the model of the first row.
        second: the model of the second.
        values: of the columns of both.
    """
    width = len(_columns(first))
    other = values[width : width + len(_columns(second))]
    return made(first, values[:width]), None if other[0] is None else made(second, other)


def assign(session: Session, row: SQLModel, fields: Mapping[str, object]) -> None:
    """Set columns of a stored row, here and in the database at once."""
    if not fields:
        return
    model = type(row)
    its_key = getattr(row, _key(model).name)
    _update(model, tuple(fields)).run(session, its_key=its_key, **fields)
    if DEFAULT_STATE_ATTR not in row.__dict__:
        row.__dict__.update(fields)
        return
    for column, value in fields.items():
        set_committed_value(row, column, value)


def insert(session: Session, model: type[SQLModel], /, **values: object) -> None:
    """Add a row as `added` does, of which nothing is needed again."""
    _insert(model, tuple(values)).run(session, **values)


def inserted(session: Session, model: type[SQLModel], /, **values: object) -> int:
    """Add a row as `added` does; return its key, which costs less than the whole row."""
    ((key,),) = _insert(model, tuple(values), _key(model)).rows(session, **values)
    return int(key)


def added(session: Session, model: type[Row], /, **values: object) -> Row:
    """Add a row; return its object.

    Args:
        session: a writing one.
        model: of the row.
        values: of every column that must not be NULL, but a key that the database gives.
    """
    (row,) = _insert(model, tuple(values), *columns(model)).rows(session, **values)
    return made(model, row)


@cache
def _columns(model: type[SQLModel]) -> tuple[str, ...]:
    return tuple(column.name for column in table_of(model).columns)


@cache
def _key(model: type[SQLModel]) -> sa.Column[Any]:
    key: sa.Column[Any] = sa.inspect(model).primary_key[0]
    return key


@cache
def _update(model: type[SQLModel], columns: tuple[str, ...]) -> Statement:
    wanted = _key(model) == sa.bindparam("its_key")
    return Statement(sa.update(table_of(model)).where(wanted), columns)


@cache
def _insert(model: type[SQLModel], given: tuple[str, ...], *returned: sa.Column[Any]) -> Statement:
    clause = sa.insert(table_of(model))
    return Statement(clause.returning(*returned) if returned else clause, given)
