"""A server on loopback that misbehaves in every way a network can, and the client before it."""

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from voicekeeper.config import Upstream
from voicekeeper.core.clock import SystemClock
from voicekeeper.core.outcome import Accepted, Report
from voicekeeper.core.requests import Clone, Design, Speech
from voicekeeper.core.secret import SecretStr
from voicekeeper.errors import CallFailed
from voicekeeper.gateway import GatewayClient

KEY = "sk-0123456789abcdef"
MODEL = "cosyvoice-3-flash"
SPEECH = Speech(voice="cosyvoice-v3-flash-xxxx", prompt="好")
DESIGN = Design(prefix="demo02", prompt="A warm voice.", preview_text="Hello.")
CLONE = Clone(prefix="demo01", audio_url="https://example.com/reference.wav")
ACCEPTED = {"code": 200, "message": "success", "data": {"taskId": "task_1"}}
PROCESSING = {"code": 200, "message": "success", "data": {"taskId": "t", "state": "processing"}}

Outcome = Accepted | Report | CallFailed


@dataclass
class Received:
    """One request as it arrived."""

    line: str
    headers: dict[str, str]
    body: bytes


Answer = Callable[[Received, asyncio.StreamWriter], Awaitable[None]]
"""Answers one request; raising `ConnectionError` ends the connection."""


@dataclass
class Server:
    """A listening socket and what came in through it."""

    answer: Answer
    reads: bool = True
    port: int = 0
    connections: int = 0
    open: int = 0
    received: list[Received] = field(default_factory=list)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/v1"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        try:
            while True:
                request = await _request(reader) if self.reads else Received("", {}, b"")
                self.received.append(request)
                await self.answer(request, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open -= 1
            writer.close()


async def _request(reader: asyncio.StreamReader) -> Received:
    line, *headers = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
    named = {name.lower(): value for name, value in (h.split(": ", 1) for h in headers)}
    return Received(line, named, await reader.readexactly(int(named.get("content-length", 0))))


@asynccontextmanager
async def serving(answer: Answer, *, reads: bool = True) -> AsyncIterator[Server]:
    server, tasks = Server(answer, reads), set[asyncio.Task[None]]()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(server.serve(reader, writer)))

    listening = await asyncio.start_server(accept, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def upstream(base_url: str, **options: Any) -> Upstream:  # noqa: ANN401 - any of its settings
    """Return settings that hold up no test."""
    if "timeout" in options:
        options["timeout"] = timedelta(seconds=options["timeout"])
    return Upstream(base_url, **({"requests_per_second": 10_000.0} | options))


def client(base_url: str, *, key: str = KEY, **options: Any) -> GatewayClient:  # noqa: ANN401
    return GatewayClient(upstream(base_url, **options), SecretStr(key), clock=SystemClock())


# The calls


Call = Callable[[GatewayClient], Coroutine[Any, Any, Any]]


def speak(client: GatewayClient) -> Coroutine[Any, Any, Accepted]:
    return client.submit(SPEECH, MODEL)


def design(client: GatewayClient) -> Coroutine[Any, Any, Accepted]:
    return client.submit(DESIGN, MODEL)


def poll(client: GatewayClient) -> Coroutine[Any, Any, Report]:
    return client.status("t", MODEL)


async def outcome(call: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401 - whatever it returns
    """Return what a call returns, or how it failed."""
    try:
        return await call
    except CallFailed as failed:
        return failed


async def failure(call: Coroutine[Any, Any, object]) -> CallFailed:
    failed = await outcome(call)
    assert isinstance(failed, CallFailed)
    return failed


def asked(
    answer: Answer | bytes | dict[str, Any],
    *calls: Call,
    reads: bool = True,
    **options: Any,  # noqa: ANN401
) -> tuple[list[Any], Server]:
    """Make calls by one client to a server that answers all the same; return what came of each.

    ``reads``: whether the server reads what it is sent. ``options`` are the client's.
    """

    async def main() -> tuple[list[Any], Server]:
        does = answer if callable(answer) else says(answer)
        async with serving(does, reads=reads) as server, client(server.base_url, **options) as ours:
            return [await outcome(call(ours)) for call in calls], server

    return asyncio.run(main())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - a server's state has no event
            await asyncio.sleep(0.005)


# How a server answers


def http(body: bytes | dict[str, Any], status: int = 200, **headers: str) -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = {"Content-Length": str(len(content))} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status} Text\r\n{head}\r\n".encode() + content


def says(answer: bytes | dict[str, Any], *, then_closes: bool = False) -> Answer:
    sent = http(answer) if isinstance(answer, dict) else answer

    async def say(_: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(sent)
        await writer.drain()
        if then_closes:
            raise ConnectionError

    return say


async def hangs(_: Received, __: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def resets(_: Received, writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    raise ConnectionError


async def closes(_: Received, __: asyncio.StreamWriter) -> None:
    raise ConnectionError


async def drips(_: Received, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.02)


async def floods(_: Received, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
        await writer.drain()


async def continues(_: Received, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.02)
