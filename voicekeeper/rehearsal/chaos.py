"""A plan of every fault, at rates drawn from a seed.

No two seeds are alike: in one the gateway is flaky all year, in another the host has a clock
that is days wrong, in a third the disk is full when the key is replaced. In the last days there is
no fault, to show whether all heals.
"""

import random
from datetime import timedelta
from typing import Final

from voicekeeper.rehearsal import faults
from voicekeeper.rehearsal.faults import (
    Delete,
    Enroll,
    Incident,
    Jump,
    Kill,
    Plan,
    Rates,
    Retry,
    Undeploy,
    lasting,
)
from voicekeeper.rehearsal.network import FAULTS

_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)
_CALM_DAYS = 3

_PERIODS: Final[dict[str, tuple[float, timedelta]]] = {
    faults.OUTAGE: (4, 12 * _HOUR),
    faults.HOST_DOWN: (3, 12 * _HOUR),
    faults.SUSPENDED: (3, 10 * _HOUR),
    faults.DISK_FULL: (2, 8 * _HOUR),
    faults.DATABASE_LOCKED: (4, timedelta(minutes=20)),
    faults.BALANCE_EMPTY: (2, 20 * _HOUR),
    faults.KEY_REFUSED: (1, 16 * _HOUR),
    faults.FORBIDDEN: (1, 12 * _HOUR),
    faults.WRONG_ACCOUNT: (1, 16 * _HOUR),
}
"""How often a year each period comes, and how long it lasts, on average."""

_LONGEST = timedelta(days=8)
_VERY_LONG = 0.15
"""The share of the periods that last for days."""

_PREFIXES: Final = ("ok", "ok", "ok", "ok", "ok", "slow", "slow", "reject", "fail")


def chaos(seed: int, *, days: int, voices: int) -> Plan:
    """Draw a plan for so many days and voices."""
    rng = random.Random(f"chaos {seed}")
    end = max(timedelta(days=1), timedelta(days=days - _CALM_DAYS))
    years = end / timedelta(days=365)
    plan = Plan(rates=_rates(rng, most=0.06), clock_wrong_by=_wrong_at_first(rng))
    for kind, (a_year, average) in _PERIODS.items():
        for _ in range(_often(rng, a_year * years)):
            length = min(average * rng.expovariate(1.0) + timedelta(minutes=1), _LONGEST)
            if average > _HOUR and rng.random() < _VERY_LONG:
                length = 2 * _DAY + rng.random() * (_LONGEST - 2 * _DAY)
            start = rng.random() * (end - length)
            if start > timedelta(0):
                plan += lasting(kind, start, length)
    for _ in range(_often(rng, 6 * years)):
        start, length = rng.random() * (end - 6 * _HOUR), rng.random() * 6 * _HOUR
        storm = faults.Period(faults.STORM, start, start + length, _rates(rng, most=0.6))
        plan += Plan((storm,))
    plan += Plan(incidents=tuple(_jumps(rng, end=end, years=years, wrong_by=plan.clock_wrong_by)))
    plan += Plan(incidents=tuple(_kills(rng, end=end, years=years)))
    return plan + Plan(incidents=tuple(_voices(rng, end=end, years=years, voices=voices)))


def _often(rng: random.Random, average: float) -> int:
    """Return a random count with this average (Poisson)."""
    count, left = 0, average
    while (left := left - rng.expovariate(1.0)) > 0:
        count += 1
    return count


def _rates(rng: random.Random, *, most: float) -> Rates:
    """Return a few faults with a share of the calls each, all of them together under ``most``."""
    chosen = rng.sample(FAULTS, rng.randint(3, 12))
    total = rng.random() * most
    weights = [rng.random() for _ in chosen]
    return {
        fault: total * weight / sum(weights) for fault, weight in zip(chosen, weights, strict=True)
    }


def _wrong_at_first(rng: random.Random) -> timedelta:
    return (rng.random() - 0.5) * 10 * _DAY if rng.random() < 0.2 else timedelta(0)  # noqa: PLR2004


def _jumps(
    rng: random.Random, *, end: timedelta, years: float, wrong_by: timedelta
) -> list[Incident]:
    """Return jumps of the clock: each is corrected, now and then while the process is down."""
    incidents: list[Incident] = []
    if wrong_by:
        incidents += _corrected(rng, rng.random() * min(end, 5 * _DAY), -wrong_by)
    for _ in range(_often(rng, 3 * years)):
        at, by = rng.random() * (end - 6 * _DAY), (rng.random() - 0.5) * 12 * _DAY
        if at > timedelta(0):
            incidents.append(Jump(at, by))
            incidents += _corrected(rng, at + rng.random() * 5 * _DAY, -by)
    return incidents


def _corrected(rng: random.Random, at: timedelta, by: timedelta) -> list[Incident]:
    if rng.random() < 0.5:  # noqa: PLR2004 - the half
        return [Jump(at, by)]
    down = timedelta(minutes=10)
    return [Kill(at - down / 2, restart_after=down), Jump(at, by)]


def _kills(rng: random.Random, *, end: timedelta, years: float) -> list[Incident]:
    """Return deaths at random steps, now and then a dozen in a row."""
    incidents: list[Incident] = []
    for _ in range(_often(rng, rng.choice((5, 30, 120)) * years)):
        at = rng.random() * (end - _HOUR)
        again = rng.randint(2, 12) if rng.random() < 0.1 else 1  # noqa: PLR2004 - one in ten
        incidents += [
            Kill(at + turn * _HOUR / 60, steps=rng.randint(1, 30)) for turn in range(again)
        ]
    return incidents


def _voices(rng: random.Random, *, end: timedelta, years: float, voices: int) -> list[Incident]:
    """Return enrollments and retries, deletions and reviews of single voices."""
    incidents: list[Incident] = []
    for number in range(max(2, _often(rng, voices * 0.4))):
        name = f"{rng.choice(_PREFIXES)}{number:04d}"
        incidents.append(Enroll(rng.random() * end * 0.9, name, design=rng.random() < 0.5))  # noqa: PLR2004
    incidents += [Retry(rng.random() * end * 0.95) for _ in range(_often(rng, 4 * years))]
    incidents += [Delete(rng.random() * end, rng.random()) for _ in range(_often(rng, 1.5 * years))]
    incidents += [Undeploy(rng.random() * end, rng.random()) for _ in range(_often(rng, 1 * years))]
    return incidents
