"""The faults of a simulation: periods that last, incidents that happen once, and their timeline.

Times count from the beginning of the simulation. A period is *hard* when no voice could be kept
while it lasts: host, network, account or disk do not work at all. Everything else, single calls
that fail, a clock that is days wrong, a process killed every minute, is no excuse.
"""

import re
import reprlib
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Final

from voicekeeper.core import duration
from voicekeeper.errors import InvalidInput
from voicekeeper.rehearsal.clock import BEGINNING

OUTAGE: Final = "outage"
HOST_DOWN: Final = "host-down"
SUSPENDED: Final = "suspended"
DISK_FULL: Final = "disk-full"
BALANCE_EMPTY: Final = "balance-empty"
KEY_REFUSED: Final = "key-refused"
FORBIDDEN: Final = "forbidden"
WRONG_ACCOUNT: Final = "wrong-account"
"""The key is another account's: it is taken, and none of our voices is known."""
DATABASE_LOCKED: Final = "database-locked"
STORM: Final = "storm"
"""Many calls fail, each in a way of its own."""

ACCOUNT: Final = frozenset({BALANCE_EMPTY, KEY_REFUSED, FORBIDDEN, WRONG_ACCOUNT})
HARD: Final = ACCOUNT | {OUTAGE, HOST_DOWN, SUSPENDED, DISK_FULL}
PERIODS: Final = HARD | {DATABASE_LOCKED, STORM}

_FARTHEST_JUMP = timedelta(days=3650)
_TIMED = re.compile(r"(?P<sign>[+-]?)(?P<length>[^@]+)@day(?P<day>[0-9]{1,5}(\.[0-9]{1,9})?)")

Rates = dict[str, float]
"""The share of the calls that each fault of `network` strikes."""


@dataclass(frozen=True, slots=True)
class Period:
    """A fault that lasts, with the rates of those that strike single calls meanwhile."""

    kind: str
    start: timedelta
    end: timedelta
    rates: Rates = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Incident:
    """A fault, or a person's command, at one moment."""

    at: timedelta


@dataclass(frozen=True, slots=True)
class Kill(Incident):
    """The process dies, without a chance to clean up.

    Attributes:
        steps: how many commits and calls later, each counted before and after; 0 for at once.
        restart_after: when the service manager starts it again.
    """

    steps: int = 0
    restart_after: timedelta = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Jump(Incident):
    """The host's wall clock is set so much ahead of where it was; negative for back."""

    by: timedelta


@dataclass(frozen=True, slots=True)
class Suspend(Incident):
    """The machine sleeps: its monotonic clock stands still, and everything on it."""

    length: timedelta


@dataclass(frozen=True, slots=True)
class Delete(Incident):
    """The gateway deletes a voice for no reason: of those alive, the one at a share of 0 to 1."""

    pick: float


@dataclass(frozen=True, slots=True)
class Undeploy(Delete):
    """The gateway's review takes a voice out of use, long after its enrollment."""


@dataclass(frozen=True, slots=True)
class Enroll(Incident):
    """A person asks for an enrollment: a design, else a clone. The name is the prefix too."""

    name: str
    design: bool


@dataclass(frozen=True, slots=True)
class Retry(Incident):
    """A person retries every enrollment that failed."""


NAMES: Final[dict[type[Incident], str]] = {
    Kill: "killed",
    Jump: "clock-jump",
    Suspend: "suspend",
    Delete: "deleted",
    Undeploy: "undeployed",
    Enroll: "enrolled",
    Retry: "retried",
}
"""The name of each incident in a report."""


@dataclass(frozen=True, slots=True)
class Plan:
    """All faults of a simulation.

    Attributes:
        rates: of the faults that strike single calls all the time.
        clock_wrong_by: how far ahead of the truth the host's wall clock is at the beginning.
    """

    periods: tuple[Period, ...] = ()
    incidents: tuple[Incident, ...] = ()
    rates: Rates = field(default_factory=dict)
    clock_wrong_by: timedelta = timedelta(0)

    def __add__(self, other: "Plan") -> "Plan":
        """Return a plan with the faults of both."""
        return Plan(
            self.periods + other.periods,
            self.incidents + other.incidents,
            self.rates | other.rates,
            self.clock_wrong_by + other.clock_wrong_by,
        )


