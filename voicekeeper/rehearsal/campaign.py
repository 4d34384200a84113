"""A scenario, run with one seed or with many in several processes.

A campaign under chaos fails too if a fault that chaos promises never struck: what did not strike
was not tested.
"""

import multiprocessing
import os
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing import resource_tracker
from typing import Any, Final

from voicekeeper.config import Settings
from voicekeeper.rehearsal import faults
from voicekeeper.rehearsal.chaos import chaos
from voicekeeper.rehearsal.faults import NAMES, Plan
from voicekeeper.rehearsal.network import FAULTS
from voicekeeper.rehearsal.report import SCHEMA, Report
from voicekeeper.rehearsal.simulation import Simulation

UNDATED: Final = 0.3
"""The share of the voices that are registered without their last use, under chaos."""

_YEAR = timedelta(days=365)
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
    *((name,) for name in (*FAULTS, *sorted(faults.PERIODS), *NAMES.values(), *_TRANSITIONS)),
    _UNKNOWN,
)
"""What a campaign under chaos has to meet; of each group one."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one seed: a report, or a bug."""

    seed: int
    cpu_s: float
    report: Report | None
    bug: str | None = None

    @property
    def kept_its_promise(self) -> bool:
        """Whether nothing was lost that could have been saved, and no invariant violated."""
        return self.report is not None and self.report.kept_its_promise


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is simulated: a plan of faults, to which under chaos the seed adds its own."""

    settings: Settings
    plan: Plan
    voices: int
    days: int
    chaos: bool = False

    @property
    def voice_years(self) -> float:
        """How many years of keeping one voice this is."""
        return self.voices * (timedelta(days=self.days) / _YEAR)

    def plan_of(self, seed: int) -> Plan:
        """Return all faults of a seed."""
        if not self.chaos:
            return self.plan
        return chaos(seed, days=self.days, voices=self.voices) + self.plan

    def run(self, seed: int, progress: Callable[[int], None] = lambda _: None) -> Outcome:
        """Simulate one seed; call ``progress`` after each day."""
        began = time.process_time()
        report, bug = None, None
        try:
            report = Simulation(
                self.settings,
                self.plan_of(seed),
                voices=self.voices,
                days=self.days,
                seed=seed,
                undated=UNDATED if self.chaos else 0.0,
            ).run(progress)
        except Exception as error:  # noqa: BLE001 - a bug is an outcome too
            place = traceback.extract_tb(error.__traceback__)[-1]
            words = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            bug = f"the program failed by a bug, {words} ({place.name}, line {place.lineno})"
        return Outcome(seed, time.process_time() - began, report, bug)


def per_cpu_minute(outcomes: Iterable[Outcome], scenario: Scenario) -> float:
    """Return how many years of keeping one voice took a minute of one processor."""
    seconds = [outcome.cpu_s for outcome in outcomes]
    return scenario.voice_years * len(seconds) / max(sum(seconds), 0.001) * 60


def run(scenario: Scenario, seeds: Sequence[int], *, jobs: int) -> Iterator[Outcome]:
    """Simulate each seed in as many processes; yield the outcomes as they end."""
    os.environ["PYTHONSAFEPATH"] = "1"  # else each process imports from the working directory first
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
    """Return how often each fault struck and each transition was made; 0 for what chaos lacked."""
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
    """Hand the seeds to workers that inherit a blocked Ctrl-C; this process ends them then."""
    resource_tracker.ensure_running()  # started later, it would unblock the signal
    with _ctrl_c_held_back():
        return [pool.submit(scenario.run, seed) for seed in seeds]


@contextmanager
def _ctrl_c_held_back() -> Iterator[None]:
    """Let Ctrl-C wait for the end of the block.

    The mask alone is not enough: another thread, such as a progress bar's, may take the signal
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
