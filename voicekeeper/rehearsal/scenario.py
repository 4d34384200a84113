"""What is rehearsed, but for its seed; and what came of it with one."""

import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from voicekeeper.config import Settings
from voicekeeper.rehearsal.chaos import chaos
from voicekeeper.rehearsal.play import Rehearsal
from voicekeeper.rehearsal.report import Report
from voicekeeper.rehearsal.troubles import Plan

STRANGERS: Final = 0.3
"""The share of the voices of whose last use nobody told the host, under chaos."""

_YEAR = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one seed.

    Attributes:
        seed: of all dice.
        cpu_s: the processor's time that it took, in seconds.
        report: None if the program failed by a bug.
        bug: what that was, as a sentence.
    """

    seed: int
    cpu_s: float
    report: Report | None
    bug: str | None = None

    @property
    def kept_its_promise(self) -> bool:
        """Whether nothing was lost that could have been saved, and nothing broken."""
        return self.report is not None and self.report.kept_its_promise


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is rehearsed.

    Attributes:
        settings: whose rules are rehearsed.
        plan: what goes wrong, whatever the seed.
        voices, days: how many, and how long.
        chaos: whether everything else goes wrong too, as the seed wants it.
    """

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
        """Return all that goes wrong with a seed."""
        if not self.chaos:
            return self.plan
        return chaos(seed, days=self.days, voices=self.voices) + self.plan

    def rehearse(self, seed: int, progress: Callable[[int], None] = lambda _: None) -> Outcome:
        """Live through it.

        Args:
            seed: of all dice.
            progress: told each day that has passed.
        """
        began = time.process_time()
        report, bug = None, None
        try:
            report = Rehearsal(
                self.settings,
                self.plan_of(seed),
                voices=self.voices,
                days=self.days,
                seed=seed,
                strangers=STRANGERS if self.chaos else 0.0,
            ).run(progress)
        except Exception as error:  # noqa: BLE001 - a bug is an outcome too
            place = traceback.extract_tb(error.__traceback__)[-1]
            told = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            bug = f"the program failed by a bug, {told} ({place.name}, line {place.lineno})"
        return Outcome(seed, time.process_time() - began, report, bug)


def per_cpu_minute(outcomes: Iterable[Outcome], scenario: Scenario) -> float:
    """Return how many years of keeping one voice were rehearsed in a minute of one processor."""
    seconds = [outcome.cpu_s for outcome in outcomes]
    return scenario.voice_years * len(seconds) / max(sum(seconds), 0.001) * 60
