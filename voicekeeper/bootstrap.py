"""Wiring: what is built from the settings, once, in one place, with parts a test can replace."""

import asyncio
import os
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import httpx
from pydantic import SecretStr

from voicekeeper.clock import Clock
from voicekeeper.config import Settings
from voicekeeper.keeper import Keeper, Logger
from voicekeeper.schedule import Policy
from voicekeeper.store import Database, Worklist
from voicekeeper.upstream import GatewayClient
from voicekeeper.webhook import Callbacks


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
    return GatewayClient(**_terms(settings, api_key), clock=clock, transport=transport)


def _terms(settings: Settings, api_key: SecretStr) -> dict[str, Any]:
    """Return what a gateway's client goes by, and can go by anew."""
    return {
        "base_url": settings.upstream.base_url,
        "api_key": api_key.get_secret_value(),
        "timeout": settings.upstream.timeout.total_seconds(),
        "requests_per_second": settings.upstream.requests_per_second,
        "max_in_flight": settings.upstream.max_in_flight,
    }


def callbacks(settings: Settings) -> Callbacks | None:
    """Return how the gateway is to call back, if it is."""
    url = settings.webhook.public_url
    return None if url is None else Callbacks(url, partial(secrets.token_urlsafe, 32))


def keeper_name() -> str:
    """Return ``PID@HOST``."""
    return f"{os.getpid()}@{socket.gethostname()}"


class Assembly:
    """A keeper and its gateway, and the settings that are in force for both.

    Attributes:
        keeper: the keeper.
        gateway: its client of the gateway.
        settings: those it goes by.
        api_key: the one that its next call is signed with.
    """

    def __init__(
        self, keeper: Keeper, gateway: GatewayClient, settings: Settings, api_key: SecretStr
    ) -> None:
        self.keeper = keeper
        self.settings = settings
        self.api_key = api_key
        self.gateway = gateway

    async def adopt(self, settings: Settings, api_key: SecretStr) -> None:
        """Go by other settings from now on, all of them or none; calls under way go on.

        Raises:
            VoicekeeperError: the key, the environment or the database cannot be used for that;
                the old settings stay in force.
        """
        self.gateway.change(**_terms(settings, api_key))
        try:
            await self.keeper.adopt(policy(settings))
        except BaseException:
            self.gateway.change(**_terms(self.settings, self.api_key))
            raise
        self.settings, self.api_key = settings, api_key


@asynccontextmanager
async def assembly(
    settings: Settings,
    *,
    api_key: SecretStr,
    database: Database,
    clock: Clock,
    log: Logger,
    listens: bool = False,
) -> AsyncIterator[Assembly]:
    """Give a keeper on the real gateway and store; its connections and thread end with it.

    Only where the process ``listens`` is the gateway asked to call back.

    The store's functions run in one thread of their own: a busy or slow disk then holds up no
    call that is under way.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="store") as thread:

        async def offload(function: Callable[[], Any]) -> Any:  # noqa: ANN401 - any result
            return await asyncio.get_running_loop().run_in_executor(thread, function)

        async with gateway(settings, api_key, clock) as upstream:
            keeper = Keeper(
                worklist=Worklist(database),
                upstream=upstream,
                clock=clock,
                policy=policy(settings),
                name=keeper_name(),
                log=log,
                offload=offload,
                callbacks=callbacks(settings) if listens else None,
            )
            yield Assembly(keeper, upstream, settings, api_key)
