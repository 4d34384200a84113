"""Answers that break: a connection that closes without one, or in the middle of one.

A connection that breaks does break: its transport is closed, as by a network that fails. So the
server runs on uvicorn's pure Python protocol, which can be made to hand its transport on.
"""

import asyncio

from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

_HANG_LIMIT = 600.0


class OpenProtocol(H11Protocol):
    """Lets a request's scope reach the connection's transport, so that it can be broken."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Keep the transport where every request of the connection finds it."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


class Broken(Response):
    """No answer: the connection is broken at once, or when the client or the server leaves."""

    def __init__(self, until: asyncio.Event | None = None) -> None:
        super().__init__()
        self._until = until

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Close the connection without a byte."""
        if self._until is not None:
            waits = [asyncio.ensure_future(each) for each in (_gone(receive), self._until.wait())]
            await asyncio.wait(waits, timeout=_HANG_LIMIT, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        scope["state"]["transport"].abort()
        # Return only when uvicorn knows, else it would answer 500 for us.
        await _gone(receive)


class Truncated(Response):
    """An answer that promises its whole length, and breaks off after half of it."""

    def __init__(self, whole: Response) -> None:
        super().__init__(status_code=whole.status_code, media_type=whole.media_type)
        self.raw_headers = whole.raw_headers
        self.body = whole.body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the head and half of the body, and close."""
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )
        half = bytes(self.body[: len(self.body) // 2])
        await send({"type": "http.response.body", "body": half, "more_body": True})
        scope["state"]["transport"].close()
        await _gone(receive)


async def _gone(receive: Receive) -> None:
    """Wait until the connection is closed, by whichever side."""
    while (await receive())["type"] != "http.disconnect":
        pass
