"""Listen on a port, in the daemon's loop, whatever is sent to it.

A port that another program has is logged once and tried again. A stranger can open many
connections, send half a request, or one that never ends. So a connection lives for some seconds,
takes one request, and there is room for so many; what breaks these rules is closed without an
answer, and counted.
"""

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from voicekeeper.config import Address
from voicekeeper.core.events import Event, Logger, tell
from voicekeeper.errors import reason

LONGEST_S: Final = 10.0  # for a whole request and its answer
MOST: Final = 256  # connections at a time; each costs some 20 KiB

_AGAIN_S = 30.0
_BACKLOG = 1024
_TAKEN_AT_ONCE = 64  # beyond `MOST`: a flood leaves file descriptors for keepalives
_FINISH_S = 1.0


class BriefProtocol(H11Protocol):
    """A connection of uvicorn's, with an end; it counts what was closed, by its reason."""

    def __init__(self, config: uvicorn.Config, state: ServerState, refused: Counter[str]) -> None:
        super().__init__(config, state, {})
        self._refused = refused
        self._end: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection if there is room, for `LONGEST_S`."""
        super().connection_made(transport)
        if len(self.connections) > MOST:
            self._cut("crowded")
        else:
            self._end = self.loop.call_later(LONGEST_S, self._cut, "slow")

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        if self._end is not None:
            self._end.cancel()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP."""
        self._refused["garbage"] += 1
        super().send_400_response(msg)

    def _cut(self, reason: str) -> None:
        self._refused[reason] += 1
        self.transport.abort()


class Listener:
    """One port and the application behind it; ``refused`` counts connections by the reason."""

    def __init__(self, address: Address, app: ASGIApp, *, log: Logger) -> None:
        self.refused = Counter[str]()
        self._address = address
        self._log = log
        self._state = ServerState()
        self._state.default_headers = [(b"connection", b"close")]
        self._config = uvicorn.Config(
            app,
            http=BriefProtocol,
            loop="none",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",  # what a stranger sends is counted, not logged
            access_log=False,
            proxy_headers=False,
        )

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Listen for as long as the block lasts."""
        self._config.load()
        opening = asyncio.create_task(self._listen())
        try:
            yield
        finally:
            opening.cancel()
            with suppress(asyncio.CancelledError):
                server = await opening
                server.close()
                await self._finish()

    async def _listen(self) -> asyncio.Server:
        """Listen on the port as soon as no other program has it."""
        is_logged = False
        while True:
            try:
                server = await self._bound()
            except OSError as error:
                if not is_logged:
                    fields = {"listen": str(self._address), "error": reason(error)}
                    tell(self._log, Event.LISTENER_FAILED, **fields)
                is_logged = True
                await asyncio.sleep(_AGAIN_S)
            else:
                tell(self._log, Event.LISTENER_OPENED, listen=str(self._address))
                return server

    async def _bound(self) -> asyncio.Server:
        family = socket.AF_INET6 if ":" in self._address.host else socket.AF_INET
        port = socket.create_server(
            tuple(self._address),
            family=family,
            backlog=_BACKLOG,
            # IPv4 too, as with any other server.
            dualstack_ipv6=self._address.host == "::" and socket.has_dualstack_ipv6(),
        )
        loop = asyncio.get_running_loop()
        server = await loop.create_server(self._protocol, sock=port, backlog=_TAKEN_AT_ONCE)
        port.listen(_BACKLOG)  # the loop takes at once as many as its own backlog allows
        return server

    def _protocol(self) -> BriefProtocol:
        return BriefProtocol(self._config, self._state, self.refused)

    async def _finish(self) -> None:
        """Let the answers under way end, and close what is left."""
        if self._state.tasks:
            await asyncio.wait(self._state.tasks, timeout=_FINISH_S)
        for connection in list(self._state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)  # in which they notice
