"""What came of a rehearsal, as values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

SCHEMA = 1
_WEEK = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Drained:
    """How long the overdue took after something hard had ended.

    Attributes:
        cause: what had ended.
        day: when, in days since the beginning.
        voices: how many were overdue.
        took: until the last of them was used or gone; None if some never were.
    """

    cause: str
    day: float
    voices: int
    took: timedelta | None


@dataclass(frozen=True, slots=True)
class Report:
    """What came of a rehearsal.

    Attributes:
        seed, voices, days: what was rehearsed.
        saveable_lost: voices lost that could have been saved.
        unsaveable_lost: voices lost that nobody could have saved.
        smallest_margin: the least time that any voice had left when it was used; None if none was.
        keepalives: speech calls that the gateway accepted, control calls included.
        polls: answers of ``statusTask``.
        cost_micros: by the gateway's books, in millionths of a US dollar.
        faults: how often each thing went wrong, by its name.
        transitions: how often each step of a status was made.
        backlogs: what each hard trouble left to catch up with.
        margins: for each day the least time that any voice had left at its end.
        broken: every other break of the promise, as a sentence.
        trace: a hash of all that happened.
    """

    seed: int
    voices: int
    days: int
    saveable_lost: int
    unsaveable_lost: int
    smallest_margin: timedelta | None
    keepalives: int
    polls: int
    cost_micros: int
    faults: Mapping[str, int]
    transitions: Mapping[str, int]
    backlogs: Sequence[Drained]
    margins: Sequence[timedelta | None]
    broken: Sequence[str]
    trace: str

    @property
    def kept_its_promise(self) -> bool:
        """Whether no voice was lost that could have been saved, and nothing else was broken."""
        return not self.saveable_lost and not self.broken

    def per_voice_week(self, count: int) -> float:
        """Return a count for each voice and week."""
        return count / max(1, self.voices) / (timedelta(days=self.days) / _WEEK)

    def document(self) -> dict[str, Any]:
        """Return the object that ``--json`` prints."""
        margin = self.smallest_margin
        return {
            "schema": SCHEMA,
            "seed": self.seed,
            "voices": self.voices,
            "days": self.days,
            "saveable_lost": self.saveable_lost,
            "unsaveable_lost": self.unsaveable_lost,
            "smallest_margin_s": None if margin is None else margin.total_seconds(),
            "keepalives": self.keepalives,
            "polls": self.polls,
            "cost_usd": self.cost_micros / 1_000_000,
            "backlogs": [
                {
                    "cause": backlog.cause,
                    "day": backlog.day,
                    "voices": backlog.voices,
                    "drained_s": None if backlog.took is None else backlog.took.total_seconds(),
                }
                for backlog in self.backlogs
            ],
            "faults": dict(sorted(self.faults.items())),
            "transitions": dict(sorted(self.transitions.items())),
            "broken": list(self.broken),
            "trace": self.trace,
        }
