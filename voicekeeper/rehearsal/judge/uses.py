"""Nothing is paid for twice: no use of a voice, and no enrollment."""

from collections import Counter
from datetime import datetime
from typing import Any

from voicekeeper.events import Event
from voicekeeper.rehearsal.judge.evidence import SLACK, Evidence, Task

CONTROLS = (Event.CONTROL_SUBMITTED, Event.CONTROL_SUCCEEDED, Event.CONTROL_FAILED)


class Uses:
    """Holds each use against what the host knew of the one before.

    Args:
        evidence: what was seen.
    """

    def __init__(self, evidence: Evidence) -> None:
        self._seen = evidence
        policy = evidence.policy
        self._least_gap = policy.interval - policy.jitter - SLACK
        self._early: list[Task] = []
        self._enrolled: Counter[str] = Counter()
        self._allowed: Counter[str] = Counter()

    def retried(self, name: str) -> None:
        """A person asked for an enrollment again."""
        self._allowed[name] += 1

    def killed(self) -> None:
        """The process died, and may have told of nothing that it did just before."""
        now = self._seen.now
        self._early = [task for task in self._early if now - task.at > SLACK]

    def enrolled(self, name: str) -> None:
        """An enrollment was accepted."""
        self._enrolled[name] += 1
        if self._enrolled[name] > 1 + self._allowed[name]:
            self._seen.break_(f"the enrollment of {name} was paid for again")

    def accepted(self, task: Task) -> None:
        """A voice was used."""
        task.too_early = self._too_early(task.subject, task.at)
        if task.too_early is not None:
            self._early.append(task)

    def told(self, event: str, fields: dict[str, Any]) -> None:
        """The host says that something happened."""
        if event in CONTROLS and "task_id" in fields:
            self._was_control(self._seen.tasks[fields["task_id"]])
        elif event == Event.CONTROL_FAILED:
            self._excuse_lost_control(fields["voice_id"])

    def settle(self) -> None:
        """Count what can no longer be excused."""
        early, self._early = self._early, []
        self._seen.broken += [task.too_early for task in early if task.too_early is not None]

    def _too_early(self, voice_id: str, now: datetime) -> str | None:
        """Return the sentence that a voice is used though its last use is known, if it is so."""
        known = self._seen.known[voice_id]
        if (
            known.used_at is None
            or known.told_at is None
            or now - known.used_at >= self._least_gap
            or self._excused(known.used_at, known.told_at)
        ):
            return None
        ago = now - known.used_at
        return f"{now}: {voice_id} was used again after {ago}, its last use being known"

    def _excused(self, used_at: datetime, told_at: datetime) -> bool:
        """Tell whether the host may have had to forget a use, or to misdate it."""
        return self._seen.was_set_since(used_at) or self._seen.died_within(told_at, SLACK)

    def _was_control(self, task: Task) -> None:
        """Take back what was made of a task that tests the way, and is no keepalive."""
        known = self._seen.known.get(task.subject)
        if known is not None and known.used_at is not None and known.used_at == task.used_at:
            known.used_at = None
        task.used_at = task.too_early = None
        task.is_control = True

    def _excuse_lost_control(self, voice_id: str) -> None:
        """Excuse the use by a control call just made, of whose task the host was never told."""
        longest = 2 * self._seen.policy.timeout + SLACK
        for task in reversed(self._early):
            if task.subject == voice_id and self._seen.now - task.at <= longest:
                task.used_at = task.too_early = None
                return
