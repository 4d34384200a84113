"""Writing what happened: one row of history for each event, and the same event for the log.

The history row commits with the change it tells; the log line is written after the commit.
One is made from the other, so ``history NAME`` and the log tell the same story.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlmodel import Session, col

from voicekeeper.duration import rfc3339
from voicekeeper.events import MEANINGS, Event, Level, level_of_change
from voicekeeper.lifecycle import Telling
from voicekeeper.models import HistoryEntry, Status, Voice
from voicekeeper.store import rows


@dataclass(frozen=True, slots=True)
class LogLine:
    """An event ready for the log.

    Attributes:
        event: its name in the catalogue.
        level: ``debug``, ``info``, ``warning`` or ``error``.
        fields: ``name`` and ``voice_id`` first, where a voice is concerned.
    """

    event: str
    level: str
    fields: dict[str, Any]


def tell(
    session: Session, voice: Voice, telling: Telling, *, now: datetime, logged: bool = True
) -> LogLine:
    """Add a row to a voice's history and return its line for the log.

    Args:
        session: a writing one.
        voice: with the values it has after the change.
        telling: what happened.
        now: of this pass or command.
        logged: False when nobody here writes a log; a keeper then does it on its next pass.
    """
    detail = {key: _plain(value) for key, value in telling.detail.items() if value is not None}
    level = _level(telling.event, detail)
    assert voice.id is not None  # noqa: S101 - a stored voice has its key
    entry = HistoryEntry(
        voice_pk=voice.id, at=now, event=telling.event, level=level, detail=detail, logged=logged
    )
    session.add(entry)
    return line(telling.event, level, voice.name, voice.voice_id, detail)


def line(
    event: str, level: str, name: str, voice_id: str | None, detail: dict[str, Any] | None
) -> LogLine:
    """Return the log line of an event in a voice's life."""
    return LogLine(event, level, {"name": name, "voice_id": voice_id, **(detail or {})})


def take_unlogged(session: Session, most: int = 1000) -> list[LogLine]:
    """Return what commands wrote since the last pass, and mark it as logged.

    An entry that cannot be read is marked too, and left out.
    """
    query = (
        select(col(HistoryEntry.id), col(Voice.name), col(Voice.voice_id))
        .join(Voice, col(Voice.id) == col(HistoryEntry.voice_pk))
        .where(col(HistoryEntry.logged).is_(False))
        .order_by(col(HistoryEntry.id))
        .limit(most)
    )
    unlogged = session.execute(query).all()
    if not unlogged:
        return []
    entries, _ = rows.by_key(session, HistoryEntry, [key for key, _, _ in unlogged])
    session.execute(
        update(HistoryEntry)
        .where(col(HistoryEntry.logged).is_(False), col(HistoryEntry.id) <= unlogged[-1][0])
        .values(logged=True)
        .execution_options(synchronize_session=False)
    )
    return [
        line(
            entry.event,
            entry.level,
            name,
            voice_id,
            {"at": rfc3339(entry.at)} | (entry.detail or {}),
        )
        for key, name, voice_id in unlogged
        if (entry := entries.get(key)) is not None
    ]


def unreadable_line(name: str, why: str) -> LogLine:
    """Return the log line of a voice that is left out because a row of it cannot be read."""
    fields = {"name": name, "error": rows.sentence(name, why)}
    return LogLine(Event.PASS_FAILED, _level(Event.PASS_FAILED, {}), fields)


def model_line(event: Event, **fields: object) -> LogLine:
    """Return the log line of an event that concerns a model's route, not a voice."""
    plain = {key: _plain(value) for key, value in fields.items() if value is not None}
    return LogLine(event, _level(event, plain), plain)


def _level(event: Event, detail: dict[str, Any]) -> Level:
    if event is Event.VOICE_STATUS_CHANGED:
        return level_of_change(Status(detail["to"]))
    return MEANINGS[event].level


def _plain(value: object) -> Any:  # noqa: ANN401 - JSON holds anything
    return rfc3339(value) if isinstance(value, datetime) else value
