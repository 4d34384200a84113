"""Loading rows so that one which cannot be read spoils no other.

The schema's CHECKs keep bad values out, but not what a failing disk or another program writes.
A value that is no date, no word of its enum or no JSON makes the whole query fail that meets it,
and with it the pass; so rows are loaded at one go, and one at a time where that fails.
"""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import Select, select
from sqlmodel import SQLModel, col

from voicekeeper.core.models import Alert, Task, Voice
from voicekeeper.store.session import Session

UNREADABLE = (LookupError, ValueError, TypeError, OverflowError)
"""What the column types raise for a value that is none of theirs."""

_BATCH = 500

Row = TypeVar("Row", bound=SQLModel)


def found(
    session: Session,
    table: type[Row],
    query: Select[Row],
    parameters: Mapping[str, Any] | None = None,
) -> tuple[list[Row], dict[Any, str]]:
    """Load the rows of a query, in its order; return by key why others cannot be read.

    Args:
        session: any.
        table: whose rows.
        query: selects them.
        parameters: of the query.
    """
    try:
        return list(session.scalars(query, parameters)), {}
    except UNREADABLE:
        key = sa.inspect(table).primary_key[0]
        keys = session.scalars(query.with_only_columns(key), parameters).all()
        rows, bad = by_key(session, table, keys)
        return list(rows.values()), bad


def pairs(
    session: Session,
    table: type[Task] | type[Alert],
    query: Select[*tuple[Any, ...]],
    parameters: Mapping[str, Any],
) -> tuple[list[Any], dict[int, tuple[int | None, str]]]:
    """Load the rows of a query for tasks, or alerts, with their voices.

    Returns:
        The rows; and of those that cannot be read, by the key, the voice's and why.
    """
    try:
        return list(session.execute(query, parameters)), {}
    except UNREADABLE:
        pass
    found: list[Any] = []
    bad: dict[int, tuple[int | None, str]] = {}
    keys = query.with_only_columns(col(table.id), col(table.voice_pk))
    for key, voice_pk in session.execute(keys, parameters).all():
        try:
            found += session.execute(query.where(col(table.id) == key), parameters)
        except UNREADABLE as error:
            bad[key] = voice_pk, str(error)
    return found, bad


def by_key(
    session: Session, table: type[Row], keys: Sequence[Any]
) -> tuple[dict[Any, Row], dict[Any, str]]:
    """Load rows; return them by key, in the order of the keys, and why others cannot be read.

    Args:
        session: any.
        table: whose rows.
        keys: primary keys; one without a row is left out.
    """
    key = sa.inspect(table).primary_key[0]
    rows: dict[Any, Row] = {}
    bad: dict[Any, str] = {}
    for start in range(0, len(keys), _BATCH):
        batch = keys[start : start + _BATCH]
        try:
            rows |= _load(session, table, key, batch)
        except UNREADABLE:
            for one in batch:
                try:
                    rows |= _load(session, table, key, [one])
                except UNREADABLE as error:
                    bad[one] = str(error)
    return {key: rows[key] for key in keys if key in rows}, bad


def _load(
    session: Session, table: type[Row], key: sa.Column[Any], keys: Sequence[Any]
) -> dict[Any, Row]:
    query = select(table).where(key.in_(keys)).execution_options(populate_existing=True)
    return {getattr(row, key.name): row for row in session.scalars(query)}


def sentence(name: str, why: str) -> str:
    """Return that a voice's row cannot be read, and what to do."""
    return (
        f"a row of {name} holds a value that cannot be read ({why}); put a good copy of the "
        f"database in its place, or run 'voicekeeper remove {shlex.quote(name)}' and register it "
        "again"
    )


def names(session: Session, keys: Sequence[Any]) -> dict[Any, str]:
    """Return the names of voices by key, whatever else their rows hold."""
    query = select(col(Voice.id), col(Voice.name)).where(col(Voice.id).in_(keys))
    return {key: str(name) for key, name in session.execute(query)}
