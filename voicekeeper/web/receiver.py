"""The receiver of webhooks: it answers at once, believes nothing but the token, and counts.

Anybody may call. So a call costs a line in memory and a look-up, many of them together; what is
not from the gateway changes nothing, and no line of the log either.
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

from voicekeeper import webhook
from voicekeeper.errors import VoicekeeperError

Heed = Callable[[Collection[str]], Awaitable[int]]
"""Asks for the tasks of these digests, and returns how many there are."""

WAITING_MOST: Final = 1_000
"""Calls that may wait for the next look; the gateway tries again when it is told to."""

_LOOK_EVERY_S = 0.05
_BUSY_S = 1.0

_ANSWERS = {
    "taken": (200, "ok"),
    "malformed": (404, webhook.UNKNOWN_PATH),
    "too_large": (413, "too large"),
    "crowded": (503, "try again"),
}


class Receiver:
    """The path that the gateway calls.

    Args:
        heed: told of the digests of the tokens that came.
        public_url: where the gateway calls, without a slash at its end.

    Attributes:
        heard: how many calls came, by what came of them: ``heeded``; ``unknown`` (forged, late, or
            a repetition); ``malformed``, ``too_large``, ``broken`` (it left in the middle) and
            ``crowded``, which were not looked up.
    """

    def __init__(self, heed: Heed, public_url: str) -> None:
        self._heed = heed
        self._paths = {unquote(webhook.path(public_url)), webhook.PATH}
        self._waiting: set[str] = set()
        self._came = asyncio.Event()
        self.heard: Counter[str] = Counter()

    @property
    def routes(self) -> Sequence[Route]:
        """The paths and who answers them."""
        return [Route(f"{path}/{{token}}", self._receive, methods=["POST"]) for path in self._paths]

    @asynccontextmanager
    async def heeding(self) -> AsyncIterator[None]:
        """Look up what comes, for as long as the block lasts."""
        looking = asyncio.create_task(self._look())
        try:
            yield
        finally:
            looking.cancel()
            with suppress(asyncio.CancelledError):
                await looking

    async def _receive(self, request: Request) -> Response:
        token = request.path_params["token"]
        outcome = await self._judged(request, token)
        if outcome == "taken":
            self._waiting.add(webhook.digest(token))
            self._came.set()
        else:
            self.heard[outcome] += 1
        status, words = _ANSWERS.get(outcome, (400, "bad request"))
        return PlainTextResponse(f"{words}\n", status)

    async def _judged(self, request: Request, token: str) -> str:
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
        """Look up together what came since the last look."""
        while True:
            await self._came.wait()
            self._came.clear()
            digests, self._waiting = self._waiting, set()
            try:
                known = await self._heed(digests)
            except VoicekeeperError:  # busy or full; what cannot wait is asked for all the same
                self._waiting |= digests
                self._came.set()
                await asyncio.sleep(_BUSY_S)
            else:
                self.heard["heeded"] += known
                self.heard["unknown"] += len(digests) - known
                await asyncio.sleep(_LOOK_EVERY_S)
