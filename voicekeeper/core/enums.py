"""The words that columns of the registry may hold, its schema, and rows as the rules see them.

They need no library, so that a command which only reads does without the tables, whose libraries
take many times as long to import as its answer.
"""

import unicodedata
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol

SCHEMA: Final = "0006"
"""The newest migration; the code fits this schema and no other."""


class Status(StrEnum):
    """Where a voice stands; the three in the middle are the gateway's own words."""

    NEW = "NEW"
    """Registered; nothing is confirmed upstream yet."""
    DEPLOYING = "DEPLOYING"
    """The gateway has the enrollment and reviews or deploys the voice."""
    OK = "OK"
    """The voice speaks."""
    UNDEPLOYED = "UNDEPLOYED"
    """The gateway's review took the voice away."""
    FAILED = "FAILED"
    """The enrollment ended without a voice."""
    UNKNOWN = "UNKNOWN"
    """A paid enrollment whose answer was lost: a voice may exist upstream."""
    LOST = "LOST"
    """The gateway no longer knows the voice."""

    @property
    def is_dead(self) -> bool:
        """Whether there is nothing to speak with, whatever voice_id there was."""
        return self in (Status.FAILED, Status.UNDEPLOYED, Status.LOST)


LIVING: Final = (Status.NEW, Status.DEPLOYING, Status.OK)
"""The statuses of the voices that are kept, unless they are paused."""

NEVER_KNOWN: Final = "the gateway has never known this voice_id: check it for a typing mistake"
"""In the last error of a LOST voice that never spoke since it was registered."""

ANOTHER_VOICE: Final = "not the same voice"
"""Of a design that was made again: the same prompt makes another voice."""


class Origin(StrEnum):
    """How a voice came into the registry."""

    IMPORTED = "imported"
    CLONE = "clone"
    DESIGN = "design"


class Kind(StrEnum):
    """What a task is for."""

    KEEPALIVE = "keepalive"
    CLONE = "clone"
    DESIGN = "design"
    CONTROL = "control"
    """A speech call that tests the account or the route, not the voice it speaks with."""

    def __init__(self, word: str) -> None:
        self.is_enrollment: Final = word in ("clone", "design")
        """Whether the task makes a voice, and is therefore never repeated on a doubt."""


class TaskState(StrEnum):
    """How far a task has come."""

    INTENT = "intent"
    """Before the gateway's answer: the call may or may not have been made."""
    RUNNING = "running"
    """Accepted; its task id is known and is polled."""
    SUCCESS = "success"
    FAILED = "failed"
    """The gateway ended the task without success."""
    REFUSED = "refused"
    """The POST was refused: nothing was done and nothing charged."""
    UNKNOWN = "unknown"
    """No answer says how it ended: it may have been done, and charged."""

    @property
    def is_open(self) -> bool:
        """Whether the task has not come to its end."""
        return self in (TaskState.INTENT, TaskState.RUNNING)


class AlertKind(StrEnum):
    """The condition of an alert, which is repeated until it has ended."""

    LOST = "lost"
    """The gateway no longer knows the voice."""
    UNDEPLOYED = "undeployed"
    """The gateway's review took the voice away."""
    RISK = "risk"
    """Little of the voice's window is left, and no keepalive succeeds."""
    BLOCKED = "blocked"
    """All calls of a model are paused."""
    ENROLLMENT = "enrollment"
    """A clone or design task has ended: it is sent once, and has lines of its own."""


class Topic(StrEnum):
    """What a message to people is about."""

    LOST = "lost"
    UNDEPLOYED = "undeployed"
    RISK = "risk"
    BLOCKED = "blocked"
    ENROLLMENT = "enrollment"
    DIGEST = "digest"
    """How the fleet is, once a week."""


class VoiceFacts(Protocol):
    """Columns of a `models.Voice`, or of the same row read without SQLAlchemy."""

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


def spellings(name: str) -> tuple[str, ...]:
    """Return the spellings of one name: as written, composed (NFC) and decomposed (NFD).

    A name is registered composed; older rows may have it as it was typed.
    """
    if name.isascii():
        return (name,)
    forms = (unicodedata.normalize(form, name) for form in ("NFC", "NFD"))
    return tuple(dict.fromkeys((name, *forms)))
