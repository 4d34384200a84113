"""Whether all is well with the fleet: its state and ``now`` in, findings and their mends out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import IntEnum
from typing import Final

from voicekeeper.core import costs
from voicekeeper.core.duration import plus, rfc3339, words
from voicekeeper.core.enums import LIVING, NEVER_KNOWN, BalanceFacts, BreakerFacts, Status
from voicekeeper.core.schedule import Policy


class Severity(IntEnum):
    """How bad it is; the number is the exit code that monitoring plugins use."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


_MEND_UNKEPT = "'systemctl start voicekeeper' or 'voicekeeper run' starts one"
_MEND = "'voicekeeper show NAME' tells why, 'retry NAME' repeats its enrollment"
_MEND_LOST = (
    "'voicekeeper show NAME' tells why; 'retry NAME' makes a new one where it was cloned or "
    "designed here, 'remove NAME' forgets it"
)

MEND_EMPTY: Final = (
    "'voicekeeper add' registers one that exists, 'voicekeeper clone' or 'voicekeeper design' "
    "makes one"
)
MEND_BLOCKED: Final = "'voicekeeper check' tells what the gateway says to the key and the balance"
_MEND_LATE = "'voicekeeper list' shows which, 'voicekeeper history NAME' why"
_MEND_HELD = f"to go on now, raise {costs.BUDGET_SETTING} and reload the daemon"

NAMED: Final = {
    Status.LOST: (Severity.CRITICAL, _MEND_LOST),
    Status.UNDEPLOYED: (Severity.WARNING, _MEND),
    Status.UNKNOWN: (Severity.WARNING, _MEND),
    Status.FAILED: (Severity.WARNING, _MEND),
}
"""The statuses that need a person: how bad each is, and the mend."""

SHOWN_NAMES: Final = 3
"""So many voices of a status are named."""

_CLOCK_MAY_DIFFER: Final = timedelta(minutes=1)
_CLOCK_IS_WRONG: Final = timedelta(hours=1)
_COPY_MAY_AGE: Final = timedelta(days=1)
_DISK_SPARE: Final = 64 * 1024 * 1024

_TIMER: Final = timedelta(hours=2)
"""A timer of ``run --once`` may take its time: the window has days."""


@dataclass(frozen=True, slots=True)
class Keeping:
    """The keeper's signs of life.

    Attributes:
        last_pass_at: of the youngest pass of any keeper.
        once: whether that keeper is ``run --once``, which a timer starts.
        runs: whether a daemon runs; None where only its passes show it.
    """

    last_pass_at: datetime | None
    once: bool = False
    runs: bool | None = None

    def is_missing(self, *, now: datetime, tick: timedelta) -> bool:
        """Return whether no keeper is at work; its passes are a tick apart."""
        if self.runs is False and not self.once:
            return True
        longest = _TIMER if self.once else max(timedelta(minutes=2), 3 * tick)
        return self.last_pass_at is None or now - self.last_pass_at > longest

    @property
    def sentence(self) -> str:
        """The finding that no daemon works, and how to start one."""
        last = self.last_pass_at
        since = f"made a pass since {rfc3339(last)}" if last else "ever made a pass"
        none = "no daemon runs, and none" if self.runs is False and last else "no daemon"
        return f"{none} has {since}; {_MEND_UNKEPT}"


