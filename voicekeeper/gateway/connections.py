"""Where calls go, and the clients that they go by: each of one connection, lent to one call."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Self

from voicekeeper.core.secrecy import Secrets
from voicekeeper.errors import ConfigError, KeyRefused
from voicekeeper.gateway import failure, http_client
from voicekeeper.gateway.http_client import httpx

_HEADERS = {
    "Accept": "application/json",
    # A body that is not packed costs no unpacking; one that is packed all the same is read.
    "Accept-Encoding": "identity",
    "Content-Type": "application/json",
}
"""Of every request."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where calls go, and what they are sent with.

    Attributes:
        url: of the gateway, without a user or password.
        headers: of every request; they hold the key.
        secret: the key, which must not come out again.
        timeout: seconds for one step of a call.
        transport: in place of the network.
    """

    url: httpx.URL
    headers: dict[str, str] = field(repr=False)
    secret: Secrets
    timeout: float
    transport: httpx.AsyncBaseTransport | None

    @classmethod
    def to(
        cls,
        base_url: str,
        api_key: str,
        timeout: float,
        *,
        transport: httpx.AsyncBaseTransport | None,
    ) -> Self:
        """Return the route that the settings name.

        Raises:
            KeyRefused: the key is empty, or no HTTP header can carry it.
            ConfigError: ``base_url`` is none of http or https, or names no host.
        """
        if not (api_key.isascii() and api_key.isprintable() and api_key.split() == [api_key]):
            raise KeyRefused(
                "the API key is empty, or holds a space or a character that no HTTP header can "
                "carry; check the file or variable it comes from"
            )
        url, host = None, ""
        with suppress(httpx.InvalidURL, ValueError):
            url = httpx.URL(base_url).copy_with(userinfo=b"", query=None, fragment=None)
            host = url.host
        if url is None or url.scheme not in ("http", "https") or not host:
            raise ConfigError(["upstream.base_url: no usable http or https address"])
        headers = {**_HEADERS, "Authorization": f"Bearer {api_key}"}
        return cls(url, headers, Secrets([api_key], mark="[API key]"), timeout, transport)

    def clients(self) -> Callable[[], httpx.AsyncClient]:
        """Return what makes clients that share a TLS context, which is slow to build.

        Raises:
            ConfigError: the environment names certificates that cannot be read.
        """
        tls = http_client.tls_context() if self.url.scheme == "https" else None
        steps = httpx.Timeout(self.timeout, connect=failure.connect_timeout(self.timeout))

        def make() -> httpx.AsyncClient:
            client = http_client.client(
                self.url, timeout=steps, headers=self.headers, tls=tls, transport=self.transport
            )
            client.event_hooks = {"response": [_forget_redirect]}
            return client

        return make


async def _forget_redirect(response: httpx.Response) -> None:
    """Take away where an answer leads on to: httpx fails on one that it cannot read."""
    response.headers.pop("location", None)


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
