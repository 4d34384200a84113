"""The connections to the gateway, each lent to one call at a time.

They are httpcore's, which httpx itself stands on, because a keepalive is two calls and little else:
a call through a client of httpx costs twice as much as one on a connection that is already ours.
What httpx adds is nothing that this gateway needs (redirects, cookies, a pool, URLs put together
anew for every call), and some of it would have to be switched off.
"""

import asyncio
import os
import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from typing import Protocol

import httpcore
import httpx

from voicekeeper.errors import ConfigError
from voicekeeper.outbound import proxy_for, tls_context
from voicekeeper.upstream.address import Address

_IDLE_SECONDS = 4.0
"""After how long an idle connection is not used again.

A server closes idle connections too, commonly after five seconds or more. A call sent at that
very moment fails with no answer, and nobody knows whether it was done.
"""


class Line(Protocol):
    """A way to the gateway for one call at a time."""

    def is_fit(self) -> bool:
        """Tell whether another call may go by it, after one that was answered."""

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        """Send a request; return the head of its answer, whose body is still to be read."""

    async def aclose(self) -> None:
        """Hang up."""


class Connections:
    """Lines to one address; another is made when all before it are in use.

    A line is used again only after a call that was answered. Whatever else ended one, a timeout,
    an error, a cancellation, leaves a line of which nobody knows how it stands.

    Args:
        address: of the gateway.
        make: makes a line in place of the network's.

    Raises:
        ConfigError: the environment names a proxy or certificates that cannot be used.
    """

    def __init__(self, address: Address, *, make: Callable[[], Line] | None = None) -> None:
        self._renewed = partial(_maker, address) if make is None else None
        self._make = make or _maker(address)
        self._free: list[Line] = []
        self._lent: list[Line] = []
        self._idle = asyncio.Event()
        self._idle.set()
        self._closing: set[asyncio.Task[None]] = set()
        self._closed = False

    def take(self, *, fresh: bool) -> Line:
        """Return a line that is lent until `give_back`.

        Args:
            fresh: True for one that opens a new connection. It costs a handshake, and rules out
                the loss of a call on a connection that the server has just closed.
        """
        line = None if fresh else self._fit()
        if line is None:
            line = self._make()
        self._lent.append(line)
        self._idle.clear()
        return line

    def _fit(self) -> Line | None:
        while self._free:
            line = self._free.pop()  # the one used last, whose connection is open most likely
            if line.is_fit():
                return line
            self._hang_up(line)
        return None

    def give_back(self, line: Line, *, again: bool) -> None:
        """End a loan.

        Args:
            line: that was lent.
            again: whether another call may go by it.
        """
        self._lent.remove(line)
        if again and not self._closed:
            self._free.append(line)
        else:
            self._hang_up(line)
        if not self._lent:
            self._idle.set()

    def _hang_up(self, line: Line) -> None:
        """Close a line in a task of its own: who has an answer must not lose it over that."""
        closing = asyncio.create_task(_closed(line))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    def renew(self) -> None:
        """Trust from the next line on what is to be trusted now; over years, that is replaced."""
        if self._renewed is not None:
            with suppress(ConfigError):  # what was trusted so far may do
                self._make = self._renewed()
            while self._free:
                self._hang_up(self._free.pop())

    async def retire(self) -> None:
        """Close every connection as soon as no line is lent, or when this is cancelled."""
        try:
            await self._idle.wait()
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """Close every connection; a call that is under way ends at once."""
        self._closed = True
        lines, self._free = [*self._free, *self._lent], []
        for line in lines:
            self._hang_up(line)
        if self._closing:
            await asyncio.wait(self._closing)  # which go on if this is cancelled


async def _closed(line: Line) -> None:
    # What a connection says as it is closed is nobody's business any more.
    with suppress(Exception):
        await line.aclose()


class _Direct(httpcore.AsyncHTTPConnection):
    """A line that leads straight to the gateway. It costs a third less than a pool of one."""

    def is_fit(self) -> bool:
        return self.is_idle() and not self.has_expired() and not self._has_more()

    def _has_more(self) -> bool:
        """Tell whether more came than the answer: the next call would take it for its own."""
        over: bytes = self._connection._h11_state.trailing_data[0]  # type: ignore[union-attr]  # noqa: SLF001
        return bool(over)


class _ByProxy(httpcore.AsyncConnectionPool):
    """A line by way of a proxy, which looks by itself whether its connection may be used."""

    def is_fit(self) -> bool:
        return True


def _maker(address: Address) -> Callable[[], Line]:
    """Return what makes the lines to an address. They share a TLS context, slow to build."""
    secure = address.origin.scheme == b"https"
    tls = tls_context() if secure else _trusting_nobody()
    proxy = _proxy(address.origin)
    if proxy is None:
        return partial(_Direct, address.origin, tls, keepalive_expiry=_IDLE_SECONDS)
    return partial(
        _ByProxy,
        tls,
        proxy=proxy,
        max_connections=1,
        keepalive_expiry=_IDLE_SECONDS,
    )


def _proxy(origin: httpcore.Origin) -> httpcore.Proxy | None:
    """Return the environment's proxy; None where the way is not by one."""
    scheme, host = origin.scheme.decode("ascii"), origin.host.decode("ascii")
    chosen = proxy_for(httpx.URL(scheme=scheme, host=host, port=origin.port), os.environ)
    if chosen is None:
        return None
    proxy = httpcore.Proxy(Address.read(str(chosen.url)).url("/"), auth=chosen.raw_auth)
    if proxy.url.scheme == b"https":
        proxy.ssl_context = tls_context()
    return proxy


@cache
def _trusting_nobody() -> ssl.SSLContext:
    """Return a context for where nothing needs a certificate; it costs little."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
