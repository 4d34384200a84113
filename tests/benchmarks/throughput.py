"""Keepalives a second through the whole keeper, over the same calls with no keeper at all."""

import asyncio
import time
from collections.abc import Iterator

import httpx

from tests.benchmarks import fleet
from tests.benchmarks.table import ROUNDS, Row
from tests.benchmarks.upstream import upstream

VOICES = 2_000
_IN_FLIGHT = 64
_POOL = 4


def rows() -> Iterator[Row]:
    """Measure a keeper and a bare loop in turns."""
    kept, bare = [], []
    for _ in range(ROUNDS):
        with upstream() as gateway, fleet.registry(VOICES) as path:
            kept.append(VOICES / fleet.keep_all(path, fleet.settings(gateway.url)))
            polls = gateway.polls() / VOICES
        with upstream() as gateway:
            bare.append(VOICES / asyncio.run(_bare(gateway.url)))
    yield Row("keepalives a second, keeper", kept, note=f"{polls:.2f} polls each")
    yield Row("keepalives a second, bare httpx", bare, note="no database, one poll each")
    ratios = [k / b for k, b in zip(kept, bare, strict=True)]
    yield Row("throughput, keeper over bare httpx", ratios, at_least=0.6)


async def _bare(url: str) -> float:
    """POST and ask once for each voice, with as many connections in pools of the same size."""
    clients = [
        httpx.AsyncClient(
            limits=httpx.Limits(max_connections=_POOL, max_keepalive_connections=_POOL),
            headers={"Authorization": f"Bearer {fleet.KEY}"},
        )
        for _ in range(_IN_FLIGHT // _POOL)
    ]
    numbers = iter(range(VOICES))

    async def work(client: httpx.AsyncClient) -> None:
        for number in numbers:
            body = {
                "request_type": "async",
                "input": {"mode": "speech", "voice": f"id-{number:07}", "prompt": "Hello."},
            }
            address = f"{url}/generateTask/cosyvoice-3-flash"
            answer = (await client.post(address, json=body)).json()
            task_id = answer["data"]["taskId"]
            address = f"{url}/statusTask/cosyvoice-3-flash"
            told = (await client.get(address, params={"taskId": task_id})).json()
            assert told["data"]["state"] == "success"

    began = time.monotonic()
    await asyncio.gather(*(work(clients[n % len(clients)]) for n in range(_IN_FLIGHT)))
    took = time.monotonic() - began
    for client in clients:
        await client.aclose()
    return took
