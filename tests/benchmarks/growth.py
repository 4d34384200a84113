"""What a registry costs as it grows: passes, keepalives, memory, disk, and the way to READY."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.benchmarks import fleet
from tests.benchmarks.table import ROUNDS, Row, rounds
from tests.benchmarks.upstream import Upstream, upstream
from voicekeeper.config.policy import policy_of
from voicekeeper.store.sqlite import SqliteDatabase
from voicekeeper.store.worklist import Worklist

SIZES = (1_000, 10_000, 100_000, 1_000_000)
_IDLE_PASSES = 50
_KEPT = 500
_SETTLE_S = 5.0
_MEMORY_MIB = 110
_MEMORY_GROWS_MIB = 15


def rows() -> Iterator[Row]:
    """Measure each size; the bars are those of the largest."""
    first_memory = None
    for size in SIZES:
        largest = size == SIZES[-1]
        named = f"{size:,} voices"
        with upstream() as gateway, fleet.registry(size, due_in=timedelta(days=1)) as path:
            yield Row(
                f"idle pass, CPU, {named}",
                rounds(partial(_idle_pass_ms, path, size)),
                "ms",
                at_most=5 if largest else None,
            )
            ready, memory = [], []
            for _ in range(ROUNDS):
                with daemon(path, gateway) as (process, seconds):
                    ready.append(seconds)
                    time.sleep(_SETTLE_S)
                    memory.append(_resident_mib(process.pid))
            yield Row(f"start to READY, {named}", ready, "s", at_most=3 if largest else None)
            yield Row(
                f"resident memory, {named}",
                memory,
                "MiB",
                at_most=_MEMORY_MIB if largest else None,
            )
            first_memory = first_memory or memory
            if largest:
                grown = [m - f for m, f in zip(memory, first_memory, strict=True)]
                yield Row("memory grown since 1,000", grown, "MiB", at_most=_MEMORY_GROWS_MIB)
            yield Row(f"database, {named}", [path.stat().st_size / 2**20], "MiB")
        with upstream() as gateway, fleet.registry(size, due_in=timedelta(days=1)) as path:
            yield Row(
                f"one keepalive, CPU, {named}",
                rounds(partial(_keepalive_ms, path, gateway)),
                "ms",
            )


def _idle_pass_ms(path: Path, size: int) -> float:
    """Return the CPU that one pass takes with nothing due, in the store and for the line.

    Its voices are counted: a keeper of many does that anew every five minutes only.
    """
    database = SqliteDatabase(path)
    worklist = Worklist(database)
    policy = policy_of(fleet.settings("http://127.0.0.1:9/api/v1"))
    worklist.take_over(keeper="1@here", version="0", now=datetime.now(UTC), policy=policy)

    def one() -> None:
        worklist.claim(now=datetime.now(UTC), policy=policy, calls=32, polls=32)
        worklist.outlook(size)

    one()
    began = time.process_time()
    for _ in range(_IDLE_PASSES):
        one()
    took = time.process_time() - began
    database.close()
    return took / _IDLE_PASSES * 1000


def _keepalive_ms(path: Path, gateway: Upstream) -> float:
    """Make some voices due, and return the CPU that each one's keepalive takes."""
    database = SqliteDatabase(path)
    with database.writing() as session:
        session.connection().exec_driver_sql(
            "UPDATE voice SET next_at = '2020-01-01 00:00:00.000000' WHERE id IN"
            " (SELECT id FROM voice ORDER BY next_at DESC LIMIT ?)",
            (_KEPT,),
        )
    database.close()
    began = time.process_time()
    fleet.keep_all(path, fleet.settings(gateway.url))
    return (time.process_time() - began) / _KEPT * 1000


class daemon:  # noqa: N801 - reads as a function
    """A daemon that has reported READY, and how long that took."""

    def __init__(self, path: Path, gateway: Upstream, *, tick: str = "1s") -> None:
        self._path = path
        self._tick = tick
        self._gateway = gateway

    def __enter__(self) -> tuple[subprocess.Popen[bytes], float]:
        self._directory = TemporaryDirectory()
        address = str(Path(self._directory.name) / "notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.settimeout(120)
        environ = {
            "PATH": os.environ["PATH"],
            "NOTIFY_SOCKET": address,
            "VOICEKEEPER_API_KEY": fleet.KEY,
            "VOICEKEEPER_CONFIG": os.devnull,
            "VOICEKEEPER_DATABASE__URL": f"sqlite:///{self._path}",
            "VOICEKEEPER_UPSTREAM__BASE_URL": self._gateway.url,
            "VOICEKEEPER_DAEMON__TICK": self._tick,
        }
        began = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "voicekeeper", "run"], env=environ, stdout=subprocess.DEVNULL
        )
        while b"READY=1" not in self._socket.recv(4096):
            pass
        return self._process, time.monotonic() - began

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(30)
        self._socket.close()
        self._directory.cleanup()


def _resident_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("a process has a VmRSS")