def lasting(kind: str, start: timedelta, length: timedelta) -> Plan:
    """Return a plan of one period, with what it does to the host."""
    period = Period(kind, start, start + length)
    does: dict[str, Incident] = {
        HOST_DOWN: Kill(start, restart_after=length),
        SUSPENDED: Suspend(start, length),
    }
    return Plan((period,), (does[kind],) if kind in does else ())


def planned(kind: str, text: str) -> Plan:
    """Read ``2d@day40``, or ``-5d@day10`` for a jump of the clock, as the plan of that fault.

    Raises:
        InvalidInput: it is of another form.
    """
    is_jump = kind == NAMES[Jump]
    read = _TIMED.fullmatch(text.strip())
    if read is None or (read["sign"] and not is_jump):
        example = "-5d@day10" if is_jump else "2d@day40"
        raise InvalidInput(f"must be DURATION@dayN such as {example}, not {reprlib.repr(text)}")
    try:
        length = duration.parse(read["length"])
    except ValueError as error:
        raise InvalidInput(f"{error}, before '@dayN'") from None
    start = timedelta(days=float(read["day"]))
    if not length:
        raise InvalidInput(f"must be longer than 0s, unlike {text!r}")
    if not is_jump:
        return lasting(kind, start, length)
    if length > _FARTHEST_JUMP:
        raise InvalidInput(f"must set the clock by at most 3650d, unlike {text!r}")
    return Plan(incidents=(Jump(start, -length if read["sign"] == "-" else length),))


Span = tuple[datetime, datetime | None]
"""From when until when; None for something that has not ended."""


class Timeline:
    """A plan's faults at true times."""

    def __init__(self, plan: Plan) -> None:
        self._always = plan.rates
        self._periods = sorted(plan.periods, key=lambda s: (s.start, s.end, s.kind))
        edges = {edge for period in self._periods for edge in (period.start, period.end)}
        self._edges = sorted(BEGINNING + edge for edge in edges)
        self._of: dict[frozenset[str], list[Span]] = {}
        self._until = BEGINNING
        self._names: list[str] = []
        self._odds: list[float] = []
        self._now: dict[str, Period] = {}

    def at(self, now: datetime) -> dict[str, Period]:
        """Return the periods at an instant, by kind; ``now`` never goes back."""
        if now >= self._until:
            self._turn(now)
        return self._now

    def lasts(self, now: datetime) -> timedelta:
        """Return how long the periods stay as they are."""
        self.at(now)
        return self._until - now

    def fault(self, now: datetime, die: float) -> str | None:
        """Return the fault that strikes a call, by a random number from 0 to 1, or None."""
        self.at(now)
        index = bisect_right(self._odds, die)
        return self._names[index] if index < len(self._names) else None

    def of(self, kinds: frozenset[str]) -> list[Span]:
        """Return when there is a period of any of these kinds."""
        if kinds not in self._of:
            self._of[kinds] = [
                (BEGINNING + period.start, BEGINNING + period.end)
                for period in self._periods
                if period.kind in kinds
            ]
        return self._of[kinds]

    def _turn(self, now: datetime) -> None:
        since = now - BEGINNING
        self._now = {s.kind: s for s in self._periods if s.start <= since < s.end}
        rates = dict(self._always)
        for period in self._now.values():
            rates |= period.rates
        self._names = list(rates)
        self._odds = list(accumulate(rates.values()))
        ahead = (edge for edge in self._edges if edge > now)
        self._until = next(ahead, datetime.max.replace(tzinfo=UTC))


def has_room(spans: Iterable[Span], start: datetime, end: datetime, length: timedelta) -> bool:
    """Return whether a stretch of time holds one of this length that no span touches."""
    free_from = start
    for begun, ended in sorted(spans, key=lambda span: span[0]):
        if ended is not None and ended <= free_from:
            continue
        if begun >= end:
            break
        if begun - free_from >= length:
            return True
        if ended is None:
            return False
        free_from = ended
    return end - free_from >= length
