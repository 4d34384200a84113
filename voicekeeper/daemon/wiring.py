"""Wiring: what is built from the settings, once, in one place, with parts a test can replace."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from secrets import token_urlsafe
from typing import Any

from voicekeeper import notify
from voicekeeper.config import Settings
from voicekeeper.config.policy import policy_of
from voicekeeper.core.clock import Clock
from voicekeeper.core.events import Event, Logger, tell
from voicekeeper.core.secret import SecretStr
from voicekeeper.core.webhook import Callbacks
from voicekeeper.daemon.keeper import Keeper, Offload
from voicekeeper.daemon.notifier import Notifier
from voicekeeper.gateway import GatewayClient
from voicekeeper.gateway.http_client import httpx
from voicekeeper.notify import Heartbeat
from voicekeeper.store.database import Database
from voicekeeper.store.outbox import Outbox
from voicekeeper.store.registry import Registry
from voicekeeper.store.worklist import Worklist


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
        transport: in place of the network, in a rehearsal.
    """
    return GatewayClient(settings.upstream, api_key, clock=clock, transport=transport)


def callbacks(settings: Settings) -> Callbacks | None:
    """Return how the gateway is to call back, if it is."""
    url = settings.webhook.public_url
    return None if url is None else Callbacks(url, partial(token_urlsafe, 32))


def keeper_name() -> str:
    """Return ``PID@HOST``."""
    return f"{os.getpid()}@{socket.gethostname()}"


class Assembly:
    """A keeper, its gateway and what tells people; and the settings that are in force for all.

    Attributes:
        keeper: the keeper.
        gateway: its client of the gateway.
        notifier: brings messages to people.
        heartbeat: pings a dead man's switch.
        settings: those it goes by.
        api_key: the one that its next call is signed with.
    """

    def __init__(
        self,
        keeper: Keeper,
        gateway: GatewayClient,
        notifier: Notifier,
        settings: Settings,
        api_key: SecretStr,
        *,
        is_in_time: Callable[[Settings], Awaitable[bool]],
        log: Logger,
    ) -> None:
        self.keeper = keeper
        self.settings = settings
        self.api_key = api_key
        self.gateway = gateway
        self.notifier = notifier
        self._log = log
        self.heartbeat = Heartbeat(
            is_in_time=lambda: is_in_time(self.settings), ping=_ping(settings), log=log
        )

    async def adopt(self, settings: Settings, api_key: SecretStr) -> None:
        """Go by other settings from now on, all of them or none; calls under way go on.

        Raises:
            VoicekeeperError: the key, an address, the environment or the database cannot be used
                for that; the old settings stay in force.
        """
        senders = _senders(settings, self._log)
        self.gateway.change(settings.upstream, api_key)
        try:
            await self.keeper.adopt(policy_of(settings))
        except BaseException:
            self.gateway.change(self.settings.upstream, self.api_key)
            raise
        self.notifier.adopt(senders, policy=policy_of(settings), tick=settings.daemon.tick)
        self.heartbeat.adopt(_ping(settings))
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
    call that is under way. Those of what tells people run in another: no keepalive waits for it.

    Raises:
        ConfigError: the environment, or an address of the settings, cannot be used.
    """
    senders = _senders(settings, log)
    registry = Registry(database)
    outbox = Outbox(
        database, places=len(senders), host=socket.gethostname(), tick=settings.daemon.tick
    )
    with _thread("store") as offload, _thread("tellers") as offload_telling:

        async def is_in_time(settings: Settings) -> bool:
            tick, now = settings.daemon.tick, clock.now()
            look = partial(registry.is_in_time, now=now, tick=tick, policy=policy_of(settings))
            return bool(await offload_telling(look))

        async with gateway(settings, api_key, clock) as upstream:
            keeper = Keeper(
                worklist=Worklist(database),
                upstream=upstream,
                clock=clock,
                policy=policy_of(settings),
                name=keeper_name(),
                log=log,
                offload=offload,
                callbacks=callbacks(settings) if listens else None,
            )
            notifier = Notifier(
                outbox=outbox,
                senders=senders,
                clock=clock,
                policy=policy_of(settings),
                log=log,
                offload=offload_telling,
            )
            yield Assembly(
                keeper, upstream, notifier, settings, api_key, is_in_time=is_in_time, log=log
            )


def _senders(settings: Settings, log: Logger) -> list[notify.Sender]:
    """Return the ways to all addresses, and tell which of them lead nowhere for now, and why."""
    senders = notify.senders(settings.alerts.urls)
    for reason, labels in notify.lacking(senders).items():
        tell(log, Event.MESSAGE_FAILED, place=labels, error=reason)
    return senders


def _ping(settings: Settings) -> Callable[[], Awaitable[None]] | None:
    """Return what sends one ping; None where the settings name no address."""
    address = settings.alerts.heartbeat_url
    return None if address is None else partial(notify.ping, address)


@contextmanager
def _thread(name: str) -> Iterator[Offload[Any]]:
    """Give a thread for blocking functions."""
    with ThreadPoolExecutor(1, thread_name_prefix=name) as thread:

        async def offload(function: Callable[[], Any]) -> Any:  # noqa: ANN401 - any result
            return await asyncio.get_running_loop().run_in_executor(thread, function)

        yield offload
