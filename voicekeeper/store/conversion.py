"""How values of a column's type go to the driver and come back.

SQLAlchemy's own processors decide, and judge what is none of their type. For the two types that
every row is full of, instants and words of an enum, SQLite is given the same text in one step,
where SQLAlchemy takes three or more: a twelfth of what a keepalive costs in a rehearsal.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlmodel.sql.sqltypes import AutoString, UTCDateTime

Processor = Callable[[Any], Any]

_FLOAT_IN_POSTGRESQL = 701
"""The number of the only type of ours whose processor there asks for it."""

_INSTANT_LENGTH = len("2030-01-01 00:00:00.000000")

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
        return _instant_to_text(full)
    if isinstance(kind, sa.Enum) and kind.enum_class is not None:
        return _looked_up({word: full(word) for word in kind.enum_class}, full)
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
        return _text_to_instant(full)
    if isinstance(kind, sa.Enum) and kind.enum_class is not None:
        return _looked_up({str(word.value): word for word in kind.enum_class}, full)
    return full


def _without_nul(value: Any) -> Any:  # noqa: ANN401 - as the driver takes it
    """Replace what PostgreSQL has no place for: words of the gateway may hold anything."""
    return value.replace("\0", "\ufffd") if isinstance(value, str) else value


def _instant_to_text(full: Processor) -> Processor:
    def process(value: datetime | None) -> Any:  # noqa: ANN401 - as the driver takes it
        if value is not None and value.tzinfo is UTC:
            return _text_of(value)
        return full(value)

    return process


@lru_cache(_RECENT)
def _text_of(instant: datetime) -> str:
    return instant.isoformat(" ", "microseconds")[:_INSTANT_LENGTH]


@lru_cache(_RECENT)
def _instant_of(text: str) -> datetime:
    return datetime.fromisoformat(text + "+00:00")


def _text_to_instant(full: Processor) -> Processor:
    def process(text: Any) -> datetime:  # noqa: ANN401 - a failing disk writes anything
        if type(text) is str and len(text) == _INSTANT_LENGTH:
            return _instant_of(text)
        instant: datetime = full(text)
        return instant

    return process


def _looked_up(words: dict[Any, Any], full: Processor) -> Processor:
    def process(value: Any) -> Any:  # noqa: ANN401 - a failing disk writes anything
        try:
            return words[value]
        except (KeyError, TypeError):
            return full(value)

    return process
