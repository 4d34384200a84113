"""The words of messages: about all alerts of one kind, a trial, and the weekly digest.

Whoever reads it at 3 a.m. on a small screen finds in the title what is wrong and with whom, then
why, then what to type. Plain text; the names are a few, however many voices are concerned. The
digest also shows that messages still arrive: who gets none on a Monday has something to look after.

Pure functions: values and ``now`` in, words out.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from voicekeeper.core import costs
from voicekeeper.core.costs import YEAR, Spent, about_usd
from voicekeeper.core.duration import plus, rfc3339, words
from voicekeeper.core.enums import AlertKind, Status
from voicekeeper.core.events import Level
from voicekeeper.core.health import (
    MEND_BLOCKED,
    NAMED,
    SHOWN_NAMES,
    Health,
    Severity,
    few,
    findings,
    headline,
)
from voicekeeper.core.schedule import Policy

WEEK: Final = timedelta(days=7)

_DIGEST_HOUR: Final = 8
_SHOWN_CAUSES: Final = 3
_LONGEST_CAUSE: Final = 300
_LEVELS: Final[tuple[Level, ...]] = ("info", "warning", "error")


class _Words(NamedTuple):
    """The words about a kind: its state, its end for one or for several, and the mend."""

    state: str
    one_ends: str
    all_end: str
    mend: str


_SHOW = "'voicekeeper history NAME' tells what was tried, 'voicekeeper check' tests the set-up"
_SPEAKS = ("speaks again", "speak again")
_WORDS: Final = {
    AlertKind.LOST: _Words("lost", *_SPEAKS, NAMED[Status.LOST][1]),
    AlertKind.UNDEPLOYED: _Words("UNDEPLOYED", *_SPEAKS, NAMED[Status.UNDEPLOYED][1]),
    AlertKind.RISK: _Words("at risk", "was used again", "were used again", _SHOW),
    AlertKind.BLOCKED: _Words("paused", "takes calls again", "take calls again", MEND_BLOCKED),
}


class Text(NamedTuple):
    """A message for whatever address: how loud it is, a line, and lines of plain text."""

    level: Level
    title: str
    body: str


@dataclass(frozen=True, slots=True)
class Item:
    """One alert that a message holds.

    Attributes:
        subject: the voice's name, or the model whose calls are paused.
        is_new: whether no message held it before, or not as loud.
        deadline_at: when the gateway deletes the voice, where that is at stake.
    """

    subject: str
    level: Level
    cause: str
    since: datetime
    is_new: bool = True
    ended_at: datetime | None = None
    deadline_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Week:
    """The last seven days, for the digest.

    Attributes:
        lost: the names of the voices that were lost in them and are registered still.
        deadlines: of the voices with the least time left, by name, the first first.
    """

    spent: Spent
    lost: Sequence[str]
    deadlines: Sequence[tuple[str, datetime]]


def of_alerts(kind: AlertKind, items: Sequence[Item], *, host: str) -> Text:
    """Return the message about all alerts of a kind, the most urgent first."""
    if kind is AlertKind.ENROLLMENT:
        return _of_enrollments(items, host=host)
    holding = [item for item in items if item.ended_at is None]
    ended = [item for item in items if item.ended_at is not None]
    if not holding:
        has_ended = f"{_names(ended)} {_by_number(ended, *_WORDS[kind][1:3])}"
        since, until = (
            min(item.since for item in ended),
            max(item.ended_at or item.since for item in ended),
        )
        lines = [f"{has_ended}; it lasted from {rfc3339(since)} to {rfc3339(until)}"]
        lines += _causes("It was", ended)
        return _text("info", f"all clear, {has_ended}", lines, host)
    title = _is(kind, holding)
    lines = [f"{title} since {rfc3339(min(item.since for item in holding))}"]
    deadlines = [item.deadline_at for item in holding if item.deadline_at is not None]
    if deadlines:
        which = f"The first window ({holding[0].subject})" if len(holding) > 1 else "Its window"
        lines.append(f"{which} is over at {rfc3339(min(deadlines))}")
    lines += _causes("Why", holding)
    if ended:
        lines.append(f"Over since the last message: {_names(ended)}")
    lines.append(f"What to do: {_WORDS[kind].mend}")
    lines.append("This is told once a day until it has ended.")
    new = sum(item.is_new for item in holding)
    if new < len(holding):
        title += f", {new} of them new" if new else ", as before"
    return _text(_loudest(holding), title, lines, host)


def trial(*, host: str) -> Text:
    """Return a message that only shows that messages arrive."""
    line = "Nothing is wrong: 'voicekeeper alerts test' sent this to show that messages arrive."
    return _text("info", "a trial message", [line], host)


def is_digest_due(last_at: datetime | None, *, now: datetime) -> bool:
    """Tell whether it is time for a digest: Mondays from 08:00 UTC on, and the first at once.

    A last one that lies ahead was made by a wrong clock.
    """
    monday = now.replace(hour=_DIGEST_HOUR, minute=0, second=0, microsecond=0)
    monday = plus(monday, -timedelta(days=now.weekday()))
    if monday > now:
        monday = plus(monday, -WEEK)
    return last_at is None or last_at < monday or last_at > plus(now, timedelta(days=1))


def of_week(
    week: Week, health: Health, *, now: datetime, tick: timedelta, policy: Policy, host: str
) -> Text:
    """Return the digest; a ``tick`` is the time between two passes."""
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
    return _text(_LEVELS[min(worst, Severity.CRITICAL)], f"this week, {line}", lines, host)


def _of_enrollments(items: Sequence[Item], *, host: str) -> Text:
    made = [item for item in items if item.level == "info"]
    failed = [item for item in items if item.level != "info"]
    titles, lines = [], []
    if failed:
        enrollments = _by_number(failed, "the enrollment", "the enrollments")
        titles.append(f"{enrollments} of {_names(failed)} did not succeed")
        lines += [f"Not made, or nobody knows: {_names(failed)}", *_causes("Why", failed)]
        lines.append(f"What to do: {NAMED[Status.UNKNOWN][1]}; it is paid for again")
    if made:
        titles.append(f"{_names(made)} {_by_number(made, 'was', 'were')} made")
        lines.append(f"Made, and kept from now on: {_names(made)}")
    return _text(_loudest(items), "; ".join(titles), lines, host)


def _causes(word: str, items: Sequence[Item]) -> Iterator[str]:
    """Yield each cause once, the commonest first; the first few of them."""
    counted = Counter(_shortened(item.cause) for item in items if item.cause)
    for cause, count in counted.most_common(_SHOWN_CAUSES):
        times = f" ({count} of {len(items)})" if count < len(items) else ""
        yield f"{word}: {cause}{times}"
    more = len(counted) - _SHOWN_CAUSES
    if more > 0:
        yield f"and {more} {'cause' if more == 1 else 'causes'} more"


def _shortened(cause: str) -> str:
    """Return a cause in one line."""
    cause = " ".join(cause.split())
    return cause if len(cause) <= _LONGEST_CAUSE else f"{cause[:_LONGEST_CAUSE]}…"


def _is(kind: AlertKind, items: Sequence[Item]) -> str:
    if kind is AlertKind.BLOCKED:
        return f"all calls of {_names(items)} are paused"
    if len(items) == 1:
        return f"{items[0].subject} is {_WORDS[kind].state}"
    return f"{len(items)} voices are {_WORDS[kind].state}: {_names(items)}"


def _by_number(items: Sequence[Item], one: str, several: str) -> str:
    return one if len(items) == 1 else several


def _names(items: Sequence[Item]) -> str:
    names = [item.subject for item in items[:SHOWN_NAMES]]
    more = len(items) - len(names)
    if more:
        return f"{', '.join(names)} and {more} more"
    return " and ".join((", ".join(names[:-1]), names[-1])) if len(names) > 1 else names[0]


def _left(name: str, at: datetime, now: datetime) -> str:
    margin = at - now
    if margin <= timedelta(0):
        return f"{name} none, its window is over"
    return f"{name} {words(margin)} (until {rfc3339(at)})"


def _loudest(items: Sequence[Item]) -> Level:
    return max((item.level for item in items), key=_LEVELS.index)


def _text(level: Level, title: str, lines: Sequence[str], host: str) -> Text:
    return Text(level, f"voicekeeper on {host}: {title}", "\n".join(lines))