@dataclass(frozen=True, slots=True)
class Health:
    """The state of the fleet and of its keeper, as the registry has it.

    Attributes:
        paused: how many of the living are paused.
        overdue: how many are due since `late_before`.
        at_risk: how many are kept, with little of their window left (see `alerting`).
        last_pass_at, once, runs: see `Keeping`.
        keeper: of the youngest pass, ``PID@HOST``.
        names: a few of the voices with a status of `NAMED`, each as `named` has it.
        late, risky: a few of the voices that are overdue, and at risk, the most urgent first.
        refused: how many enrollments were refused so far and are tried again.
        waiting: a few of these, each as `named` has it.
        held: how many enrollments wait for the next day's budget.
        held_for_good: how many cost more than a whole day's budget.
        keepers: those that live: the active one, then those that stand by.
    """

    by_status: Mapping[Status, int]
    paused: int
    overdue: int
    at_risk: int
    last_pass_at: datetime | None
    keeper: str | None
    blocked: Sequence[BreakerFacts]
    next_at: datetime | None
    once: bool = False
    runs: bool | None = None
    names: Mapping[Status, Sequence[str]] = field(default_factory=dict)
    late: Sequence[str] = ()
    risky: Sequence[str] = ()
    refused: int = 0
    waiting: Sequence[str] = ()
    held: int = 0
    held_for_good: int = 0
    balance: BalanceFacts | None = None
    keepers: Sequence[str] = ()

    @property
    def keeping(self) -> Keeping:
        """The keeper's signs of life."""
        return Keeping(self.last_pass_at, self.once, self.runs)

    @property
    def kept(self) -> int:
        """How many voices are to be kept alive."""
        return sum(self.by_status.get(status, 0) for status in LIVING) - self.paused

    def runway_days(self, policy: Policy) -> int | None:
        """Return for how many days the balance pays the keepalives; None if unknown."""
        if self.balance is None:
            return None
        return costs.runway_days(self.balance.micros, self.kept, policy)


@dataclass(frozen=True, slots=True)
class Finding:
    """A fact about the fleet or its host, in a sentence that says what to do.

    The mend is the end of the sentence, with commands in quotes, where it has one.
    """

    severity: Severity
    sentence: str
    mend: str = ""


def late_before(now: datetime, policy: Policy) -> datetime:
    """Return before when a due time counts as overdue: a fiftieth of the window ago."""
    return plus(now, -policy.window / 50)


def findings(health: Health, *, now: datetime, tick: timedelta, policy: Policy) -> list[Finding]:
    """Return all that is not well, the worst first."""
    found: list[Finding] = []
    if health.kept and health.keeping.is_missing(now=now, tick=tick):
        found.append(Finding(Severity.CRITICAL, health.keeping.sentence, _MEND_UNKEPT))
    found += [
        _found(Severity.CRITICAL, pause(breaker, now), MEND_BLOCKED)
        for breaker in health.blocked
        if breaker.opened_at is not None
    ]
    for severity, state, count, names in (
        (Severity.CRITICAL, "at risk", health.at_risk, health.risky),
        (Severity.WARNING, "overdue", health.overdue, health.late),
    ):
        if count:
            found.append(_found(severity, _counted(count, state, names), _MEND_LATE))
    found += [Finding(Severity.WARNING, sentence) for sentence in _of_enrollments(health, now)]
    days = health.runway_days(policy)
    if health.balance is not None and costs.is_short(days):
        sentence = costs.runway(health.balance.micros, days, told_at=health.balance.told_at)
        found.append(Finding(Severity.WARNING, sentence))
    found += [
        _found(severity, _counted(count, status, health.names.get(status, ())), mend)
        for status, (severity, mend) in NAMED.items()
        if (count := health.by_status.get(status, 0))
    ]
    return sorted(found, key=lambda finding: -finding.severity)


def _of_enrollments(health: Health, now: datetime) -> Iterator[str]:
    """Yield a sentence for each reason why enrollments wait."""
    if health.refused:
        waiting = _counted(health.refused, "NEW and not made so far", health.waiting)
        yield f"{waiting}; the daemon tries again by itself"
    if health.held:
        held = _counted(health.held, "NEW and held: the day's budget for enrollments is spent")
        yield f"{held}; it goes on at {rfc3339(costs.next_day(now))}; {_MEND_HELD}"
    if health.held_for_good:
        why = "NEW and never begun: to make one costs more than the whole day's budget"
        yield f"{_counted(health.held_for_good, why)}; {_MEND_HELD}"


