"""One seed gives one trace, in whatever process; another seed gives another."""

import os
import subprocess
import sys

import pytest

from voicekeeper.config import Settings
from voicekeeper.rehearsal import Report, Simulation, chaos

DAYS, VOICES = 15, 3

_PROGRAM = f"""
from voicekeeper.config import Settings
from voicekeeper.rehearsal import Simulation, chaos
plan = chaos(5, days={DAYS}, voices={VOICES})
print(Simulation(Settings(), plan, voices={VOICES}, days={DAYS}, seed=5).run().document())
"""


def rehearsed(seed: int) -> Report:
    plan = chaos(seed, days=DAYS, voices=VOICES)
    return Simulation(Settings(), plan, voices=VOICES, days=DAYS, seed=seed).run()


@pytest.fixture(scope="module")
def fifth() -> Report:
    return rehearsed(5)


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_one_seed_gives_one_trace_in_every_process(fifth: Report, hash_seed: str) -> None:
    told = subprocess.run(
        [sys.executable, "-W", "error", "-c", _PROGRAM],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert told.stdout.strip() == str(fifth.document())
    assert fifth.faults  # and something happened in it


def test_one_seed_gives_one_trace_twice_in_one_process(fifth: Report) -> None:
    assert rehearsed(5) == fifth


def test_every_other_seed_gives_another(fifth: Report) -> None:
    traces = {rehearsed(seed).trace for seed in range(4)}

    assert len(traces | {fifth.trace}) == 5
