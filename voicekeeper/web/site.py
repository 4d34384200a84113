"""What is shown of the fleet: to a person, to Prometheus, and to whoever asks whether it is well.

It only reads. Each answer is made from the registry as it is now, in a thread of its own, so that
no call that keeps a voice waits for it.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Final, TypeVar

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

T = TypeVar("T")

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
        thread: where the database is read.
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
        thread: ThreadPoolExecutor,
    ) -> None:
        self._survey = Survey(database)
        self._registry = Registry(database)
        self._clock = clock
        self._policy = policy
        self._tick = tick
        self._heard = heard
        self._guard = [Middleware(Guard, names)]
        self._thread = thread

    @property
    def routes(self) -> Sequence[Route]:
        """The paths and who answers them."""
        answers = {
            "/": self._page,
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            "/metrics": self._metrics,
        }
        return [Route(path, answer, middleware=self._guard) for path, answer in answers.items()]

    async def _page(self, _: Request) -> Response:
        now, policy = self._clock.now(), self._policy()
        try:
            board = await self._off(partial(self._survey.board, now=now, policy=policy))
        except VoicekeeperError as error:
            return HTMLResponse(page.failure(str(error)), 503, headers=PAGE_HEADERS)
        made = partial(page.page, board, now=now, tick=self._tick(), policy=policy)
        return HTMLResponse(await self._off(made), headers=PAGE_HEADERS)

    async def _healthz(self, _: Request) -> Response:
        """Tell that the daemon's loop turns; that is all."""
        return _said(200, "ok")

    async def _readyz(self, _: Request) -> Response:
        """Tell whether voices are being kept: a pass ended lately, the database takes writes."""
        try:
            trouble = await self._off(self._unready)
        except VoicekeeperError as error:
            trouble = str(error)
        return _said(200, "ok") if trouble is None else _said(503, trouble)

    async def _metrics(self, _: Request) -> Response:
        policy = self._policy()
        try:
            figures = await self._off(
                partial(self._survey.figures, now=self._clock.now(), policy=policy)
            )
        except VoicekeeperError as error:
            return _said(503, str(error))
        told = metrics.exposition(figures, self._heard(), policy)
        return Response(told, headers=HEADERS | {"Content-Type": metrics.CONTENT_TYPE})

    def _unready(self) -> str | None:
        self._survey.check_writable()
        if self._registry.is_unkept(now=self._clock.now(), tick=self._tick()):
            return health.unkept(self._registry.last_pass_at())
        return None

    async def _off(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)


def _said(status: int, words: str) -> Response:
    return PlainTextResponse(f"{visible(words)}\n", status, headers=HEADERS)
