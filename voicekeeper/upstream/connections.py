"""The connections to the gateway: each a client of its own, lent to one call at a time.

httpx scans its pool twice for every call, and looks whether each idle connection was closed: one
pool of 64 connections is many times slower than 64 clients of one. They are made when all before
them are in use, and share one TLS context, which is slow to build.
"""

import asyncio
import ipaddress
import ssl
from contextlib import AbstractContextManager
from functools import cache, partial
from types import TracebackType

import httpx

from voicekeeper.errors import ConfigError

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
        max_in_flight: how many clients are lent at once, at most.
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
            self._kept = [client(1, 1)]
        except (ValueError, ImportError, httpx.InvalidURL):
            raise ConfigError(
                ["HTTP_PROXY, HTTPS_PROXY, ALL_PROXY: no http or https proxy's address"],
                source="the environment",
            ) from None
        self._another = partial(client, 1, 1)
        self._fresh: httpx.AsyncClient | None = None
        most = max_in_flight + 1  # the balance takes no call's place
        self._make_fresh = partial(client, most, 0)
        self._free = [*self._kept]
        self._lent = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def lend(self, *, fresh: bool) -> AbstractContextManager[httpx.AsyncClient]:
        """Lend a client for one call.

        Args:
            fresh: True for one that opens a new connection. It costs a handshake, and rules
                out the loss of a call on a connection that the server has just closed.
        """
        return _Loan(self, fresh=fresh)

    def take(self, *, fresh: bool) -> httpx.AsyncClient:
        """Return a client that is lent until `give_back`."""
        self._lent += 1
        self._idle.clear()
        if fresh:
            self._fresh = self._fresh or self._make_fresh()
            return self._fresh
        if not self._free:
            self._kept.append(self._another())
            return self._kept[-1]
        return self._free.pop()  # the one used last, whose connection is open most likely

    def give_back(self, client: httpx.AsyncClient) -> None:
        """End a loan."""
        if client is not self._fresh:
            self._free.append(client)
        self._lent -= 1
        if not self._lent:
            self._idle.set()

    async def retire(self) -> None:
        """Close every connection as soon as no client is lent, or when this is cancelled."""
        try:
            await self._idle.wait()
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """Close every connection."""
        made = self._kept if self._fresh is None else [*self._kept, self._fresh]
        for client in made:
            await client.aclose()


class _Loan(AbstractContextManager[httpx.AsyncClient]):
    """One call's client; a generator in its stead costs four times as much."""

    def __init__(self, connections: Connections, *, fresh: bool) -> None:
        self._connections = connections
        self._fresh = fresh

    def __enter__(self) -> httpx.AsyncClient:
        self._client = self._connections.take(fresh=self._fresh)
        return self._client

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._connections.give_back(self._client)


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
