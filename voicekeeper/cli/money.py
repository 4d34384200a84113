"""Money in words: what was spent, what keeping the fleet costs, how long the balance lasts."""

from collections.abc import Iterator

from voicekeeper import forecast
from voicekeeper.forecast import DAY, YEAR
from voicekeeper.health import Health
from voicekeeper.pricing import Totals, about_usd, usd
from voicekeeper.schedule import Policy


def spending(totals: Totals, health: Health, policy: Policy) -> Iterator[str]:
    """Yield what was spent, and what keeping the voices costs; nothing where it is nothing."""
    spent = (totals.today, totals.last_30_days, totals.ever)
    if totals.ever.at_most:
        certain = _in_turn(*(usd(each.certain) for each in spent))
        yield f"spent, by the gateway's prices: {certain}"
    if totals.ever.possible:
        possible = _in_turn(*(usd(each.possible) for each in spent))
        yield f"possibly spent too, as no answer told: {possible}"
    kept, days, balance = health.kept, health.runway_days(policy), health.balance
    if kept:
        day, year = (about_usd(forecast.cost_micros(kept, p, policy)) for p in (DAY, YEAR))
        yield f"keeping {'it' if kept == 1 else 'them'} costs about {day} a day, {year} a year"
    if balance is not None and not forecast.is_short(days):  # one that is short is a finding
        yield forecast.runway(balance.micros, days, told_at=balance.told_at)


def _in_turn(today: str, last_30_days: str, ever: str) -> str:
    return f"{today} today, {last_30_days} in 30 days, {ever} ever"
