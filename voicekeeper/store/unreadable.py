"""Loading rows so that one which cannot be read spoils no other.

The schema's CHECKs keep bad values out, but not what a failing disk or another program writes.
A value that is no date, no word of its enum or no JSON makes the whole query fail that meets it,
and with it the pass; so rows are loaded by their keys, and one at a time where that fails.
"""

import shlex
from collections.abc import Sequence
from functools import cache
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import Select, select
from sqlmodel import SQLModel, col

from voicekeeper.core.models import Voice
from voicekeeper.store.session import Session

UNREADABLE = (LookupError, ValueError, TypeError)
"""What the column types raise for a value that is none of theirs."""

_BATCH = 500

Row = TypeVar("Row", bound=SQLModel)


def by_key(
    session: Session, table: type[Row], keys: Sequence[Any]
) -> tuple[dict[Any, Row], dict[Any, str]]:
    """Load rows; return them by key, and of those that cannot be read why not.

    Args:
        session: any.
        table: whose rows.
        keys: primary keys; one without a row is left out.
    """
    query, key = _query(table)
    readable: dict[Any, Row] = {}
    unreadable: dict[Any, str] = {}
    for start in range(0, len(keys), _BATCH):
        batch = keys[start : start + _BATCH]
        try:
            found = session.scalars(query, {"keys": batch}).all()
        except UNREADABLE:
            found, why = _one_by_one(session, query, batch)
            unreadable |= why
        readable |= {getattr(row, key.name): row for row in found}
    return readable, unreadable


def sentence(name: str, why: str) -> str:
    """Tell that a voice's row cannot be read, and what to do."""
    return (
        f"a row of {name} holds a value that cannot be read ({why}); put a good copy of the "
        f"database in its place, or run 'voicekeeper remove {shlex.quote(name)}' and register it "
        "again"
    )


def names(session: Session, keys: Sequence[Any]) -> dict[Any, str]:
    """Return the names of voices by key, whatever else their rows hold."""
    query = select(col(Voice.id), col(Voice.name)).where(col(Voice.id).in_(keys))
    return {key: str(name) for key, name in session.execute(query)}


@cache
def _query(table: type[Row]) -> tuple[Select[Row], sa.Column[Any]]:
    """Return the statement that loads rows by their keys, and the column of the key."""
    key = sa.inspect(table).primary_key[0]
    wanted: sa.BindParameter[Sequence[Any]] = sa.bindparam("keys", expanding=True)
    query = select(table).where(key.in_(wanted)).execution_options(populate_existing=True)
    return query, key


def _one_by_one(
    session: Session, query: Select[Row], keys: Sequence[Any]
) -> tuple[Sequence[Row], dict[Any, str]]:
    readable: list[Row] = []
    unreadable: dict[Any, str] = {}
    for one in keys:
        try:
            readable += session.scalars(query, {"keys": [one]})
        except UNREADABLE as error:
            unreadable[one] = str(error)
    return readable, unreadable
