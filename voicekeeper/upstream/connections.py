"""The connections to the gateway, each lent to one call at a time.

They are httpcore's, which httpx itself stands on, because a keepalive is two calls and little else:
a call through a client of httpx costs twice as much as one on a connection that is already ours.
What httpx adds is nothing that this gateway needs (redirects, cookies, a pool, URLs put together
anew for every call), and some of it would have to be switched off.
"""

import asyncio
import ssl
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from functools import cache, partial
from types import TracebackType
from typing import Protocol
from urllib.request import getproxies, proxy_bypass

import httpcore
import httpx

from voicekeeper.errors import ConfigError
from voicekeeper.upstream.address import Address, is_loopback

_IDLE_SECONDS = 4.0
"""How long an idle connection is kept.

A server closes idle connections too, commonly after five seconds or more. A call sent at that
very moment fails with no answer, and nobody knows whether it was done; so we close first.
"""


class Line(Protocol):
    """A way to the gateway for one call at a time."""

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        """Send a request; return the head of its answer, whose body is still to be read."""

    async def aclose(self) -> None:
        """Hang up."""


class Connections:
    """Lines to one address; another is made when all before it are in use.

    Args:
        address: of the gateway.
        make: makes a line in place of the network's.

    Raises:
        ConfigError: the environment names a proxy or certificates that cannot be used.
    """

    def __init__(self, address: Address, *, make: Callable[[], Line] | None = None) -> None:
        self._make = make or _maker(address)
        self._made: list[Line] = []
        self._free: list[Line] = []
        self._lent = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def lend(self, *, fresh: bool) -> AbstractAsyncContextManager[Line]:
        """Lend a line for one call.

        Args:
            fresh: True for one that opens a new connection, and is closed after the call. It costs
                a handshake, and rules out the loss of a call on a connection that the server has
                just closed.
        """
        return _Loan(self, fresh=fresh)

    def take(self, *, fresh: bool) -> Line:
        """Return a line that is lent until `give_back`."""
        self._lent += 1
        self._idle.clear()
        if self._free and not fresh:
            return self._free.pop()  # the one used last, whose connection is open most likely
        line = self._make()
        self._made.append(line)
        return line

    async def give_back(self, line: Line, *, fresh: bool) -> None:
        """End a loan."""
        try:
            if fresh:
                self._made.remove(line)
                await _hang_up(line)
            else:
                self._free.append(line)
        finally:
            self._lent -= 1
            if not self._lent:
                self._idle.set()

    async def retire(self) -> None:
        """Close every connection as soon as no line is lent, or when this is cancelled."""
        try:
            await self._idle.wait()
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """Close every connection."""
        for line in self._made.copy():
            await _hang_up(line)


class _Loan(AbstractAsyncContextManager[Line]):
    """One call's line; a generator in its stead costs four times as much."""

    def __init__(self, connections: Connections, *, fresh: bool) -> None:
        self._connections = connections
        self._fresh = fresh

    async def __aenter__(self) -> Line:
        self._line = self._connections.take(fresh=self._fresh)
        return self._line

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        await self._connections.give_back(self._line, fresh=self._fresh)


class _Direct:
    """A line that leads straight to the gateway; connected when it is called, and again as often.

    One connection costs a third less than httpcore's pool of one.

    Args:
        connect: makes a connection, which opens at its first call.
    """

    def __init__(self, connect: Callable[[], httpcore.AsyncHTTPConnection]) -> None:
        self._connect = connect
        self._connection = connect()

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        if self._connection.is_closed() or self._connection.has_expired():
            await self._connection.aclose()
            self._connection = self._connect()
        return await self._connection.handle_async_request(request)

    async def aclose(self) -> None:
        await self._connection.aclose()


async def _hang_up(line: Line) -> None:
    # The answer is here; what a connection says as it is closed must not stand in its place.
    with suppress(Exception):
        await line.aclose()


def _maker(address: Address) -> Callable[[], Line]:
    """Return what makes the lines to an address. They share a TLS context, slow to build."""
    secure = address.origin.scheme == b"https"
    tls = _tls_context() if secure else _trusting_nobody()
    proxy = _proxy(address.origin)
    if proxy is None:
        connect = partial(
            httpcore.AsyncHTTPConnection, address.origin, tls, keepalive_expiry=_IDLE_SECONDS
        )
        return partial(_Direct, connect)
    return partial(
        httpcore.AsyncConnectionPool,
        tls,
        proxy=proxy,
        max_connections=1,
        keepalive_expiry=_IDLE_SECONDS,
    )


def _proxy(origin: httpcore.Origin) -> httpcore.Proxy | None:
    """Return the environment's proxy; None where the way is not by one."""
    host, named = origin.host.decode("ascii"), getproxies()
    value = named.get(origin.scheme.decode("ascii")) or named.get("all")
    # An environment's proxy has no way to this host's own loopback.
    if not value or is_loopback(host) or proxy_bypass(host):
        return None
    try:
        proxy = httpx.Proxy(value if "://" in value else f"http://{value}")
        url = Address.read(str(proxy.url)).url("/")
    except (ValueError, httpx.InvalidURL, ConfigError):
        raise ConfigError(
            ["HTTP_PROXY, HTTPS_PROXY, ALL_PROXY: no http or https proxy's address"],
            source="the environment",
        ) from None
    return httpcore.Proxy(
        url, auth=proxy.raw_auth, ssl_context=_tls_context() if url.scheme == b"https" else None
    )


def _tls_context() -> ssl.SSLContext:
    try:
        return httpx.create_ssl_context()
    except OSError:
        raise ConfigError(
            ["SSL_CERT_FILE, SSL_CERT_DIR: no certificates can be read from there"],
            source="the environment",
        ) from None


@cache
def _trusting_nobody() -> ssl.SSLContext:
    """Return a context for where nothing needs a certificate; it costs little."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
