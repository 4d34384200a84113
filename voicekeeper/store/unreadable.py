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

from voicekeeper.core.models import Task, Voice
from voicekeeper.store.session import Session

UNREADABLE = (LookupError, ValueError, TypeError, OverflowError)
"""What the column types raise for a value that is none of theirs."""

_BATCH = 500

Row = TypeVar("Row", bound=SQLModel)


def load(
    session: Session, query: Select[Row], parameters: Mapping[str, Any] | None = None
) -> tuple[list[Row], dict[Any, str]]:
    """Load the rows of a query for one table, as `load_joined` does."""
    rows, bad = load_joined(session, query, parameters)
    return [row for (row,) in rows], bad


def load_joined(
    session: Session, query: Select[*tuple[Any, ...]], parameters: Mapping[str, Any] | None = None
) -> tuple[Sequence[Any], dict[Any, str]]:
    """Load the rows of a query, in its order; return why others cannot be read.

    Returns:
        The rows, and the reasons by the key of the table that the query names first.
    """
    try:
        return session.execute(query, parameters).all(), {}
    except UNREADABLE:
        pass
    key = sa.inspect(query.column_descriptions[0]["entity"]).primary_key[0]
    keys = session.scalars(query.with_only_columns(key), parameters).all()
    rows: list[Any] = []
    bad: dict[Any, str] = {}
    for start in range(0, len(keys), _BATCH):
        batch = keys[start : start + _BATCH]
        try:
            rows += session.execute(query.where(key.in_(batch)), parameters).all()
        except UNREADABLE:
            for one in batch:
                try:
                    rows += session.execute(query.where(key == one), parameters).all()
                except UNREADABLE as error:
                    bad[one] = str(error)
    return rows, bad


def by_voice(session: Session, bad: Mapping[int, str]) -> dict[int | None, str]:
    """Return why tasks cannot be read by the keys of their voices; None for a control call."""
    if not bad:
        return {}
    query = select(col(Task.id), col(Task.voice_pk)).where(col(Task.id).in_(bad))
    voices = dict(session.execute(query).all())
    return {voices[key]: why for key, why in bad.items()}


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
