"""Who says whether the promise was kept: from the gateway's books and from what went over the way.

The registry is never asked what is true. The judge knows what the gateway did, which answers
came back whole, what the log told, and when the host's clocks and processes were touched, and
holds against it:

- no voice is lost that could have been saved; none waits longer than its interval and six hours,
  where nothing hard is the matter; what was acknowledged to a person is there at the end, nothing
  is overdue, no task hangs (`losses`);
- no voice is used again within its interval when its last use was known; each lost or late
  answer excuses one use; no enrollment is accepted twice without a person's word (`uses`);
- the most urgent voice is called first (`urgency`);
- while calls are paused, none is made but the probe (`pauses`);
- LOST and UNDEPLOYED only with the gateway's evidence that names the voice; legal steps only
  (`statuses`);
- each risk, loss and pause is told at least once, crash or no crash (`causes`), again daily and
  no more often until it ends, and so is its end (`alerts`).

What they all know stands in `evidence`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from voicekeeper.events import Event, Level
from voicekeeper.rehearsal import troubles
from voicekeeper.rehearsal.clocks import HostClock
from voicekeeper.rehearsal.judge.alerts import Alerts
from voicekeeper.rehearsal.judge.backlogs import Backlogs
from voicekeeper.rehearsal.judge.causes import Causes
from voicekeeper.rehearsal.judge.evidence import Evidence, Known, Task, is_well
from voicekeeper.rehearsal.judge.losses import Losses
from voicekeeper.rehearsal.judge.pauses import Pauses
from voicekeeper.rehearsal.judge.statuses import Statuses
from voicekeeper.rehearsal.judge.urgency import Urgency
from voicekeeper.rehearsal.judge.uses import Uses
from voicekeeper.rehearsal.network import Call
from voicekeeper.rehearsal.weather import Weather
from voicekeeper.sandbox import Answer, Gateway
from voicekeeper.schedule import Policy
from voicekeeper.store import Claims
from voicekeeper.terms import AlertKind

__all__ = ["Judge", "Tally"]


@dataclass(slots=True)
class Tally:
    """Counts for the report.

    Attributes:
        keepalives: speech calls that the gateway accepted.
        polls: answers of ``statusTask``.
        smallest_margin: the least time that any voice had left when it was used.
    """

    keepalives: int = 0
    polls: int = 0
    smallest_margin: timedelta | None = None


class Judge:
    """Looks on, and judges at the end.

    Args:
        gateway: whose books count.
        clock: for the truth.
        weather: what was wrong when.
        policy: the settings.

    Attributes:
        seen: the evidence; its `broken` is each break of the promise, as a sentence.
        losses, backlogs, statuses: what they counted.
        tally: other counts.
    """

    def __init__(
        self, gateway: Gateway, *, clock: HostClock, weather: Weather, policy: Policy
    ) -> None:
        self.seen = Evidence(gateway, clock=clock, weather=weather, policy=policy)
        self.losses = Losses(self.seen)
        self.backlogs = Backlogs(self.seen)
        self.statuses = Statuses(self.seen)
        self._uses = Uses(self.seen)
        self._urgency = Urgency(self.seen)
        self._alerts = Alerts(self.seen)
        self._causes = Causes(self.seen, self._alerts)
        self._pauses = Pauses(self.seen, self._alerts)
        self._before: datetime | None = None
        self.tally = Tally()

    @property
    def broken(self) -> list[str]:
        """Each break of the promise, as a sentence."""
        return self.seen.broken

    # What the host and the world do.

    def registered(self, name: str, voice_id: str) -> None:
        """A person told the host of a voice."""
        self.losses.acknowledged.add(name)
        self.seen.known[voice_id] = Known(name, self.seen.now)

    def retried(self, name: str) -> None:
        """A person asked for an enrollment again; the voice it made before is nobody's."""
        self._uses.retried(name)
        self.dealt_with(name)
        self.seen.abandoned |= {v for v, known in self.seen.known.items() if known.name == name}

    def dealt_with(self, name: str) -> None:
        """A person paused, removed or retried a voice: no word about it is owed."""
        self._alerts.dealt_with(name)
        self._causes.dealt_with()

    def clock_touched(self) -> None:
        """The host's wall clock was set."""
        self.seen.touched.append(self.seen.now)

    def killed(self) -> None:
        """The process died, and may have told of nothing that it did just before."""
        self.seen.process_died()
        self._uses.killed()
        self._alerts.killed()
        self._causes.killed()

    def started(self) -> None:
        """A process began."""
        self.seen.process_began()
        self._pauses.started()

    def margins(self) -> timedelta | None:
        """Return the smallest time any voice has left now."""
        seen = self.seen
        books = (seen.book(voice_id) for voice_id in seen.known)
        left = [b.last_used_at + seen.policy.window - seen.now for b in books if is_well(b)]
        return min(left, default=None)

    # What goes over the way.

    def claimed(self, claims: Claims, ready: Iterable[str] = ()) -> None:
        """A pass was given work.

        Args:
            claims: what, in its order.
            ready: ids of the voices that it could have taken too, if there had been room.
        """
        self._causes.check_pauses()
        self._pauses.claimed(claims)
        self._urgency.claimed(claims, ready)

    def posted(self, call: Call) -> None:
        """A submission set out."""
        self._pauses.posted(call)
        if call.kind == "speech":
            self._causes.posted(call.subject)

    def reached(self, call: Call) -> None:
        """A submission is at the gateway, which has not looked at it yet."""
        self._before = None
        if call.kind == "speech" and call.subject in self.seen.known:
            book = self.seen.book(call.subject)
            self._before = book.last_used_at if is_well(book) else None

    def answered(self, call: Call, answer: Answer) -> None:
        """The gateway answered a submission."""
        if answer.data is None:
            return
        now, at_fault = self.seen.now, self.seen.has(troubles.WRONG_ACCOUNT)
        task = Task(call.kind, call.subject, now, None, at_fault, None)
        self.seen.tasks[answer.data["taskId"]] = task
        if call.kind != "speech":
            self._uses.enrolled(call.subject)
            return
        self.tally.keepalives += 1
        if self._is_used(call.subject) and not self._pauses.is_paused(call.model):
            task.used_at = now  # a probe tests the way, and is no keepalive
            self._uses.accepted(task)

    def delivered(self, call: Call, answer: Answer) -> None:
        """An answer came back whole."""
        self._causes.answered(call, answer.code)
        if call.kind == "speech":
            if answer.code == 400:  # noqa: PLR2004 - HTTP's
                at_fault = self.seen.has(troubles.WRONG_ACCOUNT)
                self.statuses.blamed(call.subject, at_fault=at_fault)
                self._causes.blamed(call.subject, self.seen.now)
        elif call.kind == "status" and isinstance(answer.data, dict):
            self.tally.polls += 1
            if call.subject in self.seen.tasks:
                self._reported(self.seen.tasks[call.subject], answer.data)

    def told(self, level: Level, event: str, fields: dict[str, Any]) -> None:
        """The host says that something happened."""
        self._uses.told(event, fields)
        self._pauses.told(event, fields)
        self._alerts.told(level, event, fields)
        if event == Event.VOICE_STATUS_CHANGED:
            self.statuses.changed(fields)

    # The end.

    def check(self) -> None:
        """See how things stand, now and then."""
        living = self.seen.living()
        self.losses.check_overdue(living)
        self.backlogs.check()
        self._causes.check(living)
        self._alerts.check(living)

    def settle(self) -> None:
        """Count what can no longer be excused."""
        self._uses.settle()

    def _is_used(self, voice_id: str) -> bool:
        """Tell whether a voice was used this moment; count it if so."""
        seen = self.seen
        if voice_id not in seen.known:
            return False
        book = seen.book(voice_id)
        if not book.alive or book.last_used_at != seen.now:
            return False
        if self._before is not None:
            margin = self._before + seen.policy.window - seen.now
            least = self.tally.smallest_margin
            self.tally.smallest_margin = margin if least is None else min(margin, least)
            self._causes.check_risk(voice_id, self._before)
        self.backlogs.used(voice_id)
        return True

    def _reported(self, task: Task, report: dict[str, Any]) -> None:
        """The host was told how a task stands."""
        now = self.seen.now
        voice_id = report.get("voice_id")
        if voice_id is not None:
            self.seen.known.setdefault(voice_id, Known(task.subject, now))
        known = self.seen.known.get(task.subject)
        succeeded = report["state"] == "success"
        if task.kind == "speech" and succeeded and task.is_control:
            self._causes.controlled(task)
        if task.kind != "speech" or known is None:
            return
        if succeeded and task.used_at is not None:
            known.blamed = 0
            if known.used_at is None or task.used_at >= known.used_at:
                known.used_at, known.told_at = task.used_at, now
            self._causes.succeeded(task.subject)
            ended = (AlertKind.LOST, AlertKind.UNDEPLOYED, AlertKind.RISK)
            self._alerts.mended(ended, known.name)
        elif report.get("failCode") in ("VALIDATION_ERROR", "UNDEPLOYED"):
            self.statuses.blamed(task.subject, at_fault=task.at_fault)
            self._causes.blamed(task.subject, task.at)
