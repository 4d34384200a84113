"""The daemon's ports for a test: a life whose registry is served on a loopback port."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from tests import support
from tests.support import Life
from voicekeeper.config import Address, Settings
from voicekeeper.config.settings import Web, Webhook
from voicekeeper.store.database import Offload
from voicekeeper.web import serving

LIMIT_S = 30.0


def free_port() -> int:
    """Return a port of the loopback address that nobody listens on just now."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


def lead_here(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Let these names lead to this machine, and no other name anywhere."""
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **options: Any) -> Any:  # noqa: ANN401
        name = host.decode() if isinstance(host, bytes) else host
        if name in names:
            return real("127.0.0.1", *args, **options)
        if name.replace(".", "").isdigit():
            return real(name, *args, **options)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def settings(
    *,
    web: int | None = None,
    webhook: int | None = None,
    hosts: tuple[str, ...] = (),
    public_url: str = "https://voices.example.com/webhook",
) -> Settings:
    """Return settings that listen on these ports of the loopback address."""
    tables: dict[str, Any] = {}
    if web is not None:
        tables["web"] = Web(listen=Address("127.0.0.1", web), hosts=hosts)
    if webhook is not None:
        address = Address("127.0.0.1", webhook)
        tables["webhook"] = Webhook(public_url=public_url, listen=address)
    return Settings(**tables)


@asynccontextmanager
async def served(
    life: Life,
    chosen: Settings,
    *,
    in_force: Callable[[], Settings] | None = None,
    problem: Callable[[], str | None] = lambda: None,
    offload: Offload[Any] = support.offload,
) -> AsyncIterator[httpx.AsyncClient]:
    """Serve a life's registry until the block ends; give a client of its first port."""
    async with serving(
        in_force or (lambda: chosen),
        keeper=life.keeper,
        problem=problem,
        database=life.database,
        offload=offload,
        clock=life.clock,
        log=life.log,
    ):
        ports = [chosen.web.listen, chosen.webhook.public_url and chosen.webhook.listen]
        addresses = [port for port in ports if isinstance(port, Address)]
        async with asyncio.timeout(LIMIT_S):
            while len(life.log.of("listener.opened")) < len(set(addresses)):  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        first = f"http://127.0.0.1:{addresses[0].port}"
        async with httpx.AsyncClient(base_url=first, timeout=LIMIT_S, trust_env=False) as client:
            yield client


def get(life: Life, *paths: str) -> list[httpx.Response]:
    """Ask for paths of a life's page, in turn."""

    async def ask() -> list[httpx.Response]:
        async with served(life, settings(web=free_port())) as client:
            return [await client.get(path) for path in paths]

    return asyncio.run(ask())
