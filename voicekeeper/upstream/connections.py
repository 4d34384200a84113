"""The connections to the gateway: several small pools in place of one large one.

httpx scans its pool for every call, so one pool of 64 connections is much slower than sixteen
pools of four, each made when all before it are in use. They share one TLS context, which is slow
to build.
"""

import asyncio
import ipaddress
import math
import ssl
from collections import Counter
from contextlib import AbstractContextManager
from functools import cache, partial
from types import TracebackType

import httpx

from voicekeeper.errors import ConfigError

_POOL_SIZE = 4
_FRESH = -1
"""What the client without a pool is counted under."""

_IDLE_SECONDS = 4.0
"""How long an idle connection is kept.

A server closes idle connections too, commonly after five seconds or more. A call sent at that
very moment fails with no answer, and nobody knows whether it was done; so we close first.
"""


class Connections:
    """Clients for one base URL.

    Args:
        base_url: only its scheme and host matter here; a broken one fails when it is called.
        timeout: of httpx, for connect, read, write and pool.
        auth: signs every request.
        max_in_flight: how many clients may be lent at once.
        transport: replaces the network.

    Raises:
        ConfigError: the environment names a proxy or certificates that cannot be used.
    """

    def __init__(
        self,
        *,
        base_url: str,
        timeout: httpx.Timeout,
        auth: httpx.Auth,
        max_in_flight: int,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        try:
            tls = _tls_context(base_url)
        except OSError:
            raise ConfigError(
                ["SSL_CERT_FILE, SSL_CERT_DIR: no certificates can be read from there"],
                source="the environment",
            ) from None
        # An environment's proxy has no way to this host's own loopback.
        trust_env = not is_loopback(host_of(base_url))

        def client(size: int, kept: int) -> httpx.AsyncClient:
            return _Client(
                verify=tls,
                trust_env=trust_env,
                timeout=timeout,
                auth=auth,
                transport=transport,
                follow_redirects=False,
                event_hooks={"response": [_forget_location]},
                limits=httpx.Limits(
                    max_connections=size,
                    max_keepalive_connections=kept,
                    keepalive_expiry=_IDLE_SECONDS,
                ),
            )

        try:
            self._fresh = client(max_in_flight + 1, 0)  # the balance takes no call's place
            self._pooled = [client(_POOL_SIZE, _POOL_SIZE)]
        except (ValueError, ImportError, httpx.InvalidURL):
            raise ConfigError(
                ["HTTP_PROXY, HTTPS_PROXY, ALL_PROXY: no http or https proxy's address"],
                source="the environment",
            ) from None
        self._most_pools = math.ceil(max_in_flight / _POOL_SIZE)
        self._another = partial(client, _POOL_SIZE, _POOL_SIZE)
        self._lent: Counter[int] = Counter()
        self._idle = asyncio.Event()
        self._idle.set()

    def lend(self, *, fresh: bool) -> AbstractContextManager[httpx.AsyncClient]:
        """Lend a client for one call.

        Args:
            fresh: True for one that opens a new connection. It costs a handshake, and rules
                out the loss of a call on a connection that the server has just closed.
        """
        return _Loan(self, _FRESH if fresh else self._least_used())

    def _least_used(self) -> int:
        if not self._lent[0]:
            return 0
        index = min(range(len(self._pooled)), key=self._lent.__getitem__)
        if self._lent[index] and len(self._pooled) < self._most_pools:
            index = len(self._pooled)
            self._pooled.append(self._another())
        return index

    def take(self, index: int) -> httpx.AsyncClient:
        """Count a client as lent until `give_back`."""
        self._lent[index] += 1
        self._idle.clear()
        return self._fresh if index == _FRESH else self._pooled[index]

    def give_back(self, index: int) -> None:
        """End a loan."""
        self._lent[index] -= 1
        if not self._lent[index] and not self._lent.total():
            self._idle.set()

    async def retire(self) -> None:
        """Close every connection as soon as no client is lent, or when this is cancelled."""
        try:
            await self._idle.wait()
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """Close every connection."""
        for client in (*self._pooled, self._fresh):
            await client.aclose()


class _Loan(AbstractContextManager[httpx.AsyncClient]):
    """One call's client; a generator in its stead costs twice as much."""

    def __init__(self, connections: Connections, index: int) -> None:
        self._connections = connections
        self._index = index

    def __enter__(self) -> httpx.AsyncClient:
        return self._connections.take(self._index)

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._connections.give_back(self._index)


class _NoCookies(httpx.Cookies):
    """A jar that takes no cookie.

    The gateway sets none, but a proxy may; and one whose text no header can carry back would
    fail every later call.
    """

    def extract_cookies(self, response: httpx.Response) -> None:
        """Leave the cookies of an answer alone."""


class _Client(httpx.AsyncClient):
    """A client whose jar takes no cookie."""

    @property  # type: ignore[misc]  # which nobody sets
    def cookies(self) -> httpx.Cookies:
        return _NO_COOKIES


_NO_COOKIES = _NoCookies()


def host_of(base_url: str) -> str:
    """Return the host of a URL, never the user or password in it."""
    try:
        return httpx.URL(base_url).host or "base_url"
    except (httpx.InvalidURL, ValueError):
        return "base_url"


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address is this very machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _tls_context(base_url: str) -> ssl.SSLContext:
    """Return the one context of all pools.

    Without https nothing needs a certificate: an empty context costs little, and should it be
    used all the same it trusts nobody.
    """
    if base_url.lower().startswith("http://"):
        return _trusting_nobody()
    return httpx.create_ssl_context()


@cache
def _trusting_nobody() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


async def _forget_location(response: httpx.Response) -> None:
    """Drop where a redirect points to, before httpx prepares to go there.

    A location that it cannot read would raise, and hide the status, which says enough.
    """
    if not response.is_success:
        response.headers.pop("location", None)
