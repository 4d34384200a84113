"""LOST and UNDEPLOYED only with the gateway's evidence that names the voice; legal steps only."""

from collections import Counter
from typing import Any, Final

from voicekeeper.rehearsal.judge.evidence import Evidence
from voicekeeper.terms import Status

LEGAL: Final = frozenset(
    {
        (Status.NEW, Status.DEPLOYING),
        (Status.NEW, Status.OK),
        (Status.NEW, Status.FAILED),
        (Status.NEW, Status.UNKNOWN),
        (Status.NEW, Status.UNDEPLOYED),
        (Status.NEW, Status.LOST),
        (Status.DEPLOYING, Status.OK),
        (Status.DEPLOYING, Status.UNDEPLOYED),
        (Status.DEPLOYING, Status.FAILED),
        (Status.DEPLOYING, Status.UNKNOWN),
        (Status.DEPLOYING, Status.LOST),
        (Status.OK, Status.LOST),
        (Status.OK, Status.UNDEPLOYED),
        (Status.LOST, Status.OK),
        (Status.LOST, Status.UNDEPLOYED),
        (Status.UNDEPLOYED, Status.OK),
        (Status.FAILED, Status.NEW),
        (Status.UNKNOWN, Status.NEW),
        (Status.UNDEPLOYED, Status.NEW),
        (Status.LOST, Status.NEW),
    }
)
"""The steps of a status; back to NEW by a person's `retry` only."""

_AND_AGAIN = 2
"""Blames of a living voice before it may be called gone."""

_OTHERS = 2
"""Living voices among which one bears witness for another, as far as the host can know them."""


class Statuses:
    """Holds each step of a status against what the gateway said.

    Args:
        evidence: what was seen.

    Attributes:
        steps: how often each was made.
    """

    def __init__(self, evidence: Evidence) -> None:
        self._seen = evidence
        self.steps: Counter[str] = Counter()

    def blamed(self, voice_id: str, *, at_fault: bool) -> None:
        """An answer came back that names a voice.

        Args:
            voice_id: which.
            at_fault: whether the account was to blame for it.
        """
        known = self._seen.known.get(voice_id)
        if known is not None and (not at_fault or len(self._witnesses()) < _OTHERS):
            known.blamed += 1

    def _witnesses(self) -> list[str]:
        """Return the living voices whose windows are not over by what the host was told.

        And by its clock: one that is days ahead sees windows end that have days left.
        """
        over = self._seen.host_now - self._seen.policy.window
        known = self._seen.known
        return [v for v in self._seen.living() if (known[v].used_at or known[v].since) > over]

    def changed(self, fields: dict[str, Any]) -> None:
        """The host says that a voice has another status."""
        before, after = Status(fields["from"]), Status(fields["to"])
        self.steps[f"{before}-{after}"] += 1
        name, voice_id = fields["name"], fields.get("voice_id")
        if voice_id in self._seen.known:
            self._seen.known[voice_id].is_lost = after is Status.LOST
        if (before, after) not in LEGAL:
            self._seen.break_(f"{name} went from {before} to {after}")
        if after in (Status.LOST, Status.UNDEPLOYED) and voice_id is not None:
            book, known = self._seen.book(voice_id), self._seen.known.get(voice_id)
            evident = not book.alive or book.status == "UNDEPLOYED"
            if not evident and (known is None or known.blamed < _AND_AGAIN):
                self._seen.break_(f"{name} was called {after} and lives")
