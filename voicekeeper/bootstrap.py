"""Wiring: what is built from the settings, once, in one place, with parts a test can replace."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import httpx
from pydantic import SecretStr

from voicekeeper.archive import Archive, directory_of
from voicekeeper.clock import Clock
from voicekeeper.config import Settings
from voicekeeper.keeper import Keeper, Logger
from voicekeeper.models import Origin
from voicekeeper.schedule import Policy
from voicekeeper.store import Database, Worklist
from voicekeeper.store.recordings import Recordings
from voicekeeper.upstream import GatewayClient
from voicekeeper.upstream.audio import AudioFetcher
from voicekeeper.upstream.connections import host_of

_RECREATED = {
    "never": frozenset[Origin](),
    "clones": frozenset({Origin.CLONE}),
    "all": frozenset({Origin.CLONE, Origin.DESIGN}),
}


def policy(settings: Settings) -> Policy:
    """Return the settings that the rules need, as values."""
    keepalive, polling, retry = settings.keepalive, settings.polling, settings.retry
    most = settings.budget.enrollments_usd_per_day
    return Policy(
        window=keepalive.window,
        interval=keepalive.interval,
        jitter=keepalive.jitter,
        prompt=keepalive.prompt,
        format=keepalive.format,
        speech_first=polling.speech_first,
        speech_interval=polling.speech_interval,
        enrollment_first=polling.enrollment_first,
        enrollment_interval=polling.enrollment_interval,
        give_up=polling.give_up,
        retry_base=retry.base,
        retry_cap=retry.cap,
        timeout=settings.upstream.timeout,
        requests_per_second=settings.upstream.requests_per_second,
        max_in_flight=settings.upstream.max_in_flight,
        enrollments_per_day=None if most is None else int(most * 1_000_000),
        recreate=_RECREATED[settings.recovery.recreate],
        archive_sources=settings.recovery.archive_sources,
    )


def gateway(
    settings: Settings,
    api_key: SecretStr,
    clock: Clock,
    *,
    transport: httpx.AsyncBaseTransport | None = None,
) -> GatewayClient:
    """Return the gateway's client; it must be closed.

    Args:
        settings: where the gateway is, and how hard it may be used.
        api_key: for nothing else.
        clock: the host's.
        transport: replaces the network, in a rehearsal.
    """
    return GatewayClient(
        base_url=settings.upstream.base_url,
        api_key=api_key.get_secret_value(),
        timeout=settings.upstream.timeout.total_seconds(),
        requests_per_second=settings.upstream.requests_per_second,
        max_in_flight=settings.upstream.max_in_flight,
        clock=clock,
        transport=transport,
    )


def archive(
    settings: Settings, keeper: Keeper, *, database: Database, clock: Clock, log: Logger
) -> Archive:
    """Return what keeps the audio of the voices of a keeper; it shares its thread of the store."""
    return Archive(
        directory_of(database.path),
        recordings=Recordings(database),
        fetcher=AudioFetcher(host_of(settings.upstream.base_url)),
        clock=clock,
        policy=policy(settings),
        log=log,
        offload=keeper.offload,
    )


def keeper_name() -> str:
    """Return ``PID@HOST``."""
    return f"{os.getpid()}@{socket.gethostname()}"


@asynccontextmanager
async def keeper(
    settings: Settings, *, api_key: SecretStr, database: Database, clock: Clock, log: Logger
) -> AsyncIterator[Keeper]:
    """Give a keeper on the real gateway and store; its connections and thread end with it.

    The store's functions run in one thread of their own: a busy or slow disk then holds up no
    call that is under way.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="store") as thread:

        async def offload(function: Callable[[], Any]) -> Any:  # noqa: ANN401 - any result
            return await asyncio.get_running_loop().run_in_executor(thread, function)

        async with gateway(settings, api_key, clock) as upstream:
            yield Keeper(
                worklist=Worklist(database),
                upstream=upstream,
                clock=clock,
                policy=policy(settings),
                name=keeper_name(),
                log=log,
                offload=offload,
            )
