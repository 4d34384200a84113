"""Everything that can go wrong, at rates drawn from a seed.

No two seeds are alike: in one the gateway is flaky all year, in another the host has a clock
that is days wrong, in a third the disk is full when the key is replaced. The last days are calm,
so that it shows whether all heals.
"""

import random
from datetime import timedelta
from typing import Final

from voicekeeper.rehearsal import troubles
from voicekeeper.rehearsal.network import FAULTS
from voicekeeper.rehearsal.troubles import (
    Act,
    Delete,
    Enroll,
    Jump,
    Kill,
    Plan,
    Rates,
    Retry,
    Undeploy,
    lasting,
)

_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)
_CALM_DAYS = 3

_SPELLS: Final[dict[str, tuple[float, timedelta]]] = {
    troubles.OUTAGE: (4, 12 * _HOUR),
    troubles.HOST_DOWN: (3, 12 * _HOUR),
    troubles.SUSPENDED: (3, 10 * _HOUR),
    troubles.DISK_FULL: (2, 8 * _HOUR),
    troubles.DATABASE_LOCKED: (4, timedelta(minutes=20)),
    troubles.BALANCE_EMPTY: (2, 20 * _HOUR),
    troubles.KEY_REFUSED: (1, 16 * _HOUR),
    troubles.FORBIDDEN: (1, 12 * _HOUR),
    troubles.WRONG_ACCOUNT: (1, 16 * _HOUR),
}
"""How often a year each spell comes, and how long it lasts, on average."""

_LONGEST = timedelta(days=8)
_VERY_LONG = 0.15
"""The share of the spells that last for days."""

_PREFIXES: Final = ("ok", "ok", "ok", "ok", "ok", "slow", "slow", "reject", "fail")


def chaos(seed: int, *, days: int, voices: int) -> Plan:
    """Draw a plan.

    Args:
        seed: of all its dice.
        days: of the rehearsal.
        voices: of the fleet; so many more or fewer enrollments are asked for.
    """
    rng = random.Random(f"chaos {seed}")
    end = max(timedelta(days=1), timedelta(days=days - _CALM_DAYS))
    years = end / timedelta(days=365)
    plan = Plan(rates=_rates(rng, most=0.06), clock_wrong_by=_wrong_at_first(rng))
    for kind, (a_year, average) in _SPELLS.items():
        for _ in range(_often(rng, a_year * years)):
            length = min(average * rng.expovariate(1.0) + timedelta(minutes=1), _LONGEST)
            if average > _HOUR and rng.random() < _VERY_LONG:
                length = 2 * _DAY + rng.random() * (_LONGEST - 2 * _DAY)
            start = rng.random() * (end - length)
            if start > timedelta(0):
                plan += lasting(kind, start, length)
    for _ in range(_often(rng, 6 * years)):
        start, length = rng.random() * (end - 6 * _HOUR), rng.random() * 6 * _HOUR
        storm = troubles.Spell(troubles.STORM, start, start + length, _rates(rng, most=0.6))
        plan += Plan((storm,))
    plan += Plan(acts=tuple(_jumps(rng, end=end, years=years, wrong_by=plan.clock_wrong_by)))
    plan += Plan(acts=tuple(_kills(rng, end=end, years=years)))
    return plan + Plan(acts=tuple(_voices(rng, end=end, years=years, voices=voices)))


def _often(rng: random.Random, average: float) -> int:
    """Return how often something happens that happens so often on average."""
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


def _jumps(rng: random.Random, *, end: timedelta, years: float, wrong_by: timedelta) -> list[Act]:
    """Return settings of the clock: each wrong one is corrected, now and then while stopped."""
    acts: list[Act] = []
    if wrong_by:
        acts += _corrected(rng, rng.random() * min(end, 5 * _DAY), -wrong_by)
    for _ in range(_often(rng, 3 * years)):
        at, by = rng.random() * (end - 6 * _DAY), (rng.random() - 0.5) * 12 * _DAY
        if at > timedelta(0):
            acts.append(Jump(at, by))
            acts += _corrected(rng, at + rng.random() * 5 * _DAY, -by)
    return acts


def _corrected(rng: random.Random, at: timedelta, by: timedelta) -> list[Act]:
    if rng.random() < 0.5:  # noqa: PLR2004 - the half
        return [Jump(at, by)]
    down = timedelta(minutes=10)
    return [Kill(at - down / 2, restart_after=down), Jump(at, by)]


def _kills(rng: random.Random, *, end: timedelta, years: float) -> list[Act]:
    """Return deaths at random steps, and now and then a loop of them."""
    acts: list[Act] = []
    for _ in range(_often(rng, rng.choice((5, 30, 120)) * years)):
        at = rng.random() * (end - _HOUR)
        again = rng.randint(2, 12) if rng.random() < 0.1 else 1  # noqa: PLR2004 - one in ten
        acts += [Kill(at + turn * _HOUR / 60, steps=rng.randint(1, 30)) for turn in range(again)]
    return acts


def _voices(rng: random.Random, *, end: timedelta, years: float, voices: int) -> list[Act]:
    """Return what befalls single voices: made, retried, deleted, taken out of use."""
    acts: list[Act] = []
    for number in range(max(2, _often(rng, voices * 0.4))):
        name = f"{rng.choice(_PREFIXES)}{number:04d}"
        acts.append(Enroll(rng.random() * end * 0.9, name, design=rng.random() < 0.5))  # noqa: PLR2004
    acts += [Retry(rng.random() * end * 0.95) for _ in range(_often(rng, 4 * years))]
    acts += [Delete(rng.random() * end, rng.random()) for _ in range(_often(rng, 1.5 * years))]
    acts += [Undeploy(rng.random() * end, rng.random()) for _ in range(_often(rng, 1 * years))]
    return acts
