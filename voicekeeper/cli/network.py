"""What commands ask over the network themselves: a preview, and a trial call to the webhook."""

import asyncio
import os
import socket
import ssl
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, TypeVar

from voicekeeper.core import webhook
from voicekeeper.core.webhook import Reply, Trouble
from voicekeeper.errors import ConfigError, FetchFailed
from voicekeeper.gateway import http_client
from voicekeeper.gateway.http_client import httpx

Answer = TypeVar("Answer")

DOWNLOAD_S: Final = 60.0  # for all of it
_STEP_S: Final = 15.0
_MOST_AUDIO: Final = 20_000_000
_NO_AUDIO: Final = ("text/", "application/json", "application/xml")
_ONLY_AUDIO: Final = {"Accept": "audio/*, */*;q=0.1", "Accept-Encoding": "identity"}

TRIAL_S: Final = 10.0  # the gateway waits thirty seconds
_MOST_REPLY: Final = 4 * 1024  # bytes; the receiver's answer has some twenty


def answer(asking: Coroutine[Any, Any, Answer]) -> Answer:
    """Return what a coroutine returns; a name server that hangs does not hold it up."""

    async def main() -> Answer:
        asyncio.get_running_loop().set_default_executor(_DaemonThreads())
        return await asking

    return asyncio.run(main())


class _DaemonThreads(ThreadPoolExecutor):
    """Runs each call in a thread that nobody joins: nothing can end a look-up that hangs."""

    def submit(self, fn: Callable[..., Answer], /, *args: Any, **kwargs: Any) -> Future[Answer]:  # noqa: ANN401 - any call's
        """Run a call."""
        future = Future[Answer]()

        def work() -> None:
            future.set_running_or_notify_cancel()
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 - it is raised where it is awaited
                future.set_exception(error)

        threading.Thread(target=work, daemon=True).start()
        return future


async def download(url: str, *, most: int = _MOST_AUDIO) -> bytes:
    """Download at most so many bytes of audio. Neither the API key nor a cookie is sent.

    The URL is the gateway's word, as is where it redirects to. The words of a FetchFailed hold no
    more of it than its host.
    """
    if not url.lower().startswith(("http://", "https://")):
        raise FetchFailed("its URL is neither http nor https")
    try:
        async with asyncio.timeout(DOWNLOAD_S):
            return await _audio(url, most)
    except FetchFailed:
        raise
    except ConfigError as error:
        raise FetchFailed("; ".join(error.problems)) from None
    except TimeoutError:
        raise FetchFailed(f"it took longer than {DOWNLOAD_S:g} s") from None
    except Exception as error:  # noqa: BLE001 - whatever a URL or a host of others leads to
        raise FetchFailed(f"its host is not reached ({type(error).__name__})") from None


async def _audio(url: str, most: int) -> bytes:
    async with http_client.get(url, timeout_s=_STEP_S, headers=_ONLY_AUDIO) as answer:
        host, kind = answer.url.host, answer.headers.get("content-type", "").lower()
        if answer.status_code != httpx.codes.OK:
            raise FetchFailed(f"{host} answered {answer.status_code}")
        if kind.startswith(_NO_AUDIO):
            raise FetchFailed(f"{host} sent no audio but {kind.partition(';')[0][:40]}")
        audio = bytearray()
        async for piece in answer.aiter_raw():
            audio += piece
            if len(audio) > most:
                raise FetchFailed(f"it is larger than {most // 1_000_000} MB")
    if not audio:
        raise FetchFailed(f"{host} sent nothing")
    return bytes(audio)


async def call_webhook(url: str, *, by_proxy: bool = True) -> Reply:
    """Call the webhook's address as the gateway would, but with what is no token.

    The receiver says so in words of its own, looks nothing up and changes nothing. Raises
    ConfigError where the environment names a proxy or certificates that cannot be used.
    """
    try:
        address = httpx.URL(webhook.address(url, webhook.TRIAL))
        identity = {"Accept-Encoding": "identity"}
        client = http_client.client(address, timeout=TRIAL_S, by_proxy=by_proxy, headers=identity)
        async with (
            asyncio.timeout(TRIAL_S),
            client as calling,
            calling.stream("POST", address, content=b"{}") as answer,
        ):
            body = b""
            async for piece in answer.aiter_raw():
                body += piece
                if len(body) > _MOST_REPLY:
                    break
            ours = webhook.is_the_receivers(answer.status_code, body)
            return Reply(status=answer.status_code, is_ours=ours)
    except (TimeoutError, httpx.TimeoutException):
        return Reply(trouble=Trouble.TIME)
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        return _unanswered(error)


def _unanswered(error: BaseException) -> Reply:
    """Return why nothing answered: httpx says it only by what it was raised from."""
    match http_client.root_cause(error):
        case socket.gaierror() | UnicodeError():
            return Reply(trouble=Trouble.NAME)
        case ssl.SSLCertVerificationError() as cause:
            return Reply(trouble=Trouble.TLS, reason=cause.verify_message.rstrip("."))
        case ssl.SSLError() as cause:
            reason = getattr(cause, "reason", None) or "no handshake"
            return Reply(trouble=Trouble.TLS, reason=reason.lower().replace("_", " "))
        case OSError() as cause:
            reason = os.strerror(cause.errno or 0).lower()
            return Reply(trouble=Trouble.CONNECTION, reason=reason)
    return Reply(trouble=Trouble.CONNECTION)
