"""The page for people: what the registry knows in, HTML out. Pure.

Whatever stands in it was written by others, names and errors too, and is escaped. It needs no
script and no file beside it, and says in words whatever it shows in colors.
"""

import html
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, timedelta
from typing import Final

from voicekeeper import budget, forecast
from voicekeeper.alerting import dire_before, risky_before
from voicekeeper.duration import rfc3339, words
from voicekeeper.health import MEND_EMPTY, Severity, findings, headline
from voicekeeper.models import Voice
from voicekeeper.schedule import Policy, known_deadline
from voicekeeper.store.survey import MONTH_DAYS, Board
from voicekeeper.terms import NEVER_KNOWN, Status
from voicekeeper.visible import visible
from voicekeeper.web.style import STYLE

_ZERO = timedelta(0)
_COMMAND = re.compile(r"&#x27;(.+?)&#x27;")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_VERDICTS: Final = {
    Severity.OK: "All is well",
    Severity.WARNING: "Something wants to be looked at",
    Severity.CRITICAL: "Somebody has to act",
}
_RISKS: Final = {"good": "", "low": ", which is little", "dire": ", which is very little"}
_GONE: Final = {
    Status.LOST: "Gone from the gateway",
    Status.UNDEPLOYED: "Taken away by the gateway's review",
    Status.FAILED: "Never made",
    Status.UNKNOWN: "Paid for, and perhaps made",
}
_ERROR_MOST = 300
_RENEWED_S = 30

_CELL, _GAP, _HEIGHT = 8, 2, 20


def page(board: Board, *, now: datetime, tick: timedelta, policy: Policy) -> str:
    """Return the page.

    Args:
        board: the voices.
        now: of this look.
        tick: between two passes.
        policy: the settings.
    """
    health = board.health
    others = sum(health.by_status.values()) - health.kept
    body = [
        '<header><div class="top"><h1>voicekeeper</h1><p>As of ',
        f'{_time(rfc3339(now))}, renewed every {_RENEWED_S} s. <a href="/">Look again</a></p>',
        "</div>",
        *_verdict(board, now=now, tick=tick, policy=policy),
        '<nav aria-label="Voices">',
        f'<a href="#kept">{health.kept:,} kept</a>',
        f'<a href="#not-kept">{others:,} not kept</a>' if others else "",
        "</nav></header><main>",
    ]
    body += _section("Kept", board.kept, health.kept, board.days, now=now, policy=policy)
    if others:
        body += _section("Not kept", board.others, others, board.days, now=now, policy=policy)
    return _document("".join([*body, "</main>"]))


def failure(sentence: str) -> str:
    """Return the page where the registry cannot be read."""
    return _document(
        '<header><div class="top"><h1>voicekeeper</h1><p><a href="/">Look again</a></p></div>'
        f'<div class="verdict critical"><p>The registry cannot be read</p><ul><li>{_told(sentence)}'
        "</li></ul></div></header>"
    )


def _document(body: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="refresh" content="{_RENEWED_S}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><title>voicekeeper</title>'
        f'<link rel="icon" href="data:,"><style>{STYLE}</style></head><body>{body}</body></html>\n'
    )


def _verdict(board: Board, *, now: datetime, tick: timedelta, policy: Policy) -> Iterator[str]:
    """Yield the fleet's health in one sentence, and what is not well."""
    health = board.health
    found = findings(health, now=now, tick=tick, policy=policy)
    worst = max((finding.severity for finding in found), default=Severity.OK)
    sentence = _safe(f"{_VERDICTS[worst]}: {headline(health, now=now, tick=tick)}.")
    if not any(health.by_status.values()):
        sentence = f"No voice is registered yet; {_commands(MEND_EMPTY)}."
    yield f'<div class="verdict {worst.name.lower()}"><p>{sentence}</p>'
    if found:
        told = (
            f"<li><b>{finding.severity.name.capitalize()}:</b> "
            f"{_told(finding.sentence.removesuffix(finding.mend))}{_commands(finding.mend)}</li>"
            for finding in found
        )
        yield f"<ul>{''.join(told)}</ul>"
    yield "</div>"
    if health.balance is not None:
        days = health.runway_days(policy)
        runway = forecast.runway(health.balance.micros, days, told_at=health.balance.told_at)
        yield f'<p class="note">{_told(runway[:1].upper() + runway[1:])}.</p>'


