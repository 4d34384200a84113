"""The most urgent first: what can be saved by earliest deadline, what is past saving last.

Judged among the voices that a pass took, and between those and the ones that waited in vain,
wherever the host knows a voice's last use as the gateway does.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from voicekeeper.rehearsal.judge.evidence import SLACK, Evidence
from voicekeeper.store import Claims
from voicekeeper.terms import Kind


class _Place(NamedTuple):
    """Where a voice stands in the queue.

    Attributes:
        is_over: whether it is past saving.
        used_at: its last use.
        voice_id: which.
        is_known: whether the host knows its last use.
    """

    is_over: bool
    used_at: datetime
    voice_id: str
    is_known: bool


class Urgency:
    """Holds the order of the calls against the deadlines.

    Args:
        evidence: what was seen.
    """

    def __init__(self, evidence: Evidence) -> None:
        self._seen = evidence
        # The host counts from when it meant to use a voice, the gateway from when it was used.
        self._blur = evidence.policy.lease + SLACK

    def claimed(self, claims: Claims, ready: Iterable[str]) -> None:
        """A pass took voices.

        Args:
            claims: what it took, in order.
            ready: ids of the voices that it could have taken too, if there had been room.
        """
        if self._seen.is_confused():
            return
        jobs = (job for job in claims.calls if job.kind is Kind.KEEPALIVE)
        taken = [place for job in jobs if (place := self._place(job.spoken)) is not None]
        least: _Place | None = None
        for place in taken:
            self._check(least, place, "called")
            least = self._later(least, place)
        for voice_id in ready:
            waiting = self._place(voice_id)
            if waiting is not None:
                self._check(least, waiting, "taken")

    def _check(self, before: _Place | None, after: _Place, done: str) -> None:
        """Hold one that came first against one that came later, or not at all."""
        if before is None or after.is_over or not after.is_known:
            return
        if self._seen.now + self._blur >= after.used_at + self._seen.policy.window:
            return  # by the host's count it may be past saving
        if before.is_over:
            self._seen.break_(
                f"{before.voice_id} was past saving and {done} before {after.voice_id}"
            )
        elif before.used_at > after.used_at + self._blur:
            self._seen.break_(
                f"{before.voice_id} was {done} before {after.voice_id}, which is more urgent"
            )

    def _later(self, one: _Place | None, other: _Place) -> _Place | None:
        """Return which of two is the less urgent, of what can be told."""
        if not (other.is_over or other.is_known):
            return one
        return other if one is None else max(one, other)

    def _place(self, voice_id: str | None) -> _Place | None:
        seen = self._seen
        known = seen.known.get(voice_id or "")
        if voice_id is None or known is None:
            return None
        used_at = seen.book(voice_id).last_used_at
        heard = known.used_at == used_at and known.told_at is not None
        forgot = known.told_at is not None and seen.died_within(known.told_at, SLACK)
        is_over = seen.now >= used_at + seen.policy.window
        return _Place(is_over, used_at, voice_id, heard and not forgot)
