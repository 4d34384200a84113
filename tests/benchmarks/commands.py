"""How long commands take, in starts of a bare interpreter.

Both sides run in a new virtual environment. One for development reads path files at each start,
which an installation has none of: they would make the interpreter slow and the ratio small.
"""

import os
import subprocess
import sysconfig
import time
import venv
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

from tests.benchmarks import fleet
from tests.benchmarks.table import ROUNDS, Row

_ROOT = Path(__file__).parents[2]
_TIMES = 5
_BARS = {
    ("resolve", "v0000000"): 6,
    ("list",): 12,
    ("status",): 50,
    ("show", "v0000000"): 50,
    ("--help",): 8,
}


def rows() -> Iterator[Row]:
    """Measure each command and the bare interpreter in turns."""
    with fleet.registry(20, due_in=timedelta(days=1)) as path:
        environ = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join([str(_ROOT), sysconfig.get_path("purelib")]),
            "VOICEKEEPER_CONFIG": os.devnull,
            "VOICEKEEPER_DATABASE__URL": f"sqlite:///{path}",
        }
        venv.create(path.with_name("venv"), symlinks=True)
        python = str(path.with_name("venv") / "bin" / "python3")
        for args, bar in _BARS.items():
            ratios = [
                _seconds([python, "-m", "voicekeeper", *args], environ)
                / _seconds([python, "-c", "pass"], environ)
                for _ in range(ROUNDS)
            ]
            yield Row(f"voicekeeper {args[0]}", ratios, "x", at_most=bar, note="of python3 -c pass")


def _seconds(command: Sequence[str], environ: dict[str, str]) -> float:
    began = time.monotonic()
    for _ in range(_TIMES):
        done = subprocess.run(command, env=environ, capture_output=True, check=False)
        assert not done.stderr, done.stderr
    return time.monotonic() - began