def _safe(words: str) -> str:
    """Return words from outside as HTML, each character of them to be seen."""
    return html.escape(visible(words))


def _told(sentence: str) -> str:
    """Return a sentence that may hold words of others; its times look as all on the page do."""
    return _INSTANT.sub(lambda at: _time(at[0]), _safe(sentence))


def _commands(ours: str) -> str:
    """Return words of ours alone: what stands in quotes there is a command, and looks like one."""
    return _COMMAND.sub(r"<code>\1</code>", _safe(ours))


def _section(
    title: str,
    voices: Iterable[Voice],
    count: int,
    days: Mapping[int, Mapping[date, bool]],
    *,
    now: datetime,
    policy: Policy,
) -> Iterator[str]:
    items = [_voice(voice, days, now=now, policy=policy) for voice in voices]
    key = title.lower().replace(" ", "-")
    is_first = title == "Kept"
    order = ", the most urgent first" if is_first and items else ""
    yield f'<section aria-labelledby="{key}"><h2 id="{key}">{title}{order}</h2>'
    if len(items) < count:
        yield (
            f'<p class="note">{len(items)} of {count:,} are shown; <code>voicekeeper list</code>'
            " shows all.</p>"
        )
    if not items:
        yield '<p class="note">No voice yet; <code>voicekeeper add</code> registers one.</p>'
    else:
        yield _LEGEND if is_first else ""
        yield f"<ol>{''.join(items)}</ol>"
    yield "</section>"


def _voice(
    voice: Voice, days: Mapping[int, Mapping[date, bool]], *, now: datetime, policy: Policy
) -> str:
    look = "dire" if voice.status in _GONE else "plain"
    if voice.status is Status.OK and _look(voice, now=now, policy=policy) == "good":
        look = "good"  # the gateway's OK, in green, beside a red bar would mislead
    paused = " · paused" if voice.paused else ""
    origin = "" if voice.origin == "imported" else f" · {voice.origin}"
    month = days.get(voice.id or 0, {})
    error = ""
    if voice.last_error:
        told = " ".join(voice.last_error.split())
        told = told if len(told) <= _ERROR_MOST else f"{told[:_ERROR_MOST]}…"
        times = f" ({voice.failures} in a row)" if voice.failures > 1 else ""
        kind, label = ("hold", "Waits") if voice.held_at else ("error", f"Last error{times}")
        error = f'<p class="{kind}"><b>{label}:</b> {_told(told)}</p>'
    return (
        f'<li><div class="who"><h3>{_safe(voice.name)}</h3>'
        f'<p><span class="status {look}">{voice.status}</span>{paused}{origin}</p></div>'
        f'<div class="left">{_left(voice, now=now, policy=policy)}</div>'
        f'<div class="month">{_strip(month, now=now)}</div>{error}</li>'
    )


