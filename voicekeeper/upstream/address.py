"""The gateway's address: its base URL, taken apart once and not for every call."""

from contextlib import suppress
from dataclasses import dataclass

import httpcore
import httpx

from voicekeeper.errors import ConfigError

_PORTS = {b"http": 80, b"https": 443}


@dataclass(frozen=True, slots=True)
class Address:
    """What a call needs of a base URL.

    Attributes:
        host: for people.
        origin: scheme, host and port.
        port: as it is written down; None where it is the scheme's own.
        authority: the value of the ``Host`` header.
        path: what comes before the endpoint's, without a slash at its end.
    """

    host: str
    origin: httpcore.Origin
    port: int | None
    authority: bytes
    path: bytes

    @classmethod
    def read(cls, base_url: str) -> "Address":
        """Take a base URL apart.

        Raises:
            ConfigError: it is none of http or https, or names no host.
        """
        address = None
        with suppress(httpx.InvalidURL, ValueError):
            url = httpx.URL(base_url)
            port = _PORTS.get(url.raw_scheme)
            if port is not None and url.raw_host:
                origin = httpcore.Origin(url.raw_scheme, url.raw_host, url.port or port)
                path = url.raw_path.rstrip(b"/")
                address = cls(url.host, origin, url.port, url.netloc, path)
        if address is None:
            raise ConfigError(["upstream.base_url: no usable http or https address"])
        return address

    def url(self, target: str) -> httpcore.URL:
        """Return the URL of an endpoint.

        Args:
            target: its path, and its query if it has one; quoted.
        """
        return httpcore.URL(
            scheme=self.origin.scheme,
            host=self.origin.host,
            port=self.port,
            target=self.path + target.encode("ascii"),
        )


def host_of(base_url: str) -> str:
    """Return the host of a URL, never the user or password in it."""
    try:
        return httpx.URL(base_url).host or "base_url"
    except (httpx.InvalidURL, ValueError):
        return "base_url"
