"""How many voice-years of the simulation a minute of CPU takes, with all its checks."""

import time
from collections.abc import Iterator

from tests.benchmarks.table import ROUNDS, Row
from voicekeeper.config import Settings
from voicekeeper.rehearsal import Simulation, chaos

_VOICES = 10
_DAYS = 365


def rows() -> Iterator[Row]:
    """Rehearse a year in which everything goes wrong, with a seed for each round."""
    rates = [_VOICES / (_cpu_s(seed) / 60) for seed in range(ROUNDS)]
    yield Row("rehearsal, voice-years a minute of CPU", rates, at_least=100)


def _cpu_s(seed: int) -> float:
    plan = chaos(seed, days=_DAYS, voices=_VOICES)
    began = time.process_time()
    Simulation(Settings(), plan, voices=_VOICES, days=_DAYS, seed=seed).run()
    return time.process_time() - began
