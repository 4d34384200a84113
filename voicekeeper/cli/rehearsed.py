"""The result of a rehearsal for people: a verdict, the figures behind it, and a plot."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Final, NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from voicekeeper.cli import prose
from voicekeeper.cli.table import color, has_blocks
from voicekeeper.core.costs import about_usd, usd
from voicekeeper.core.duration import compact, words
from voicekeeper.core.schedule import Policy
from voicekeeper.rehearsal import faults
from voicekeeper.rehearsal.campaign import Outcome, Scenario, per_cpu_minute
from voicekeeper.rehearsal.invariants.keeping import Backlog
from voicekeeper.rehearsal.report import Report, fitting_interval, longest_gap

Row = tuple[str, str]

_BACKLOGS = 6
_COLUMNS = 3
_DAY = timedelta(days=1)
_LETTERS = {
    faults.OUTAGE: "o",
    faults.HOST_DOWN: "h",
    faults.SUSPENDED: "s",
    faults.DISK_FULL: "d",
    faults.BALANCE_EMPTY: "b",
    faults.KEY_REFUSED: "k",
    faults.FORBIDDEN: "f",
    faults.WRONG_ACCOUNT: "w",
}

_HEIGHT: Final = 7
_AT_RISK: Final = 2
"""With so many sevenths of a window left a voice is at risk."""
_LEFT: Final = 8
"""Columns for what stands left of the plot."""
_STEPS: Final = (1, 2, 5, 7, 10, 14, 20, 30, 50, 100, 200, 500, 1000, 2000)
_MOST_LABELS: Final = 7
_EIGHTHS: Final = " ▁▂▃▄▅▆▇█"


def verdict(report: Report, scenario: Scenario, policy: Policy) -> str:
    """Return in a sentence or two what a person wants to know."""
    saveable, others = report.saveable_lost, report.unsaveable_lost
    if saveable:
        told = f"{_counted(saveable, 'voice')} {_was(saveable)} lost that could have been saved"
        told += f", and {others} that nobody could have." if others else "."
    elif others:
        nobody = f"{others} {_was(others)} lost that nobody could have saved"
        told = f"No voice was lost that could have been saved; {nobody}."
    else:
        told = "No voice was lost."
    if report.broken:
        ways = "once" if len(report.broken) == 1 else f"{len(report.broken)} times"
        told += f" The promise was broken {ways} otherwise; see below."
    return told + _advice(report, scenario, policy) if saveable or others else told


def _advice(report: Report, scenario: Scenario, policy: Policy) -> str:
    """Return which interval would have had room for what went wrong."""
    plan = scenario.plan_of(report.seed)
    longest = longest_gap(plan, policy)
    if longest >= policy.window:
        return (
            f" For {words(longest)} nothing worked, which is longer than the window of"
            f" {words(policy.window)}: no interval helps against that."
        )
    fitting = fitting_interval(plan, policy, voices=report.voices)
    if fitting is None:
        return ""
    return (
        f" Nothing worked for {words(longest)}: an interval of {compact(fitting)} has room for"
        f" that, one of {compact(policy.interval)} has not. Rehearse it with"
        f" VOICEKEEPER_KEEPALIVE__INTERVAL={compact(fitting)}."
    )


def rows(report: Report, scenario: Scenario, policy: Policy) -> Iterator[Row]:
    """Yield the figures of one seed, each with its label."""
    settings = f"interval {compact(policy.interval)} of a window of {compact(policy.window)}"
    yield "rehearsed", f"{_fleet(scenario)}, seed {report.seed}; {settings}"
    yield from _losses([report])
    for label, count in (("calls", report.keepalives), ("polls", report.polls)):
        yield label, f"{report.per_voice_week(count):.2f} a voice and week, {count} in all"
    yearly = about_usd(round(report.cost_micros / scenario.voice_years))
    yield "money", f"{yearly} a voice and year, {usd(report.cost_micros)} in all"
    yield from (("backlog", line) for line in _backlogs(report.backlogs))


def _backlogs(backlogs: Sequence[Backlog]) -> Iterator[str]:
    """Yield how long each backlog took, the longest first when there are many."""
    real = [backlog for backlog in backlogs if backlog.voices]
    shown = real
    if len(real) > _BACKLOGS:
        ranked = sorted(real, key=lambda b: timedelta.max if b.took is None else b.took)
        shown = ranked[: -_BACKLOGS - 1 : -1]
    for backlog in shown:
        took = "never drained" if backlog.took is None else f"drained in {words(backlog.took)}"
        count = _counted(backlog.voices, "voice")
        yield f"{count} overdue after {backlog.cause} to day {backlog.day:.4g}, {took}"
    if len(real) > len(shown):
        yield f"{len(real) - len(shown)} more, which were drained sooner"
    if len(backlogs) > len(real):
        nothing = _counted(len(backlogs) - len(real), "fault")
        yield f"none after {nothing}: no voice was overdue"


def campaign_verdict(outcomes: Sequence[Outcome], missing: Sequence[str]) -> str:
    """Return whether a campaign passed, and if not, why."""
    bad = sum(not outcome.kept_its_promise for outcome in outcomes)
    if bad:
        return f"FAIL: {bad} of {_counted(len(outcomes), 'seed')} broke the promise."
    if missing:
        names = ", ".join(missing)
        return f"FAIL: what never happened was not tested; take more seeds or days for {names}."
    return f"PASS: the promise was kept with {_counted(len(outcomes), 'seed')}."


def campaign_rows(outcomes: Sequence[Outcome], scenario: Scenario) -> Iterator[Row]:
    """Yield the sums of a campaign, each with its label."""
    yield "rehearsed", f"{_counted(len(outcomes), 'seed')}, each {_fleet(scenario)}"
    yield from _losses([outcome.report for outcome in outcomes if outcome.report is not None])
    yield speed(outcomes, scenario)


def speed(outcomes: Iterable[Outcome], scenario: Scenario) -> Row:
    """Return how fast it went, in years of keeping one voice for a minute of one processor."""
    return "speed", f"{per_cpu_minute(outcomes, scenario):.0f} voice-years a CPU-minute"


def counts(counted: Mapping[str, int]) -> Iterator[Row]:
    """Yield how often each thing happened."""
    yield from ((f"happened {name}", str(count)) for name, count in sorted(counted.items()))


def failed(outcome: Outcome) -> str:
    """Return in one line what is wrong with a seed."""
    report = outcome.report
    if report is None:
        return f"seed {outcome.seed}: {outcome.bug}"
    told = []
    if report.saveable_lost:
        told.append(f"lost {_counted(report.saveable_lost, 'voice')} that could have been saved")
    if report.broken:
        more = f" and {len(report.broken) - 1} more" if len(report.broken) > 1 else ""
        told.append(f"{report.broken[0]}{more}")
    return f"seed {outcome.seed}: {'; '.join(told)}"


def counts_table(counted: Mapping[str, int], *, heading: str) -> Table:
    """Return how often each thing happened, several beside each other, for a terminal."""
    names = sorted(counted)
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), title=heading)
    shown.title_style, shown.title_justify, shown.show_header = "bold", "left", False
    for _ in range(_COLUMNS):
        shown.add_column(justify="right", no_wrap=True)
        shown.add_column(no_wrap=True)
    height = -(-len(names) // _COLUMNS)
    for row in range(height):
        cells = ((str(counted[name]), name) for name in names[row::height])
        shown.add_row(*(Text(text) for pair in cells for text in pair))
    return shown


def margins(report: Report, scenario: Scenario, policy: Policy, console: Console) -> Text:
    """Return the plot of the smallest margin over time, for a terminal."""
    plan = scenario.plan_of(report.seed)
    marks = [
        Mark(_LETTERS[period.kind], period.kind, period.start / _DAY, period.end / _DAY)
        for period in plan.periods
        if period.kind in _LETTERS
    ]
    jumps = [each.at / _DAY for each in plan.incidents if isinstance(each, faults.Jump)]
    marks += [Mark("j", "clock-jump", at, at) for at in jumps]
    width, plain = prose.width(), not has_blocks(console)
    drawn = plot(report.margins, marks, window=policy.window, columns=width, plain=plain)
    return Text("The smallest margin at the end of each day\n", style="bold").append(drawn)


class Mark(NamedTuple):
    """A letter for a fault under the plot; it starts and ends after so many days."""

    letter: str
    name: str
    start: float
    end: float


def plot(
    margins: Sequence[timedelta | None],
    marks: Sequence[Mark],
    *,
    window: timedelta,
    columns: int,
    plain: bool = False,
) -> Text:
    """Draw the smallest margin of each day, with the days beneath and a letter for each fault.

    Args:
        margins: one a day; None where no voice lived.
        window: the largest margin there can be.
        columns: how wide the drawing may be.
        plain: draw it with ASCII alone.
    """
    days, room = len(margins), columns - _LEFT - 2
    width = room if days >= room else room // days * days
    shares = [_share(margins, column, width, window) for column in range(width)]
    lines = []
    for row in reversed(range(_HEIGHT)):
        label = words(window * (row + 1) / _HEIGHT) if row + 1 in (_HEIGHT, _AT_RISK) else ""
        line = Text(f"{label:>{_LEFT}} {'|' if plain else '│'}", style="dim")
        for share in shares:
            filled = min(max(share * _HEIGHT - row, 0.0), 1.0)
            cell = " #"[filled >= 0.5] if plain else _EIGHTHS[round(filled * 8)]  # noqa: PLR2004 - the half
            line.append(cell, style=color(share))
        lines.append(line)
    edge = "+" + "-" * width if plain else "└" + "─" * width
    lines.append(Text(f"{'0':>{_LEFT}} {edge}", style="dim"))
    below = " " * (_LEFT + 2)
    if marks:
        lines.append(Text(below).append(_marked(marks, days, width), style="yellow"))
    lines.append(Text(f"{'day':>{_LEFT}}  {_day_labels(days, width)}".rstrip(), style="dim"))
    if marks:
        names = [f"{letter} {name}" for letter, name in sorted({mark[:2] for mark in marks})]
        several = ["* several"] if len(names) > 1 else []
        lines.append(Text(", ".join(names + several), style="dim"))
    return Text("\n").join(lines)


def _share(
    margins: Sequence[timedelta | None], column: int, width: int, window: timedelta
) -> float:
    """Return the least share of the window that was left on the days of a column."""
    days = len(margins)
    first = column * days // width
    last = max(first + 1, math.ceil((column + 1) * days / width))
    shares = (margin / window for margin in margins[first:last] if margin is not None)
    return max(min(shares, default=0.0), 0.0)


def _marked(marks: Sequence[Mark], days: int, width: int) -> str:
    """Return the letters of the faults, each in the columns of its days."""
    cells = [" "] * width
    for mark in marks:
        first = min(int(mark.start * width / days), width - 1)
        last = max(first + 1, min(math.ceil(mark.end * width / days), width))
        for column in range(first, last):
            cells[column] = mark.letter if cells[column] in (" ", mark.letter) else "*"
    return "".join(cells).rstrip()


def _day_labels(days: int, width: int) -> str:
    """Return the numbers of some days, each beginning where its day does."""
    step = next((step for step in _STEPS if days / step <= _MOST_LABELS), _STEPS[-1])
    written = ""
    for day in range(0, days, step):
        at = day * width // days
        if at + len(str(day)) <= width:
            written = f"{written:<{at}}{day}"
    return written


def _fleet(scenario: Scenario) -> str:
    return f"{_counted(scenario.voices, 'voice')} for {_counted(scenario.days, 'day')}"


def _losses(reports: Sequence[Report]) -> Iterator[Row]:
    yield "lost", f"{sum(r.saveable_lost for r in reports)} that could have been saved"
    yield "lost", f"{sum(r.unsaveable_lost for r in reports)} that nobody could have saved"
    least = min((r.smallest_margin for r in reports if r.smallest_margin is not None), default=None)
    yield "margin", "-" if least is None else f"{words(least)} left at the least"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _was(count: int) -> str:
    return "was" if count == 1 else "were"
