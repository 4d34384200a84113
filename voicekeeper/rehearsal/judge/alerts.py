"""What a person was told: daily while it lasts and no more often, and that it has ended.

An alert is known by what it is about: a voice's name, or a model whose calls pause. The word of
the log is all that counts; a row that nobody was told of helps nobody.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from voicekeeper import alerting
from voicekeeper.events import Event, Level
from voicekeeper.rehearsal.judge.evidence import SLACK, Evidence
from voicekeeper.schedule import Policy
from voicekeeper.terms import AlertKind, Status

_KINDS: Final = {event: kind for kind, event in alerting.EVENTS.items()}
_GONE: Final = (AlertKind.LOST, AlertKind.UNDEPLOYED)


def told_within(policy: Policy) -> timedelta:
    """Return how soon a host that works tells what is to be told: two hours by the defaults.

    A rehearsed host makes a pass only where it may find work: after the longest backoff. The
    alert has its grace then, and a look that misses it by a moment comes again.
    """
    backoff = min(policy.retry_cap, policy.interval)
    return backoff + alerting.grace(policy) + 8 * alerting.pace(policy)


@dataclass(slots=True)
class Alert:
    """Something that a person was told of, and that has not ended.

    Attributes:
        told_at: the last time; None where only a new process mentioned it as it began.
        said_at: the same, or when it was first mentioned.
        level: how loud it was.
        mended_at: when the host heard that all is well again.
        settled: whether no word is owed any more: another alert has taken its place, or a
            person has dealt with it. Its end may be told all the same.
        is_missed: whether a word was owed and not told.
    """

    told_at: datetime | None
    said_at: datetime
    level: Level
    mended_at: datetime | None = None
    settled: bool = False
    is_missed: bool = False


class Alerts:
    """Keeps in mind what was told.

    Args:
        evidence: what was seen.
    """

    def __init__(self, evidence: Evidence) -> None:
        self._seen = evidence
        self._told: dict[tuple[AlertKind, str], Alert] = {}
        self._ended: dict[tuple[AlertKind, str], datetime] = {}

    def open(self, kind: AlertKind, subject: str) -> Alert | None:
        """Return the alert that a person knows of, if there is one."""
        alert = self._told.get((kind, subject))
        return None if alert is None or alert.settled else alert

    def is_told_gone(self, name: str) -> bool:
        """Tell whether a person knows that a voice is gone."""
        return any(self.open(kind, name) for kind in _GONE)

    def ended_at(self, kind: AlertKind, subject: str) -> datetime | None:
        """Return when the last all-clear of such an alert was told."""
        return self._ended.get((kind, subject))

    def told(self, level: Level, event: str, fields: dict[str, Any]) -> None:
        """The host says something."""
        if event in _KINDS:
            kind: AlertKind = _KINDS[Event(event)]
            subject = fields["model" if kind is AlertKind.BLOCKED else "name"]
            self._tell(kind, subject, level, is_mention="told" not in fields)
        elif event == Event.VOICE_RECOVERED:
            self._end(AlertKind(fields["was"]), fields["name"])
        elif event == Event.UPSTREAM_RECOVERED:
            self._end(AlertKind.BLOCKED, fields["model"])
        elif event == Event.VOICE_STATUS_CHANGED and fields["to"] != Status.OK:
            self._settle(fields["name"], [AlertKind.RISK])

    def mended(self, kinds: Iterable[AlertKind], subject: str) -> None:
        """The host heard that all is well with these again: that is to be told."""
        for kind in kinds:
            alert = self.open(kind, subject)
            if alert is not None and alert.mended_at is None:
                alert.mended_at = self._seen.now

    def dealt_with(self, name: str) -> None:
        """A person did something about a voice: no word about it is owed."""
        self._settle(name, AlertKind)

    def killed(self) -> None:
        """The process died, and may have forgotten what it had just heard."""
        for alert in self._told.values():
            if alert.mended_at is not None and self._seen.now - alert.mended_at <= SLACK:
                alert.mended_at = None

    def check(self, living: Mapping[str, datetime]) -> None:
        """See that what lasts was told again, and what has ended was told to have.

        Args:
            living: the last use of each voice that lives.
        """
        well = self._seen.names_of(living)
        waiting_since = min((self._seen.known[v].since for v in living), default=None)
        for (kind, subject), alert in self._told.items():
            if kind is AlertKind.RISK and subject not in well:
                alert.settled = True  # it is gone by now, which is another alert
            if alert.settled or alert.is_missed:
                continue
            if alert.mended_at is not None:
                self._check_end(kind, subject, alert, alert.mended_at)
                continue
            again = (alert.told_at or alert.said_at) + alerting.AGAIN
            if kind is AlertKind.BLOCKED:
                if waiting_since is None:
                    continue  # no voice is concerned
                again = max(again, waiting_since)
            if self._could_tell(again, unset_since=alert.said_at):
                alert.is_missed = True
                self._seen.break_(f"{subject} is {kind} still, and was not told again in a day")

    def _check_end(self, kind: AlertKind, subject: str, alert: Alert, since: datetime) -> None:
        if self._could_tell(since, unset_since=since):
            alert.is_missed = True
            self._seen.break_(f"{subject} is {kind} no more, and nobody was told")

    def _could_tell(self, since: datetime, *, unset_since: datetime) -> bool:
        seen = self._seen
        within = told_within(seen.policy)
        return not seen.was_set_since(unset_since) and seen.could_work(since, within)

    def _tell(self, kind: AlertKind, subject: str, level: Level, *, is_mention: bool) -> None:
        now = self._seen.now
        alert = self.open(kind, subject)
        if kind in _GONE:
            self._settle(subject, {AlertKind.RISK, *_GONE} - {kind})
        if alert is None:
            # A first telling bears no count. Nor does what a new process mentions as it begins,
            # that calls pause still; what was to be told of it may have been lost in a crash.
            is_first = kind is not AlertKind.BLOCKED or not is_mention or not self._has_begun(now)
            self._told[kind, subject] = Alert(now if is_first else None, now, level)
            return
        if is_mention and kind is AlertKind.BLOCKED:
            return
        if self._is_too_soon(alert, level):
            ago = now - (alert.told_at or now)
            self._seen.break_(f"{subject} was told {kind} again after {ago}")
        alert.told_at, alert.said_at, alert.level = now, now, level
        alert.is_missed = False

    def _has_begun(self, now: datetime) -> bool:
        """Tell whether a process has just begun."""
        return self._seen.started is not None and now - self._seen.started <= SLACK

    def _is_too_soon(self, alert: Alert, level: Level) -> bool:
        if alert.told_at is None or (level == "error" and alert.level != "error"):
            return False
        if self._seen.now - alert.told_at >= alerting.AGAIN - SLACK:
            return False
        return not self._is_excused(alert.told_at, SLACK)

    def _end(self, kind: AlertKind, subject: str) -> None:
        known = self._told.pop((kind, subject), None)
        lately = alerting.AGAIN + told_within(self._seen.policy)
        if known is None and not self._is_excused(self._seen.now - lately, lately):
            self._seen.break_(f"{subject} was told to be {kind} no more, and was not told before")
        self._ended[kind, subject] = self._seen.now

    def _is_excused(self, since: datetime, length: timedelta) -> bool:
        """Tell whether a word may have been lost, or not been noted as told."""
        seen = self._seen
        return seen.was_hindered(since, since + length) or seen.was_set_since(since)

    def _settle(self, name: str, kinds: Iterable[AlertKind]) -> None:
        for kind in kinds:
            if kind is not AlertKind.BLOCKED and (kind, name) in self._told:
                self._told[kind, name].settled = True
