"""Whether the day's budget allows an enrollment, and when one that it holds goes on.

A day is a UTC day: the one `status` adds up, and whose end can be told beforehand. What may have
been charged counts as charged. Keepalives are none of its business: a lost voice costs more.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from voicekeeper.core import pricing
from voicekeeper.core.duration import plus, rfc3339
from voicekeeper.core.enums import Kind
from voicekeeper.core.pricing import Spent, usd
from voicekeeper.core.schedule import Policy

SETTING = "budget.enrollments_usd_per_day"


@dataclass(frozen=True, slots=True)
class Hold:
    """An enrollment that is not begun.

    Attributes:
        until: when the budget may allow it; None when it costs more than any day's.
        sentence: why, until when, and what to do.
    """

    until: datetime | None
    sentence: str


def day(at: datetime) -> date:
    """Return the UTC day that an instant belongs to."""
    return at.astimezone(UTC).date()


def next_day(now: datetime) -> datetime:
    """Return when the next day, and its budget, begins."""
    return datetime.combine(day(plus(now, timedelta(days=1))), time(), UTC)


def hold(kind: Kind, *, spent: Spent, now: datetime, policy: Policy) -> Hold | None:
    """Return why an enrollment is not begun now; None when it may be.

    Args:
        kind: clone or design.
        spent: on this day, by enrollments alone.
        now: of this pass.
        policy: the settings; without a budget, nothing is held.
    """
    most, price = policy.enrollments_per_day, pricing.price(kind)
    if most is None or spent.at_most + price <= most:
        return None
    if price > most:
        return Hold(
            None,
            f"never begun: a {kind} costs {usd(price)}, and {SETTING} allows {usd(most)}; "
            "raise it and reload the daemon",
        )
    until = next_day(now)
    return Hold(
        until,
        f"held until {rfc3339(until)}: {usd(spent.at_most)} of the day's budget of {usd(most)} "
        f"for enrollments is spent, and a {kind} costs {usd(price)}; to go on now, raise "
        f"{SETTING} and reload the daemon",
    )
