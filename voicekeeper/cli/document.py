"""The JSON of the reading commands, and the lines of an export.

Keys are a contract. Instants are RFC 3339 in UTC with ``Z``, or null; amounts are US dollars.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from voicekeeper.core import costs
from voicekeeper.core.costs import Spent, Totals, dollars
from voicekeeper.core.duration import rfc3339
from voicekeeper.core.enums import Origin, VoiceFacts, is_another_voice
from voicekeeper.core.events import is_pruned
from voicekeeper.core.health import Health
from voicekeeper.core.schedule import Policy, known_deadline
from voicekeeper.core.visible import json_text

if TYPE_CHECKING:
    from voicekeeper.core.models import HistoryEntry, Voice

SCHEMA = 1


def text(document: dict[str, Any]) -> str:
    """Return a JSON object of the contract as text."""
    return json_text({"schema": SCHEMA, **document}, indent=2)


def voice(voice: VoiceFacts, policy: Policy) -> dict[str, Any]:
    """Return a voice."""
    return {
        "name": voice.name,
        "voice_id": voice.voice_id,
        "model": voice.model,
        "origin": voice.origin,
        "status": voice.status,
        "paused": voice.paused,
        "last_used_at": instant(voice.last_used_at),
        "deadline_at": instant(known_deadline(voice, policy)),
        "next_keepalive_at": instant(voice.next_at),
        "failures": voice.failures,
        "last_error": voice.last_error,
        "created_at": instant(voice.created_at),
        "same_voice": not is_another_voice(voice),
    }


def voices(voices: Iterable[VoiceFacts], policy: Policy) -> Iterator[str]:
    """Yield the text of one JSON object that holds every voice, piece by piece."""
    yield f'{{\n  "schema": {SCHEMA},\n  "voices": ['
    separator = "\n    "
    for each in voices:
        yield separator + json_text(voice(each, policy))
        separator = ",\n    "
    yield "\n  ]\n}\n" if separator != "\n    " else "]\n}\n"


def history(name: str, entries: Sequence[HistoryEntry]) -> dict[str, Any]:
    """Return a voice's history, oldest first."""
    return {
        "name": name,
        "pruned": is_pruned([entry.event for entry in entries]),
        "history": [
            {"at": instant(entry.at), "level": entry.level, "event": entry.event}
            | (entry.detail or {})
            for entry in entries
        ],
    }


def spent(spent: Spent) -> dict[str, float]:
    """Return what was certainly and possibly spent on a voice."""
    return {
        "spent_usd": dollars(spent.certain),
        "possibly_spent_usd": dollars(spent.possible),
    }


def money(totals: Totals, health: Health, policy: Policy) -> dict[str, Any]:
    """Return what was spent on all voices, what keeping them costs, and the balance."""
    spans = {
        "today": totals.today,
        "last_30_days": totals.last_30_days,
        "ever": totals.ever,
    }
    balance = health.balance
    periods = {"day": costs.DAY, "year": costs.YEAR}
    return {
        "spent_usd": {span: dollars(spent.certain) for span, spent in spans.items()},
        "possibly_spent_usd": {span: dollars(spent.possible) for span, spent in spans.items()},
        "forecast_usd": {
            name: dollars(costs.keepalive_costs(health.kept, period, policy))
            for name, period in periods.items()
        },
        "balance_usd": dollars(balance.micros) if balance else None,
        "balance_at": instant(balance.told_at) if balance else None,
        "runway_days": health.runway_days(policy),
    }


def export_line(voice: Voice) -> str:
    """Return a voice as a line that ``import`` takes."""
    record: dict[str, Any] = {"voice_id": voice.voice_id, "name": voice.name, "model": voice.model}
    if voice.last_used_at is not None:
        record["last_used_at"] = instant(voice.last_used_at)
    if voice.origin is not Origin.IMPORTED:
        record["origin"] = voice.origin
    if voice.recipe is not None:
        record["recipe"] = voice.recipe
    if voice.paused:
        record["paused"] = True
    return json_text(record)


def instant(at: datetime | None) -> str | None:
    """Return a time as the contract has it."""
    return None if at is None else rfc3339(at)
