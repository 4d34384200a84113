"""No voice is lost that could have been saved, none waits too long, and nothing hangs."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from voicekeeper.rehearsal.judge.evidence import Evidence
from voicekeeper.sandbox import VoiceBook

_HEALED_WITHIN = timedelta(hours=6)
_DEATHS_SURVIVED = 3
"""Deaths in six hours that are no excuse for being late."""


class Losses:
    """Says which voices were lost, and which are late.

    Args:
        evidence: what was seen.

    Attributes:
        acknowledged: the names of the voices that a person was told are registered.
    """

    def __init__(self, evidence: Evidence) -> None:
        self._seen = evidence
        self._overdue: set[str] = set()
        self.acknowledged: set[str] = set()

    def saveable(self) -> list[str]:
        """Return the voices that are lost and could have been saved."""
        return [v for v, book in self._all() if self._could_be_saved(v, book)]

    def unsaveable(self) -> list[str]:
        """Return the voices that are lost, and that nobody could have saved."""
        return [v for v, book in self._all() if not self._could_be_saved(v, book)]

    def check_overdue(self, living: Mapping[str, datetime]) -> None:
        """See that nothing is overdue, if nothing has been wrong for six hours.

        A clock that was set back by less than an interval puts a voice off by as much, and
        nobody can tell: one that was used before that is let off for another interval. A voice
        that is called LOST is looked for once a day.

        Args:
            living: the last use of each voice that lives.
        """
        seen, interval = self._seen, self._seen.policy.interval
        healing = seen.now - _HEALED_WITHIN
        died = [at for at in seen.killed if at > healing]
        calm = seen.weather.was_calm(healing, seen.now)
        if not calm or len(died) > _DEATHS_SURVIVED:
            return
        for voice_id, used_at in living.items():
            if seen.known[voice_id].is_lost:
                continue
            allowed = interval * 2 if seen.was_set_since(used_at) else interval
            late = used_at < healing - allowed
            if late and seen.known[voice_id].since < healing and voice_id not in self._overdue:
                self._overdue.add(voice_id)
                seen.break_(f"{voice_id} is overdue though all is well")

    def check_healed(self, names: set[str], waiting: set[str], hanging: int) -> None:
        """See that a day after the last trouble all is as though there had been none.

        Args:
            names: in the registry.
            waiting: of voices older than a day that are NEW or DEPLOYING still.
            hanging: open tasks older than six hours.
        """
        for name in sorted(self.acknowledged - names):
            self._seen.break_(f"{name} was registered and is not there")
        for name in sorted(waiting):
            self._seen.break_(f"{name} came to no end though all is well")
        if hanging:
            self._seen.break_(f"{hanging} tasks hang though all is well")

    def _all(self) -> list[tuple[str, VoiceBook]]:
        seen = self._seen
        books = ((v, seen.book(v)) for v in seen.known if v not in seen.abandoned)
        return [(v, book) for v, book in books if not book.alive and book.status == "OK"]

    def _could_be_saved(self, voice_id: str, book: VoiceBook) -> bool:
        gone_at, window = book.deleted_at, self._seen.policy.window
        if gone_at is None or gone_at < book.last_used_at + window:
            return False  # deleted for no reason
        start = max(gone_at - window * 2 / 7, self._seen.known[voice_id].since)
        return self._seen.weather.worked(start, gone_at, window / 84)
