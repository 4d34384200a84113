"""Where calls go, and the clients that they go by: each of one connection, lent to one call."""

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Self

from voicekeeper.config.settings import Upstream
from voicekeeper.core.secrecy import Secrets
from voicekeeper.core.secret import SecretStr
from voicekeeper.errors import ConfigError
from voicekeeper.gateway import failure, http_client
from voicekeeper.gateway.http_client import httpx


@dataclass(frozen=True, slots=True)
class Route:
    """Where calls go, and what they are sent with.

    Attributes:
        headers: of every request; they hold the key.
        secret: the key, which must not come out again.
        timeout: seconds for one step of a call.
        tls: shared by all clients, as it is slow to build; None for http.
    """

    url: httpx.URL
    host: str
    headers: dict[str, str] = field(repr=False)
    secret: Secrets
    timeout: float
    tls: ssl.SSLContext | None
    transport: httpx.AsyncBaseTransport | None

    @classmethod
    def to(
        cls, upstream: Upstream, api_key: SecretStr, transport: httpx.AsyncBaseTransport | None
    ) -> Self:
        """Return the route that the settings name.

        Raises:
            ConfigError: ``base_url`` cannot be called, or the environment names certificates that
                cannot be read.
        """
        try:
            url = httpx.URL(upstream.base_url)
            host = url.host
        except (httpx.InvalidURL, ValueError):
            problem = "upstream.base_url: no usable http or https address"
            raise ConfigError([problem]) from None
        key = api_key.get_secret_value()
        headers = {
            "Accept": "application/json",
            # A body that is not packed costs no unpacking; one that is packed all the same is read.
            "Accept-Encoding": "identity",
            "Authorization": f"Bearer {key}",
        }
        tls = http_client.tls_context() if url.scheme == "https" else None
        secret = Secrets([key], mark="[API key]")
        return cls(url, host, headers, secret, upstream.timeout.total_seconds(), tls, transport)

    def client(self) -> httpx.AsyncClient:
        """Make a client; a `ConfigError` says that the environment's proxy cannot be used."""
        steps = httpx.Timeout(self.timeout, connect=failure.connect_timeout(self.timeout))
        client = http_client.client(
            self.url, timeout=steps, headers=self.headers, tls=self.tls, transport=self.transport
        )
        client.event_hooks = {"response": [_forget_redirect]}
        return client

    def with_current_authorities(self) -> Self:
        """Read the trusted certificates again: over years, authorities are replaced."""
        with suppress(ConfigError):  # the old ones may do
            return replace(self, tls=http_client.tls_context())
        return self


async def _forget_redirect(response: httpx.Response) -> None:
    """Take away where an answer leads on to: httpx fails on one that it cannot read."""
    response.headers.pop("location", None)


class Connections:
    """Clients that are made as they are needed; the limiter alone bounds how many.

    A client is used again only after a call that was answered. A timeout, an error or a
    cancellation may have left its pool without a place for the next call.
    """

    def __init__(self, route: Route) -> None:
        self.route = route
        self._free = [route.client()]
        self._closing: set[asyncio.Task[None]] = set()
        self.is_closed = False

    @contextmanager
    def lend(self, *, fresh: bool) -> Iterator[httpx.AsyncClient]:
        """Lend a client to one call; an exception in the block ends the client too.

        A ``fresh`` one opens a new connection and is not used again. It costs a handshake, and
        rules out that a call is lost on a connection that the server has just closed, or takes
        what came after another's answer for its own.
        """
        route = self.route
        client = route.client() if fresh or not self._free else self._free.pop()  # the last used
        answered = False
        try:
            yield client
            answered = True
        finally:
            if answered and not fresh and route is self.route and not self.is_closed:
                self._free.append(client)
            else:
                self._hang_up(client)

    def change(self, route: Route) -> None:
        """Make clients of another route from now on; one that is lent ends after its call."""
        self.route = route
        while self._free:
            self._hang_up(self._free.pop())

    def _hang_up(self, client: httpx.AsyncClient) -> None:
        """Close a client in a task of its own: who has an answer must not lose it over that."""
        closing = asyncio.create_task(_closed(client))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def aclose(self) -> None:
        """Close every client that is not lent; one that is ends after its call."""
        self.is_closed = True
        self.change(self.route)
        if self._closing:
            await asyncio.wait(self._closing)  # which go on if this is cancelled


async def _closed(client: httpx.AsyncClient) -> None:
    with suppress(Exception):  # what a connection says as it is closed is of no use
        await client.aclose()
