"""A hundred thousand voices overdue at once: is the limit used, and the order kept?"""

import asyncio
import time
from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

from pydantic import SecretStr

from tests.benchmarks import fleet
from tests.benchmarks.table import Row
from tests.benchmarks.upstream import upstream
from voicekeeper import bootstrap
from voicekeeper.clock import SystemClock
from voicekeeper.config import Settings
from voicekeeper.daemon import run_once
from voicekeeper.log import get_logger
from voicekeeper.store import SqliteDatabase

VOICES = 100_000
SECONDS = 60.0
"""So much of the drain is looked at; all of it takes a quarter of an hour."""

_RATE = 200
_LOOK_S = 0.01


def rows() -> Iterator[Row]:
    """Let a keeper work on the backlog for a while, and read the gateway's list."""
    with (
        upstream("1") as gateway,
        fleet.registry(VOICES, due_in=timedelta(days=-1)) as path,
    ):
        chosen = fleet.settings(gateway.url, requests_per_second=_RATE)
        longest = asyncio.run(_drain(path, chosen))
        calls = gateway.calls()
        answered = len(calls) + gateway.polls()
    span = calls[-1].at - calls[0].at
    yield Row(
        f"drain of {VOICES:,} at {_RATE}/s, share of the limit used",
        [answered / span / _RATE],
        at_least=0.95,
        note=f"the first {SECONDS:.0f} s",
    )
    disorder = sum(one.voice > other.voice for one, other in pairwise(calls))
    yield Row(
        "calls out of order", [disorder / len(calls) * 100], "%", note="neighbours at the gateway"
    )
    yield Row("event loop blocked, the longest", [longest * 1000], "ms", at_most=100)


async def _drain(path: Path, chosen: Settings) -> float:
    """Keep voices for so long; return the longest time in which the loop did nothing else."""
    database = SqliteDatabase(path)
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            before = time.monotonic()
            await asyncio.sleep(_LOOK_S)
            longest = max(longest, time.monotonic() - before - _LOOK_S)

    async with bootstrap.assembly(
        chosen,
        api_key=SecretStr(fleet.KEY),
        database=database,
        clock=SystemClock(),
        log=get_logger(),
    ) as assembly:
        watching = asyncio.create_task(watch())
        work = asyncio.create_task(run_once(assembly.keeper))
        await asyncio.wait([work], timeout=SECONDS)
        watching.cancel()
        await assembly.keeper.stop(within=5)
        work.cancel()
        await asyncio.gather(work, watching, return_exceptions=True)
    database.close()
    return longest
