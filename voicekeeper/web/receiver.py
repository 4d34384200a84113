"""Receive webhooks: answer at once, trust nothing but the token, and count.

Anybody may call. So a call costs an entry in memory and a share of a look-up; one that is not the
gateway's changes nothing and logs nothing.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final
from urllib.parse import unquote

from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from voicekeeper.core import webhook

Heed = Callable[[Collection[str]], Awaitable[int]]
"""Polls the tasks with these digests; returns how many there are."""

WAITING_MOST: Final = 1_000
"""Calls that may wait for the next look-up; the gateway repeats a call that is answered 503."""

_LOOK_EVERY_S = 0.05
_BUSY_S = 1.0

_ANSWERS = {
    "taken": (200, "ok"),
    "malformed": (404, webhook.UNKNOWN_PATH),
    "too_large": (413, "too large"),
    "broken": (400, "bad request"),
    "crowded": (503, "try again"),
}


class Receiver:
    """The path of ``public_url``; what came to it is counted by its outcome.

    ``heeded``; ``unknown`` (forged, late, or a repetition); and, which were not looked up,
    ``malformed``, ``too_large``, ``broken`` (cut off in the middle) and ``crowded``.
    """

    def __init__(self, heed: Heed, public_url: str) -> None:
        self._heed = heed
        self._paths = {unquote(webhook.path(public_url)), webhook.PATH}
        self._waiting: set[str] = set()
        self._came = asyncio.Event()
        self.counts = Counter[str]()

    @property
    def routes(self) -> Sequence[Route]:
        """The paths and what answers them."""
        return [Route(f"{path}/{{token}}", self._receive, methods=["POST"]) for path in self._paths]

    @asynccontextmanager
    async def heeding(self) -> AsyncIterator[None]:
        """Look up the tokens that come, for as long as the block lasts."""
        looking = asyncio.create_task(self._look())
        try:
            yield
        finally:
            looking.cancel()
            with suppress(asyncio.CancelledError):
                await looking

    async def _receive(self, request: Request) -> Response:
        token = request.path_params["token"]
        outcome = await self._outcome(request, token)
        if outcome == "taken":
            self._waiting.add(webhook.digest(token))
            self._came.set()
        else:
            self.counts[outcome] += 1
        status, words = _ANSWERS[outcome]
        return PlainTextResponse(f"{words}\n", status)

    async def _outcome(self, request: Request, token: str) -> str:
        if not webhook.is_token(token):
            return "malformed"
        length = 0
        try:
            async for chunk in request.stream():
                length += len(chunk)
                if length > webhook.BODY_MOST:
                    return "too_large"
        except ClientDisconnect:
            return "broken"
        return "taken" if len(self._waiting) < WAITING_MOST else "crowded"

    async def _look(self) -> None:
        """Look up together all tokens that came since the last time."""
        while True:
            await self._came.wait()
            self._came.clear()
            digests, self._waiting = self._waiting, set()
            try:
                known = await self._heed(digests)
            except Exception:  # noqa: BLE001 - the passes tell of it, and poll all the same
                self._waiting |= digests
                self._came.set()
                await asyncio.sleep(_BUSY_S)
            else:
                self.counts["heeded"] += known
                self.counts["unknown"] += len(digests) - known
                await asyncio.sleep(_LOOK_EVERY_S)
