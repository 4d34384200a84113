"""``voicekeeper rehearse``: years of keeping, with all that goes wrong, in minutes."""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any, NoReturn

import click

from voicekeeper.cli import document, prose, rehearsed, table
from voicekeeper.cli.options import json_option, pass_session, read_by
from voicekeeper.cli.session import Session
from voicekeeper.errors import VoicekeeperError
from voicekeeper.rehearsal import campaign, faults
from voicekeeper.rehearsal.campaign import Outcome, Scenario

_MOST_SEEDS = 10_000

Timed = tuple[str, str, faults.Plan]
"""A fault of the command line: its kind, as it is written, and its plan."""


def _seeds(text: str) -> list[int]:
    """Read ``1-300``, ``7`` or ``1-20,41``."""
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ValueError(f"must be seeds such as 1-300 or 1,5,9, not {text!r}")
        begin, end = int(first), int(last if dash else first)
        if end < begin:
            raise ValueError(f"must begin with the smaller seed, unlike {part.strip()!r}")
        if end - begin + len(seeds) >= _MOST_SEEDS:
            raise ValueError(f"must be at most {_MOST_SEEDS} seeds")
        seeds += range(begin, end + 1)
    return sorted(set(seeds))


def _fault_option(kind: str, metavar: str, words: str) -> Callable[..., Any]:
    callback = read_by(lambda text: (kind, text, faults.planned(kind, text)))
    return click.option(f"--{kind}", metavar=metavar, multiple=True, callback=callback, help=words)


@click.command(context_settings={"show_default": True})
@click.option(
    "--voices", type=click.IntRange(1, 10_000), default=100, help="How many voices there are."
)
@click.option("--days", type=click.IntRange(1, 3650), default=365, help="How long it lasts.")
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=1,
    help="Of all dice: the same seed, the same story.",
)
@_fault_option("outage", "LENGTH@dayN", "The gateway answers nothing.")
@_fault_option("host-down", "LENGTH@dayN", "The host is off.")
@_fault_option("balance-empty", "LENGTH@dayN", "The account is empty: 402.")
@_fault_option("clock-jump", "BY@dayN", "The host's clock is set, ahead or back.")
@click.option("--chaos", is_flag=True, help="Everything goes wrong, as the seed wants it.")
@click.option(
    "--seeds",
    metavar="FIRST-LAST",
    callback=read_by(_seeds),
    help="A campaign: rehearse with each of these seeds, such as 1-300.",
)
@click.option(
    "--jobs",
    type=click.IntRange(1, 256),
    help="How many processes a campaign takes; as many as processors if not told.",
)
@json_option
@click.pass_context
@pass_session
def rehearse_command(
    session: Session,
    ctx: click.Context,
    *,
    voices: int,
    days: int,
    seed: int,
    chaos: bool,
    seeds: list[int] | None,
    jobs: int | None,
    as_json: bool,
    **timed: list[Timed],
) -> int:
    """Rehearse years of keeping in minutes, with all that goes wrong in them.

    The keeper, its rules, its store and its client are those that ship;
    time, the network, the gateway and the host are played. It rehearses
    your settings (--config and the environment), and needs no key, no
    network and no registry; yours is not touched.

    \b
    Is an interval of 3 days enough for an outage of 2?
      voicekeeper rehearse --days 60 --outage 2d@day40
    Troubles may repeat, and come together:
      --host-down 30h@day20 --clock-jump -5d@day10 --balance-empty 20h@day5

    It exits with 0 if no voice was lost that could have been saved and no
    other promise was broken, else with 1. A campaign under --chaos fails
    too if something that can go wrong never did.
    """  # noqa: D301 - click's mark for lines to leave alone must be the character itself
    # In this order, whatever that of the options: one story has one trace.
    kinds = ("outage", "host_down", "balance_empty", "clock_jump")
    plan = _plan(ctx, [each for kind in kinds for each in timed[kind]], days=days)
    scenario = Scenario(session.settings, plan, voices=voices, days=days, chaos=chaos)
    if seeds is None:
        if jobs is not None:
            raise click.UsageError("--jobs is for a campaign: give --seeds too", ctx)
        with _ended_by_signals():
            return _rehearse(session, scenario, seed, as_json=as_json)
    if ctx.get_parameter_source("seed") is not click.core.ParameterSource.DEFAULT:
        raise click.UsageError("--seed and --seeds exclude each other", ctx)
    with _ended_by_signals():
        return _campaign(scenario, seeds, jobs=jobs or os.cpu_count() or 1, as_json=as_json)


