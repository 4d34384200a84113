"""Each risk, loss and open breaker is alerted, daily while it lasts, and so is its end.

An alert is known by its subject: a voice's name, or the model of a breaker. Only the log counts; a
row in the database helps nobody.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from voicekeeper.core import alerting
from voicekeeper.core.enums import AlertKind, Status
from voicekeeper.core.events import Event, Level
from voicekeeper.core.schedule import Policy
from voicekeeper.rehearsal.invariants.evidence import SLACK, Call, Evidence, Task, is_well

_KINDS: Final = {event: kind for kind, event in alerting.EVENTS.items()}
_GONE: Final = (AlertKind.LOST, AlertKind.UNDEPLOYED)
_ACCOUNT_CODES: Final = (401, 402, 403)
"""Refusals of the account; but of an enrollment they may be its own."""


def alerted_within(policy: Policy) -> timedelta:
    """Return how soon a host that works alerts: within two hours by the defaults.

    A simulated host makes a pass only where it may find work: after the longest backoff. The
    alert has its grace then, and a look that misses it by a moment comes again.
    """
    backoff = min(policy.retry_cap, policy.interval)
    return backoff + alerting.grace(policy) + 8 * alerting.pace(policy)


@dataclass(slots=True)
class Alert:
    """An alert that a person got, and whose cause has not ended.

    Attributes:
        alerted_at: the last time; None where only a new process mentioned it as it began.
        said_at: the same, or when it was first mentioned.
        mended_at: when the host heard that all is well again.
        settled: whether no alert is owed any more: another has taken its place, or a person has
            dealt with it. Its end may be logged all the same.
        is_missed: whether one was owed and not given.
    """

    alerted_at: datetime | None
    said_at: datetime
    level: Level
    mended_at: datetime | None = None
    settled: bool = False
    is_missed: bool = False


class Alerts:
    """The alerts that a person got: again daily and no more often, until their end."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._alerts: dict[tuple[AlertKind, str], Alert] = {}
        self._ended: dict[tuple[AlertKind, str], datetime] = {}

    def open(self, kind: AlertKind, subject: str) -> Alert | None:
        """Return the alert that a person knows of, if there is one."""
        alert = self._alerts.get((kind, subject))
        return None if alert is None or alert.settled else alert

    def is_gone(self, name: str) -> bool:
        """Return whether a person knows that a voice is gone."""
        return any(self.open(kind, name) for kind in _GONE)

    def ended_at(self, kind: AlertKind, subject: str) -> datetime | None:
        """Return when the end of the last such alert was logged."""
        return self._ended.get((kind, subject))

    def logged(self, level: Level, event: str, fields: dict[str, Any]) -> None:
        """Note and check an alert, or its end."""
        if event in _KINDS:
            kind: AlertKind = _KINDS[Event(event)]
            subject = fields["model" if kind is AlertKind.BLOCKED else "name"]
            self._alerted(kind, subject, level, is_mention="told" not in fields)
        elif event == Event.VOICE_RECOVERED:
            self._end(AlertKind(fields["was"]), fields["name"])
        elif event == Event.UPSTREAM_RECOVERED:
            self._end(AlertKind.BLOCKED, fields["model"])
        elif event == Event.VOICE_STATUS_CHANGED and fields["to"] != Status.OK:
            self._settle(fields["name"], [AlertKind.RISK])

    def mended(self, kinds: Iterable[AlertKind], subject: str) -> None:
        """Note that the host heard that all is well: the end of these is owed."""
        for kind in kinds:
            alert = self.open(kind, subject)
            if alert is not None and alert.mended_at is None:
                alert.mended_at = self._evidence.now

    def dealt_with(self, name: str) -> None:
        """Note that a person did something about a voice: no alert of it is owed."""
        self._settle(name, AlertKind)

    def killed(self) -> None:
        """Excuse what the process may have forgotten with its death."""
        lately = self._evidence.now - SLACK
        for alert in self._alerts.values():
            if alert.mended_at is not None and alert.mended_at >= lately:
                alert.mended_at = None

    def check(self, living: Mapping[str, datetime]) -> None:
        """Check that what lasts was alerted again, and the end of what has ended was logged."""
        well = {self._evidence.known[voice_id].name for voice_id in living}
        waiting_since = min((self._evidence.known[v].since for v in living), default=None)
        for (kind, subject), alert in self._alerts.items():
            if kind is AlertKind.RISK and subject not in well:
                alert.settled = True  # it is gone by now, which is another alert
            if alert.settled or alert.is_missed:
                continue
            if alert.mended_at is not None:
                if self._could_alert(alert.mended_at, unset_since=alert.mended_at):
                    alert.is_missed = True
                    self._evidence.violated(f"{subject} is {kind} no more, and nobody was told")
                continue
            again = (alert.alerted_at or alert.said_at) + alerting.AGAIN
            if kind is AlertKind.BLOCKED:
                if waiting_since is None:
                    continue  # no voice is concerned
                again = max(again, waiting_since)
            if self._could_alert(again, unset_since=alert.said_at):
                alert.is_missed = True
                self._evidence.violated(
                    f"{subject} is {kind} still, and was not told again in a day"
                )

    def _could_alert(self, since: datetime, *, unset_since: datetime) -> bool:
        seen = self._evidence
        within = alerted_within(seen.policy)
        return not seen.was_set_since(unset_since) and seen.could_work(since, within)

    def _alerted(self, kind: AlertKind, subject: str, level: Level, *, is_mention: bool) -> None:
        """Note an alert.

        A mention bears no count: a new process says, as it begins, that a breaker is still open.
        """
        now, started = self._evidence.now, self._evidence.started
        alert = self.open(kind, subject)
        if kind in _GONE:
            self._settle(subject, {AlertKind.RISK, *_GONE} - {kind})
        is_mention = is_mention and kind is AlertKind.BLOCKED
        if alert is None:  # the alert proper may have been lost in a crash
            has_begun = started is not None and now - started <= SLACK
            given_at = None if is_mention and has_begun else now
            self._alerts[kind, subject] = Alert(given_at, now, level)
        elif not is_mention:
            if self._is_too_soon(alert, level):
                ago = now - (alert.alerted_at or now)
                self._evidence.violated(f"{subject} was told {kind} again after {ago}")
            alert.alerted_at, alert.said_at, alert.level = now, now, level
            alert.is_missed = False

    def _is_too_soon(self, alert: Alert, level: Level) -> bool:
        if alert.alerted_at is None or (level == "error" and alert.level != "error"):
            return False
        if self._evidence.now - alert.alerted_at >= alerting.AGAIN - SLACK:
            return False
        return not self._is_excused(alert.alerted_at, SLACK)

    def _end(self, kind: AlertKind, subject: str) -> None:
        known = self._alerts.pop((kind, subject), None)
        lately = alerting.AGAIN + alerted_within(self._evidence.policy)
        if known is None and not self._is_excused(self._evidence.now - lately, lately):
            self._evidence.violated(
                f"{subject} was told to be {kind} no more, and was not told before"
            )
        self._ended[kind, subject] = self._evidence.now

    def _is_excused(self, since: datetime, length: timedelta) -> bool:
        """Return whether an alert may have been lost, or not been noted as given."""
        seen = self._evidence
        return seen.was_hindered(since, length) or seen.was_set_since(since)

    def _settle(self, name: str, kinds: Iterable[AlertKind]) -> None:
        for kind in kinds:
            if kind is not AlertKind.BLOCKED and (kind, name) in self._alerts:
                self._alerts[kind, name].settled = True


