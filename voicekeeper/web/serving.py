"""Serve the page, the metrics, health and webhooks; one port may serve it all.

Whoever asks delays no keepalive. Health comes from memory. The page and the metrics are read from
the registry in the database thread, for a tenth of its time at most, and once for everyone who asks
meanwhile.

A web page of a stranger must not read them: whoever owns a name can point it at this port once
their page is loaded (DNS rebinding). So the request's ``Host`` must be an address, a name that
nobody outside can own, or one of ``web.hosts``. Starlette's `TrustedHostMiddleware` takes a fixed
list of names alone.
"""

import asyncio
import re
import socket
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from voicekeeper.config import Address, Settings
from voicekeeper.core import hosts
from voicekeeper.core.clock import Clock
from voicekeeper.core.events import Logger
from voicekeeper.core.schedule import Policy
from voicekeeper.core.visible import visible
from voicekeeper.daemon.keeper import Keeper
from voicekeeper.errors import VoicekeeperError
from voicekeeper.store import fleet
from voicekeeper.store.database import Database, Offload
from voicekeeper.web import metrics, page
from voicekeeper.web.listener import Listener
from voicekeeper.web.metrics import WebCounts
from voicekeeper.web.receiver import Receiver

WAITING_MOST: Final = 16
"""Requests that may wait for an answer that is being made."""

MISDIRECTED_TEXT: Final = (
    "voicekeeper is not served under this name; "
    "ask by an IP address, or add the name to web.hosts\n"
)

_FRESH_S: Final = 1.0
_STALE_S: Final = 15.0
"""An answer may be a second old, or ten times what it took to make it, up to this."""

_HEALTH: Final = ("/healthz", "/readyz")
_HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_HOST: Final = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._-]+)(:[0-9]*)?")

Answer = Callable[[], Awaitable[Response]]


@asynccontextmanager
async def serving(
    in_force: Callable[[], Settings],
    *,
    keeper: Keeper,
    problem: Callable[[], str | None],
    database: Database,
    offload: Offload[Any],
    clock: Clock,
    log: Logger,
) -> AsyncIterator[None]:
    """Serve what the settings ask for, for as long as the block lasts.

    The ports are those of the first settings for good. ``problem`` returns why voices are not kept
    just now, from memory; ``offload`` runs a function in the database thread.
    """
    settings = in_force()
    routes: defaultdict[Address, list[Route]] = defaultdict(list)
    listeners: list[Listener] = []
    async with AsyncExitStack() as ports:
        receiver = None
        if settings.webhook.public_url is not None:
            receiver = Receiver(keeper.poll_called_back, settings.webhook.public_url)
            routes[settings.webhook.listen] += receiver.routes
            await ports.enter_async_context(receiver.heeding())

        def counts() -> WebCounts:
            refused = sum((listener.refused for listener in listeners), Counter[str]())
            return WebCounts(webhooks=receiver.counts if receiver else {}, refused=refused)

        def make_page() -> Response:
            tick = in_force().daemon.tick
            return _page(database, now=clock.now(), policy=keeper.policy, tick=tick)

        def make_metrics() -> Response:
            return _metrics(database, now=clock.now(), policy=keeper.policy, counts=counts())

        if settings.web.listen is not None:
            answers = {
                "/": _Shared(make_page, offload, clock).give,
                "/metrics": _Shared(make_metrics, offload, clock).give,
                "/healthz": _alive,
                "/readyz": _ready(problem),
            }
            routes[settings.web.listen] += _guarded(answers, in_force)
        for address, served in routes.items():
            app = Starlette(routes=served)
            app.router.redirect_slashes = False
            listeners.append(Listener(address, _health_alone(app, keeper), log=log))
            await ports.enter_async_context(listeners[-1].open())
        yield


def _health_alone(app: ASGIApp, keeper: Keeper) -> ASGIApp:
    """Return what serves health alone while the keeper stands by."""
    standby = PlainTextResponse("this keeper stands by; ask the active one\n", 503)

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        is_closed = keeper.stands_by and scope["path"] not in _HEALTH
        await (standby if is_closed else app)(scope, receive, send)

    return answer


def _guarded(answers: dict[str, Answer], in_force: Callable[[], Settings]) -> Sequence[Route]:
    """Return the paths, served under our names alone."""
    own = socket.gethostname().lower()

    def guarded(give: Answer) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            names = {own, *in_force().web.hosts}
            # A request without a Host is no browser's.
            if all(is_served(host, names) for host in request.headers.getlist("host")):
                return await give()
            return PlainTextResponse(MISDIRECTED_TEXT, 421)  # Misdirected Request (RFC 9110)

        return answer

    return [Route(path, guarded(give)) for path, give in answers.items()]


def is_served(host: str, names: Collection[str]) -> bool:
    """Return whether a request with this ``Host`` is answered, by an address or one of our names.

    A name without a dot is known to the local network alone: ``localhost``, a container's.
    """
    match = _HOST.fullmatch(host)
    if match is None:
        return False
    name = match["name"].strip("[]").lower().rstrip(".")
    is_address = hosts.read(name) is not None
    return is_address or "." not in name or name.endswith(".localhost") or name in names


async def _alive() -> Response:
    """Answer that the daemon's loop turns, and no more."""
    return _text(200, "ok")


def _ready(problem: Callable[[], str | None]) -> Answer:
    async def answer() -> Response:
        found = problem()
        return _text(200, "ok") if found is None else _text(503, found)

    return answer


def _page(database: Database, *, now: datetime, policy: Policy, tick: timedelta) -> Response:
    headers = _HEADERS | {
        "Content-Security-Policy": page.content_security_policy(),
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
    }
    try:
        board = fleet.board(database, now=now, policy=policy)
    except VoicekeeperError as error:
        return HTMLResponse(page.failure(str(error)), 503, headers=headers)
    return HTMLResponse(page.page(board, now=now, tick=tick, policy=policy), headers=headers)


def _metrics(database: Database, *, now: datetime, policy: Policy, counts: WebCounts) -> Response:
    try:
        figures = fleet.figures(database, now=now, policy=policy)
    except VoicekeeperError as error:
        return _text(503, str(error))
    text = metrics.exposition(figures, counts, policy)
    return Response(text, headers=_HEADERS | {"Content-Type": metrics.CONTENT_TYPE})


def _text(status: int, words: str) -> Response:
    return PlainTextResponse(f"{visible(words)}\n", status, headers=_HEADERS)


class _Shared:
    """An answer that is made once, in the database thread, for everyone who asks meanwhile."""

    def __init__(self, make: Callable[[], Response], offload: Offload[Any], clock: Clock) -> None:
        self._make = make
        self._offload = offload
        self._clock = clock
        self._making: asyncio.Task[Response] | None = None
        self._fresh_until = 0.0
        self._waiting = 0

    async def give(self) -> Response:
        """Answer one request."""
        making = self._making
        if making is None or (making.done() and self._clock.monotonic() > self._fresh_until):
            making = self._making = asyncio.create_task(self._made())
        if self._waiting >= WAITING_MOST and not making.done():
            return _text(503, "try again")
        self._waiting += 1
        try:
            await asyncio.wait([making])  # to cancel this request does not cancel the others'
        finally:
            self._waiting -= 1
        return making.result()

    async def _made(self) -> Response:
        began = self._clock.monotonic()
        try:
            answer: Response = await self._offload(self._make)
        finally:
            ended = self._clock.monotonic()
            self._fresh_until = ended + min(max(_FRESH_S, 10 * (ended - began)), _STALE_S)
        return answer
