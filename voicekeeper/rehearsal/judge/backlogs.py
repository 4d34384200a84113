"""What hard spells left to catch up with, and how long that took."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from voicekeeper.rehearsal.judge.evidence import Evidence, is_well


@dataclass(slots=True)
class Backlog:
    """The voices that were overdue when a hard spell ended.

    Attributes:
        cause: the kind of the spell.
        ended_at: when it ended.
        waiting: their ids.
        voices: how many there were.
        drained_after: until the last was used or gone; None while some wait.
    """

    cause: str
    ended_at: datetime
    waiting: set[str]
    voices: int = 0
    drained_after: timedelta | None = None

    def let_go(self, voice_ids: set[str], now: datetime) -> None:
        """Wait for these voices no more."""
        if self.drained_after is None and self.waiting & voice_ids:
            self.waiting -= voice_ids
            if not self.waiting:
                self.drained_after = now - self.ended_at


class Backlogs:
    """Counts them.

    Args:
        evidence: what was seen.

    Attributes:
        all: in the order of the spells' ends.
    """

    def __init__(self, evidence: Evidence) -> None:
        self._seen = evidence
        self.all: list[Backlog] = []

    def begin(self, cause: str) -> None:
        """Something hard is over: see what it left behind."""
        seen, now = self._seen, self._seen.now
        books = {voice_id: seen.book(voice_id) for voice_id in seen.known}
        waiting = {
            voice_id
            for voice_id, book in books.items()
            if is_well(book) and now - book.last_used_at > seen.policy.interval
        }
        drained = None if waiting else timedelta(0)
        self.all.append(Backlog(cause, now, waiting, len(waiting), drained))

    def used(self, voice_id: str) -> None:
        """A voice was used."""
        for backlog in self.all:
            backlog.let_go({voice_id}, self._seen.now)

    def check(self) -> None:
        """Let go of the voices that a backlog need not wait for: they are gone."""
        for backlog in self.all:
            if backlog.drained_after is None:
                gone = {v for v in backlog.waiting if not self._seen.book(v).alive}
                backlog.let_go(gone, self._seen.now)