def _plan(ctx: click.Context, timed: Iterable[Timed], *, days: int) -> faults.Plan:
    """Return all that goes wrong; all of it has to happen within the days."""
    whole = faults.Plan()
    for kind, text, plan in timed:
        ends = [*(period.end for period in plan.periods), *(each.at for each in plan.incidents)]
        if max(ends) > timedelta(days=days):
            sentence = f"{text!r} lies past the end of the rehearsal, day {days}"
            raise click.BadParameter(sentence, ctx, param_hint=f"'--{kind}'")
        whole += plan
    return whole


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let Ctrl-C or SIGTERM end a rehearsal, and the processes that work on it, at any moment."""

    def end(number: int, _frame: object) -> NoReturn:
        sys.unraisablehook = lambda _: None
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _rehearse(session: Session, scenario: Scenario, seed: int, *, as_json: bool) -> int:
    """Rehearse one seed and show what came of it."""
    with prose.progress("rehearsing", scenario.days) as passed:
        outcome = scenario.run(seed, passed)
    report, policy = outcome.report, session.policy
    if report is None:
        raise VoicekeeperError(rehearsed.failed(outcome))
    if as_json:
        prose.put(document.text(report.document()))
        return int(not report.kept_its_promise)
    rows = [
        *rehearsed.rows(report, scenario, policy),
        rehearsed.speed([outcome], scenario),
        ("trace", report.trace),
        *(("broken", sentence) for sentence in report.broken),
    ]
    counts = report.faults if scenario.chaos else {}
    _show(rehearsed.verdict(report, scenario, policy), rows, counts, heading="What went wrong")
    if sys.stdout.isatty():
        console = prose.console()
        console.print()
        console.print(rehearsed.margins(report, scenario, policy, console), soft_wrap=True)
    return int(not report.kept_its_promise)


def _campaign(scenario: Scenario, seeds: list[int], *, jobs: int, as_json: bool) -> int:
    """Rehearse many seeds and show what came of them."""
    outcomes: list[Outcome] = []
    with prose.progress("rehearsing", len(seeds)) as passed:
        for outcome in campaign.run(scenario, seeds, jobs=jobs):
            outcomes.append(outcome)
            if not outcome.kept_its_promise and not as_json:
                # click's echo would write into the bar, which takes what is written to sys.stdout.
                sys.stdout.write(f"{rehearsed.failed(outcome)}\n")
                sys.stdout.flush()
            passed(1)
    outcomes.sort(key=lambda outcome: outcome.seed)
    missing = campaign.missing(outcomes, scenario)
    if as_json:
        prose.put(document.text(campaign.document(outcomes, scenario)))
    else:
        rows = rehearsed.campaign_rows(outcomes, scenario)
        counts = campaign.coverage(outcomes, scenario)
        verdict = rehearsed.campaign_verdict(outcomes, missing)
        _show(verdict, rows, counts, heading="How often each thing happened")
    return int(bool(missing) or not all(outcome.kept_its_promise for outcome in outcomes))


def _show(
    verdict: str, rows: Iterable[rehearsed.Row], counts: Mapping[str, int], *, heading: str
) -> None:
    """Show tables on a terminal, lines of two columns in a pipe."""
    prose.tell(verdict, indent=0)
    if not sys.stdout.isatty():
        for row in [*rows, *rehearsed.counts(counts)]:
            prose.columns(*row)
        return
    console = prose.console()
    console.print()
    console.print(table.pairs(rows))
    if counts:
        console.print()
        console.print(rehearsed.counts_table(counts, heading=heading))
