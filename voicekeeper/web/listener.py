"""A port of the daemon's, in its own loop: it never stops the daemon, nor the voices' keeping.

A port that cannot be had is told once and tried again, because voices are worth more than what
is shown of them.
"""

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import uvicorn
from starlette.types import ASGIApp
from uvicorn.server import ServerState

from voicekeeper.config import Address
from voicekeeper.errors import reason
from voicekeeper.events import Event
from voicekeeper.keeper import Logger, tell
from voicekeeper.web.protocol import BriefProtocol

_AGAIN_S = 30.0
_BACKLOG = 1024
_TAKEN_AT_ONCE = 64
"""Beyond the connections that are let in: a flood leaves files to open for what keeps voices."""
_FINISH_S = 1.0


class Listener:
    """One port and the application behind it.

    Args:
        address: where to listen.
        app: answers the requests.
        log: where events are told.

    Attributes:
        refused: how many connections were closed, by the reason.
    """

    def __init__(self, address: Address, app: ASGIApp, *, log: Logger) -> None:
        self.refused: Counter[str] = Counter()
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
            log_level="error",  # what a stranger sends is counted, not told
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
        """Take the port, however long another program has it."""
        is_told = False
        while True:
            try:
                server = await self._bound()
            except OSError as error:
                if not is_told:
                    told = {"listen": str(self._address), "error": reason(error)}
                    tell(self._log, Event.LISTENER_FAILED, **told)
                is_told = True
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
            # Every address of this host, those of IPv4 too, as with any other server.
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
        await asyncio.sleep(0)  # in which they learn of it
