"""Writing what happened: one row of history for each event, and the same event for the log.

The history row commits with the change it tells; the log line is written after the commit.
One is made from the other, so ``history NAME`` and the log tell the same story.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import select, update
from sqlmodel import col

from voicekeeper.core.duration import rfc3339
from voicekeeper.core.events import Event, Level, level_of_change
from voicekeeper.core.models import HistoryEntry, Removal, Status, Voice
from voicekeeper.core.transitions import Entry
from voicekeeper.store import unreadable
from voicekeeper.store.session import Session

_MOST = 1000
"""So many entries, and removals, are logged by one pass; the next one goes on."""


class LogLine(NamedTuple):
    """An event ready for the log.

    Attributes:
        event: its name in the catalogue.
        level: ``debug``, ``info``, ``warning`` or ``error``.
        fields: ``name`` and ``voice_id`` first, where a voice is concerned.
        alert: the key of the alert that this line tells of; it is marked once it was logged.
    """

    event: str
    level: str
    fields: dict[str, Any]
    alert: int | None = None


def add_entry(
    session: Session,
    voice: Voice,
    entry: Entry,
    *,
    now: datetime,
    logged: bool = True,
    level: Level | None = None,
) -> LogLine:
    """Add a row to a voice's history and return its line for the log.

    Args:
        voice: with the values it has after the change.
        logged: False when nobody here writes a log; a keeper then does it on its next pass.
        level: how loud it is, where the catalogue leaves that open.
    """
    detail = plain(entry.detail)
    level = level or _level(entry.event, detail)
    assert voice.id is not None  # noqa: S101 - a stored voice has its key
    session.insert(
        HistoryEntry,
        voice_pk=voice.id,
        at=now,
        event=str(entry.event),
        level=level,
        detail=detail,
        logged=logged,
    )
    return line(entry.event, level, voice.name, voice.voice_id, detail)


def line(
    event: str, level: str, name: str, voice_id: str | None, detail: dict[str, Any] | None
) -> LogLine:
    """Return the log line of an event in a voice's life."""
    return LogLine(event, level, {"name": name, "voice_id": voice_id, **(detail or {})})


def removal_of(voice: Voice, *, now: datetime) -> Removal:
    """Return the row that stays of a voice whose history goes with it."""
    return Removal(name=voice.name, voice_id=voice.voice_id, status=voice.status, at=now)


def take_unlogged(session: Session) -> list[LogLine]:
    """Return what commands told since the last pass, and mark it as logged.

    Removals first: what a history still tells of the same name, came after it.
    """
    return [*_take_removals(session), *_take_history(session)]


def _take_removals(session: Session) -> list[LogLine]:
    """Return the lines of the voices that were forgotten, and forget them altogether."""
    query = select(Removal).order_by(col(Removal.id)).limit(_MOST)
    removals = session.scalars(query).all()
    for removal in removals:
        session.delete(removal)
    event = Event.VOICE_REMOVED
    return [
        line(
            event,
            event.level,
            removal.name,
            removal.voice_id,
            {"at": rfc3339(removal.at), "status": removal.status},
        )
        for removal in removals
    ]


def _take_history(session: Session) -> list[LogLine]:
    """Return the lines of histories; an entry that cannot be read is left out."""
    query = (
        select(HistoryEntry, col(Voice.name), col(Voice.voice_id))
        .join(Voice, col(Voice.id) == col(HistoryEntry.voice_pk))
        .where(col(HistoryEntry.logged) == sa.false())
        .order_by(col(HistoryEntry.id))
        .limit(_MOST)
    )
    unlogged, bad = unreadable.load_joined(session, query)
    keys = [entry.id for entry, *_ in unlogged] + list(bad)
    if keys:
        marked = update(HistoryEntry).where(col(HistoryEntry.id).in_(keys))
        session.run(marked.values(logged=True))
    return [
        line(
            entry.event,
            entry.level,
            name,
            voice_id,
            {"at": rfc3339(entry.at)} | (entry.detail or {}),
        )
        for entry, name, voice_id in unlogged
    ]


def unreadable_line(name: str, why: str) -> LogLine:
    """Return the log line of a voice that is left out because a row of it cannot be read."""
    fields = {"name": name, "error": unreadable.sentence(name, why)}
    return LogLine(Event.PASS_FAILED, _level(Event.PASS_FAILED, {}), fields)


def model_line(event: Event, **fields: object) -> LogLine:
    """Return the log line of an event that concerns a model's route, not a voice."""
    detail = plain(fields)
    return LogLine(event, _level(event, detail), detail)


def plain(fields: Mapping[str, object]) -> dict[str, Any]:
    """Return the fields of an event that say something, as JSON can hold them."""
    return {
        key: rfc3339(value) if isinstance(value, datetime) else value
        for key, value in fields.items()
        if value is not None
    }


def _level(event: Event, detail: dict[str, Any]) -> Level:
    if event is Event.VOICE_STATUS_CHANGED:
        return level_of_change(Status(detail["to"]))
    return event.level
