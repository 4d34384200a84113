"""What is read of a row, whichever way it was read: as a row of its table, or at a glance.

The rules that commands share with the daemon ask for no more, so that they work on both.
"""

import unicodedata
from datetime import datetime
from typing import Final, Protocol

from voicekeeper.core.enums import Origin, Status

ANOTHER_VOICE: Final = "not the same voice"
"""Shown of a design that was made again: the same words make another voice."""


def spellings(name: str) -> tuple[str, ...]:
    """Return a voice's name as it is written, composed (NFC) and decomposed (NFD): one name.

    A name is registered composed; older rows may have it as it was typed.
    """
    if name.isascii():
        return (name,)
    forms = (unicodedata.normalize(form, name) for form in ("NFC", "NFD"))
    return tuple(dict.fromkeys((name, *forms)))


class VoiceFacts(Protocol):
    """What commands show of a voice; of each column, `models.Voice` tells the meaning."""

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
    """What is told of a model whose calls are paused; see `models.Breaker`."""

    model: str
    opened_at: datetime | None
    cause: str | None
    probe_at: datetime | None


class BalanceFacts(Protocol):
    """What the account held when a keeper last asked; see `models.Balance`."""

    micros: int
    told_at: datetime
