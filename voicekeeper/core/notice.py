"""What people are sent: the words of a message about all alerts of one kind, and of a trial.

Whoever reads it at 3 a.m. on a small screen finds in the title what is wrong and with whom, then
why, then what to type. Plain text; the names are a few, however many voices are concerned.

Pure functions: what is to be told in, words out.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from voicekeeper.core.duration import rfc3339
from voicekeeper.core.enums import AlertKind, Status, Topic
from voicekeeper.core.events import Level
from voicekeeper.core.health import MEND_BLOCKED, NAMED, SHOWN_NAMES

_SHOWN_CAUSES = 3
_LONGEST_CAUSE = 300
_LOUDNESS: Final = ("info", "warning", "error")

_SHOW = "'voicekeeper history NAME' tells what was tried, 'voicekeeper check' tests the set-up"
_MENDS: Final = {
    AlertKind.LOST: NAMED[Status.LOST][1],
    AlertKind.UNDEPLOYED: NAMED[Status.UNDEPLOYED][1],
    AlertKind.RISK: _SHOW,
    AlertKind.BLOCKED: MEND_BLOCKED,
    AlertKind.ENROLLMENT: NAMED[Status.UNKNOWN][1],
}
_STATES: Final = {
    AlertKind.LOST: "lost",
    AlertKind.UNDEPLOYED: "UNDEPLOYED",
    AlertKind.RISK: "at risk",
    AlertKind.BLOCKED: "paused",
}
_CLEARED: Final = {
    AlertKind.LOST: "speaks again",
    AlertKind.UNDEPLOYED: "speaks again",
    AlertKind.RISK: "was used again",
    AlertKind.BLOCKED: "takes calls again",
}


@dataclass(frozen=True, slots=True)
class Notice:
    """One message, for whatever address.

    Attributes:
        topic: what it is about; None for a trial.
        level: how loud it is.
        title: one line.
        body: lines of plain text.
    """

    topic: Topic | None
    level: Level
    title: str
    body: str


@dataclass(frozen=True, slots=True)
class Item:
    """One alert that a message holds.

    Attributes:
        subject: the voice's name, or the model whose calls are paused.
        level: of the alert.
        cause: one sentence; empty where there is none.
        since: when it began.
        is_new: whether no message held it before, or not as loud.
        ended_at: when it ended; None while it holds.
        deadline_at: when the gateway deletes the voice, where that is at stake.
    """

    subject: str
    level: Level
    cause: str
    since: datetime
    is_new: bool = True
    ended_at: datetime | None = None
    deadline_at: datetime | None = None


def of_alerts(kind: AlertKind, items: Sequence[Item], *, host: str) -> Notice:
    """Return the message about all alerts of a kind.

    Args:
        kind: of the alerts.
        items: at least one; the most urgent first.
        host: where voicekeeper runs.
    """
    if kind is AlertKind.ENROLLMENT:
        return _of_enrollments(items, host=host)
    holding = [item for item in items if item.ended_at is None]
    ended = [item for item in items if item.ended_at is not None]
    lines = [*_holding(kind, holding), *_ended(kind, ended, is_all=not holding)]
    if holding:
        lines += [f"What to do: {_MENDS[kind]}", "This is told once a day until it has ended."]
        title = _is(kind, holding)
        new = sum(item.is_new for item in holding)
        if new < len(holding):
            title += f", {new} of them new" if new else ", as before"
    else:
        title = f"all clear, {_names(ended)} {_cleared(kind, ended)}"
    return Notice(Topic(kind), _loudest(holding), _titled(title, host), "\n".join(lines))


def trial(*, host: str) -> Notice:
    """Return a message that only shows that messages arrive."""
    words = "Nothing is wrong: 'voicekeeper alerts test' sent this to show that messages arrive."
    return Notice(None, "info", _titled("a trial message", host), words)


def _of_enrollments(items: Sequence[Item], *, host: str) -> Notice:
    made = [item for item in items if item.level == "info"]
    failed = [item for item in items if item.level != "info"]
    titles, lines = [], []
    if failed:
        enrollments = _verb(failed, "the enrollment", "the enrollments")
        titles.append(f"{enrollments} of {_names(failed)} did not succeed")
        lines += [f"Not made, or nobody knows: {_names(failed)}", *_causes(failed)]
        lines.append(f"What to do: {_MENDS[AlertKind.ENROLLMENT]}; it is paid for again")
    if made:
        titles.append(f"{_names(made)} {_verb(made, 'was', 'were')} made")
        lines.append(f"Made, and kept from now on: {_names(made)}")
    title = _titled("; ".join(titles), host)
    return Notice(Topic.ENROLLMENT, _loudest(items), title, "\n".join(lines))


def _holding(kind: AlertKind, items: Sequence[Item]) -> Iterator[str]:
    if not items:
        return
    yield f"{_is(kind, items)} since {rfc3339(min(item.since for item in items))}"
    deadlines = [item.deadline_at for item in items if item.deadline_at is not None]
    if deadlines:
        which = f"The first window ({items[0].subject})" if len(items) > 1 else "Its window"
        yield f"{which} is over at {rfc3339(min(deadlines))}"
    yield from _causes(items)


def _ended(kind: AlertKind, items: Sequence[Item], *, is_all: bool) -> Iterator[str]:
    if not items:
        return
    since = min(item.since for item in items)
    until = max(item.ended_at for item in items if item.ended_at is not None)
    if is_all:
        lasted = f"it lasted from {rfc3339(since)} to {rfc3339(until)}"
        yield f"{_names(items)} {_cleared(kind, items)}; {lasted}"
        yield from _causes(items, was=True)
    else:
        yield f"Over since the last message: {_names(items)}"


def _causes(items: Sequence[Item], *, was: bool = False) -> Iterator[str]:
    """Yield why, each cause once, the commonest first."""
    counted = Counter(_common(item) for item in items if item.cause)
    for cause, count in counted.most_common(_SHOWN_CAUSES):
        times = f" ({count} of {len(items)})" if count < len(items) else ""
        yield f"{'It was' if was else 'Why'}: {cause}{times}"
    more = len(counted) - _SHOWN_CAUSES
    if more > 0:
        yield f"and {more} {'cause' if more == 1 else 'causes'} more"


def _common(item: Item) -> str:
    """Return a cause in one line that can be shared by others."""
    cause = " ".join(item.cause.split())
    return cause if len(cause) <= _LONGEST_CAUSE else f"{cause[:_LONGEST_CAUSE]}…"


def _is(kind: AlertKind, items: Sequence[Item]) -> str:
    if kind is AlertKind.BLOCKED:
        return f"all calls of {_names(items)} are paused"
    if len(items) == 1:
        return f"{items[0].subject} is {_STATES[kind]}"
    return f"{len(items)} voices are {_STATES[kind]}: {_names(items)}"


def _cleared(kind: AlertKind, items: Sequence[Item]) -> str:
    first, _, rest = _CLEARED[kind].partition(" ")
    plural = {"speaks": "speak", "was": "were", "takes": "take"}[first]
    return f"{_verb(items, first, plural)} {rest}"


def _verb(items: Sequence[Item], singular: str, plural: str) -> str:
    return singular if len(items) == 1 else plural


def _names(items: Sequence[Item]) -> str:
    names = [item.subject for item in items[:SHOWN_NAMES]]
    more = len(items) - len(names)
    if more:
        return f"{', '.join(names)} and {more} more"
    return " and ".join((", ".join(names[:-1]), names[-1])) if len(names) > 1 else names[0]


def _loudest(items: Sequence[Item]) -> Level:
    return max((item.level for item in items), key=_LOUDNESS.index, default="info")


def _titled(title: str, host: str) -> str:
    return f"voicekeeper on {host}: {title}"
