"""How values of a column's type go to the driver and come back.

SQLAlchemy's own processors decide, and judge what is none of their type. For the two types that
every row is full of, instants and words of an enum, SQLite is given the same text in one step,
where SQLAlchemy takes three or more: a twelfth of what a keepalive costs in a rehearsal.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlmodel.sql.sqltypes import AutoString, UTCDateTime

Processor = Callable[[Any], Any]

_FLOAT_IN_POSTGRESQL = 701
"""The number of the only type of ours whose processor there asks for it."""

_INSTANT_LENGTH = len("2030-01-01 00:00:00.000000")

_SQLITE = sqlite.dialect()
_IN_SQLITE = UTCDateTime().dialect_impl(_SQLITE)
_TO_TEXT = cast("Processor", _IN_SQLITE.bind_processor(_SQLITE))
_TO_INSTANT = cast("Processor", _IN_SQLITE.result_processor(_SQLITE, None))

_RECENT = 1024
"""Instants whose text is remembered: a pass's ``now`` stands in all it writes, and what was just
written is soon read again."""


def to_driver(kind: sa.types.TypeEngine[Any], dialect: sa.Dialect) -> Processor | None:
    """Return what makes the driver's value of a type's; None where they are the same.

    Args:
        kind: of a column or parameter.
        dialect: of the database.
    """
    full: Processor | None = kind.dialect_impl(dialect).bind_processor(dialect)
    if dialect.name == "postgresql" and isinstance(kind, AutoString):
        return _without_nul
    if full is None or dialect.name != "sqlite":
        return full
    if isinstance(kind, UTCDateTime):
        return _text_of
    if isinstance(kind, sa.Enum) and kind.enum_class is not None:
        return _Words({word: full(word) for word in kind.enum_class}, full).__getitem__
    return full


def from_driver(kind: sa.types.TypeEngine[Any], dialect: sa.Dialect) -> Processor | None:
    """Return what makes a type's value of the driver's; None where they are the same.

    It need not take None. A value that is none of the type raises LookupError, ValueError or
    TypeError.

    Args:
        kind: of a column.
        dialect: of the database.
    """
    full: Processor | None = kind.dialect_impl(dialect).result_processor(
        dialect, _FLOAT_IN_POSTGRESQL
    )
    if full is None or dialect.name != "sqlite":
        return full
    if isinstance(kind, UTCDateTime):
        return _instant_of
    if isinstance(kind, sa.Enum) and kind.enum_class is not None:
        return _Words({str(word.value): word for word in kind.enum_class}, full).__getitem__
    return full


def _without_nul(value: Any) -> Any:  # noqa: ANN401 - as the driver takes it
    """Replace what PostgreSQL has no place for: words of the gateway may hold anything."""
    return value.replace("\0", "\ufffd") if isinstance(value, str) else value


@lru_cache(_RECENT)
def _text_of(instant: datetime | None) -> Any:  # noqa: ANN401 - as the driver takes it
    if instant is not None and instant.tzinfo is UTC:
        return instant.isoformat(" ", "microseconds")[:_INSTANT_LENGTH]
    return _TO_TEXT(instant)


@lru_cache(_RECENT, typed=True)
def _instant_of(text: Any) -> datetime:  # noqa: ANN401 - a failing disk writes anything
    if type(text) is str and len(text) == _INSTANT_LENGTH:
        return datetime.fromisoformat(text + "+00:00")
    instant: datetime = _TO_INSTANT(text)
    return instant


class _Words(dict[Any, Any]):
    """The words of a column, one for the other; what is none of them, SQLAlchemy judges."""

    def __init__(self, words: dict[Any, Any], full: Processor) -> None:
        super().__init__(words)
        self._full = full

    def __missing__(self, value: Any) -> Any:  # noqa: ANN401 - a failing disk writes anything
        return self._full(value)
