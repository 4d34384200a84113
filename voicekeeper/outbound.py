"""How a call leaves this host: by which proxy, trusting which certificates, and as whom.

One rule for every client, in place of httpx's own. That one fails in its constructor on
``all_proxy=socks5://…`` beside a proxy that would do, and on an address in ``no_proxy``.
"""

import os
import re
import ssl
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from http.cookiejar import CookieJar, DefaultCookiePolicy
from ipaddress import ip_network

import httpx

from voicekeeper import __version__, hosts
from voicekeeper.errors import ConfigError

USER_AGENT = f"voicekeeper/{__version__}"

_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(rb"[\w.:-]+")
_BETWEEN = re.compile(r"[,\s]+")


def proxy_for(url: httpx.URL, environ: Mapping[str, str]) -> httpx.Proxy | None:
    """Choose the proxy by which a URL is asked for.

    The variable of the URL's scheme comes before ``all_proxy``, and a name in small letters before
    the same in capitals, even if it is empty. ``HTTP_PROXY`` counts for nothing where a web server
    set it from a header, which ``REQUEST_METHOD`` shows. This host is never asked for by a proxy.

    Args:
        url: http or https.
        environ: of the process.

    Returns:
        None where the way is straight.

    Raises:
        ConfigError: the variable that counts names no http or https proxy. Its value, which may
            hold a password, is not repeated.
    """
    chosen = _chosen(url.scheme, environ)
    if chosen is None or hosts.is_loopback(url.host) or _is_spared(url, environ):
        return None
    name, value = chosen
    with suppress(httpx.InvalidURL, ValueError):  # whose words may quote a password
        proxy = httpx.Proxy(value if "://" in value else f"http://{value}")
        usual = _PORTS.get(proxy.url.scheme)
        port = usual if proxy.url.port is None else proxy.url.port
        if usual and port in hosts.PORTS and _HOST.fullmatch(proxy.url.raw_host):
            return proxy
    raise ConfigError(
        [f"{name}: must be the address of an http or https proxy like http://proxy.example:3128"],
        source="the environment",
    )


def _chosen(scheme: str, environ: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the variable that counts for a scheme, and its value; None where none does."""
    for kind in (scheme, "all"):
        small, capital = f"{kind}_proxy", f"{kind}_proxy".upper()
        forged = capital == "HTTP_PROXY" and "REQUEST_METHOD" in environ
        name = small if small in environ or forged else capital
        if value := environ.get(name, "").strip():
            return name, value
    return None


def _is_spared(url: httpx.URL, environ: Mapping[str, str]) -> bool:
    """Tell whether ``no_proxy`` names the host of a URL."""
    spared = environ.get("no_proxy", environ.get("NO_PROXY", ""))
    host, port = url.host.rstrip("."), str(url.port or _PORTS.get(url.scheme))
    return any(_covers(each.lower(), host, port) for each in _BETWEEN.split(spared) if each)


def _covers(spared: str, host: str, port: str) -> bool:
    """Tell whether an entry of ``no_proxy`` is a host, its domain or its network.

    Args:
        spared: such as ``example.com``, ``.example.com:8080``, ``10.0.0.0/8`` or ``[::1]:80``.
        host: in small letters; an IPv6 address without brackets.
        port: of the URL, the scheme's own if it names none.
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
    """Return what trusts certifi's certificates, or those of the environment; it takes 20 ms.

    Raises:
        ConfigError: ``SSL_CERT_FILE`` or ``SSL_CERT_DIR`` cannot be read.
    """
    try:
        return httpx.create_ssl_context()
    except OSError:
        raise ConfigError(
            ["SSL_CERT_FILE, SSL_CERT_DIR: no certificates can be read from there"],
            source="the environment",
        ) from None


def client(
    *,
    timeout_s: float,
    by_proxy: bool = True,
    follow_redirects: bool = False,
    headers: Mapping[str, str] | None = None,
) -> httpx.AsyncClient:
    """Return a client that keeps no cookie.

    Args:
        timeout_s: for each step of a call.
        by_proxy: whether the environment's proxy is used where `proxy_for` names one.
        follow_redirects: whether they are, each by the proxy that is right for where it leads.
        headers: of every request.
    """
    return httpx.AsyncClient(
        transport=_ByRule(by_proxy=by_proxy),
        trust_env=False,
        timeout=timeout_s,
        follow_redirects=follow_redirects,
        max_redirects=5,
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        headers={"User-Agent": USER_AGENT, **(headers or {})},
    )


class _ByRule(httpx.AsyncBaseTransport):
    """Sends each request by the proxy that is right for its URL.

    Raises:
        ConfigError: at a request, by `proxy_for` and `tls_context`.
    """

    def __init__(self, *, by_proxy: bool) -> None:
        self._by_proxy = by_proxy
        self._ways: list[httpx.AsyncHTTPTransport] = []

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return tls_context()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        proxy = proxy_for(request.url, os.environ) if self._by_proxy else None
        secure = request.url.scheme == "https"
        tls = self._tls if secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if proxy is not None and proxy.url.scheme == "https":
            proxy.ssl_context = self._tls
        way = httpx.AsyncHTTPTransport(verify=tls, trust_env=False, proxy=proxy)
        self._ways.append(way)
        return await way.handle_async_request(request)

    async def aclose(self) -> None:
        for way in self._ways:
            await way.aclose()