@dataclass(slots=True)
class _Loss:
    """When answers first named a voice that is gone, a control call then worked, and one confirmed.

    The last is an answer that named the voice again, to a call made after the control call.
    """

    failed_at: datetime
    controlled_at: datetime | None = None
    confirmed_at: datetime | None = None


class OwedAlerts:
    """The alerts that a person must get at least once.

    A risk follows from the gateway's books: so little of a voice's window is left. A loss follows
    from the answers that came back: one that names the voice, a control call that worked, and one
    that names it again. An open breaker follows from one refusal of the account.
    """

    def __init__(self, evidence: Evidence, alerts: Alerts) -> None:
        self._evidence = evidence
        self._alerts = alerts
        self._within = alerted_within(evidence.policy)
        self._losses: dict[str, _Loss] = {}
        self._posted_at: dict[str, datetime] = {}
        self._refused_at: dict[str, datetime] = {}
        self._missed: set[tuple[str, str, datetime]] = set()

    def posted(self, voice_id: str) -> None:
        """Note that a speech call was sent."""
        self._posted_at[voice_id] = self._evidence.now

    def answered(self, call: Call, code: int) -> None:
        """Note an answer; some refuse the account."""
        is_refusal = code in _ACCOUNT_CODES and call.kind in ("speech", "status")
        if is_refusal and self._alerts.open(AlertKind.BLOCKED, call.model) is None:
            self._refused_at.setdefault(call.model, self._evidence.now)

    def failed(self, voice_id: str, posted_at: datetime) -> None:
        """Note an answer that names a voice."""
        seen = self._evidence
        known = seen.known.get(voice_id)
        if known is None or known.used_at is None or is_well(seen.book(voice_id)):
            return
        if posted_at < self._posted_at.get(voice_id, posted_at):
            return  # the newer call has the say
        loss = self._losses.setdefault(voice_id, _Loss(seen.now))
        if loss.controlled_at is not None and posted_at >= loss.controlled_at:
            loss.confirmed_at = loss.confirmed_at or seen.now

    def controlled(self, task: Task) -> None:
        """Note that a control call worked."""
        for voice_id, loss in self._losses.items():
            if voice_id != task.subject and task.at > loss.failed_at + SLACK / 60:
                loss.controlled_at = loss.controlled_at or self._evidence.now

    def succeeded(self, voice_id: str) -> None:
        """Note that a keepalive worked."""
        self._losses.pop(voice_id, None)

    def dealt_with(self) -> None:
        """Note that a person did something about a voice: answers to its calls may mean nothing."""
        self._refused_at.clear()

    def killed(self) -> None:
        """Excuse what the process may have forgotten with its death."""
        lately = self._evidence.now - SLACK
        self._refused_at = {m: at for m, at in self._refused_at.items() if at < lately}
        self._losses = {v: loss for v, loss in self._losses.items() if loss.failed_at < lately}
        for loss in self._losses.values():
            if loss.controlled_at is not None and loss.controlled_at >= lately:
                loss.controlled_at = loss.confirmed_at = None

    def check(self, living: Mapping[str, datetime]) -> None:
        """Check that no alert is owed."""
        for voice_id, used_at in living.items():
            self.check_risk(voice_id, used_at)
        for voice_id in list(self._losses):
            self._check_loss(voice_id)
        self.check_breakers()

    def check_risk(self, voice_id: str, used_at: datetime) -> None:
        """Check that a voice near its deadline was alerted, and as an error at the last."""
        seen, policy = self._evidence, self._evidence.policy
        if used_at > alerting.risky_before(seen.now, policy) or voice_id in seen.abandoned:
            return
        known = seen.known[voice_id]
        if seen.is_confused() or self._alerts.is_gone(known.name):
            return
        cleared = self._alerts.ended_at(AlertKind.RISK, known.name) or known.since
        alert = self._alerts.open(AlertKind.RISK, known.name)
        for bound, is_alerted, words in (
            (alerting.risky_before, alert is not None, "is at risk"),
            (alerting.dire_before, alert is not None and alert.level == "error", "is nearly lost"),
        ):
            since = max(used_at + (seen.now - bound(seen.now, policy)), known.since, cleared)
            key = (voice_id, words, used_at)
            if not is_alerted and key not in self._missed and seen.could_work(since, self._within):
                self._missed.add(key)
                seen.violated(f"{voice_id} {words} and nobody was told")

    def check_breakers(self) -> None:
        """Check that a refusal of the account was alerted at once."""
        for model, since in list(self._refused_at.items()):
            ended_at = self._alerts.ended_at(AlertKind.BLOCKED, model)
            has_ended = ended_at is not None and ended_at >= since
            if has_ended or self._alerts.open(AlertKind.BLOCKED, model) is not None:
                del self._refused_at[model]
            elif self._evidence.could_work(since, SLACK):
                del self._refused_at[model]
                self._evidence.violated(f"the account was refused for {model} and nobody was told")

    def _check_loss(self, voice_id: str) -> None:
        seen = self._evidence
        known, loss = seen.known[voice_id], self._losses[voice_id]
        if voice_id in seen.abandoned or self._alerts.is_gone(known.name):
            del self._losses[voice_id]
            return
        since = loss.confirmed_at
        is_blocked = self._alerts.open(AlertKind.BLOCKED, seen.book(voice_id).model)
        if since is None or is_blocked or seen.is_confused():
            return
        if seen.could_work(since, max(self._within, timedelta(hours=1)), in_calm=True):
            del self._losses[voice_id]
            seen.violated(f"{voice_id} is gone, which the host knew, and nobody was told")
