"""Many seeds of one scenario, in several processes; and what happened in all of them.

A campaign under chaos fails too if something that chaos promises never happened: what did not
strike was not tested.
"""

import multiprocessing
import signal
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any, Final

from voicekeeper.rehearsal import troubles
from voicekeeper.rehearsal.network import FAULTS
from voicekeeper.rehearsal.play import NAMES
from voicekeeper.rehearsal.report import SCHEMA
from voicekeeper.rehearsal.scenario import Outcome, Scenario, per_cpu_minute

_UNKNOWN: Final = ("NEW-UNKNOWN", "DEPLOYING-UNKNOWN")
_TRANSITIONS: Final = (
    "NEW-OK",
    "NEW-DEPLOYING",
    "DEPLOYING-OK",
    "DEPLOYING-FAILED",
    "DEPLOYING-UNDEPLOYED",
    "OK-LOST",
    "OK-UNDEPLOYED",
)
PROMISED: Final[tuple[tuple[str, ...], ...]] = (
    *((name,) for name in (*FAULTS, *sorted(troubles.SPELLS), *NAMES.values(), *_TRANSITIONS)),
    _UNKNOWN,
)
"""What a campaign under chaos has to meet; of each group one."""


def play(scenario: Scenario, seeds: Sequence[int], *, jobs: int) -> Iterator[Outcome]:
    """Rehearse each seed; yield what came of it, in the order in which they end.

    Args:
        scenario: what is rehearsed.
        seeds: with which.
        jobs: how many processes work.
    """
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(seeds)), mp_context=spawn) as pool:
        try:
            ended = as_completed(_submitted(pool, scenario, seeds))
            yield from (future.result() for future in ended)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in multiprocessing.active_children():
                worker.terminate()
            raise


def coverage(outcomes: Iterable[Outcome], scenario: Scenario) -> dict[str, int]:
    """Return how often each fault, spell, act and step of a status happened, by its name.

    What chaos promises is named even if it never happened.
    """
    counts: Counter[str] = Counter()
    if scenario.chaos:
        counts.update({name: 0 for group in PROMISED for name in group})
    for outcome in outcomes:
        if outcome.report is not None:
            counts.update(outcome.report.faults)
            counts.update(outcome.report.transitions)
    return dict(sorted(counts.items()))


def missing(outcomes: Iterable[Outcome], scenario: Scenario) -> list[str]:
    """Return what chaos promises and never happened."""
    counts = coverage(outcomes, scenario)
    promised = PROMISED if scenario.chaos else ()
    return [" or ".join(group) for group in promised if not any(counts[n] for n in group)]


def document(outcomes: Sequence[Outcome], scenario: Scenario) -> dict[str, Any]:
    """Return the object that ``--json`` prints of a campaign."""
    reports = [outcome.report for outcome in outcomes if outcome.report is not None]
    never = missing(outcomes, scenario)
    return {
        "schema": SCHEMA,
        "voices": scenario.voices,
        "days": scenario.days,
        "saveable_lost": sum(report.saveable_lost for report in reports),
        "unsaveable_lost": sum(report.unsaveable_lost for report in reports),
        "passed": not never and all(outcome.kept_its_promise for outcome in outcomes),
        "coverage": coverage(outcomes, scenario),
        "never_happened": never,
        "voice_years_per_cpu_minute": round(per_cpu_minute(outcomes, scenario), 1),
        "seeds": [
            {"schema": SCHEMA, "seed": outcome.seed, "bug": outcome.bug}
            if outcome.report is None
            else outcome.report.document()
            for outcome in outcomes
        ],
    }


def _submitted(
    pool: ProcessPoolExecutor, scenario: Scenario, seeds: Sequence[int]
) -> list[Future[Outcome]]:
    """Hand the seeds to workers that leave Ctrl-C to us, who end them then.

    They inherit that the signal is held back; ours comes as soon as all are started.
    """
    resource_tracker.ensure_running()  # started later, it would let the signal through
    with _ctrl_c_held_back():
        return [pool.submit(scenario.rehearse, seed) for seed in seeds]


@contextmanager
def _ctrl_c_held_back() -> Iterator[None]:
    """Let Ctrl-C wait for the end of the block.

    The mask alone would not do: another thread, such as a progress bar's, may take the signal
    all the same, and its handler then runs here.
    """
    came: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, _frame: came.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, handler)
    if came:
        signal.raise_signal(signal.SIGINT)
