"""A day of keeping in twenty minutes: the real daemon, the sandbox, and everything that goes wrong.

``python -m tests.benchmarks.soak [--voices 2000] [--minutes 20] [--faults 1]`` prints a table and
ends with 1 where a bar is missed. A window of 60 s stands for seven days, and as much history is
kept. Some calls go wrong all the time; now and then the gateway fails altogether, or the account
is empty, for a few seconds; voices are cloned and removed; and the page and the metrics are read.

What is flat is judged by two stretches of the same length, the second and the last fifth of the
time: what grows for ever is larger in the last, and what a start needs was there in the second.
"""

import argparse
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Final

import httpx

from tests.benchmarks.table import Row
from tests.daemon_support import Daemon, Host, until
from tests.support import imported
from tests.web_support import free_port
from voicekeeper.core.clock import SystemClock

INTERVAL: Final = 25.0
_SETTINGS: Final = {
    "KEEPALIVE__WINDOW": "60s",
    "KEEPALIVE__INTERVAL": f"{INTERVAL:g}s",
    "KEEPALIVE__JITTER": "4s",
    "POLLING__SPEECH_FIRST": "1s",
    "POLLING__SPEECH_INTERVAL": "1s",
    "POLLING__ENROLLMENT_FIRST": "2s",
    "POLLING__ENROLLMENT_INTERVAL": "1s",
    "POLLING__GIVE_UP": "20s",
    "RETRY__BASE": "0.5s",
    "RETRY__CAP": "2s",
    "DAEMON__TICK": "0.5s",
    "DAEMON__KEEP_HISTORY": "60s",
    "UPSTREAM__TIMEOUT": "2s",
    "UPSTREAM__REQUESTS_PER_SECOND": "400",
    "UPSTREAM__MAX_IN_FLIGHT": "64",
}
_SHARES: Final = {
    "500={}": 0.003,
    "503={}": 0.003,
    "429:retry-after=1={}": 0.003,
    "body-500={}": 0.002,
    "drop={}": 0.003,
    "lost={}@submit": 0.003,
    "garbage={}": 0.002,
    "truncated={}": 0.002,
    "html={}": 0.002,
    "hang={}": 0.0005,
    "task-UpstreamError={}": 0.005,
}
"""Which share of the calls each fault strikes, all the time."""

STORMS: Final = (("503",), ("402@submit",), ("drop",), ("hang",))
"""What strikes every call for a while, in turn."""

_STORM_EVERY_S, _STORM_S = 150.0, 6.0
_CHURN_EVERY_S = 20.0
_READ_EVERY_S = 10.0
_LOOK_EVERY_S = 2.0
_GROWS: Final = 1.05
_DESCRIPTORS: Final = 4
_DATABASE: Final = 2.0


@dataclass(frozen=True)
class Sample:
    """One look at the daemon.

    Attributes:
        at: seconds since it was ready.
        memory: that is resident, in MiB.
        descriptors: that are open.
        database: the size of its file and of what SQLite keeps beside it for long, in MiB.
    """

    at: float
    memory: float
    descriptors: int
    database: float


@dataclass(frozen=True)
class Soak:
    """What came of it.

    Attributes:
        samples: in order of time.
        books: the sandbox's.
        events: how often the log told of each.
        cpu_s: the processor's time that the daemon took.
        starved_s: for how long a thread of it wanted a processor, and got none.
        seconds: from READY to the end.
    """

    samples: list[Sample]
    books: dict[str, Any]
    events: Counter[str]
    cpu_s: float
    starved_s: float
    seconds: float

    def fifth(self, number: int) -> list[Sample]:
        """Return the samples of one fifth of the time, 0 to 4."""
        length = self.seconds / 5
        return [s for s in self.samples if number * length <= s.at < (number + 1) * length]


def soak(voices: int, minutes: float, times: float) -> Soak:
    """Keep so many voices for so long.

    Args:
        voices: how many.
        minutes: how long.
        times: how many times as often as usual single calls go wrong.
    """
    faults = [fault.format(share * times) for fault, share in _SHARES.items()]
    ids = [f"id-{number:05}" for number in range(voices)]
    with TemporaryDirectory() as directory, _sandbox(ids, faults) as gateway:
        home, web = Path(directory), f"127.0.0.1:{free_port()}"
        host = Host(home, f"{gateway}/api/v1", WEB__LISTEN=web, **_SETTINGS)
        now = SystemClock().now()
        host.register(
            *(
                replace(
                    imported(f"voice-{n:05}", voice_id=voice_id),
                    last_used_at=now - timedelta(seconds=INTERVAL * n / voices),
                )
                for n, voice_id in enumerate(ids)
            )
        )
        with host.run() as daemon:
            daemon.await_event("daemon.ready")
            began = time.monotonic()
            samples = list(_watch(daemon, host, web, gateway, minutes * 60, usual=faults))
            seconds = time.monotonic() - began
            books = httpx.get(f"{gateway}/books", timeout=60).json()
            cpu_s, starved_s = _processor(daemon.pid)
            assert daemon.end(signal.SIGTERM) == 0
        events = Counter(json.loads(line)["event"] for line in daemon.lines)
    return Soak(samples, books, events, cpu_s, starved_s, seconds)


