"""What a keeper of a thousand voices costs while nothing is due."""

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from tests.benchmarks import fleet
from tests.benchmarks.table import ROUNDS, Row
from tests.benchmarks.upstream import upstream

_WATCHED_S = 30.0
_STARTED_S = 5.0
_TICKS = ("10s", "60s")


def rows() -> Iterator[Row]:
    """Watch a daemon for some time, by the settings as they come, and with a slower tick."""
    for tick in _TICKS:
        cpu, wakes = [], []
        with upstream() as gateway, fleet.registry(1_000, due_in=timedelta(days=1)) as path:
            for _ in range(ROUNDS):
                with fleet.daemon(path, gateway.url, tick=tick) as (running, _):
                    time.sleep(_STARTED_S)
                    before, began = _used(running.pid), time.monotonic()
                    time.sleep(_WATCHED_S)
                    after, took = _used(running.pid), time.monotonic() - began
                cpu.append((after[0] - before[0]) / took * 3_600)
                wakes.append((after[1] - before[1]) / took * 60)
        yield Row("quiet, 1,000 voices, CPU an hour", cpu, "s", note=f"a tick of {tick}")
        yield Row("the same, wake-ups a minute", wakes, note="all threads")


def _used(pid: int) -> tuple[float, int]:
    """Return the seconds of CPU, and how often its threads went to sleep by themselves."""
    nanoseconds = switches = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        nanoseconds += int((thread / "schedstat").read_text().split()[0])
        for line in (thread / "status").read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                switches += int(line.split()[1])
    return nanoseconds / 1e9, switches
