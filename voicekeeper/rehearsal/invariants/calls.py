"""Nothing is paid for twice, the most urgent goes first, and breakers and statuses are true.

An open breaker stops all calls but the probe. A voice is LOST or UNDEPLOYED only by the gateway's
evidence that names it.
"""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from voicekeeper.core import breaker
from voicekeeper.core.enums import AlertKind, Kind, Status
from voicekeeper.core.events import Event
from voicekeeper.rehearsal.invariants.alerts import Alerts
from voicekeeper.rehearsal.invariants.evidence import SLACK, Call, Evidence, Task
from voicekeeper.store.jobs import Claims, Job

_CONTROLS: Final = (Event.CONTROL_SUBMITTED, Event.CONTROL_SUCCEEDED, Event.CONTROL_FAILED)

_FLOOR: Final = timedelta(seconds=30)
"""No backoff is shorter, unless its base is."""

TRANSITIONS: Final = frozenset(
    (Status(before), Status(after))
    for before, allowed in {
        "NEW": "DEPLOYING OK FAILED UNKNOWN UNDEPLOYED LOST",
        "DEPLOYING": "OK UNDEPLOYED FAILED UNKNOWN LOST",
        "OK": "LOST UNDEPLOYED",
        "LOST": "OK UNDEPLOYED NEW",
        "UNDEPLOYED": "OK NEW",
        "FAILED": "NEW",
        "UNKNOWN": "NEW",
    }.items()
    for after in allowed.split()
)
"""The allowed transitions of a status; back to NEW only by a person's `retry`."""

_FAILURES_LEAST = 2
"""Failures that name a living voice before it may be called gone."""

_CONTROLS_LEAST = 2
"""Living voices among which one is the control of another, as far as the host can know them."""


class PaidOnce:
    """No use of a voice within its interval, and no enrollment, is paid for twice."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        policy = evidence.policy
        self._least_gap = policy.interval - policy.jitter - SLACK
        self._early: list[Task] = []
        self._enrolled: Counter[str] = Counter()
        self._allowed: Counter[str] = Counter()

    def retried(self, name: str) -> None:
        """Allow one more enrollment: a person asked for it."""
        self._allowed[name] += 1

    def killed(self) -> None:
        """Excuse what the process may not have logged before it died."""
        lately = self._evidence.now - SLACK
        self._early = [task for task in self._early if task.at < lately]

    def enrolled(self, name: str) -> None:
        """Check an accepted enrollment."""
        self._enrolled[name] += 1
        if self._enrolled[name] > 1 + self._allowed[name]:
            self._evidence.violated(f"the enrollment of {name} was paid for again")

    def used(self, task: Task) -> None:
        """Note a use of a voice that comes too early though its last use is known."""
        seen, known = self._evidence, self._evidence.known[task.subject]
        if known.used_at is None or known.heard_at is None:
            return
        age = task.at - known.used_at
        forgotten = seen.was_set_since(known.used_at) or seen.died_within(known.heard_at, SLACK)
        if age < self._least_gap and not forgotten:
            task.too_early = (
                f"{task.at}: {task.subject} was used again after {age}, its last use being known"
            )
            self._early.append(task)

    def logged(self, event: str, fields: dict[str, Any]) -> None:
        """Excuse a use that was a control call."""
        if event in _CONTROLS and "task_id" in fields:
            self._was_control(self._evidence.tasks[fields["task_id"]])
        elif event == Event.CONTROL_FAILED:
            self._excuse_lost_control(fields["voice_id"])

    def settle(self) -> None:
        """Count the uses that can no longer be excused."""
        early, self._early = self._early, []
        self._evidence.broken += [task.too_early for task in early if task.too_early is not None]

    def _was_control(self, task: Task) -> None:
        """Take back what was made of a control call as though it were a keepalive."""
        known = self._evidence.known.get(task.subject)
        if known is not None and known.used_at is not None and known.used_at == task.used_at:
            known.used_at = None
        task.used_at = task.too_early = None
        task.is_control = True

    def _excuse_lost_control(self, voice_id: str) -> None:
        """Excuse a use by a control call just made whose answer never came back."""
        longest = 2 * self._evidence.policy.timeout + SLACK
        for task in reversed(self._early):
            if task.subject == voice_id and self._evidence.now - task.at <= longest:
                task.used_at = task.too_early = None
                return


class Breakers:
    """While a model's breaker is open only the probe is made; each call was chosen by a pass.

    A call that was chosen before the breaker opened may still be sent.
    """

    def __init__(self, evidence: Evidence, alerts: Alerts) -> None:
        self._evidence = evidence
        self._alerts = alerts
        self._chosen: Counter[tuple[str, str, str]] = Counter()
        self._open: set[str] = set()
        self._causes: dict[str, str] = {}
        self._on_trial: set[str] = set()
        self._probed_at: dict[str, datetime] = {}

    def is_open(self, model: str) -> bool:
        """Return whether a model's breaker is open, by the log."""
        return model in self._open

    def started(self) -> None:
        """Forget what a dead process chose; a new one logs which breakers are open."""
        self._chosen.clear()
        self._open.clear()
        self._on_trial.clear()

    def logged(self, event: str, fields: dict[str, Any]) -> None:
        """Note that a breaker opened or closed."""
        if event == Event.UPSTREAM_BLOCKED:
            self._open.add(fields["model"])
            self._causes[fields["model"]] = fields["error"]
            self._on_trial.discard(fields["model"])
        elif event == Event.UPSTREAM_RECOVERED:
            self._open.discard(fields["model"])

    def claimed(self, claims: Claims) -> None:
        """Check the calls and polls that a pass took."""
        for job in claims.calls:
            if job.kind.is_enrollment:
                self._chosen[job.model, str(job.kind), (job.recipe or {})["prefix"]] += 1
            else:
                self._chosen[job.model, "speech", job.spoken or ""] += 1
            if job.kind is Kind.CONTROL:
                self._probed(job.model)
            else:
                self._taken(job)
        for job in claims.polls:
            if job.kind is not Kind.CONTROL:
                self._taken(job)

    def posted(self, call: Call) -> None:
        """Check that a call that is sent was chosen."""
        if self._chosen[call.model, call.kind, call.subject]:
            self._chosen[call.model, call.kind, call.subject] -= 1
        else:
            sentence = f"a {call.kind} call with {call.subject} was made that no pass chose"
            self._evidence.violated(sentence)

    def _taken(self, job: Job) -> None:
        """Check a call that is no probe."""
        if self._may_be_on_trial(job.model):
            self._on_trial.add(job.model)
        elif self.is_open(job.model):
            self._evidence.violated(f"{job.name} was taken though calls for {job.model} are paused")
        else:
            self._alerts.mended([AlertKind.BLOCKED], job.model)

    def _probed(self, model: str) -> None:
        """Check that probes keep the shortest backoff."""
        now, before = self._evidence.now, self._probed_at.get(model)
        self._probed_at[model] = now
        waits = self.is_open(model) and model not in self._on_trial
        if before is None or not waits or self._evidence.was_set_since(before):
            return
        least = min(_FLOOR, self._evidence.policy.retry_base) - timedelta(seconds=1)
        if now - before < least:
            self._evidence.violated(f"{model} was probed again after {now - before}")

    def _may_be_on_trial(self, model: str) -> bool:
        """Return whether no voice of ours is left that could close the breaker.

        Where only our voices can, and all are past saving by the host's clock, the calls that
        wait are the probe.
        """
        seen = self._evidence
        if self._causes.get(model) != breaker.UNKNOWN_HERE:
            return False
        uses = (known.used_at for v, known in seen.known.items() if v not in seen.abandoned)
        over = seen.now - seen.policy.window
        return seen.is_confused() or all(at is None or at <= over for at in uses)


