"""Which troubles of a plan are there at an instant; and when everything worked."""

from bisect import bisect_right
from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import accumulate

from voicekeeper.rehearsal.troubles import HARD, Plan, Spell

Span = tuple[datetime, datetime | None]
"""From when until when; None for something that has not ended."""


class Weather:
    """A plan's spells, asked for in the order of time.

    Args:
        plan: what goes wrong.
        beginning: of the rehearsal, in true time.
    """

    def __init__(self, plan: Plan, beginning: datetime) -> None:
        self._beginning = beginning
        self._always = plan.rates
        self._spells = sorted(plan.spells, key=lambda s: (s.start, s.end, s.kind))
        edges = {edge for spell in self._spells for edge in (spell.start, spell.end)}
        self._edges = sorted(beginning + edge for edge in edges)
        self._of: dict[frozenset[str], list[Span]] = {}
        self._until = datetime.min.replace(tzinfo=beginning.tzinfo)
        self._names: list[str] = []
        self._odds: list[float] = []
        self.spells: dict[str, Spell] = {}

    def at(self, now: datetime) -> dict[str, Spell]:
        """Return the spells there are now, by kind; ``now`` never goes back."""
        if now >= self._until:
            self._turn(now)
        return self.spells

    def lasts(self, now: datetime) -> timedelta:
        """Return how long the spells stay as they are."""
        self.at(now)
        return self._until - now

    def fault(self, now: datetime, die: float) -> str | None:
        """Return which fault strikes a call.

        Args:
            now: when.
            die: a random number from 0 to 1.
        """
        self.at(now)
        index = bisect_right(self._odds, die)
        return self._names[index] if index < len(self._names) else None

    def worked(self, start: datetime, end: datetime, length: timedelta) -> bool:
        """Tell whether host, way, account and disk all worked for so long at a stretch."""
        return has_room(self.of(HARD), start, end, length)

    def of(self, kinds: frozenset[str]) -> list[Span]:
        """Return when there is any spell of these kinds."""
        if kinds not in self._of:
            self._of[kinds] = [
                (self._beginning + spell.start, self._beginning + spell.end)
                for spell in self._spells
                if spell.kind in kinds
            ]
        return self._of[kinds]

    def was_calm(self, start: datetime, end: datetime) -> bool:
        """Tell whether no spell at all touched a stretch of time."""
        since, until = start - self._beginning, end - self._beginning
        return not any(spell.start < until and spell.end > since for spell in self._spells)

    def _turn(self, now: datetime) -> None:
        since = now - self._beginning
        self.spells = {s.kind: s for s in self._spells if s.start <= since < s.end}
        rates = dict(self._always)
        for spell in self.spells.values():
            rates |= spell.rates
        self._names = list(rates)
        self._odds = list(accumulate(rates.values()))
        ahead = (edge for edge in self._edges if edge > now)
        self._until = next(ahead, datetime.max.replace(tzinfo=now.tzinfo))


def has_room(spans: Iterable[Span], start: datetime, end: datetime, length: timedelta) -> bool:
    """Tell whether a stretch of time has one so long in it that no span touches."""
    free_from = start
    for begun, ended in sorted(spans, key=lambda span: span[0]):
        if ended is not None and ended <= free_from:
            continue
        if begun >= end:
            break
        if begun - free_from >= length:
            return True
        if ended is None:
            return False
        free_from = ended
    return end - free_from >= length
