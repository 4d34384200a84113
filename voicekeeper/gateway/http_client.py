"""Every HTTP client of the project: by which proxy its calls go, whom it trusts, and as whom.

httpx is imported here and nowhere else; whoever needs its types takes them from here. Its own rule
for proxies is not used: that one fails in its constructor on ``all_proxy=socks5://…`` beside a
proxy that would do, and on an address in ``no_proxy``.
"""

import os
import re
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from functools import cache
from http.client import HTTPResponse
from http.cookiejar import CookieJar
from ipaddress import ip_network
from urllib.request import Request, getproxies

import httpx

from voicekeeper import __version__
from voicekeeper.core import hosts
from voicekeeper.errors import ConfigError

__all__ = ["client", "get", "httpx", "proxy_for", "root_cause", "tls_context"]

USER_AGENT = f"voicekeeper/{__version__}"

_IDLE_SECONDS = 4.0
"""After how long an idle connection is not used again.

A server closes idle connections too, commonly after five seconds or more. A call sent at that
very moment fails with no answer, and nobody knows whether it was done.
"""

_REDIRECTS = 5

_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(rb"[\w.:-]+")
_BETWEEN = re.compile(r"[,\s]+")


def proxy_for(url: httpx.URL) -> httpx.Proxy | None:
    """Choose the proxy of the environment by which a URL is called; None for the direct way.

    The variable of the URL's scheme comes before ``all_proxy``, and a name in small letters before
    the same in capitals, even if it is empty. This host is never called by a proxy.

    Raises:
        ConfigError: the variable that counts names no http or https proxy. Its value, which may
            hold a password, is not repeated.
    """
    environ = getproxies()
    kind = url.scheme if environ.get(url.scheme, "").strip() else "all"
    value = environ.get(kind, "").strip()
    if not value or hosts.is_loopback(url.host) or _is_spared(url, environ.get("no", "")):
        return None
    with suppress(httpx.InvalidURL, ValueError):  # whose words may quote a password
        proxy = httpx.Proxy(value if "://" in value else f"http://{value}")
        usual = _PORTS.get(proxy.url.scheme)
        port = usual if proxy.url.port is None else proxy.url.port
        if usual and port in hosts.PORTS and _HOST.fullmatch(proxy.url.raw_host):
            return proxy
    raise ConfigError(
        [
            f"{kind}_proxy: must be the address of an http or https proxy like http://proxy.example:3128"
        ],
        source="the environment",
    )


def _is_spared(url: httpx.URL, no_proxy: str) -> bool:
    """Tell whether ``no_proxy`` names the host of a URL."""
    host, port = url.host.rstrip("."), str(url.port or _PORTS.get(url.scheme))
    return any(_covers(each.lower(), host, port) for each in _BETWEEN.split(no_proxy) if each)


def _covers(spared: str, host: str, port: str) -> bool:
    """Tell whether an entry of ``no_proxy`` is a host, its domain or its network.

    Such as ``example.com``, ``.example.com:8080``, ``10.0.0.0/8`` or ``[::1]:80``.
    """
    name, only = spared, ""
    if spared.startswith("["):
        name, _, only = spared[1:].partition("]")
    elif spared.count(":") == 1:
        name, _, only = spared.partition(":")
    if only.strip(":") not in ("", port):
        return False
    if name == "*":
        return True
    address = hosts.read(host)
    if address is None:
        domain = name.removeprefix("*").strip(".")
        return bool(domain) and f".{host}".endswith(f".{domain}")
    try:
        return address in ip_network(name, strict=False)
    except ValueError:
        return False


def tls_context() -> ssl.SSLContext:
    """Return what trusts certifi's certificates and the system's, or those of the environment.

    Certifi's are as old as the installation; the system's are kept up to date. It takes 20 ms.

    Raises:
        ConfigError: ``SSL_CERT_FILE`` or ``SSL_CERT_DIR`` cannot be read.
    """
    try:
        context = httpx.create_ssl_context()
    except OSError:
        raise ConfigError(
            ["SSL_CERT_FILE, SSL_CERT_DIR: no certificates can be read from there"],
            source="the environment",
        ) from None
    if not (os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR")):
        context.load_default_certs()
    return context


def client(
    url: httpx.URL,
    *,
    timeout: httpx.Timeout | float,
    headers: Mapping[str, str] | None = None,
    tls: ssl.SSLContext | None = None,
    by_proxy: bool = True,
    transport: httpx.AsyncBaseTransport | None = None,
) -> httpx.AsyncClient:
    """Return a client of one connection, for one call at a time, that keeps no cookie.

    It follows no redirect, whose address may need another proxy. After a call that was cancelled
    or failed it must not be used again: httpx's pool can lose its only place then.

    Args:
        url: what is called; the client is for its scheme, host and port.
        timeout: seconds, for each step of a call.
        tls: from `tls_context`; made where it is needed and not given.
        by_proxy: whether the environment's proxy is used where `proxy_for` names one.

    Raises:
        ConfigError: the environment names a proxy or certificates that cannot be used.
    """
    proxy = proxy_for(url) if by_proxy and transport is None else None
    by_tls = proxy is not None and proxy.url.scheme == "https"
    if tls is None:
        tls = tls_context() if by_tls or url.scheme == "https" else _trusting_nobody()
    if proxy is not None and by_tls:
        proxy.ssl_context = tls
    return httpx.AsyncClient(
        verify=tls,
        proxy=proxy,
        transport=transport,
        trust_env=False,
        timeout=timeout,
        limits=httpx.Limits(max_connections=1, keepalive_expiry=_IDLE_SECONDS),
        cookies=_NoCookies(),
        headers={"User-Agent": USER_AGENT, **(headers or {})},
    )


@asynccontextmanager
async def get(
    url: str, *, timeout_s: float, headers: Mapping[str, str] | None = None
) -> AsyncIterator[httpx.Response]:
    """GET a URL, and where that leads on to, each by the client that is right for it.

    Yields:
        The first answer that leads nowhere on, whose body is not read yet.

    Raises:
        ConfigError: the environment names a proxy or certificates that cannot be used.
        httpx.InvalidURL: it is no URL.
        httpx.HTTPError: no answer came; a TooManyRedirects after five that led on.
    """
    at = httpx.URL(url)
    for _ in range(_REDIRECTS + 1):
        async with (
            client(at, timeout=timeout_s, headers=headers) as asking,
            asking.stream("GET", at) as answer,
        ):
            if answer.next_request is None:
                yield answer
                return
            at = answer.next_request.url
    raise httpx.TooManyRedirects(f"more than {_REDIRECTS}")


class _NoCookies(CookieJar):
    """Takes no cookie, and reads none: the standard library warns of one that it cannot read."""

    def extract_cookies(self, response: HTTPResponse, request: Request) -> None:
        """Leave them."""


@cache
def _trusting_nobody() -> ssl.SSLContext:
    """Return a context for where nothing needs a certificate; it costs little."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def root_cause(error: BaseException) -> BaseException | None:
    """Return the error of the resolver, TLS or the operating system that led to an error.

    httpx's own words are never taken over: they may quote a header, and one of them holds a key.
    """
    kinds = (socket.gaierror, UnicodeError, ssl.SSLError)
    causes = [error]  # nearest first, and it grows
    for cause in causes:
        if isinstance(cause, kinds) or (isinstance(cause, OSError) and cause.errno is not None):
            return cause
        below = [cause.__cause__, cause.__context__]
        if isinstance(cause, BaseExceptionGroup):
            below += cause.exceptions
        causes += [each for each in below if each is not None and each not in causes]
    return None
