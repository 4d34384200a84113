"""Fetching audio: the preview of a new voice, or the recording that one was cloned from.

Where a URL points is somebody else's word. So it is fetched by http or https only, from public
addresses only, which is seen on the very connection before a byte is sent; it may lead on three
times, by the same rule; and it may take so many bytes and seconds. It is sent no key and no cookie,
and goes by no proxy.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

import httpx

from voicekeeper import hosts, outbound
from voicekeeper.errors import FetchFailed

WITHIN_S: Final = 60.0
"""For the whole of it."""

_WAIT_S = 15.0
_REDIRECTS = 3
_OK = 200
_TRY_AGAIN = (408, 425, 429)
_CLIENT_ERRORS = range(400, 500)
_PIECE = 64 * 1024


class AudioFetcher:
    """Fetches audio.

    Args:
        gateway: its host. Where that is this very machine, so may the audio's be.
    """

    def __init__(self, gateway: str) -> None:
        self._may_be_here = hosts.is_loopback(gateway)

    async def fetch(self, url: str, sink: Callable[[bytes], object], *, most: int) -> None:
        """Fetch a URL, piece by piece.

        Args:
            url: anything.
            sink: takes the pieces.
            most: bytes.

        Raises:
            FetchFailed: it cannot be had; ``permanent`` where it never can. Its words hold no more
                of the URL than the host, because what follows may be a secret.
        """
        try:
            async with asyncio.timeout(WITHIN_S), self._client() as client:
                await self._follow(client, url, sink, most)
        except TimeoutError:
            raise FetchFailed(f"it took longer than {WITHIN_S:g} s") from None
        except (httpx.InvalidURL, UnicodeError):
            raise FetchFailed("its URL cannot be read", permanent=True) from None
        except (httpx.HTTPError, OSError) as error:
            raise FetchFailed(f"its host is not reached ({type(error).__name__})") from None

    def _client(self) -> httpx.AsyncClient:
        accept = {"Accept": "audio/*, */*;q=0.1", "Accept-Encoding": "identity"}
        return outbound.client(timeout_s=_WAIT_S, by_proxy=False, headers=accept)

    async def _follow(
        self, client: httpx.AsyncClient, url: str, sink: Callable[[bytes], object], most: int
    ) -> None:
        for _ in range(_REDIRECTS + 1):
            asked = httpx.URL(url)
            if asked.scheme not in ("http", "https") or not asked.host or asked.userinfo:
                raise FetchFailed("its URL is neither http nor https", permanent=True)
            if asked.port is not None and asked.port not in hosts.PORTS:
                raise FetchFailed("its URL cannot be read", permanent=True)
            trace = {"trace": self._see}
            async with client.stream("GET", asked, extensions=trace) as response:
                if not response.has_redirect_location:
                    await _take(response, sink, most)
                    return
                url = str(asked.join(response.headers["location"]))
        raise FetchFailed(f"it leads on more than {_REDIRECTS} times", permanent=True)

    async def _see(self, event: str, info: Mapping[str, Any]) -> None:
        """Hang up on a machine that is no public one, before it is asked for anything."""
        if event != "connection.connect_tcp.complete":
            return
        stream = info["return_value"]
        host = str(stream.get_extra_info("server_addr")[0]).split("%")[0]
        may_be_here = self._may_be_here and hosts.is_loopback(host)
        if not hosts.is_public(host) and not may_be_here:
            await stream.aclose()
            raise FetchFailed("its host is no public one", permanent=True)


async def _take(response: httpx.Response, sink: Callable[[bytes], object], most: int) -> None:
    host, status = response.url.host, response.status_code
    if status != _OK:
        permanent = status in _CLIENT_ERRORS and status not in _TRY_AGAIN
        raise FetchFailed(f"{host} answered {status}", permanent=permanent)
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind.startswith("text/") or kind in ("application/json", "application/xml"):
        raise FetchFailed(f"{host} sent no audio but {kind[:40]}", permanent=True)
    size = 0
    async for piece in response.aiter_raw(_PIECE):
        size += len(piece)
        if size > most:
            raise FetchFailed(f"it is larger than {most // 1_000_000} MB", permanent=True)
        sink(piece)
    if size == 0:
        raise FetchFailed(f"{host} sent nothing")