class Statuses:
    """Each transition of a status is allowed, and stands on what the gateway answered.

    Attributes:
        counts: how often each transition was made.
    """

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self.counts: Counter[str] = Counter()

    def failed(self, voice_id: str, *, wrong_account: bool) -> None:
        """Note an answer that names a voice, and may be the account's fault."""
        known = self._evidence.known.get(voice_id)
        if known is not None and (not wrong_account or len(self._controls()) < _CONTROLS_LEAST):
            known.failures += 1

    def _controls(self) -> list[str]:
        """Return the living voices whose windows the host does not take for over.

        By its clock: one that is days ahead sees windows end that have days left.
        """
        over = self._evidence.clock.now() - self._evidence.policy.window
        known = self._evidence.known
        return [v for v in self._evidence.living() if (known[v].used_at or known[v].since) > over]

    def changed(self, fields: dict[str, Any]) -> None:
        """Check a transition that the host logged."""
        seen = self._evidence
        before, after = Status(fields["from"]), Status(fields["to"])
        self.counts[f"{before}-{after}"] += 1
        name, voice_id = fields["name"], fields.get("voice_id")
        if voice_id in seen.known:
            seen.known[voice_id].is_lost = after is Status.LOST
        if (before, after) not in TRANSITIONS:
            seen.violated(f"{name} went from {before} to {after}")
        if after in (Status.LOST, Status.UNDEPLOYED) and voice_id is not None:
            book, known = seen.book(voice_id), seen.known.get(voice_id)
            evident = not book.alive or book.status == "UNDEPLOYED"
            if not evident and (known is None or known.failures < _FAILURES_LEAST):
                seen.violated(f"{name} was called {after} and lives")


class _Position(NamedTuple):
    """A voice's place in the order of the calls: past saving or not, then by its last use.

    Attributes:
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

    def claimed(self, claims: Claims, left: Iterable[str]) -> None:
        """Check what a pass took, and the ids of the voices that it left for want of room."""
        seen = self._evidence
        if seen.is_confused():
            return
        taken = [job.spoken or "" for job in claims.calls if job.kind is Kind.KEEPALIVE]
        least: _Position | None = None
        for place in (self._position(voice_id) for voice_id in taken if voice_id in seen.known):
            self._check(least, place, "called")
            if place.is_over or place.is_known:
                least = place if least is None else max(least, place)
        for voice_id in left:
            if voice_id in seen.known:
                self._check(least, self._position(voice_id), "taken")

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

    def _position(self, voice_id: str) -> _Position:
        seen, known = self._evidence, self._evidence.known[voice_id]
        used_at = seen.book(voice_id).last_used_at
        is_over = seen.now >= used_at + seen.policy.window
        is_known = (
            known.heard_at is not None
            and known.used_at == used_at
            and not seen.died_within(known.heard_at, SLACK)
        )
        return _Position(is_over, used_at, voice_id, is_known)
