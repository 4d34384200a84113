"""Build the parts of the daemon from the settings, once, in one place."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from secrets import token_urlsafe
from typing import Any

from voicekeeper import notify
from voicekeeper.config import Settings, policy_of
from voicekeeper.core.clock import Clock
from voicekeeper.core.events import Event, Logger, tell
from voicekeeper.core.secret import SecretStr
from voicekeeper.core.webhook import Callbacks
from voicekeeper.daemon.context import Context
from voicekeeper.daemon.keeper import Keeper
from voicekeeper.daemon.notifier import Notifier
from voicekeeper.gateway import GatewayClient
from voicekeeper.notify import Heartbeat
from voicekeeper.store.database import Database, Offload
from voicekeeper.store.outbox import Outbox
from voicekeeper.store.registry import Registry
from voicekeeper.store.worklist import Worklist


def callbacks(settings: Settings) -> Callbacks | None:
    """Return how the gateway is to call back, if it is."""
    url = settings.webhook.public_url
    return None if url is None else Callbacks(url, partial(token_urlsafe, 32))


class Assembly:
    """A keeper, its gateway and its notifier, and the settings that are in force for all.

    Attributes:
        keeper: the keeper.
        gateway: its client of the gateway.
        notifier: brings messages to people.
        heartbeat: pings a dead man's switch.
        settings: those in force.
        api_key: signs the next call.
        offload: runs a function in the database thread.
    """

    def __init__(
        self,
        settings: Settings,
        api_key: SecretStr,
        gateway: GatewayClient,
        *,
        database: Database,
        offload: Offload[Any],
        clock: Clock,
        log: Logger,
        listens: bool,
    ) -> None:
        self.settings = settings
        self.api_key = api_key
        self.gateway = gateway
        self.offload = offload
        self._registry = Registry(database)
        self._clock = clock
        self._log = log
        host, senders = socket.gethostname(), _senders(settings, log)
        context = Context(
            worklist=Worklist(database),
            gateway=gateway,
            clock=clock,
            log=log,
            offload=offload,
            policy=policy_of(settings),
        )
        self.keeper = Keeper(
            context,
            name=f"{os.getpid()}@{host}",
            callbacks=callbacks(settings) if listens else None,
        )
        outbox = Outbox(database, places=len(senders), host=host, tick=settings.daemon.tick)
        self.notifier = Notifier(context, outbox, senders)
        self.heartbeat = Heartbeat(is_in_time=self._is_in_time, ping=_ping(settings), log=log)

    async def adopt(self, settings: Settings, api_key: SecretStr) -> None:
        """Put other settings in force, all of them or none; calls under way go on.

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
        self.notifier.adopt(senders, tick=settings.daemon.tick)
        self.heartbeat.adopt(_ping(settings))
        self.settings, self.api_key = settings, api_key

    async def _is_in_time(self) -> bool:
        look = partial(
            self._registry.is_in_time,
            now=self._clock.now(),
            tick=self.settings.daemon.tick,
            policy=policy_of(self.settings),
        )
        return bool(await self.offload(look))


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

    Only where the process ``listens`` is the gateway asked to call back. All that the daemon asks
    of the registry runs in one thread: a busy or slow disk holds up no call that is under way.

    Raises:
        ConfigError: the environment, or an address of the settings, cannot be used.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="database") as thread:

        async def offload(function: Callable[[], Any]) -> Any:  # noqa: ANN401 - any result
            return await asyncio.get_running_loop().run_in_executor(thread, function)

        async with GatewayClient(settings.upstream, api_key, clock=clock) as gateway:
            yield Assembly(
                settings,
                api_key,
                gateway,
                database=database,
                offload=offload,
                clock=clock,
                log=log,
                listens=listens,
            )


def _senders(settings: Settings, log: Logger) -> list[notify.Sender]:
    """Return the ways to all addresses; log which of them lead nowhere for now, and why."""
    senders = notify.senders(settings.alerts.urls)
    for reason, labels in notify.lacking(senders).items():
        tell(log, Event.MESSAGE_FAILED, place=labels, error=reason)
    return senders


def _ping(settings: Settings) -> Callable[[], Awaitable[None]] | None:
    """Return what sends one ping; None where the settings name no address."""
    address = settings.alerts.heartbeat_url
    return None if address is None else partial(notify.ping, address)
