"""The ports that the settings ask for, and what is served on each; one port may serve it all."""

import socket
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from voicekeeper.config import Address, Settings
from voicekeeper.core.clock import Clock
from voicekeeper.core.events import Logger
from voicekeeper.daemon.keeper import Keeper
from voicekeeper.store.database import Database
from voicekeeper.web.listener import Listener
from voicekeeper.web.metrics import WebCounts
from voicekeeper.web.receiver import Receiver
from voicekeeper.web.site import Site

_HEALTH: Final = ("/healthz", "/readyz")


class HealthAlone:
    """Lets a keeper that stands by serve its health alone.

    Args:
        app: what the active keeper serves.
        stands_by: tells whether it does.
    """

    def __init__(self, app: ASGIApp, stands_by: Callable[[], bool]) -> None:
        self._app = app
        self._stands_by = stands_by

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        app = self._app
        if scope["type"] == "http" and scope["path"] not in _HEALTH and self._stands_by():
            app = PlainTextResponse("this keeper stands by; ask the active one\n", 503)
        await app(scope, receive, send)


@asynccontextmanager
async def serving(
    in_force: Callable[[], Settings],
    *,
    keeper: Keeper,
    database: Database,
    clock: Clock,
    log: Logger,
) -> AsyncIterator[None]:
    """Serve what the settings ask for, for as long as the block lasts.

    Args:
        in_force: returns the settings in force; the ports are those of the first for good.
        keeper: makes the tasks of webhooks due for polling; its policy is the one in force.
        database: what is shown.
        clock: the host's.
        log: of the events.
    """
    settings = in_force()
    routes: defaultdict[Address, list[Route]] = defaultdict(list)
    listeners: list[Listener] = []

    public_url = settings.webhook.public_url
    receiver = Receiver(keeper.heed, public_url) if public_url is not None else None

    def counts() -> WebCounts:
        refused = sum((listener.refused for listener in listeners), Counter[str]())
        return WebCounts(webhooks=receiver.counts if receiver else {}, refused=refused)

    own = socket.gethostname().lower()

    async with AsyncExitStack() as ports:
        site = None
        if settings.web.listen is not None:
            site = Site(
                database,
                clock=clock,
                policy=lambda: keeper.policy,
                tick=lambda: in_force().daemon.tick,
                counts=counts,
                names=lambda: {own, *in_force().web.hosts},
            )
            routes[settings.web.listen] += site.routes
        if receiver is not None:
            routes[settings.webhook.listen] += receiver.routes
            await ports.enter_async_context(receiver.heeding())
        for address, served in routes.items():
            app = Starlette(
                routes=served, middleware=[Middleware(HealthAlone, lambda: keeper.stands_by)]
            )
            app.router.redirect_slashes = False
            listener = Listener(address, app, log=log)
            listeners.append(listener)
            await ports.enter_async_context(listener.open())
        if site is not None:
            ports.callback(site.close)
        yield