def of_clock(ahead: timedelta) -> Finding:
    """Judge the host's clock, by how far it is ahead of the gateway's."""
    off = abs(ahead)
    if off <= _CLOCK_MAY_DIFFER:
        return Finding(Severity.OK, "as the gateway's, to the minute")
    severity = Severity.CRITICAL if off > _CLOCK_IS_WRONG else Severity.WARNING
    way = "ahead of" if ahead > timedelta(0) else "behind"
    return Finding(
        severity,
        f"{words(off)} {way} the gateway's; keepalives may come too late by as much; "
        "'timedatectl set-ntp true' sets it right, and keeps it so",
    )


def of_disk(free: int, size: int) -> Finding | None:
    """Judge the bytes that are free beside a registry of a size; None where there are enough.

    A copy or a migration needs its size once more.
    """
    if free >= size + _DISK_SPARE:
        return None
    return Finding(
        Severity.WARNING,
        f"{free // 1_000_000} MB are free on its disk; make room, or the daemon has to wait for it",
    )


def of_copies(last: date | None, *, now: datetime) -> Finding:
    """Judge the daily copies by the day of the last; one that lies ahead proves nothing."""
    if last is None:
        return Finding(
            Severity.WARNING,
            "there is no daily copy; a daemon makes one, 'voicekeeper backup FILE' at once",
        )
    if now.date() - last > _COPY_MAY_AGE:
        return Finding(
            Severity.WARNING,
            f"the last daily copy is of {last}; 'backup.failed' in the daemon's log tells why, "
            "'voicekeeper backup FILE' makes one",
        )
    if last - now.date() > _COPY_MAY_AGE:
        return Finding(
            Severity.WARNING,
            f"the last daily copy is of {last}, which lies ahead: the clock is wrong, or was; once "
            "it is right, remove that file, so that later copies are seen",
        )
    return Finding(Severity.OK, f"the last daily copy is of {last}")


def headline(health: Health, *, now: datetime, tick: timedelta) -> str:
    """Return the fleet in one line: how many voices are kept, and when the next one is due."""
    if not any(health.by_status.values()):
        return "no voice is registered; " + MEND_EMPTY
    kept = "to keep" if health.keeping.is_missing(now=now, tick=tick) else "kept"
    line = f"{voices(health.kept)} {kept}"
    if health.paused:
        line += f", {health.paused} paused"
    if health.next_at is not None:
        wait = health.next_at - now
        line += ", next due now" if wait <= timedelta(0) else f", next due in {words(wait)}"
    return line


def _found(severity: Severity, sentence: str, mend: str) -> Finding:
    return Finding(severity, f"{sentence}; {mend}", mend)


def _counted(count: int, state: str, names: Sequence[str] = ()) -> str:
    """Return how many voices are in a state, with the names of a few."""
    return f"{voices(count)} {state}" + (f": {few(names, count)}" if names else "")


def named(name: str, status: Status, error: str | None) -> str:
    """Return a voice's name with the reason, where it failed or was never known."""
    if status is Status.LOST and error and NEVER_KNOWN in error:
        return f"{name} ({NEVER_KNOWN})"
    return f"{name} ({error})" if status in (Status.FAILED, Status.NEW) and error else name


def pause(breaker: BreakerFacts, now: datetime) -> str:
    """Return in words since when and why an open breaker is open, and when the next probe is."""
    since, at = rfc3339(breaker.opened_at or now), breaker.probe_at
    probe = f"at {rfc3339(at)}" if at is not None and at > now else "due now"
    return (
        f"calls for {breaker.model} are paused since {since}: {breaker.cause}; "
        f"the next probe is {probe}"
    )


def few(names: Sequence[str], count: int | None = None) -> str:
    """Return the first of some names, and how many more there are of ``count`` in all."""
    shown = names[:SHOWN_NAMES]
    more = (len(names) if count is None else count) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def voices(count: int) -> str:
    """Return a number of voices in words."""
    return "1 voice" if count == 1 else f"{count} voices"