def rows(done: Soak, voices: int) -> Iterator[Row]:
    """Judge it."""
    second, last = done.fifth(1), done.fifth(4)
    imported = [book for book in done.books["voices"].values() if book["made_by"] == "import"]
    lost = sum(not book["alive"] for book in imported)
    calls, uses = done.books["speech"], sum(book["uses"] for book in imported)
    struck = sum(done.books["struck"].values())
    kept = f"{uses / done.seconds:.0f} uses a second, {struck:,} faults struck"
    yield Row(
        f"soak, {voices:,} voices, {done.seconds / 60:.1f} min: lost", [lost], at_most=0, note=kept
    )
    most = max(book["uses"] for book in imported) * INTERVAL / done.seconds
    yield Row("uses of one voice in an interval, at most", [most], at_most=2)
    yield Row("calls for a use", [calls / uses])
    before, after = ([s.memory for s in part] for part in (second, last))
    yield Row("memory, second fifth", before, "MiB")
    yield Row("memory, last fifth", after, "MiB")
    yield Row("memory, last over second", [median(after) / median(before)], at_most=_GROWS)
    before, after = ([float(s.descriptors) for s in part] for part in (second, last))
    yield Row("descriptors, second fifth", before)
    yield Row("descriptors, last fifth", after)
    more = median(after) - median(before)
    yield Row("descriptors, more in the last", [more], at_most=_DESCRIPTORS)
    first_minute = next(s.database for s in done.samples if s.at >= 60)
    yield Row("database after a minute", [first_minute], "MiB")
    yield Row("database in the last fifth", [s.database for s in last], "MiB")
    end = max(s.database for s in last) / first_minute
    yield Row("database, largest over the first minute's", [end], at_most=_DATABASE)
    yield Row("passes that failed", [done.events["pass.failed"]], at_most=0)
    yield Row("CPU of the daemon", [done.cpu_s / done.seconds * 100], "%", note="of one core")
    starved = done.starved_s / (done.cpu_s + done.starved_s) * 100
    yield Row("of the CPU that it wanted, not got in time", [starved], "%", note="a busy machine")
    told = ", ".join(f"{event} {count:,}" for event, count in sorted(done.events.items()))
    yield Row("events", [sum(done.events.values())], note=told)


def _watch(
    daemon: Daemon, host: Host, web: str, gateway: str, seconds: float, *, usual: list[str]
) -> Iterator[Sample]:
    """Look at the daemon until the time is over, and make things happen meanwhile."""
    began = time.monotonic()
    storms = churns = reads = 0
    stormy = False
    while (at := time.monotonic() - began) < seconds:
        files = len(list(Path(f"/proc/{daemon.pid}/fd").iterdir()))
        yield Sample(at, daemon.memory_mib(), files, _size(host.path))
        if at > reads * _READ_EVERY_S:
            reads += 1
            for path in ("metrics", ""):
                httpx.get(f"http://{web}/{path}", timeout=60).raise_for_status()
        in_storm = at % _STORM_EVERY_S > _STORM_EVERY_S - _STORM_S and at < seconds - 60
        if in_storm is not stormy:
            stormy = in_storm
            faults = STORMS[storms % len(STORMS)] if stormy else usual
            storms += stormy
            httpx.put(f"{gateway}/faults", json=list(faults)).raise_for_status()
        if at > churns * _CHURN_EVERY_S:
            _churn(host, churns)
            churns += 1
        time.sleep(max(0.0, _LOOK_EVERY_S - (time.monotonic() - began - at)))


def _churn(host: Host, number: int) -> None:
    """Have a voice made, and forget the one before the last."""
    url = "https://example.com/a.wav"
    made = host.command("clone", f"churn-{number}", "--prefix", "churn", "--audio-url", url)
    assert made == 0
    if number > 1:
        assert host.command("remove", f"churn-{number - 2}") == 0


@contextmanager
def _sandbox(ids: list[str], usual: list[str]) -> Iterator[str]:
    """Run the sandbox; give the address of its own calls."""
    known = [word for voice_id in ids for word in ("--voice", voice_id)]
    faults = [word for fault in usual for word in ("--fault", fault)]
    times = ("--window", "60s", "--speech-time", "0.3s-1.2s", "--enrollment-time", "1s-3s")
    with Daemon(["sandbox", "--port", "0", *times, *known, *faults], dict(os.environ)) as sandbox:
        until(lambda: sandbox.lines, "the sandbox runs")
        yield sandbox.lines[0].removesuffix("/api/v1")


def _size(database: Path) -> float:
    files = (database.with_name(f"{database.name}{ending}") for ending in ("", "-wal"))
    return sum(file.stat().st_size for file in files if file.exists()) / 2**20


def _processor(pid: int) -> tuple[float, float]:
    """Return for how many seconds a process's threads ran, and waited to run."""
    times = [
        (thread / "schedstat").read_text().split() for thread in Path(f"/proc/{pid}/task").iterdir()
    ]
    return sum(int(ran) for ran, *_ in times) / 1e9, sum(
        int(waited) for _, waited, _ in times
    ) / 1e9


def main() -> int:
    """Return 1 if a bar was missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.soak", description=__doc__)
    parser.add_argument("--voices", type=int, default=2_000)
    parser.add_argument("--minutes", type=float, default=20.0, help="above 2")
    parser.add_argument("--faults", type=float, default=1.0, help="times as many as usual")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and with it what it has started
    done = soak(chosen.voices, chosen.minutes, chosen.faults)
    table = list(rows(done, chosen.voices))
    for row in table:
        sys.stdout.write("\t".join(row.cells()).rstrip() + "\n")
    return int(any(row.passed is False for row in table))


if __name__ == "__main__":
    sys.exit(main())
