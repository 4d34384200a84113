"""What it costs to keep the fleet, and how long the balance lasts for it. Pure; an estimate.

Each voice is used once an interval, less half of the jitter on average. Failures that were
charged all the same, control calls and enrollments come on top.
"""

from datetime import datetime, timedelta

from voicekeeper.core import pricing
from voicekeeper.core.duration import rfc3339
from voicekeeper.core.enums import Kind
from voicekeeper.core.pricing import usd
from voicekeeper.core.schedule import Policy

DAY = timedelta(days=1)
YEAR = timedelta(days=365)

SHORT_DAYS = 30
"""With fewer days left than this it is time to top the balance up."""

_LONG_DAYS = 36_500
"""No balance is planned for longer than a century."""


def cost_micros(kept: int, period: timedelta, policy: Policy) -> int:
    """Return what the keepalives of a fleet cost in a period, in millionths of a US dollar.

    Args:
        kept: how many voices.
        period: such as `DAY` or `YEAR`.
        policy: the settings.
    """
    return -(-kept * _price(policy) * _micros(period) // _micros(_pace(policy)))  # rounded up


def runway_days(balance_micros: int, kept: int, policy: Policy) -> int | None:
    """Return for how many whole days a balance pays the keepalives of a fleet.

    Args:
        balance_micros: what the account holds, in millionths of a US dollar.
        kept: how many voices.
        policy: the settings.

    Returns:
        The days, 0 where the account is overdrawn; None when nothing is kept.
    """
    if not kept:
        return None
    paid = max(balance_micros, 0) * _micros(_pace(policy))
    return paid // (kept * _price(policy) * _micros(DAY))


def is_short(days: int | None) -> bool:
    """Tell whether it is time to top the balance up."""
    return days is not None and days < SHORT_DAYS


def runway(balance_micros: int, days: int | None, *, told_at: datetime | None = None) -> str:
    """Return in words what the account holds, and for how many days it pays the keepalives.

    Args:
        balance_micros: what the account holds, in millionths of a US dollar.
        days: what `runway_days` makes of it.
        told_at: when it was told, if not just now.
    """
    held = f"the balance is {usd(balance_micros)}"
    if told_at is not None:
        held = f"the balance was {usd(balance_micros)} at {rfc3339(told_at)}"
    if days is None:
        return held
    counted = "1 day" if days == 1 else f"{min(days, _LONG_DAYS)} days"
    more = "more than " if days > _LONG_DAYS else ""
    top_up = ", so top it up" if is_short(days) else ""
    return f"{held}, enough for {more}{counted} of keepalives{top_up}"


def _price(policy: Policy) -> int:
    return pricing.price(Kind.KEEPALIVE, policy.prompt)


def _pace(policy: Policy) -> timedelta:
    return policy.interval - policy.jitter / 2


def _micros(duration: timedelta) -> int:
    return duration // timedelta(microseconds=1)
