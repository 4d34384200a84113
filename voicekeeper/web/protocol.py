"""One connection to a port of ours: short, and one request long.

A stranger can open many connections, send half a request, or one that never ends. So a
connection lives for some seconds at most, and there is room for so many; what breaks these rules
is closed without a word, and counted.
"""

import asyncio
from collections import Counter
from typing import Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

LONGEST_S: Final = 10.0
"""For a whole request and its answer."""

MOST: Final = 256
"""Connections at a time; each costs some 20 KiB."""


class BriefProtocol(H11Protocol):
    """A connection of uvicorn's, with an end.

    Args:
        config: loaded.
        state: of all connections to the port.
        refused: counts what was closed, by its reason: ``crowded``, ``slow`` or ``garbage``.
    """

    def __init__(self, config: uvicorn.Config, state: ServerState, refused: Counter[str]) -> None:
        super().__init__(config, state, {})
        self._refused = refused
        self._end: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, if there is room, for so long."""
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
        """Answer what is no HTTP."""
        self._refused["garbage"] += 1
        super().send_400_response(msg)

    def _cut(self, reason: str) -> None:
        self._refused[reason] += 1
        self.transport.abort()
