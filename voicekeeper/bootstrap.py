"""Wiring: what is built from the settings, once, in one place, with parts a test can replace."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any

import httpx
from pydantic import SecretStr

from voicekeeper import alerts
from voicekeeper.clock import Clock
from voicekeeper.config import Settings
from voicekeeper.courier import Courier
from voicekeeper.heartbeat import Heartbeat
from voicekeeper.keeper import Keeper, Logger, Offload
from voicekeeper.schedule import Policy
from voicekeeper.store import Database, Outbox, Registry, Worklist
from voicekeeper.upstream import GatewayClient


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
    with _thread("store") as offload:
        async with gateway(settings, api_key, clock) as upstream:
            yield Keeper(
                worklist=Worklist(database, notifies=bool(settings.alerts.urls)),
                upstream=upstream,
                clock=clock,
                policy=policy(settings),
                name=keeper_name(),
                log=log,
                offload=offload,
            )


@contextmanager
def tellers(
    settings: Settings, *, database: Database, clock: Clock, log: Logger
) -> Iterator[list[Courier | Heartbeat]]:
    """Give what tells people, as far as the settings want it; its thread ends with it.

    That thread is not the keeper's, so that no keepalive waits for it.

    Raises:
        ConfigError: an address cannot be used, or apprise is missing.
    """
    tick, rules, made = settings.daemon.tick, policy(settings), list[Courier | Heartbeat]()
    senders = alerts.senders(settings.alerts.urls)
    with _thread("tellers") as offload:
        if senders:
            outbox = Outbox(database, places=len(senders), host=socket.gethostname(), tick=tick)
            made.append(
                Courier(
                    outbox=outbox,
                    senders=senders,
                    clock=clock,
                    policy=rules,
                    log=log,
                    offload=offload,
                )
            )
        address = settings.alerts.heartbeat_url
        if address is not None:
            registry = Registry(database)

            async def is_in_time() -> bool:
                look = partial(registry.is_in_time, now=clock.now(), tick=tick, policy=rules)
                return bool(await offload(look))

            ping = partial(alerts.ping, address)
            made.append(Heartbeat(is_in_time=is_in_time, ping=ping, log=log))
        yield made


def secrets(settings: Settings) -> list[SecretStr]:
    """Return what of the settings no log line may hold."""
    hidden = [*settings.alerts.urls]
    if settings.alerts.heartbeat_url is not None:
        hidden.append(settings.alerts.heartbeat_url)
    return [part for address in hidden for part in alerts.parts(address)]


@contextmanager
def _thread(name: str) -> Iterator[Offload[Any]]:
    """Give a thread for blocking functions."""
    with ThreadPoolExecutor(1, thread_name_prefix=name) as thread:

        async def offload(function: Callable[[], Any]) -> Any:  # noqa: ANN401 - any result
            return await asyncio.get_running_loop().run_in_executor(thread, function)

        yield offload