def _left(voice: Voice, *, now: datetime, policy: Policy) -> str:
    """Return the bar of a voice's window, and in words what is left of it."""
    deadline = known_deadline(voice, policy)
    if voice.status in _GONE or deadline is None:
        told = _GONE.get(voice.status, "Not used yet")
        if NEVER_KNOWN in (voice.last_error or ""):
            told = "Never known to the gateway"
        return f"<p><strong>{told}</strong><span>{_next(voice, now=now)}</span></p>"
    margin = deadline - now
    share = min(max(margin / policy.window, 0.0), 1.0)
    look = _look(voice, now=now, policy=policy)
    at_risk = (risky_before(now, policy) - (now - policy.window)) / policy.window * 100
    left = f"{words(margin)} left{_RISKS[look]}" if margin > _ZERO else "Window over"
    label = f"{left}, of {words(policy.window)}"
    return (
        f'<svg class="bar" viewBox="0 0 100 6" preserveAspectRatio="none" role="img"'
        f' aria-label="{label}"><rect class="track" width="100" height="6"/>'
        f'<rect class="{look}" width="{share * 100:.1f}" height="6"/>'
        f'<rect class="mark" x="{at_risk:.1f}" width=".4" height="6"/></svg>'
        f"<p><span><strong>{left}</strong>, until {_time(rfc3339(deadline))}</span>"
        f"<span>{_next(voice, now=now)}</span></p>"
    )


def _look(voice: Voice, *, now: datetime, policy: Policy) -> str:
    """Return how good the margin of a voice looks: good, low or dire."""
    anchor = voice.last_used_at or voice.enrolled_at or now
    if anchor < dire_before(now, policy):
        return "dire"
    return "low" if anchor < risky_before(now, policy) else "good"


def _next(voice: Voice, *, now: datetime) -> str:
    if voice.next_at is None:
        return "not called while it is paused" if voice.paused else "no call is due"
    wait = voice.next_at - now
    if voice.status in _GONE:  # in case the gateway was wrong
        return "tried again now" if wait <= _ZERO else f"tried again in {words(wait)}"
    return "next call now" if wait <= _ZERO else f"next call in {words(wait)}"


def _strip(month: Mapping[date, bool], *, now: datetime) -> str:
    """Return a month of calls, a cell a day, this day last."""
    if not month:
        return f"<p>No call in {MONTH_DAYS} days</p>"
    today = budget.day(now)
    paths = {"good": "", "dire": "", "none": ""}
    for cell in range(MONTH_DAYS):
        succeeded = month.get(today - timedelta(days=MONTH_DAYS - 1 - cell))
        x, width = cell * _CELL, _CELL - _GAP
        if succeeded is None:
            paths["none"] += f"M{x} {_HEIGHT - 3}h{width}v2h-{width}z"
        elif succeeded:
            paths["good"] += f"M{x} 1h{width}v{_HEIGHT - 2}h-{width}z"
        else:  # lower too, for those who see no color
            paths["dire"] += f"M{x} {_HEIGHT // 2}h{width}v{_HEIGHT // 2 - 1}h-{width}z"
    used = sum(month.values())
    failed = len(month) - used
    told = f"Used on {_days(used)}" + (f", failed on {_days(failed)}" if failed else "")
    drawn = "".join(f'<path class="{look}" d="{path}"/>' for look, path in paths.items() if path)
    return (
        f'<svg class="strip" viewBox="0 0 {MONTH_DAYS * _CELL - _GAP} {_HEIGHT}"'
        f' preserveAspectRatio="none" aria-hidden="true">{drawn}</svg><p>{told}</p>'
    )


def _days(count: int) -> str:
    return "1 day" if count == 1 else f"{count} days"


def _sample(look: str, y: int) -> str:
    return (
        f'<svg viewBox="0 0 6 {_HEIGHT}" preserveAspectRatio="none" aria-hidden="true">'
        f'<path class="{look}" d="M0 {y}h6V{_HEIGHT - 1}h-6z"/></svg>'
    )


_LEGEND = (
    '<p class="legend"><span>The last 30 days, one by one:</span>'
    f"<span>{_sample('good', 1)}used</span>"
    f"<span>{_sample('dire', _HEIGHT // 2)}every call failed</span>"
    f"<span>{_sample('none', _HEIGHT - 3)}no call</span></p>"
)


def _time(at: str) -> str:
    """Write an instant of RFC 3339 for a person: to the minute, in UTC."""
    return f'<time datetime="{at}">{at[:16].replace("T", " ")} UTC</time>'
