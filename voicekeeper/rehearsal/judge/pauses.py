"""While calls are paused, none is made but the probe; and each call was chosen by a pass."""

from collections import Counter
from datetime import datetime, timedelta
from typing import Any, Final

from voicekeeper import breaker
from voicekeeper.events import Event
from voicekeeper.rehearsal.judge.alerts import Alerts
from voicekeeper.rehearsal.judge.evidence import Evidence
from voicekeeper.rehearsal.network import Call
from voicekeeper.store import Claims, Job
from voicekeeper.terms import AlertKind, Kind

_FLOOR: Final = timedelta(seconds=30)
"""No backoff is shorter, unless its base is."""

_Route = tuple[str, str, str]
"""Model, mode, and the voice spoken with or to be made."""


class Pauses:
    """Holds what a pass takes, and each call, against what was told of the calls' pauses.

    A call that was chosen before they paused may still set out: it waits for its turn only.

    Args:
        evidence: what was seen.
        alerts: what was told.
    """

    def __init__(self, evidence: Evidence, alerts: Alerts) -> None:
        self._seen = evidence
        self._alerts = alerts
        self._chosen: Counter[_Route] = Counter()
        self._paused: set[str] = set()
        self._why: dict[str, str] = {}
        self._on_trial: set[str] = set()
        self._probed_at: dict[str, datetime] = {}

    def is_paused(self, model: str) -> bool:
        """Tell whether calls of a model are paused, as far as anybody was told."""
        return model in self._paused

    def started(self) -> None:
        """A process began, and tells anew which calls are paused."""
        self._chosen.clear()
        self._paused.clear()
        self._on_trial.clear()

    def told(self, event: str, fields: dict[str, Any]) -> None:
        """The host says that something happened."""
        if event == Event.UPSTREAM_BLOCKED:
            self._paused.add(fields["model"])
            self._why[fields["model"]] = fields["error"]
            self._on_trial.discard(fields["model"])
        elif event == Event.UPSTREAM_RECOVERED:
            self._paused.discard(fields["model"])

    def claimed(self, claims: Claims) -> None:
        """A pass was given calls to make and tasks to ask for."""
        for job in claims.calls:
            self._chosen[_route(job)] += 1
            if job.kind is Kind.CONTROL:
                self._probed(job.model)
            else:
                self._flows(job)
        for job in claims.polls:
            if job.kind is not Kind.CONTROL:
                self._flows(job)

    def posted(self, call: Call) -> None:
        """A submission set out."""
        route = (call.model, call.kind, call.subject)
        if not self._chosen[route]:
            self._seen.break_(f"a {call.kind} call with {call.subject} was made that no pass chose")
        else:
            self._chosen[route] -= 1

    def _flows(self, job: Job) -> None:
        """A call is to be made that is no probe."""
        if self._may_be_on_trial(job.model):
            self._on_trial.add(job.model)
        elif not self.is_paused(job.model):
            self._alerts.mended([AlertKind.BLOCKED], job.model)
        else:
            self._seen.break_(f"{job.name} was taken though calls for {job.model} are paused")

    def _probed(self, model: str) -> None:
        """A control call is to be made: one at a time, and not at once again."""
        now, before = self._seen.now, self._probed_at.get(model)
        self._probed_at[model] = now
        waits = self.is_paused(model) and model not in self._on_trial
        if before is None or not waits or self._seen.was_set_since(before):
            return
        least = min(_FLOOR, self._seen.policy.retry_base) - timedelta(seconds=1)
        if now - before < least:
            self._seen.break_(f"{model} was probed again after {now - before}")

    def _may_be_on_trial(self, model: str) -> bool:
        """Tell whether no voice of ours is left that could end the pause.

        Where only they can, and all are past saving by the host's clock, the calls that wait
        test the route themselves.
        """
        seen = self._seen
        if self._why.get(model) != breaker.UNKNOWN_HERE:
            return False
        uses = (known.used_at for v, known in seen.known.items() if v not in seen.abandoned)
        over = seen.now - seen.policy.window
        return seen.is_confused() or all(at is None or at <= over for at in uses)


def _route(job: Job) -> _Route:
    if job.kind.is_enrollment:
        return job.model, str(job.kind), (job.recipe or {})["prefix"]
    return job.model, "speech", job.spoken or ""
