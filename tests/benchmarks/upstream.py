"""A gateway that answers at once, in a process of its own, and keeps a list of its calls.

It does as little as HTTP/1.1 needs, so that what is measured is the caller. Every task succeeds
after ``--seconds``. ``GET /calls`` returns when each task was posted and with which voice, and
when one was asked for, by the monotonic clock that all processes of a machine share.
"""

import argparse
import asyncio
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import httpx

_VOICE = b'"voice":'


class Call(NamedTuple):
    """One POST that arrived."""

    at: float
    voice: str


@dataclass(frozen=True)
class Upstream:
    """A gateway that runs.

    Attributes:
        url: its base URL.
    """

    url: str

    def calls(self) -> list[Call]:
        """Return the POSTs so far."""
        return [Call(*call) for call in httpx.get(f"{self.url}/calls", timeout=60).json()["posts"]]

    def polls(self) -> int:
        """Return how often a task was asked for."""
        return len(httpx.get(f"{self.url}/calls", timeout=60).json()["polls"])

    def times(self) -> list[float]:
        """Return when each call of either sort came, in order."""
        told = httpx.get(f"{self.url}/calls", timeout=60).json()
        return sorted([*(at for at, _ in told["posts"]), *told["polls"]])


@contextmanager
def upstream(seconds: str = "0") -> Iterator[Upstream]:
    """Run a gateway.

    Args:
        seconds: how long a task takes: a number, or the least and the most as ``5-30``.
    """
    command = [sys.executable, "-m", "tests.benchmarks.upstream", "--seconds", seconds]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            yield Upstream(f"http://127.0.0.1:{port}/api/v1")
        finally:
            process.kill()


class _Books:
    """What was called."""

    def __init__(self, least: float, most: float) -> None:
        self.posts: list[Call] = []
        self.polls: list[float] = []
        self._lengths = itertools.cycle(least + (most - least) * n / 25 for n in range(26))
        self._ready_at: dict[bytes, float] = {}

    def post(self, body: bytes) -> bytes:
        now = time.monotonic()
        _, _, rest = body.partition(_VOICE)
        voice = rest.split(b'"', 2)[1].decode() if rest else ""
        self.posts.append(Call(now, voice))
        task_id = b"t%d" % len(self.posts)
        self._ready_at[task_id] = now + next(self._lengths)
        return b'{"code":200,"message":"success","data":{"taskId":"%s"}}' % task_id

    def status(self, task_id: bytes) -> bytes:
        now = time.monotonic()
        self.polls.append(now)
        ready_at = self._ready_at.get(task_id, 0.0)
        state = b"success" if now >= ready_at else b"processing"
        return b'{"code":200,"message":"success","data":{"taskId":"%s","state":"%s"}}' % (
            task_id,
            state,
        )

    def told(self) -> bytes:
        return json.dumps({"posts": self.posts, "polls": self.polls}).encode()


class _Server(asyncio.Protocol):
    def __init__(self, books: _Books) -> None:
        self._books = books
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = self._received[:end].lower()
            _, _, rest = head.partition(b"content-length:")
            length = int(rest.split(b"\r\n", 1)[0]) if rest else 0
            if len(self._received) < end + 4 + length:
                return
            body = self._received[end + 4 : end + 4 + length]
            line = self._received.split(b" ", 2)
            self._received = self._received[end + 4 + length :]
            self._answer(line[0], line[1], body)

    def _answer(self, method: bytes, path: bytes, body: bytes) -> None:
        if method == b"POST":
            answer = self._books.post(body)
        elif path.endswith(b"/calls"):
            answer = self._books.told()
        else:
            answer = self._books.status(path.rpartition(b"=")[2])
        self._transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
            % (len(answer), answer)
        )


async def _serve(least: float, most: float) -> None:
    books = _Books(least, most)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Server(books), "127.0.0.1", 0, backlog=1000)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201 - to who started us
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", default="0")
    first, _, last = parser.parse_args().seconds.partition("-")
    asyncio.run(_serve(float(first), float(last or first)))
