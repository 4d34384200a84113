"""The digest: once a week, how the fleet is, and what waits for a person.

It also shows that messages still arrive: who gets none on a Monday has something to look after.
Pure: what the registry knows and ``now`` in, a message out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from voicekeeper.core import costs
from voicekeeper.core.costs import YEAR, Spent, about_usd
from voicekeeper.core.duration import plus, rfc3339, words
from voicekeeper.core.enums import Topic
from voicekeeper.core.events import Level
from voicekeeper.core.health import Health, Severity, few, findings, headline
from voicekeeper.core.notice import Notice
from voicekeeper.core.schedule import Policy

WEEK = timedelta(days=7)

_HOUR = 8
_LEVELS: dict[Severity, Level] = {Severity.OK: "info", Severity.WARNING: "warning"}


@dataclass(frozen=True, slots=True)
class Week:
    """What the digest tells of besides the fleet's health.

    Attributes:
        spent: by the tasks of the last seven days.
        lost: the names of the voices that were lost in them and are registered still.
        deadlines: of the voices with the least time left, by name, the first first.
    """

    spent: Spent
    lost: Sequence[str]
    deadlines: Sequence[tuple[str, datetime]]


def is_due(last_at: datetime | None, *, now: datetime) -> bool:
    """Tell whether it is time for one: Mondays from 08:00 UTC on, and the first at once.

    Args:
        last_at: when the last one was made; one that lies ahead was made by a wrong clock.
        now: of this look.
    """
    monday = now.replace(hour=_HOUR, minute=0, second=0, microsecond=0)
    monday = plus(monday, -timedelta(days=now.weekday()))
    if monday > now:
        monday = plus(monday, -WEEK)
    return last_at is None or last_at < monday or last_at > plus(now, timedelta(days=1))


def of_week(
    week: Week, health: Health, *, now: datetime, tick: timedelta, policy: Policy, host: str
) -> Notice:
    """Return the digest.

    Args:
        week: what happened in it.
        health: of the fleet.
        now: when it is made.
        tick: between two passes.
        policy: the settings.
        host: where voicekeeper runs.
    """
    found = findings(health, now=now, tick=tick, policy=policy)
    worst = max((finding.severity for finding in found), default=Severity.OK)
    line = headline(health, now=now, tick=tick)
    lines = [f"{line}."]
    if week.deadlines:
        left = ", ".join(_left(name, at, now) for name, at in week.deadlines)
        lines.append(f"Least time left: {left}")
    lines.append(f"Lost in seven days: {few(week.lost) or 'none'}")
    year = about_usd(costs.keepalive_costs(health.kept, YEAR, policy))
    lines.append(f"Spent in seven days: {week.spent}; keeping costs about {year} a year")
    if health.balance is not None:
        days, told_at = health.runway_days(policy), health.balance.told_at
        held = costs.runway(health.balance.micros, days, told_at=told_at)
        lines.append(f"{held[:1].upper()}{held[1:]}")
    lines.append("What waits for you:" if found else "Nothing waits for you.")
    lines += [f"- {finding.sentence}" for finding in found]
    return Notice(
        Topic.DIGEST,
        _LEVELS.get(worst, "error"),
        f"voicekeeper on {host}: this week, {line}",
        "\n".join(lines),
    )


def _left(name: str, at: datetime, now: datetime) -> str:
    margin = at - now
    if margin <= timedelta(0):
        return f"{name} none, its window is over"
    return f"{name} {words(margin)} (until {rfc3339(at)})"
