"""The clients of the gateway, each of one connection and lent to one call at a time."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from voicekeeper.http_client import httpx


class Connections:
    """Clients that are made as they are needed; the limiter alone bounds how many.

    A client is used again only after a call that was answered. Whatever else ended one, a timeout,
    an error, a cancellation, may have left its pool without a place for the next.

    Args:
        make: makes a client.

    Raises:
        ConfigError: by ``make``, which is tried at once.
    """

    def __init__(self, make: Callable[[], httpx.AsyncClient]) -> None:
        self._make = make
        self._free = [make()]
        self._closing: set[asyncio.Task[None]] = set()
        self._is_closed = False

    @contextmanager
    def lend(self, *, fresh: bool) -> Iterator[httpx.AsyncClient]:
        """Lend a client to one call; an exception in the block ends the client too.

        Args:
            fresh: True for one that opens a new connection and is not used again. It costs a
                handshake, and rules out that a call is lost on a connection that the server has
                just closed, or takes what came after another's answer for its own.
        """
        make = self._make
        client = make() if fresh or not self._free else self._free.pop()  # the last one used
        answered = False
        try:
            yield client
            answered = True
        finally:
            if answered and not fresh and make is self._make and not self._is_closed:
                self._free.append(client)
            else:
                self._hang_up(client)

    def change(self, make: Callable[[], httpx.AsyncClient]) -> None:
        """Make clients in another way from now on; one that is lent ends after its call."""
        self._make = make
        while self._free:
            self._hang_up(self._free.pop())

    def _hang_up(self, client: httpx.AsyncClient) -> None:
        """Close a client in a task of its own: who has an answer must not lose it over that."""
        closing = asyncio.create_task(_closed(client))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def aclose(self) -> None:
        """Close every client that is not lent; one that is ends after its call."""
        self._is_closed = True
        self.change(self._make)
        if self._closing:
            await asyncio.wait(self._closing)  # which go on if this is cancelled


async def _closed(client: httpx.AsyncClient) -> None:
    with suppress(Exception):  # what a connection says as it is closed is of no use
        await client.aclose()
