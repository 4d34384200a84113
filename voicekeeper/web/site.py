"""What is shown of the fleet: to a person, to Prometheus, and to whoever asks whether it is well.

It only reads. Each answer is made from the registry, in a thread that no call that keeps a voice
waits for, nor the end of the daemon; and once a second at most, for all who ask meanwhile.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from typing import Final

from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from voicekeeper import health
from voicekeeper.clock import Clock
from voicekeeper.errors import VoicekeeperError
from voicekeeper.schedule import Policy
from voicekeeper.store import Database, Registry
from voicekeeper.store.survey import Survey
from voicekeeper.visible import visible
from voicekeeper.web import metrics, page, style
from voicekeeper.web.guard import Guard
from voicekeeper.web.metrics import Heard

FRESH_S: Final = 1.0
"""How old an answer may be: who asks again and again costs one reading a second."""

WAITING_MOST: Final = 16
"""Requests that may wait for an answer that is being made."""

HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}

PAGE_HEADERS: Final = HEADERS | {
    "Content-Security-Policy": style.CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}


class Site:
    """The paths to look at.

    Args:
        database: what they tell of.
        clock: the host's.
        policy: returns the settings that hold now.
        tick: returns the time between two passes, as it is now.
        heard: returns what came over the web so far.
        names: returns the names by which it is served, beside addresses and local ones.
    """

    def __init__(
        self,
        database: Database,
        *,
        clock: Clock,
        policy: Callable[[], Policy],
        tick: Callable[[], timedelta],
        heard: Callable[[], Heard],
        names: Callable[[], Collection[str]],
    ) -> None:
        self._survey = Survey(database)
        self._registry = Registry(database)
        self._clock = clock
        self._policy = policy
        self._tick = tick
        self._heard = heard
        self._guard = [Middleware(Guard, names)]
        made = {"/": self._page, "/readyz": self._readyz, "/metrics": self._metrics}
        self._answers = {path: _Answer(make, clock) for path, make in made.items()}

    @property
    def routes(self) -> Sequence[Route]:
        """The paths and who answers them."""
        given = {path: answer.give for path, answer in self._answers.items()}
        ways = {"/healthz": self._healthz, **given}
        return [Route(path, way, middleware=self._guard) for path, way in ways.items()]

    def close(self) -> None:
        """Let nobody wait any more."""
        for answer in self._answers.values():
            answer.close()

    async def _healthz(self, _: Request) -> Response:
        """Tell that the daemon's loop turns; that is all."""
        return _said(200, "ok")

    def _page(self) -> Response:
        now, policy = self._clock.now(), self._policy()
        try:
            board = self._survey.board(now=now, policy=policy)
        except VoicekeeperError as error:
            return HTMLResponse(page.failure(str(error)), 503, headers=PAGE_HEADERS)
        made = page.page(board, now=now, tick=self._tick(), policy=policy)
        return HTMLResponse(made, headers=PAGE_HEADERS)

    def _readyz(self) -> Response:
        """Tell whether voices are being kept: a pass ended lately, the database takes writes."""
        try:
            self._survey.check_writable()
            if self._registry.is_unkept(now=self._clock.now(), tick=self._tick()):
                return _said(503, health.unkept(self._registry.last_pass_at()))
        except VoicekeeperError as error:
            return _said(503, str(error))
        return _said(200, "ok")

    def _metrics(self) -> Response:
        policy = self._policy()
        try:
            figures = self._survey.figures(now=self._clock.now(), policy=policy)
        except VoicekeeperError as error:
            return _said(503, str(error))
        told = metrics.exposition(figures, self._heard(), policy)
        return Response(told, headers=HEADERS | {"Content-Type": metrics.CONTENT_TYPE})


class _Answer:
    """The answer for a path, made once for all who wait for it.

    Args:
        make: makes it, in a thread that nobody joins.
        clock: by whose monotonic time it is made again.
    """

    def __init__(self, make: Callable[[], Response], clock: Clock) -> None:
        self._make = make
        self._clock = clock
        self._making: asyncio.Task[Response] | None = None
        self._made_at = 0.0
        self._waiting = 0
        self._is_closed = False

    async def give(self, _: Request) -> Response:
        """Answer one request."""
        making = self._making
        if making is None or (making.done() and self._clock.monotonic() - self._made_at > FRESH_S):
            making = self._making = asyncio.create_task(self._made())
        if self._is_closed or (self._waiting >= WAITING_MOST and not making.done()):
            return _said(503, "try again")
        self._waiting += 1
        try:
            await asyncio.wait([making])  # whose cancelling is no end of this request
        finally:
            self._waiting -= 1
        return _said(503, "try again") if making.cancelled() else making.result()

    async def _made(self) -> Response:
        try:
            return await asyncio.to_thread(self._make)
        finally:
            self._made_at = self._clock.monotonic()

    def close(self) -> None:
        """Let nobody wait any more."""
        self._is_closed = True
        if self._making is not None:
            self._making.cancel()


def _said(status: int, words: str) -> Response:
    return PlainTextResponse(f"{visible(words)}\n", status, headers=HEADERS)
