"""No voice is lost that could have been saved, and none waits too long."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from voicekeeper.rehearsal.clock import BEGINNING
from voicekeeper.rehearsal.faults import HARD, PERIODS, has_room
from voicekeeper.rehearsal.invariants.evidence import Evidence, is_well
from voicekeeper.sandbox import VoiceBook

_HEALED_WITHIN = timedelta(hours=6)
_DEATHS_SURVIVED = 3
"""Deaths in six hours that are no excuse for being late."""


class Losses:
    """The voices that were lost, and those that are late.

    Attributes:
        acknowledged: the names that a person registered.
    """

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._overdue: set[str] = set()
        self.acknowledged: set[str] = set()

    def lost(self) -> dict[str, bool]:
        """Return the ids of the lost voices, each with whether it could have been saved."""
        seen = self._evidence
        books = {v: seen.book(v) for v in seen.known if v not in seen.abandoned}
        return {
            voice_id: self._could_be_saved(voice_id, book)
            for voice_id, book in books.items()
            if not book.alive and book.status == "OK"
        }

    def check_overdue(self, living: Mapping[str, datetime]) -> None:
        """Check that nothing is overdue where there was no fault for six hours.

        A clock that is set back by less than an interval puts a voice off by as much, and the
        host cannot notice: a voice that was used before has another interval. A LOST voice is
        tried once a day.
        """
        seen, interval = self._evidence, self._evidence.policy.interval
        healing = seen.now - _HEALED_WITHIN
        deaths = sum(died > healing for died, _ in seen.downs)
        calm = has_room(seen.timeline.of(PERIODS), healing, seen.now, _HEALED_WITHIN)
        if not calm or deaths > _DEATHS_SURVIVED:
            return
        for voice_id, used_at in living.items():
            if seen.known[voice_id].is_lost or voice_id in self._overdue:
                continue
            allowed = interval * 2 if seen.was_set_since(used_at) else interval
            if used_at < healing - allowed and seen.known[voice_id].since < healing:
                self._overdue.add(voice_id)
                seen.violated(f"{voice_id} is overdue though all is well")

    def check_healed(self, names: set[str], waiting: set[str], hanging: int) -> None:
        """Check that a day after the last fault no trace of any is left.

        Args:
            names: in the registry.
            waiting: those of voices older than a day that are still NEW or DEPLOYING.
            hanging: how many open tasks are older than six hours.
        """
        for name in sorted(self.acknowledged - names):
            self._evidence.violated(f"{name} was registered and is not there")
        for name in sorted(waiting):
            self._evidence.violated(f"{name} came to no end though all is well")
        if hanging:
            self._evidence.violated(f"{hanging} tasks hang though all is well")

    def _could_be_saved(self, voice_id: str, book: VoiceBook) -> bool:
        gone_at, window = book.deleted_at, self._evidence.policy.window
        if gone_at is None or gone_at < book.last_used_at + window:
            return False  # deleted for no reason
        start = max(gone_at - window * 2 / 7, self._evidence.known[voice_id].since)
        return has_room(self._evidence.timeline.of(HARD), start, gone_at, window / 84)


@dataclass(slots=True)
class Backlog:
    """The voices that were overdue when a hard fault ended.

    Attributes:
        voices: how many there were.
        took: until the last was used or gone; None while some wait.
        waiting: the ids of those that have not been used.
    """

    cause: str
    ended_at: datetime
    voices: int
    took: timedelta | None
    waiting: set[str]

    @property
    def day(self) -> float:
        """The end of the fault, in days since the beginning."""
        return (self.ended_at - BEGINNING) / timedelta(days=1)


class Backlogs:
    """The backlogs of all hard faults, in the order of their ends."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self.all: list[Backlog] = []

    def begin(self, cause: str) -> None:
        """Count the voices that are overdue as a hard fault ends."""
        seen, now = self._evidence, self._evidence.now
        books = {voice_id: seen.book(voice_id) for voice_id in seen.known}
        waiting = {
            voice_id
            for voice_id, book in books.items()
            if is_well(book) and now - book.last_used_at > seen.policy.interval
        }
        drained = None if waiting else timedelta(0)
        self.all.append(Backlog(cause, now, len(waiting), drained, waiting))

    def used(self, voice_id: str) -> None:
        """Note a use of a voice."""
        for backlog in self.all:
            self._remove(backlog, {voice_id})

    def check(self) -> None:
        """Remove the voices that are gone."""
        for backlog in self.all:
            self._remove(backlog, {v for v in backlog.waiting if not self._evidence.book(v).alive})

    def _remove(self, backlog: Backlog, voice_ids: set[str]) -> None:
        if backlog.waiting & voice_ids:
            backlog.waiting -= voice_ids
            if not backlog.waiting:
                backlog.took = self._evidence.now - backlog.ended_at
