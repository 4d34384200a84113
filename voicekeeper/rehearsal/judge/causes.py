"""What a person must be told at least once: each risk, each loss, each pause of the calls.

A risk follows from the gateway's books: so little of a voice's window is left, and its use is
not. A loss follows from what the host was told: blamed, a control call that worked, and blamed
again, all of it of a voice that is truly gone. A pause follows from one refusal of the account.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from voicekeeper import alerting
from voicekeeper.rehearsal.judge.alerts import Alerts, told_within
from voicekeeper.rehearsal.judge.evidence import SLACK, Evidence, Task, is_well
from voicekeeper.rehearsal.network import Call
from voicekeeper.terms import AlertKind

_ACCOUNT_CODES: Final = {"speech": (401, 402, 403), "status": (401, 402, 403)}
"""By the kind of call; what an enrollment is refused for may be its own."""


@dataclass(slots=True)
class _Suspect:
    """What the host was told of a voice that is gone.

    Attributes:
        blamed_at: when an answer first named it.
        controlled_at: when it was heard after that that a control call worked.
        condemned_at: when an answer named it again, to a call made after that.
    """

    blamed_at: datetime
    controlled_at: datetime | None = None
    condemned_at: datetime | None = None


class Causes:
    """Sees to it that none is kept from a person.

    Args:
        evidence: what was seen.
        alerts: what was told.
    """

    def __init__(self, evidence: Evidence, alerts: Alerts) -> None:
        self._seen = evidence
        self._alerts = alerts
        self._within = told_within(evidence.policy)
        self._suspects: dict[str, _Suspect] = {}
        self._posted_at: dict[str, datetime] = {}
        self._refused_at: dict[str, datetime] = {}
        self._untold: set[tuple[str, str, datetime]] = set()

    # What happens.

    def posted(self, voice_id: str) -> None:
        """A speech call with a voice set out."""
        self._posted_at[voice_id] = self._seen.now

    def answered(self, call: Call, code: int) -> None:
        """An answer came back; some refuse the account."""
        is_refusal = code in _ACCOUNT_CODES.get(call.kind, ())
        if is_refusal and self._alerts.open(AlertKind.BLOCKED, call.model) is None:
            self._refused_at.setdefault(call.model, self._seen.now)

    def blamed(self, voice_id: str, posted_at: datetime) -> None:
        """An answer came back that names a voice."""
        known, book = self._seen.known.get(voice_id), self._seen.gateway.book
        if known is None or known.used_at is None or is_well(book(voice_id, self._seen.now)):
            return
        if posted_at < self._posted_at.get(voice_id, posted_at):
            return  # a newer call has the say
        suspect = self._suspects.setdefault(voice_id, _Suspect(self._seen.now))
        if suspect.controlled_at is not None and posted_at >= suspect.controlled_at:
            suspect.condemned_at = suspect.condemned_at or self._seen.now

    def controlled(self, task: Task) -> None:
        """A control call was heard to have worked."""
        for voice_id, suspect in self._suspects.items():
            if voice_id != task.subject and task.at > suspect.blamed_at + SLACK / 60:
                suspect.controlled_at = suspect.controlled_at or self._seen.now

    def succeeded(self, voice_id: str) -> None:
        """A keepalive was heard to have worked."""
        self._suspects.pop(voice_id, None)

    def dealt_with(self) -> None:
        """A person did something about a voice: answers to its calls may mean nothing now."""
        self._refused_at.clear()

    def killed(self) -> None:
        """The process died, and may have forgotten what it had just heard."""
        lately = self._seen.now - SLACK
        self._refused_at = {m: at for m, at in self._refused_at.items() if at < lately}
        self._suspects = {v: s for v, s in self._suspects.items() if s.blamed_at < lately}
        for suspect in self._suspects.values():
            if suspect.controlled_at is not None and suspect.controlled_at >= lately:
                suspect.controlled_at = suspect.condemned_at = None

    # What must have been told by now.

    def check(self, living: Mapping[str, datetime]) -> None:
        """See that everything was told that is to be told.

        Args:
            living: the last use of each voice that lives.
        """
        for voice_id, used_at in living.items():
            self.check_risk(voice_id, used_at)
        for voice_id in list(self._suspects):
            self._check_loss(voice_id)
        self.check_pauses()

    def check_risk(self, voice_id: str, used_at: datetime) -> None:
        """See that a person was told that a voice came near its deadline, louder at the last.

        Args:
            voice_id: of a voice that lives, or lived until this moment.
            used_at: its last use.
        """
        seen, policy = self._seen, self._seen.policy
        if used_at > alerting.risky_before(seen.now, policy) or voice_id in seen.abandoned:
            return
        known = seen.known[voice_id]
        if seen.is_confused() or self._alerts.is_told_gone(known.name):
            return
        cleared = self._alerts.ended_at(AlertKind.RISK, known.name) or known.since
        alert = self._alerts.open(AlertKind.RISK, known.name)
        for bound, is_told, words in (
            (alerting.risky_before, alert is not None, "is at risk"),
            (alerting.dire_before, alert is not None and alert.level == "error", "is nearly lost"),
        ):
            since = max(used_at + (seen.now - bound(seen.now, policy)), known.since, cleared)
            key = (voice_id, words, used_at)
            if not is_told and key not in self._untold and seen.could_work(since, self._within):
                self._untold.add(key)
                seen.break_(f"{voice_id} {words} and nobody was told")

    def check_pauses(self) -> None:
        """See that a person was told at once that the account is refused."""
        for model, since in list(self._refused_at.items()):
            if self._alerts.open(AlertKind.BLOCKED, model) is not None or self._ended_since(
                model, since
            ):
                del self._refused_at[model]
            elif self._seen.could_work(since, SLACK):
                del self._refused_at[model]
                self._seen.break_(f"the account was refused for {model} and nobody was told")

    def _ended_since(self, model: str, since: datetime) -> bool:
        ended_at = self._alerts.ended_at(AlertKind.BLOCKED, model)
        return ended_at is not None and ended_at >= since

    def _check_loss(self, voice_id: str) -> None:
        seen = self._seen
        known, suspect = seen.known[voice_id], self._suspects[voice_id]
        if voice_id in seen.abandoned or self._alerts.is_told_gone(known.name):
            del self._suspects[voice_id]
            return
        since = suspect.condemned_at
        calls_pause = self._alerts.open(AlertKind.BLOCKED, seen.book(voice_id).model)
        if since is None or calls_pause or seen.is_confused():
            return
        if seen.could_work(since, max(self._within, timedelta(hours=1)), in_calm=True):
            del self._suspects[voice_id]
            seen.break_(f"{voice_id} is gone, which the host knew, and nobody was told")
