"""Money in words: what was spent, what keeping the fleet costs, how long the balance lasts."""

from collections.abc import Iterator

from voicekeeper import forecast
from voicekeeper.forecast import DAY, YEAR
from voicekeeper.pricing import Totals, about_usd, usd
from voicekeeper.schedule import Policy

_LONG_DAYS = 36_500
"""No balance is planned for longer than a century."""


def spending(totals: Totals, *, kept: int, policy: Policy) -> Iterator[str]:
    """Yield what was spent, and what keeping so many voices costs; nothing where it is nothing."""
    spent = (totals.today, totals.last_30_days, totals.ever)
    if totals.ever.at_most:
        certain = _in_turn(*(usd(each.certain) for each in spent))
        yield f"spent, by the gateway's prices: {certain}"
    if totals.ever.possible:
        possible = _in_turn(*(usd(each.possible) for each in spent))
        yield f"possibly spent too, as no answer told: {possible}"
    if kept:
        day, year = (about_usd(forecast.cost_micros(kept, p, policy)) for p in (DAY, YEAR))
        yield f"keeping {'it' if kept == 1 else 'them'} costs about {day} a day, {year} a year"


def runway(balance_micros: int, days: int | None) -> str:
    """Return what the account holds, and for how many days it pays the fleet's keepalives."""
    held = f"the balance is {usd(balance_micros)}"
    if days is None:
        return held
    counted = "1 day" if days == 1 else f"{days} days"
    lasts = f"enough for {f'more than {_LONG_DAYS} days' if days > _LONG_DAYS else counted}"
    top_up = ", so top it up" if forecast.is_short(days) else ""
    return f"{held}, {lasts} of keepalives{top_up}"


def _in_turn(today: str, last_30_days: str, ever: str) -> str:
    return f"{today} today, {last_30_days} in 30 days, {ever} ever"
