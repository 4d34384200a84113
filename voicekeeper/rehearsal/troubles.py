"""What goes wrong in a rehearsal, and when: spells that last, and acts that happen once.

Times count from the beginning of the rehearsal. A spell is *hard* when nobody could keep a voice
while it lasts: host, way, account or disk do not work at all. Everything else, single calls that
fail, a clock that is days wrong, a process killed every minute, is no excuse.
"""

import re
import reprlib
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from voicekeeper import duration
from voicekeeper.errors import InvalidInput

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
SPELLS: Final = HARD | {DATABASE_LOCKED, STORM}

_WRITTEN = "DURATION@dayN such as 2d@day40"
_WRITTEN_SIGNED = "DURATION@dayN such as -5d@day10"
_TIMED = re.compile(r"(?P<sign>[+-]?)(?P<length>[^@]+)@day(?P<day>[0-9]{1,5}(\.[0-9]{1,9})?)")

Rates = dict[str, float]
"""The share of the calls that each fault of `network` strikes."""


@dataclass(frozen=True, slots=True)
class Spell:
    """Something that is wrong for a while.

    Attributes:
        kind: one of this module's.
        start, end: since the beginning.
        rates: of the faults that strike single calls while it lasts.
    """

    kind: str
    start: timedelta
    end: timedelta
    rates: Rates = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Act:
    """Something that happens at one moment.

    Attributes:
        at: since the beginning.
    """

    at: timedelta


@dataclass(frozen=True, slots=True)
class Kill(Act):
    """The process dies, without a chance to clean up.

    Attributes:
        steps: how many commits and calls later, each counted before and after; 0 for at once.
        restart_after: when the service manager starts it again.
    """

    steps: int = 0
    restart_after: timedelta = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Jump(Act):
    """The host's wall clock is set.

    Attributes:
        by: so much ahead of where it was; negative for back.
    """

    by: timedelta


@dataclass(frozen=True, slots=True)
class Suspend(Act):
    """The machine sleeps: its monotonic clock stands still, and everything on it.

    Attributes:
        length: how long.
    """

    length: timedelta


@dataclass(frozen=True, slots=True)
class Delete(Act):
    """The gateway deletes a voice for no reason.

    Attributes:
        pick: which of the living, from 0 to 1.
    """

    pick: float


@dataclass(frozen=True, slots=True)
class Undeploy(Act):
    """The gateway's review takes a voice out of use, long after its enrollment.

    Attributes:
        pick: which of the living, from 0 to 1.
    """

    pick: float


@dataclass(frozen=True, slots=True)
class Enroll(Act):
    """A person asks for a voice to be made.

    Attributes:
        name: of the voice; its prefix too.
        design: whether by a description, else by a recording.
    """

    name: str
    design: bool


@dataclass(frozen=True, slots=True)
class Retry(Act):
    """A person asks for every enrollment that went wrong to be made again."""


@dataclass(frozen=True, slots=True)
class Plan:
    """All that goes wrong.

    Attributes:
        spells, acts: in any order.
        rates: of the faults that strike single calls all the time.
        clock_wrong_by: how far ahead of the truth the host's wall clock is at the beginning.
    """

    spells: tuple[Spell, ...] = ()
    acts: tuple[Act, ...] = ()
    rates: Rates = field(default_factory=dict)
    clock_wrong_by: timedelta = timedelta(0)

    def __add__(self, other: "Plan") -> "Plan":
        """Return a plan in which both go wrong."""
        return Plan(
            self.spells + other.spells,
            self.acts + other.acts,
            self.rates | other.rates,
            self.clock_wrong_by + other.clock_wrong_by,
        )


def lasting(kind: str, start: timedelta, length: timedelta) -> Plan:
    """Return the plan of one spell, with what it does to the host."""
    spell = Spell(kind, start, start + length)
    match kind:
        case "host-down":
            return Plan((spell,), (Kill(start, restart_after=length),))
        case "suspended":
            return Plan((spell,), (Suspend(start, length),))
        case _:
            return Plan((spell,))


def timed(text: str, *, signed: bool = False) -> tuple[timedelta, timedelta]:
    """Read ``2d@day40``; return the start and the length.

    Args:
        text: as written.
        signed: whether the length may be negative.

    Raises:
        InvalidInput: it is of another form.
    """
    read = _TIMED.fullmatch(text.strip())
    if read is None or (read["sign"] and not signed):
        written = _WRITTEN_SIGNED if signed else _WRITTEN
        raise InvalidInput(f"must be {written}, not {reprlib.repr(text)}")
    try:
        length = duration.parse(read["length"])
        start = timedelta(days=float(read["day"]))
    except ValueError as error:
        raise InvalidInput(f"{error}, before '@dayN'") from None
    except OverflowError:
        raise InvalidInput(f"must tell a day that can come, not {reprlib.repr(text)}") from None
    return start, -length if read["sign"] == "-" else length
