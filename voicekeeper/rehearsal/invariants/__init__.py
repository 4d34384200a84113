"""The invariants: what must hold whatever the faults, checked against the gateway's own books.

The registry is never asked for the truth. `evidence` is what can be known from outside: what the
gateway did, which answers came back whole, what was logged, and when the host's clock and processes
were touched. `keeping`, `calls` and `alerts` check it; docs/rehearsal.md lists the invariants.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from voicekeeper.core.enums import AlertKind
from voicekeeper.core.events import Event, Level
from voicekeeper.core.schedule import Policy
from voicekeeper.rehearsal import faults
from voicekeeper.rehearsal.clock import HostClock
from voicekeeper.rehearsal.faults import Timeline
from voicekeeper.rehearsal.invariants.alerts import Alerts, OwedAlerts
from voicekeeper.rehearsal.invariants.calls import Breakers, Order, PaidOnce, Statuses
from voicekeeper.rehearsal.invariants.evidence import Call, Evidence, KnownVoice, Task, is_well
from voicekeeper.rehearsal.invariants.keeping import Backlogs, Losses
from voicekeeper.sandbox import Answer, Gateway
from voicekeeper.store.jobs import Claims

__all__ = ["Claims", "Invariants"]


class Invariants:
    """Collects the evidence, and checks it as it comes.

    Attributes:
        evidence: its ``broken`` has each violation, as a sentence.
        keepalives: how many speech calls the gateway accepted.
        polls: how many answers of ``statusTask`` came back.
        smallest_margin: the least time that any voice had left when it was used.
    """

    def __init__(
        self, gateway: Gateway, *, clock: HostClock, timeline: Timeline, policy: Policy
    ) -> None:
        self.evidence = Evidence(gateway, clock=clock, timeline=timeline, policy=policy)
        self.losses = Losses(self.evidence)
        self.backlogs = Backlogs(self.evidence)
        self.statuses = Statuses(self.evidence)
        self.keepalives = 0
        self.polls = 0
        self.smallest_margin: timedelta | None = None
        self._paid_once = PaidOnce(self.evidence)
        self._order = Order(self.evidence)
        self._alerts = Alerts(self.evidence)
        self._owed = OwedAlerts(self.evidence, self._alerts)
        self._breakers = Breakers(self.evidence, self._alerts)
        self._used_before: datetime | None = None

    # The host and people.

    def registered(self, name: str, voice_id: str) -> None:
        """Note that a person registered a voice."""
        self.losses.acknowledged.add(name)
        self.evidence.known[voice_id] = KnownVoice(name, self.evidence.now)

    def retried(self, name: str) -> None:
        """Note a person's retry of an enrollment; the voice that it made before is nobody's."""
        self._paid_once.retried(name)
        self.dealt_with(name)
        known = self.evidence.known.items()
        self.evidence.abandoned |= {v for v, voice in known if voice.name == name}

    def dealt_with(self, name: str) -> None:
        """Note that a person paused, removed or retried a voice: no alert of it is owed."""
        self._alerts.dealt_with(name)
        self._owed.dealt_with()

    def killed(self) -> None:
        """Note that the process died, and may not have logged what it did just before."""
        self.evidence.downs.append((self.evidence.now, None))
        for check in (self._paid_once, self._alerts, self._owed):
            check.killed()

    def started(self) -> None:
        """Note that a process began."""
        now, downs = self.evidence.now, self.evidence.downs
        self.evidence.started = now
        if downs and downs[-1][1] is None:
            downs[-1] = (downs[-1][0], now)
        self._breakers.started()

    def logged(self, level: Level, event: str, fields: dict[str, Any]) -> None:
        """Note and check an event that the host logged."""
        self._paid_once.logged(event, fields)
        self._breakers.logged(event, fields)
        self._alerts.logged(level, event, fields)
        if event == Event.VOICE_STATUS_CHANGED:
            self.statuses.changed(fields)

    def claimed(self, claims: Claims, left: Iterable[str] = ()) -> None:
        """Check what a pass took, and the ids of the voices that it left for want of room."""
        self._owed.check_breakers()
        self._breakers.claimed(claims)
        self._order.claimed(claims, left)

    # The network.

    def posted(self, call: Call) -> None:
        """Check a submission that is sent."""
        self._breakers.posted(call)
        if call.kind == "speech":
            self._owed.posted(call.subject)

    def reached(self, call: Call) -> None:
        """Note the voice's last use before the gateway looks at a submission."""
        self._used_before = None
        if call.kind == "speech" and call.subject in self.evidence.known:
            book = self.evidence.book(call.subject)
            self._used_before = book.last_used_at if is_well(book) else None

    def answered(self, call: Call, answer: Answer) -> None:
        """Check an accepted submission, whether or not the answer arrives."""
        if answer.data is None:
            return
        now, wrong_account = self.evidence.now, self.evidence.has(faults.WRONG_ACCOUNT)
        task = Task(call.kind, call.subject, now, wrong_account)
        self.evidence.tasks[answer.data["taskId"]] = task
        if call.kind != "speech":
            self._paid_once.enrolled(call.subject)
            return
        self.keepalives += 1
        if self._is_used(call.subject) and not self._breakers.is_open(call.model):
            task.used_at = now  # a probe is no keepalive
            self._paid_once.used(task)

    def delivered(self, call: Call, answer: Answer) -> None:
        """Note an answer that came back whole."""
        self._owed.answered(call, answer.code)
        if call.kind == "speech":
            if answer.code == 400:  # noqa: PLR2004 - HTTP's
                wrong_account = self.evidence.has(faults.WRONG_ACCOUNT)
                self._failed(call.subject, self.evidence.now, wrong_account=wrong_account)
        elif call.kind == "status" and isinstance(answer.data, dict):
            self.polls += 1
            if call.subject in self.evidence.tasks:
                self._reported(self.evidence.tasks[call.subject], answer.data)

    # The checks.

    def margin(self) -> timedelta | None:
        """Return the smallest time that any voice has left now."""
        seen = self.evidence
        books = (seen.book(voice_id) for voice_id in seen.known)
        left = [b.last_used_at + seen.policy.window - seen.now for b in books if is_well(b)]
        return min(left, default=None)

    def check(self) -> None:
        """Check what holds over time; once a day is enough."""
        living = self.evidence.living()
        self.losses.check_overdue(living)
        self.backlogs.check()
        self._owed.check(living)
        self._alerts.check(living)

    def settle(self) -> None:
        """Count what can no longer be excused."""
        self._paid_once.settle()

    def _is_used(self, voice_id: str) -> bool:
        """Return whether a voice was used this moment; count it if so."""
        seen = self.evidence
        book = seen.book(voice_id) if voice_id in seen.known else None
        if book is None or not book.alive or book.last_used_at != seen.now:
            return False
        if self._used_before is not None:
            margin = self._used_before + seen.policy.window - seen.now
            least = self.smallest_margin
            self.smallest_margin = margin if least is None else min(margin, least)
            self._owed.check_risk(voice_id, self._used_before)
        self.backlogs.used(voice_id)
        return True

    def _reported(self, task: Task, report: dict[str, Any]) -> None:
        """Note how a task stands, of which the host heard."""
        now, known = self.evidence.now, self.evidence.known
        if "voice_id" in report:
            known.setdefault(report["voice_id"], KnownVoice(task.subject, now))
        succeeded = report["state"] == "success"
        if task.is_control and succeeded:
            self._owed.controlled(task)
        if task.kind != "speech" or task.subject not in known:
            return
        voice = known[task.subject]
        if succeeded and task.used_at is not None:
            voice.failures = 0
            if voice.used_at is None or task.used_at >= voice.used_at:
                voice.used_at, voice.heard_at = task.used_at, now
            self._owed.succeeded(task.subject)
            ended = (AlertKind.LOST, AlertKind.UNDEPLOYED, AlertKind.RISK)
            self._alerts.mended(ended, voice.name)
        elif report.get("failCode") in ("VALIDATION_ERROR", "UNDEPLOYED"):
            self._failed(task.subject, task.at, wrong_account=task.wrong_account)

    def _failed(self, voice_id: str, posted_at: datetime, *, wrong_account: bool) -> None:
        """Note an answer that names a voice, and may be the account's fault."""
        self.statuses.failed(voice_id, wrong_account=wrong_account)
        self._owed.failed(voice_id, posted_at)
