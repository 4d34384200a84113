"""Rows as the rules need them: a row of a table, or the same row read without SQLAlchemy."""

import unicodedata
from datetime import datetime
from typing import Final, Protocol

from voicekeeper.core.enums import Origin, Status

ANOTHER_VOICE: Final = "not the same voice"
"""Of a design that was made again: the same prompt makes another voice."""


def spellings(name: str) -> tuple[str, ...]:
    """Return the spellings of one name: as written, composed (NFC) and decomposed (NFD).

    A name is registered composed; older rows may have it as it was typed.
    """
    if name.isascii():
        return (name,)
    forms = (unicodedata.normalize(form, name) for form in ("NFC", "NFD"))
    return tuple(dict.fromkeys((name, *forms)))


class VoiceFacts(Protocol):
    """Columns of a `models.Voice`."""

    name: str
    model: str
    voice_id: str | None
    origin: Origin
    status: Status
    paused: bool
    created_at: datetime
    last_used_at: datetime | None
    enrolled_at: datetime | None
    anchored_at: datetime
    next_at: datetime | None
    failures: int
    last_error: str | None
    remade_at: datetime | None


def is_another_voice(voice: VoiceFacts) -> bool:
    """Return whether a voice is a design that was made again, and so sounds different."""
    return voice.remade_at is not None and voice.origin is Origin.DESIGN


class BreakerFacts(Protocol):
    """Columns of a `models.Breaker`."""

    model: str
    opened_at: datetime | None
    cause: str | None
    probe_at: datetime | None


class BalanceFacts(Protocol):
    """Columns of a `models.Balance`."""

    micros: int
    told_at: datetime
