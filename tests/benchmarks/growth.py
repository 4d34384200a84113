"""What a registry costs as it grows: passes, keepalives, memory, disk, and the way to READY."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from tests.benchmarks import fleet
from tests.benchmarks.table import ROUNDS, Row, rounds
from tests.benchmarks.upstream import Upstream, upstream
from voicekeeper.config import policy_of
from voicekeeper.store.sqlite import SqliteDatabase
from voicekeeper.store.worklist import Worklist

SIZES = (1_000, 10_000, 100_000, 1_000_000)
_IDLE_PASSES = 50
_KEPT = 500
_SETTLE_S = 5.0
_MEMORY_MIB = 95
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
                at_most=2 if largest else None,
            )
            ready, memory = [], []
            for _ in range(ROUNDS):
                with fleet.daemon(path, gateway.url) as (running, seconds):
                    ready.append(seconds)
                    time.sleep(_SETTLE_S)
                    memory.append(running.memory_mib())
            yield Row(f"start to READY, {named}", ready, "s", at_most=2 if largest else None)
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
