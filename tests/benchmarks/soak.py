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
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Final

import httpx

from tests.benchmarks.table import Row
from tests.web_support import free_port

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


def soak(voices: int, minutes: float, times: float, kept_log: Path | None = None) -> Soak:
    """Keep so many voices for so long.

    Args:
        voices: how many.
        minutes: how long.
        times: how many times as often as usual single calls go wrong.
        kept_log: where the daemon's log is to stay.
    """
    faults = [fault.format(share * times) for fault, share in _SHARES.items()]
    ids = [f"id-{number:05}" for number in range(voices)]
    with TemporaryDirectory() as directory, ExitStack() as running:
        home = Path(directory)
        log_path = kept_log or home / "log"
        gateway = running.enter_context(_sandbox(ids, faults))
        environ = _environ(home, gateway)
        _import(environ, ids)
        log = running.enter_context(log_path.open("w+"))
        daemon = running.enter_context(_process("run", environ=environ, stdout=log))
        _await_ready(log_path, daemon)
        began = time.monotonic()
        samples = list(_watch(daemon.pid, home, gateway, environ, minutes * 60, usual=faults))
        seconds = time.monotonic() - began
        books = httpx.get(f"{gateway}/books", timeout=60).json()
        cpu_s, starved_s = _processor(daemon.pid)
        daemon.send_signal(signal.SIGTERM)
        code = daemon.wait(30)
        assert code == 0, code
        log.seek(0)
        events = Counter(json.loads(line)["event"] for line in log)
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
    pid: int,
    home: Path,
    gateway: str,
    environ: dict[str, str],
    seconds: float,
    *,
    usual: list[str],
) -> Iterator[Sample]:
    """Look at the daemon until the time is over, and make things happen meanwhile."""
    web = f"http://{environ['VOICEKEEPER_WEB__LISTEN']}"
    began = time.monotonic()
    storms = churns = reads = 0
    stormy = False
    while (at := time.monotonic() - began) < seconds:
        yield Sample(at, _memory(pid), len(os.listdir(f"/proc/{pid}/fd")), _size(home))  # noqa: PTH208 - quicker
        if at > reads * _READ_EVERY_S:
            reads += 1
            for path in ("metrics", ""):
                httpx.get(f"{web}/{path}", timeout=60).raise_for_status()
        in_storm = at % _STORM_EVERY_S > _STORM_EVERY_S - _STORM_S and at < seconds - 60
        if in_storm is not stormy:
            stormy = in_storm
            faults = STORMS[storms % len(STORMS)] if stormy else usual
            storms += stormy
            httpx.put(f"{gateway}/faults", json=list(faults)).raise_for_status()
        if at > churns * _CHURN_EVERY_S:
            _churn(environ, churns)
            churns += 1
        time.sleep(max(0.0, _LOOK_EVERY_S - (time.monotonic() - began - at)))


def _churn(environ: dict[str, str], number: int) -> None:
    """Have a voice made, and forget the one before the last."""
    url = "https://example.com/a.wav"
    _run(environ, "clone", f"churn-{number}", "--prefix", "churn", "--audio-url", url)
    if number > 1:
        _run(environ, "remove", f"churn-{number - 2}")


@contextmanager
def _sandbox(ids: list[str], usual: list[str]) -> Iterator[str]:
    """Run the sandbox; give the address of its own calls."""
    known = [word for voice_id in ids for word in ("--voice", voice_id)]
    faults = [word for fault in usual for word in ("--fault", fault)]
    times = ("--window", "60s", "--speech-time", "0.3s-1.2s", "--enrollment-time", "1s-3s")
    options = ("sandbox", "--port", "0", *times, *known, *faults)
    with _process(*options, environ=dict(os.environ), stdout=subprocess.PIPE) as sandbox:
        assert sandbox.stdout is not None
        yield sandbox.stdout.readline().strip().removesuffix("/api/v1")


@contextmanager
def _process(
    *arguments: str,
    environ: dict[str, str],
    stdout: Any,  # noqa: ANN401 - as Popen takes it
) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "voicekeeper", *arguments],
        env=environ,
        stdout=stdout,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def _environ(home: Path, gateway: str) -> dict[str, str]:
    settings = _SETTINGS | {
        "UPSTREAM__BASE_URL": f"{gateway}/api/v1",
        "DATABASE__URL": f"sqlite:///{home / 'voicekeeper.db'}",
        "WEB__LISTEN": f"127.0.0.1:{free_port()}",
        "CONFIG": os.devnull,
        "API_KEY": "soak",
    }
    return os.environ | {f"VOICEKEEPER_{name}": value for name, value in settings.items()}


def _import(environ: dict[str, str], ids: list[str]) -> None:
    """Register the voices, used at even distances of the last interval."""
    now = datetime.now(UTC)
    lines = [
        json.dumps(
            {
                "voice_id": voice_id,
                "name": f"voice-{number:05}",
                "last_used_at": (now - timedelta(seconds=INTERVAL * number / len(ids))).isoformat(),
            }
        )
        for number, voice_id in enumerate(ids)
    ]
    _run(environ, "import", "-", given="\n".join(lines))


def _run(environ: dict[str, str], *arguments: str, given: str = "") -> None:
    subprocess.run(
        [sys.executable, "-m", "voicekeeper", *arguments],
        env=environ,
        input=given,
        text=True,
        check=True,
        capture_output=True,
    )


def _await_ready(log: Path, daemon: subprocess.Popen[str]) -> None:
    while '"daemon.ready"' not in log.read_text():
        assert daemon.poll() is None, "the daemon did not start"
        time.sleep(0.1)


def _memory(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _size(home: Path) -> float:
    files = (home / f"voicekeeper.db{ending}" for ending in ("", "-wal"))
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
    parser.add_argument("--log", type=Path, help="where the daemon's log is to stay")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and with it what it has started
    done = soak(chosen.voices, chosen.minutes, chosen.faults, chosen.log)
    table = list(rows(done, chosen.voices))
    for row in table:
        sys.stdout.write("\t".join(row.cells()).rstrip() + "\n")
    return int(any(row.passed is False for row in table))


if __name__ == "__main__":
    sys.exit(main())
