"""Money: what a task costs, what the budget allows, and how long the balance lasts.

Prices are the page's (section *Billing*). Money is an integer of micros, millionths of a US
dollar, everywhere inside: one character of speech is exactly 10. Only what is printed, and JSON,
writes dollars.

The budget is for enrollments on a UTC day; a lost voice costs more than its keepalives. What may
have been charged counts as charged. The forecast is an estimate: each voice is used once an
interval, less half of the jitter on average. Failures that were charged all the same, control
calls and enrollments come on top.
"""

import unicodedata
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Final

from voicekeeper.core.duration import plus, rfc3339
from voicekeeper.core.enums import Kind
from voicekeeper.core.schedule import Policy

CLONE_MICROS: Final = 2_000
DESIGN_MICROS: Final = 30_000
CHARACTER_MICROS: Final = 10

BUDGET_SETTING: Final = "budget.enrollments_usd_per_day"

DAY: Final = timedelta(days=1)
YEAR: Final = timedelta(days=365)

SHORT_DAYS: Final = 30
"""With fewer days left than this it is time to top the balance up."""

_LONG_DAYS: Final = 36_500
"""No balance is planned for longer than a century."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What tasks should have cost, in millionths of a US dollar.

    It is certain of those that the gateway accepted, and possible of calls whose answer was lost,
    or is still to come.
    """

    certain: int = 0
    possible: int = 0

    @property
    def at_most(self) -> int:
        """All of it, if whatever may have been charged was."""
        return self.certain + self.possible

    def __str__(self) -> str:
        possibly = f", and possibly {usd(self.possible)} more" if self.possible else ""
        return usd(self.certain) + possibly


@dataclass(frozen=True, slots=True)
class Totals:
    """What the tasks of all voices, removed ones too, should have cost, by UTC days."""

    today: Spent = Spent()
    last_30_days: Spent = Spent()
    ever: Spent = Spent()


@dataclass(frozen=True, slots=True)
class Hold:
    """An enrollment that the budget does not allow until then; never, if more than a day's."""

    until: datetime | None
    sentence: str


def price(kind: Kind, prompt: str = "") -> int:
    """Return the price of a task; that of speech is the prompt's."""
    match kind:
        case Kind.CLONE:
            return CLONE_MICROS
        case Kind.DESIGN:
            return DESIGN_MICROS
        case Kind.KEEPALIVE | Kind.CONTROL:
            return CHARACTER_MICROS * billed_characters(prompt)


@lru_cache(maxsize=16)  # of the same prompt at each keepalive
def billed_characters(text: str) -> int:
    """Count a Han character as two and any other as one.

    The model's maker bills so; whether the gateway does too is not known.
    """
    return sum(2 if unicodedata.name(c, "").startswith("CJK UNIFIED") else 1 for c in text)


def utc_day(at: datetime) -> date:
    """Return the UTC day of an instant: the ledger and the budget go by it."""
    return at.astimezone(UTC).date()


def next_day(now: datetime) -> datetime:
    """Return when the next UTC day, and its budget, begins."""
    return datetime.combine(utc_day(plus(now, DAY)), time(), UTC)


def hold(kind: Kind, *, spent: Spent, now: datetime, policy: Policy) -> Hold | None:
    """Return why the budget does not allow an enrollment now; None when it does.

    Args:
        kind: clone or design.
        spent: on this day, by enrollments alone.
    """
    most, cost = policy.enrollments_per_day, price(kind)
    if most is None or spent.at_most + cost <= most:
        return None
    if cost > most:
        return Hold(
            None,
            f"never begun: a {kind} costs {usd(cost)}, and {BUDGET_SETTING} allows {usd(most)}; "
            "raise it and reload the daemon",
        )
    until = next_day(now)
    return Hold(
        until,
        f"held until {rfc3339(until)}: {usd(spent.at_most)} of the day's budget of {usd(most)} "
        f"for enrollments is spent, and a {kind} costs {usd(cost)}; to go on now, raise "
        f"{BUDGET_SETTING} and reload the daemon",
    )


def keepalive_costs(kept: int, period: timedelta, policy: Policy) -> int:
    """Return the cost of a fleet's keepalives in a period, rounded up to a whole micro."""
    return -(-kept * price(Kind.KEEPALIVE, policy.prompt) * _micros(period) // _pace(policy))


def runway_days(balance_micros: int, kept: int, policy: Policy) -> int | None:
    """Return for how many whole days a balance pays a fleet's keepalives.

    It is 0 where the account is overdrawn, and None when no voice is kept.
    """
    if not kept:
        return None
    paid = max(balance_micros, 0) * _pace(policy)
    return paid // (kept * price(Kind.KEEPALIVE, policy.prompt) * _micros(DAY))


def is_short(days: int | None) -> bool:
    """Return whether it is time to top the balance up."""
    return days is not None and days < SHORT_DAYS


def runway(balance_micros: int, days: int | None, *, told_at: datetime | None = None) -> str:
    """Return the balance and its runway in words; of one of earlier, when it was asked for."""
    held = f"the balance is {usd(balance_micros)}"
    if told_at is not None:
        held = f"the balance was {usd(balance_micros)} at {rfc3339(told_at)}"
    if days is None:
        return held
    counted = "1 day" if days == 1 else f"{min(days, _LONG_DAYS)} days"
    more = "more than " if days > _LONG_DAYS else ""
    top_up = ", so top it up" if is_short(days) else ""
    return f"{held}, enough for {more}{counted} of keepalives{top_up}"


def usd(micros: int) -> str:
    """Write an amount for a person, e.g. ``$0.0021``, exactly: as many places as it needs."""
    whole, part = divmod(abs(micros), 1_000_000)
    return f"{'-' if micros < 0 else ''}${whole}.{f'{part:06}'.rstrip('0'):0<2}"


def about_usd(micros: int) -> str:
    """Write an estimate for a person: to the cent, or to two digits where it is less than one.

    What costs anything never reads as nothing.
    """
    unit = 10_000
    while unit > 1 and abs(micros) < 10 * unit:
        unit //= 10
    return usd((micros + unit // 2) // unit * unit)


def dollars(micros: int) -> float:
    """Return an amount for JSON, whose number is read back as the same millionths."""
    return micros / 1_000_000


def _pace(policy: Policy) -> int:
    """Return the mean time between two keepalives of a voice, in microseconds."""
    return _micros(policy.interval - policy.jitter / 2)


def _micros(duration: timedelta) -> int:
    return duration // timedelta(microseconds=1)
