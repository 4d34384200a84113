"""What came of a rehearsal, for people: a verdict, then line by line what it stands on."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta

from rich.console import Console
from rich.table import Table
from rich.text import Text

from voicekeeper.cli import prose
from voicekeeper.cli.bar import has_blocks
from voicekeeper.cli.plot import Mark, plot
from voicekeeper.core.costs import about_usd, usd
from voicekeeper.core.duration import compact, words
from voicekeeper.core.schedule import Policy
from voicekeeper.rehearsal import faults
from voicekeeper.rehearsal.campaign import Outcome, Scenario, per_cpu_minute
from voicekeeper.rehearsal.report import Drained, Report, fitting_interval, longest_gap

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
_JUMP = "j"


def verdict(report: Report, scenario: Scenario, policy: Policy) -> str:
    """Return in a sentence or two what a person wants to know."""
    lost = _lost(report)
    if report.broken:
        ways = "once" if len(report.broken) == 1 else f"{len(report.broken)} times"
        lost += f" The promise was broken {ways} otherwise; see below."
    if report.saveable_lost or report.unsaveable_lost:
        lost += _advice(report, scenario, policy)
    return lost


def rows(report: Report, scenario: Scenario, policy: Policy) -> Iterator[Row]:
    """Yield what the verdict stands on, each line with its label."""
    settings = f"interval {compact(policy.interval)} of a window of {compact(policy.window)}"
    rehearsed = f"{_counted(report.voices, 'voice')} for {_counted(report.days, 'day')}"
    yield "rehearsed", f"{rehearsed}, seed {report.seed}; {settings}"
    yield "lost", f"{report.saveable_lost} that could have been saved"
    yield "lost", f"{report.unsaveable_lost} that nobody could have saved"
    margin = report.smallest_margin
    yield "margin", "-" if margin is None else f"{words(margin)} left at the least"
    for label, count in (("calls", report.keepalives), ("polls", report.polls)):
        yield label, f"{report.per_voice_week(count):.2f} a voice and week, {count} in all"
    yearly = about_usd(round(report.cost_micros / scenario.voice_years))
    yield "money", f"{yearly} a voice and year, {usd(report.cost_micros)} in all"
    yield from (("backlog", line) for line in _backlogs(report.backlogs))


def counts(counted: Mapping[str, int]) -> Iterator[Row]:
    """Yield how often each thing happened."""
    yield from ((f"happened {name}", str(count)) for name, count in sorted(counted.items()))


def speed(outcomes: Iterable[Outcome], scenario: Scenario) -> str:
    """Return how fast it went, in years of keeping one voice for a minute of one processor."""
    return f"{per_cpu_minute(outcomes, scenario):.0f} voice-years a CPU-minute"


def table(pairs: Iterable[Row]) -> Table:
    """Return rows for a terminal; a label that repeats is told once."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    before = None
    for label, value in pairs:
        grid.add_row("" if label == before else label, Text(value))
        before = label
    return grid


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
    jumps = [incident for incident in plan.incidents if isinstance(incident, faults.Jump)]
    marks += [
        Mark(_JUMP, "clock-jump", incident.at / _DAY, incident.at / _DAY) for incident in jumps
    ]
    drawn = plot(
        report.margins,
        marks,
        window=policy.window,
        columns=prose.width(),
        plain=not has_blocks(console),
    )
    return Text("The smallest margin at the end of each day\n", style="bold").append(drawn)


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


def campaign_rows(outcomes: Sequence[Outcome], scenario: Scenario) -> Iterator[Row]:
    """Yield the sums of a campaign."""
    reports = [outcome.report for outcome in outcomes if outcome.report is not None]
    fleet = f"{_counted(scenario.voices, 'voice')} for {_counted(scenario.days, 'day')}"
    yield "rehearsed", f"{_counted(len(outcomes), 'seed')}, each {fleet}"
    yield "lost", f"{sum(r.saveable_lost for r in reports)} that could have been saved"
    yield "lost", f"{sum(r.unsaveable_lost for r in reports)} that nobody could have saved"
    least = min((r.smallest_margin for r in reports if r.smallest_margin is not None), default=None)
    yield "margin", "-" if least is None else f"{words(least)} left at the least"
    yield "speed", speed(outcomes, scenario)


def campaign_verdict(outcomes: Sequence[Outcome], missing: Sequence[str]) -> str:
    """Return whether a campaign passed, and if not, why."""
    bad = sum(not outcome.kept_its_promise for outcome in outcomes)
    if bad:
        return f"FAIL: {bad} of {_counted(len(outcomes), 'seed')} broke the promise."
    if missing:
        names = ", ".join(missing)
        return f"FAIL: what never happened was not tested; take more seeds or days for {names}."
    return f"PASS: the promise was kept with {_counted(len(outcomes), 'seed')}."


def _lost(report: Report) -> str:
    saveable, others = report.saveable_lost, report.unsaveable_lost
    if saveable:
        told = f"{_counted(saveable, 'voice')} {_was(saveable)} lost that could have been saved"
        return f"{told}, and {others} that nobody could have." if others else f"{told}."
    if others:
        nobody = f"{others} {_was(others)} lost that nobody could have saved"
        return f"No voice was lost that could have been saved; {nobody}."
    return "No voice was lost."


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


def _backlogs(backlogs: Sequence[Drained]) -> Iterator[str]:
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
    rest = len(real) - len(shown)
    if rest:
        yield f"{rest} more, which were drained sooner"
    nothing = len(backlogs) - len(real)
    if nothing:
        yield f"none after {_counted(nothing, 'fault')}: no voice was overdue"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _was(count: int) -> str:
    return "was" if count == 1 else "were"
