"""Single rows, read and written by statements that are made once.

The unit of work of an object mapper costs many times what its statement costs, and a pass writes
a handful of rows. So rows are read as objects, and what changes is sent as it is assigned.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import object_session
from sqlalchemy.orm.attributes import set_committed_value
from sqlmodel import Session, SQLModel

Row = TypeVar("Row", bound=SQLModel)


def table_of(model: type[SQLModel]) -> sa.Table:
    """Return the table of a model."""
    table: sa.Table = sa.inspect(model).local_table
    return table


def assign(row: SQLModel, fields: Mapping[str, object]) -> None:
    """Set columns of a row, here and, if it is stored already, in the database at once."""
    session = object_session(row)
    if session is None or not sa.inspect(row).persistent:
        for column, value in fields.items():
            setattr(row, column, value)
        return
    if not fields:
        return
    model = type(row)
    key = sa.inspect(model).primary_key[0].name
    values = {f"new_{column}": value for column, value in fields.items()}
    session.execute(_update(model, tuple(fields)), {"its_key": getattr(row, key), **values})
    for column, value in fields.items():
        set_committed_value(row, column, value)


def insert(session: Session, table: type[SQLModel], /, **values: object) -> int:
    """Add a row; return its key.

    Args:
        session: a writing one.
        table: the model of the row.
        values: of every column that must not be NULL, but the key.
    """
    result = session.execute(_insert(table), values)
    key: int = result.inserted_primary_key[0]  # type: ignore[attr-defined]
    return key


@cache
def _update(model: type[SQLModel], columns: tuple[str, ...]) -> sa.Update:
    table = table_of(model)
    key = table.primary_key.columns[0]
    values: dict[str, Any] = {column: sa.bindparam(f"new_{column}") for column in columns}
    return sa.update(table).where(key == sa.bindparam("its_key")).values(values)


@cache
def _insert(model: type[SQLModel]) -> sa.Insert:
    return sa.insert(table_of(model))
