"""How long commands take, in starts of a bare interpreter."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

from tests.benchmarks import fleet
from tests.benchmarks.table import ROUNDS, Row

_TIMES = 5
_BARS = {
    ("resolve", "v0000000"): 6,
    ("list",): 12,
    ("status",): 12,
    ("--help",): 12,
}


def rows() -> Iterator[Row]:
    """Measure each command and the bare interpreter in turns."""
    with fleet.registry(20, due_in=timedelta(days=1)) as path:
        environ = {
            "PATH": os.environ["PATH"],
            "VOICEKEEPER_CONFIG": os.devnull,
            "VOICEKEEPER_DATABASE__URL": f"sqlite:///{path}",
        }
        program = str(Path(sys.executable).with_name("voicekeeper"))
        for args, bar in _BARS.items():
            ratios = [
                _seconds([program, *args], environ)
                / _seconds([sys.executable, "-c", "pass"], environ)
                for _ in range(ROUNDS)
            ]
            yield Row(f"voicekeeper {args[0]}", ratios, "x", at_most=bar, note="of python3 -c pass")


def _seconds(command: Sequence[str], environ: dict[str, str]) -> float:
    began = time.monotonic()
    for _ in range(_TIMES):
        subprocess.run(command, env=environ, capture_output=True, check=False)
    return time.monotonic() - began
