"""The paths that show the fleet: the page, metrics and health.

They only read. Each answer is made at most once a second, for everyone who asks meanwhile, and in a
thread of its own: no keepalive waits for it, nor it for the look-up of a name.

A web page of a stranger must not read them: whoever owns a name can point it at this port once
their page is loaded (DNS rebinding). So the request's ``Host`` must be an address, a name that
nobody outside can own, or one of ``web.hosts``. Starlette's `TrustedHostMiddleware` takes a fixed
list of names alone.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from voicekeeper.core import hosts
from voicekeeper.core.clock import Clock
from voicekeeper.core.health import Keeping
from voicekeeper.core.schedule import Policy
from voicekeeper.core.visible import visible
from voicekeeper.errors import VoicekeeperError
from voicekeeper.store.database import Database
from voicekeeper.store.registry import Registry
from voicekeeper.store.survey import Survey
from voicekeeper.web import metrics, page
from voicekeeper.web.metrics import WebCounts

FRESH_S: Final = 1.0
"""How old an answer may be: however many ask, the registry is read once a second."""

WAITING_MOST: Final = 16
"""Requests that may wait for an answer that is being made."""

HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}

MISDIRECTED: Final = 421
"""HTTP's status for a request to a server that does not answer for its host (RFC 9110)."""

MISDIRECTED_TEXT: Final = (
    "voicekeeper is not served under this name; "
    "ask by an IP address, or add the name to web.hosts\n"
)

_HOST: Final = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._-]+)(:[0-9]*)?")


def is_served(host: str, names: Collection[str]) -> bool:
    """Return whether a request with this ``Host`` is answered.

    A name without a dot is known to the local network alone: ``localhost``, a container's.

    Args:
        host: of the request, with its port or without.
        names: those of this host and of the settings, in lower case.
    """
    match = _HOST.fullmatch(host)
    if match is None:
        return False
    name = match["name"].strip("[]").lower().rstrip(".")
    is_address = hosts.read(name) is not None
    return is_address or "." not in name or name.endswith(".localhost") or name in names


class Site:
    """The paths to look at.

    Args:
        database: what they show.
        clock: the host's.
        policy: returns the settings in force.
        tick: returns the time between two passes, as it is now.
        counts: returns what came over the web so far.
        names: returns the names it is served by, besides addresses and local ones.
    """

    def __init__(
        self,
        database: Database,
        *,
        clock: Clock,
        policy: Callable[[], Policy],
        tick: Callable[[], timedelta],
        counts: Callable[[], WebCounts],
        names: Callable[[], Collection[str]],
    ) -> None:
        self._page_headers = HEADERS | {
            "Content-Security-Policy": page.content_security_policy(),
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
        }
        self._survey = Survey(database)
        self._registry = Registry(database)
        self._clock = clock
        self._policy = policy
        self._tick = tick
        self._counts = counts
        self._names = names
        self._answers = {
            path: _SharedAnswer(make, clock)
            for path, make in (
                ("/", self._page),
                ("/readyz", self._readyz),
                ("/metrics", self._metrics),
            )
        }

    @property
    def routes(self) -> Sequence[Route]:
        """The paths and what answers them."""
        shared = [Route(path, self._guarded(each.give)) for path, each in self._answers.items()]
        return [Route("/healthz", self._guarded(self._healthz)), *shared]

    def close(self) -> None:
        """Answer 503 to every request that still waits."""
        for answer in self._answers.values():
            answer.close()

    def _guarded(
        self, give: Callable[[], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            # A request without a Host is no browser's.
            if all(is_served(host, self._names()) for host in request.headers.getlist("host")):
                return await give()
            return PlainTextResponse(MISDIRECTED_TEXT, MISDIRECTED)

        return answer

    async def _healthz(self) -> Response:
        """Answer that the daemon's loop turns, and no more."""
        return _text(200, "ok")

    def _page(self) -> Response:
        now, policy = self._clock.now(), self._policy()
        try:
            board = self._survey.board(now=now, policy=policy)
        except VoicekeeperError as error:
            return HTMLResponse(page.failure(str(error)), 503, headers=self._page_headers)
        html = page.page(board, now=now, tick=self._tick(), policy=policy)
        return HTMLResponse(html, headers=self._page_headers)

    def _readyz(self) -> Response:
        """Answer whether voices are kept: a pass ended lately, the database can be written."""
        try:
            self._survey.check_writable()
            keeping = self._registry.keeping()
            if keeping.is_missing(now=self._clock.now(), tick=self._tick()):
                return _text(503, Keeping(keeping.last_pass_at).sentence)  # it is asked of a daemon
        except VoicekeeperError as error:
            return _text(503, str(error))
        return _text(200, "ok")

    def _metrics(self) -> Response:
        policy = self._policy()
        try:
            figures = self._survey.figures(now=self._clock.now(), policy=policy)
        except VoicekeeperError as error:
            return _text(503, str(error))
        text = metrics.exposition(figures, self._counts(), policy)
        return Response(text, headers=HEADERS | {"Content-Type": metrics.CONTENT_TYPE})


class _SharedAnswer:
    """The answer for a path, made once for all who wait for it.

    Args:
        make: makes it, in a thread of its own.
        clock: its monotonic time says how old an answer is.
    """

    def __init__(self, make: Callable[[], Response], clock: Clock) -> None:
        self._make = make
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="site")
        self._making: asyncio.Task[Response] | None = None
        self._made_at = 0.0
        self._waiting = 0
        self._is_closed = False

    async def give(self) -> Response:
        """Answer one request."""
        making = self._making
        if making is None or (making.done() and self._clock.monotonic() - self._made_at > FRESH_S):
            making = self._making = asyncio.create_task(self._made())
        if self._is_closed or (self._waiting >= WAITING_MOST and not making.done()):
            return _text(503, "try again")
        self._waiting += 1
        try:
            await asyncio.wait([making])  # cancelling it does not cancel this request
        finally:
            self._waiting -= 1
        return _text(503, "try again") if making.cancelled() else making.result()

    async def _made(self) -> Response:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._make)
        finally:
            self._made_at = self._clock.monotonic()

    def close(self) -> None:
        """Answer 503 to every request that still waits."""
        self._is_closed = True
        if self._making is not None:
            self._making.cancel()
        self._thread.shutdown(wait=False)


def _text(status: int, words: str) -> Response:
    return PlainTextResponse(f"{visible(words)}\n", status, headers=HEADERS)
