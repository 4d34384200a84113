"""Which troubles of a plan are there at an instant; and when everything worked."""

from bisect import bisect_right
from datetime import datetime, timedelta
from itertools import accumulate

from voicekeeper.rehearsal.troubles import HARD, Plan, Spell


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
        self._hard = sorted(
            (beginning + s.start, beginning + s.end) for s in plan.spells if s.kind in HARD
        )
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
        free_from = start
        for begun, ended in self._hard:
            if ended <= free_from:
                continue
            if begun >= end:
                break
            if begun - free_from >= length:
                return True
            free_from = max(free_from, ended)
        return end - free_from >= length

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
