"""Write the page for people: what the registry knows in, HTML out.

It is ``templates/page.html`` with ``static/page.css`` inside, and loads nothing. Words from outside
are made visible and escaped in one place: where the template prints.
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from functools import cache, partial
from importlib.resources import files
from typing import Any, Final, NamedTuple

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from voicekeeper.core import costs
from voicekeeper.core.alerting import dire_before, risky_before
from voicekeeper.core.duration import rfc3339, words
from voicekeeper.core.enums import NEVER_KNOWN, Status
from voicekeeper.core.health import MEND_EMPTY, Severity, findings, headline
from voicekeeper.core.models import Voice
from voicekeeper.core.schedule import Policy, known_deadline
from voicekeeper.core.visible import visible
from voicekeeper.store.fleet import MONTH_DAYS, Board

_INSTANT: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)")
_HEADLINES: Final = {
    Severity.OK: "All is well",
    Severity.WARNING: "Needs attention",
    Severity.CRITICAL: "Somebody has to act",
}
_RISKS: Final = {"good": "", "low": ", which is little", "dire": ", which is very little"}
_GONE: Final = {
    Status.LOST: "Gone from the gateway",
    Status.UNDEPLOYED: "Taken away by the gateway's review",
    Status.FAILED: "Never made",
    Status.UNKNOWN: "Paid for, and perhaps made",
}
_CELLS: Final = {None: ("none", 17, 2), True: ("good", 1, 18), False: ("dire", 10, 9)}
"""How a day looks, at which height its cell begins and how high it is; not by its color alone."""

_ERROR_MOST: Final = 300
_REFRESH_S: Final = 30


def content_security_policy() -> str:
    """Return the page's policy: nothing is loaded, runs or is sent, and nobody frames it."""
    style = base64.b64encode(hashlib.sha256(_stylesheet().encode()).digest()).decode()
    return "; ".join(
        (
            "default-src 'none'",
            f"style-src 'sha256-{style}'",
            "img-src data:",  # the empty icon
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )


class Left(NamedTuple):
    """What is left of a voice's window; ``look`` is ``good``, ``low`` or ``dire``."""

    words: str
    look: str
    percent: float
    at_risk_percent: float
    deadline: str
    window: str


class Month(NamedTuple):
    """The last days of keepalives: an SVG path of their cells by how they look, and in words."""

    paths: Mapping[str, str]
    words: str


class Row(NamedTuple):
    """A voice and how its status looks: ``good``, ``plain`` or ``dire``."""

    voice: Voice
    look: str
    left: Left | None
    no_window: str
    next_call: str
    month: Month | None
    error: str


def page(board: Board, *, now: datetime, tick: timedelta, policy: Policy) -> str:
    """Return the page."""
    health = board.health
    found = findings(health, now=now, tick=tick, policy=policy)
    severity = max((finding.severity for finding in found), default=Severity.OK)
    sentence = f"{_HEADLINES[severity]}: {headline(health, now=now, tick=tick)}."
    runway = ""
    if health.balance is not None:
        days = health.runway_days(policy)
        runway = costs.runway(health.balance.micros, days, told_at=health.balance.told_at)
    row = partial(_row, board=board, now=now, policy=policy)
    return _rendered(
        problem="",
        now=rfc3339(now),
        severity=severity.name.lower(),
        headline=sentence,
        advice="" if any(health.by_status.values()) else MEND_EMPTY,
        findings=found,
        runway=runway[:1].upper() + runway[1:],
        kept=health.kept,
        others=sum(health.by_status.values()) - health.kept,
        kept_rows=[row(voice) for voice in board.kept],
        other_rows=[row(voice) for voice in board.others],
    )


def failure(sentence: str) -> str:
    """Return the page where the registry cannot be read."""
    return _rendered(problem=sentence, now="")


def _rendered(**values: Any) -> str:  # noqa: ANN401 - whatever the template prints
    return _template().render(
        **values,
        style=Markup(_stylesheet()),  # noqa: S704 - our own file
        refresh_s=_REFRESH_S,
        month_days=MONTH_DAYS,
    )


@cache
def _stylesheet() -> str:
    return (files(__package__) / "static/page.css").read_text("utf-8")


@cache
def _template() -> Template:
    environment = Environment(
        autoescape=True,
        finalize=_printed,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["split_at_instants"] = _INSTANT.split
    return environment.from_string((files(__package__) / "templates/page.html").read_text("utf-8"))


def _printed(value: object) -> object:
    """Make words visible before the template escapes them."""
    return value if isinstance(value, Markup) or not isinstance(value, str) else visible(value)


def _row(voice: Voice, *, board: Board, now: datetime, policy: Policy) -> Row:
    left = _left(voice, now=now, policy=policy)
    look = "dire" if voice.status in _GONE else "plain"
    if voice.status is Status.OK and left is not None and left.look == "good":
        look = "good"  # the gateway's OK, in green, beside a red bar would mislead
    error = " ".join((voice.last_error or "").split())
    no_window = _GONE.get(voice.status, "Not used yet")
    return Row(
        voice,
        look=look,
        left=left,
        no_window="Never known to the gateway" if NEVER_KNOWN in error else no_window,
        next_call=_next_call(voice, now=now),
        month=_month(board.days.get(voice.id or 0, {}), now=now),
        error=error if len(error) <= _ERROR_MOST else f"{error[:_ERROR_MOST]}…",
    )


def _left(voice: Voice, *, now: datetime, policy: Policy) -> Left | None:
    """Return what is left of a voice's window; None for a voice without one."""
    deadline = known_deadline(voice, policy)
    if voice.status in _GONE or deadline is None:
        return None
    margin = deadline - now
    anchor = voice.last_used_at or voice.enrolled_at or now
    at_risk = risky_before(now, policy)
    look = "good" if anchor >= at_risk else "low"
    if anchor < dire_before(now, policy):
        look = "dire"
    return Left(
        words=f"{words(margin)} left{_RISKS[look]}" if margin > timedelta(0) else "Window over",
        look=look,
        percent=min(max(margin / policy.window, 0.0), 1.0) * 100,
        at_risk_percent=(at_risk - (now - policy.window)) / policy.window * 100,
        deadline=rfc3339(deadline),
        window=words(policy.window),
    )


def _next_call(voice: Voice, *, now: datetime) -> str:
    if voice.next_at is None:
        return "not called while it is paused" if voice.paused else "no call is due"
    wait = voice.next_at - now
    when = "now" if wait <= timedelta(0) else f"in {words(wait)}"
    # A voice that is gone is tried again, in case the gateway was wrong.
    return f"{'tried again' if voice.status in _GONE else 'next call'} {when}"


def _month(month: Mapping[date, bool], *, now: datetime) -> Month | None:
    """Return a month of calls, a cell a day, this day last; None without a call."""
    if not month:
        return None
    today = costs.utc_day(now)
    paths: dict[str, str] = {}
    for cell in range(MONTH_DAYS):
        succeeded = month.get(today - timedelta(days=MONTH_DAYS - 1 - cell))
        look, y, height = _CELLS[succeeded]
        paths[look] = paths.get(look, "") + f"M{cell * 8} {y}h6v{height}h-6z"
    used = sum(month.values())
    failed = len(month) - used
    days = [f"{count} day{'s' if count != 1 else ''}" for count in (used, failed)]
    return Month(paths, f"Used on {days[0]}" + (f", failed on {days[1]}" if failed else ""))
