"""Against what people use instead: 200 voices whose tasks take a second."""

import asyncio
import shutil
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime

import httpx
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from tests.benchmarks import fleet
from tests.benchmarks.table import ROUNDS, Row
from tests.benchmarks.upstream import upstream

VOICES = 200
_SCRIPT = """
id=$(curl -s -X POST -H 'Content-Type: application/json' -d \
  '{"request_type":"async","input":{"mode":"speech","voice":"'$1'","prompt":"Hello."}}' \
  URL/generateTask/cosyvoice-3-flash | sed 's/.*"taskId":"\\([^"]*\\)".*/\\1/')
until curl -s "URL/statusTask/cosyvoice-3-flash?taskId=$id" | grep -q '"state":"success"'; do
  sleep 0.25
done
"""


def rows() -> Iterator[Row]:
    """Measure each way in each round; show how many times as long as the keeper it takes.

    The keeper has a database and its own limits, and they have neither: all it can gain is what
    they do not do at once.
    """
    ways: dict[str, Callable[[str], float]] = {"APScheduler, a job a voice": _scheduled}
    if shutil.which("curl"):
        ways |= {"a loop of curl": _looped, "xargs -P16 curl": _parallel}
    taken: dict[str, list[float]] = {way: [] for way in ways}
    kept = []
    for _ in range(ROUNDS):
        with upstream("1") as gateway, fleet.registry(VOICES) as path:
            kept.append(fleet.keep_all(path, fleet.settings(gateway.url)))
        for way, measure in ways.items():
            if way == "a loop of curl" and taken[way]:
                continue  # four minutes each
            with upstream("1") as gateway:
                taken[way].append(measure(gateway.url))
    yield Row(f"{VOICES} voices, tasks of 1 s, the keeper", kept, "s")
    for way, seconds in taken.items():
        ratios = [took / keeper for took, keeper in zip(seconds, kept, strict=False)]
        yield Row(f"the same, {way}", ratios, "x the keeper's time", at_least=1)


def _looped(url: str) -> float:
    return _shell(["xargs", "-n1", "sh", "-c", _SCRIPT.replace("URL", url), "sh"])


def _parallel(url: str) -> float:
    return _shell(["xargs", "-P16", "-n1", "sh", "-c", _SCRIPT.replace("URL", url), "sh"])


def _shell(command: list[str]) -> float:
    names = "\n".join(f"id-{number:07}" for number in range(VOICES))
    began = time.monotonic()
    subprocess.run(command, input=names, text=True, check=True, capture_output=True)
    return time.monotonic() - began


def _scheduled(url: str) -> float:
    return asyncio.run(_jobs(url))


async def _jobs(url: str) -> float:
    """Give each voice a job of its own, as a script would, all due now."""
    scheduler = AsyncIOScheduler(timezone=UTC)
    done = asyncio.Event()
    left = VOICES
    async with httpx.AsyncClient(timeout=60) as client:

        async def keep(voice: str) -> None:
            nonlocal left
            body = {
                "request_type": "async",
                "input": {"mode": "speech", "voice": voice, "prompt": "Hello."},
            }
            task_id = await _posted(lambda: client.post(f"{url}/generateTask/m", json=body))
            while True:
                answer = await client.get(f"{url}/statusTask/m", params={"taskId": task_id})
                if answer.json()["data"]["state"] == "success":
                    break
                await asyncio.sleep(0.25)
            left -= 1
            if not left:
                done.set()

        for number in range(VOICES):
            scheduler.add_job(
                keep,
                "date",
                run_date=datetime.now(UTC),
                args=[f"id-{number:07}"],
                misfire_grace_time=None,
            )
        began = time.monotonic()
        scheduler.start()
        await done.wait()
        took = time.monotonic() - began
        scheduler.shutdown(wait=False)
    return took


async def _posted(post: Callable[[], Awaitable[httpx.Response]]) -> str:
    return str((await post()).json()["data"]["taskId"])
