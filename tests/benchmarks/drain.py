"""A hundred thousand voices overdue at once: is the limit used, and the order kept?"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

from tests.benchmarks import fleet
from tests.benchmarks.table import ROUNDS, Row
from tests.benchmarks.upstream import Call, upstream
from voicekeeper.config import Settings
from voicekeeper.core.clock import SystemClock
from voicekeeper.core.secret import SecretStr
from voicekeeper.daemon import wiring
from voicekeeper.daemon.service import run_once
from voicekeeper.log import get_logger
from voicekeeper.store.sqlite import SqliteDatabase

VOICES = 100_000
_LOOKED_AT_S = 30.0
_RATE = 200
_IN_FLIGHT = 64
_LOOK_S = 0.01


def rows() -> Iterator[Row]:
    """Look at the beginning of the drain, when the backlog is longest."""
    used, moved, blocked = [], [], []
    for _ in range(ROUNDS):
        drained = _drain(_LOOKED_AT_S)
        used.append(drained.used)
        moved.append(float(drained.moved))
        blocked.append(drained.blocked_ms)
    yield from _table(used, moved, blocked, f"each the first {_LOOKED_AT_S:.0f} s")


def whole() -> Iterator[Row]:
    """Drain it until nothing is left."""
    drained = _drain(None)
    assert drained.voices == VOICES, drained.voices
    yield from _table([drained.used], [float(drained.moved)], [drained.blocked_ms], "until empty")


def _table(
    used: Sequence[float], moved: Sequence[float], blocked: Sequence[float], note: str
) -> Iterator[Row]:
    yield Row(
        f"drain of {VOICES:,} at {_RATE}/s, share of the limit used",
        used,
        at_least=0.95,
        note=note,
    )
    yield Row(
        "places by which a call came late or early",
        moved,
        at_most=_IN_FLIGHT,
        note="the most; so many are in flight at once",
    )
    yield Row("event loop blocked, the longest", blocked, "ms", at_most=100)


class _Drained:
    """What the gateway and the loop saw of a drain."""

    def __init__(self, posts: Sequence[Call], calls: int, longest: float) -> None:
        self.voices = len(posts)
        self.used = calls / (posts[-1].at - posts[0].at) / _RATE
        in_order = sorted(call.voice for call in posts)
        rank = {voice: number for number, voice in enumerate(in_order)}
        self.moved = max(abs(rank[call.voice] - place) for place, call in enumerate(posts))
        self.blocked_ms = longest * 1000


def _drain(seconds: float | None) -> _Drained:
    """Let a keeper work on the backlog, for so long or to its end."""
    with (
        upstream("1") as gateway,
        fleet.registry(VOICES, due_in=timedelta(days=-1)) as path,
    ):
        chosen = fleet.settings(gateway.url, requests_per_second=_RATE, max_in_flight=_IN_FLIGHT)
        with fleet.logged_to_nowhere():
            longest = asyncio.run(_keep(path, chosen, seconds))
        posts, times = gateway.calls(), gateway.times()
    inside = [at for at in times if posts[0].at <= at <= posts[-1].at]
    return _Drained(posts, len(inside), longest)


async def _keep(path: Path, chosen: Settings, seconds: float | None) -> float:
    """Keep voices; return the longest time in which the loop did nothing else."""
    database = SqliteDatabase(path)
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            before = time.monotonic()
            await asyncio.sleep(_LOOK_S)
            longest = max(longest, time.monotonic() - before - _LOOK_S)

    async with wiring.assembly(
        chosen,
        api_key=SecretStr(fleet.KEY),
        database=database,
        clock=SystemClock(),
        log=get_logger(),
    ) as assembly:
        watching = asyncio.create_task(watch())
        work = asyncio.create_task(run_once(assembly.keeper))
        await asyncio.wait([work], timeout=seconds)
        watching.cancel()
        await assembly.keeper.stop(within=5)
        work.cancel()
        await asyncio.gather(work, watching, return_exceptions=True)
    database.close()
    return longest
