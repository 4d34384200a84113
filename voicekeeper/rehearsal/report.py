"""The result of a simulation, and which interval would have had room for its faults."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from voicekeeper.core.schedule import Policy
from voicekeeper.rehearsal.faults import HARD, Plan
from voicekeeper.rehearsal.invariants.keeping import Backlog

SCHEMA: Final = 1
_WEEK = timedelta(days=7)
_HOUR = timedelta(hours=1)
_REQUESTS = 3
"""A keepalive and its polls, rounded up."""


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a simulation.

    Attributes:
        smallest_margin: the least time that any voice had left when it was used; None if none was.
        keepalives: speech calls that the gateway accepted, control calls included.
        faults, transitions: how often each fault struck and each transition was made.
        margins: for each day the least time that any voice had left at its end.
        broken: each violation of an invariant besides the losses, as a sentence.
        trace: a hash of everything that happened.
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
    backlogs: Sequence[Backlog]
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
        return {
            "schema": SCHEMA,
            "seed": self.seed,
            "voices": self.voices,
            "days": self.days,
            "saveable_lost": self.saveable_lost,
            "unsaveable_lost": self.unsaveable_lost,
            "smallest_margin_s": _seconds(self.smallest_margin),
            "keepalives": self.keepalives,
            "polls": self.polls,
            "cost_usd": self.cost_micros / 1_000_000,
            "backlogs": [
                {
                    "cause": backlog.cause,
                    "day": backlog.day,
                    "voices": backlog.voices,
                    "drained_s": _seconds(backlog.took),
                }
                for backlog in self.backlogs
            ],
            "faults": dict(sorted(self.faults.items())),
            "transitions": dict(sorted(self.transitions.items())),
            "broken": list(self.broken),
            "trace": self.trace,
        }


def _seconds(length: timedelta | None) -> float | None:
    return None if length is None else length.total_seconds()


def longest_gap(plan: Plan, policy: Policy) -> timedelta:
    """Return the longest stretch of time in which no voice could have been saved."""
    pause = policy.window / 84  # two hours of seven days
    found, begun, ended = timedelta(0), timedelta(0), timedelta(0)
    for period in sorted((s for s in plan.periods if s.kind in HARD), key=lambda s: s.start):
        if period.start - ended >= pause:
            begun = period.start
        ended = max(ended, period.end)
        found = max(found, ended - begun)
    return found


def fitting_interval(plan: Plan, policy: Policy, *, voices: int) -> timedelta | None:
    """Return a shorter interval that has room for the longest gap; None if none helps.

    A voice that is due as the gap begins has to last to its end, and until all others that
    wait were called.
    """
    requests = timedelta(seconds=_REQUESTS * voices / policy.requests_per_second)
    room = policy.window - longest_gap(plan, policy) - requests - 2 * _HOUR
    step = 12 * _HOUR if room >= 12 * _HOUR else _HOUR
    fitting = room // step * step
    return fitting if timedelta(0) < fitting < policy.interval else None
