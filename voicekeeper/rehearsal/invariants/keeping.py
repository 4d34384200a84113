"""No voice is lost that could have been saved, none waits too long, the most urgent goes first."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from voicekeeper.core.enums import Kind
from voicekeeper.rehearsal.invariants.evidence import SLACK, Evidence, is_well
from voicekeeper.sandbox import VoiceBook
from voicekeeper.store.jobs import Claims

_HEALED_WITHIN = timedelta(hours=6)
_DEATHS_SURVIVED = 3
"""Deaths in six hours that are no excuse for being late."""


class Losses:
    """The voices that were lost, and those that are late.

    Attributes:
        acknowledged: the names that were registered at a person's word.
    """

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._overdue: set[str] = set()
        self.acknowledged: set[str] = set()

    def saveable(self) -> list[str]:
        """Return the ids of the lost voices that could have been saved."""
        return [v for v, book in self._lost() if self._could_be_saved(v, book)]

    def unsaveable(self) -> list[str]:
        """Return the ids of the lost voices that could not have been saved."""
        return [v for v, book in self._lost() if not self._could_be_saved(v, book)]

    def check_overdue(self, living: Mapping[str, datetime]) -> None:
        """Check that nothing is overdue where there was no fault for six hours.

        A clock that is set back by less than an interval puts a voice off by as much, and the
        host cannot notice: a voice that was used before has another interval. A LOST voice is
        tried once a day.

        Args:
            living: the last use of each living voice.
        """
        seen, interval = self._evidence, self._evidence.policy.interval
        healing = seen.now - _HEALED_WITHIN
        died = [at for at in seen.deaths if at > healing]
        calm = seen.timeline.was_calm(healing, seen.now)
        if not calm or len(died) > _DEATHS_SURVIVED:
            return
        for voice_id, used_at in living.items():
            if seen.known[voice_id].is_lost:
                continue
            allowed = interval * 2 if seen.was_set_since(used_at) else interval
            late = used_at < healing - allowed
            if late and seen.known[voice_id].since < healing and voice_id not in self._overdue:
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

    def _lost(self) -> list[tuple[str, VoiceBook]]:
        seen = self._evidence
        books = ((v, seen.book(v)) for v in seen.known if v not in seen.abandoned)
        return [(v, book) for v, book in books if not book.alive and book.status == "OK"]

    def _could_be_saved(self, voice_id: str, book: VoiceBook) -> bool:
        gone_at, window = book.deleted_at, self._evidence.policy.window
        if gone_at is None or gone_at < book.last_used_at + window:
            return False  # deleted for no reason
        start = max(gone_at - window * 2 / 7, self._evidence.known[voice_id].since)
        return self._evidence.timeline.worked(start, gone_at, window / 84)


@dataclass(slots=True)
class Backlog:
    """The voices that were overdue when a hard fault ended.

    Attributes:
        cause: the kind of the fault.
        ended_at: when it ended.
        waiting: ids of the voices.
        voices: how many there were.
        drained_after: until the last was used or gone; None while some wait.
    """

    cause: str
    ended_at: datetime
    waiting: set[str]
    voices: int = 0
    drained_after: timedelta | None = None

    def remove(self, voice_ids: set[str], now: datetime) -> None:
        """Wait for these voices no more."""
        if self.drained_after is None and self.waiting & voice_ids:
            self.waiting -= voice_ids
            if not self.waiting:
                self.drained_after = now - self.ended_at


class Backlogs:
    """What hard faults left to catch up with, and how long that took.

    Attributes:
        all: in the order of the faults' ends.
    """

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
        self.all.append(Backlog(cause, now, waiting, len(waiting), drained))

    def used(self, voice_id: str) -> None:
        """Note a use of a voice."""
        for backlog in self.all:
            backlog.remove({voice_id}, self._evidence.now)

    def check(self) -> None:
        """Remove the voices that are gone."""
        for backlog in self.all:
            if backlog.drained_after is None:
                gone = {v for v in backlog.waiting if not self._evidence.book(v).alive}
                backlog.remove(gone, self._evidence.now)


class _Position(NamedTuple):
    """A voice's place in the order of the calls.

    Attributes:
        is_over: whether it is past saving.
        used_at: its last use.
        is_known: whether the host knows that use.
    """

    is_over: bool
    used_at: datetime
    voice_id: str
    is_known: bool


class Order:
    """The order of the calls: by earliest deadline, and those past saving last.

    Checked among the voices that a pass took, and between those and the ones that it left,
    wherever the host knows a voice's last use as the gateway does.
    """

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        # The host counts from when it meant to use a voice, the gateway from when it was used.
        self._blur = evidence.policy.longest_call + SLACK

    def claimed(self, claims: Claims, ready: Iterable[str]) -> None:
        """Check what a pass took.

        Args:
            claims: in order.
            ready: ids of the voices that it could have taken too, had there been room.
        """
        if self._evidence.is_confused():
            return
        jobs = (job for job in claims.calls if job.kind is Kind.KEEPALIVE)
        taken = [place for job in jobs if (place := self._position(job.spoken)) is not None]
        least: _Position | None = None
        for place in taken:
            self._check(least, place, "called")
            least = self._later(least, place)
        for voice_id in ready:
            waiting = self._position(voice_id)
            if waiting is not None:
                self._check(least, waiting, "taken")

    def _check(self, before: _Position | None, after: _Position, done: str) -> None:
        """Check one that came first against one that came later, or was left."""
        seen = self._evidence
        if before is None or after.is_over or not after.is_known:
            return
        if seen.now + self._blur >= after.used_at + seen.policy.window:
            return  # by the host's count it may be past saving
        if before.is_over:
            seen.violated(f"{before.voice_id} was past saving and {done} before {after.voice_id}")
        elif before.used_at > after.used_at + self._blur:
            seen.violated(
                f"{before.voice_id} was {done} before {after.voice_id}, which is more urgent"
            )

    def _later(self, one: _Position | None, other: _Position) -> _Position | None:
        """Return the less urgent of two, where that can be known."""
        if not (other.is_over or other.is_known):
            return one
        return other if one is None else max(one, other)

    def _position(self, voice_id: str | None) -> _Position | None:
        seen = self._evidence
        known = seen.known.get(voice_id or "")
        if voice_id is None or known is None:
            return None
        used_at = seen.book(voice_id).last_used_at
        heard = known.used_at == used_at and known.heard_at is not None
        forgot = known.heard_at is not None and seen.died_within(known.heard_at, SLACK)
        is_over = seen.now >= used_at + seen.policy.window
        return _Position(is_over, used_at, voice_id, heard and not forgot)
