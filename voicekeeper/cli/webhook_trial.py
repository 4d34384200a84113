"""A trial call to the webhook: does what the settings name lead to the receiver, and if not, why.

It is what the gateway would send, but for its token, which is none: the receiver says so in words
of its own, looks nothing up and changes nothing.
"""

import asyncio
import os
import socket
import ssl

from voicekeeper.core import webhook
from voicekeeper.core.reachability import Reply, Trouble
from voicekeeper.gateway import http_client
from voicekeeper.gateway.http_client import httpx

_WITHIN_S = 10.0
"""For the whole of a call; the gateway waits thirty seconds."""

_READ_MOST = 4 * 1024
"""Bytes of an answer; the receiver's have some twenty."""

_HEADERS = {"Accept-Encoding": "identity"}


async def call(url: str, *, by_proxy: bool = True) -> Reply:
    """Call a webhook's address with what is no token.

    Args:
        url: http or https, without a slash at its end.
        by_proxy: whether the environment's proxy is the way there; not for this host's addresses.

    Raises:
        ConfigError: the environment names a proxy or certificates that cannot be used.
    """
    try:
        address = httpx.URL(webhook.address(url, webhook.TRIAL))
        async with (
            asyncio.timeout(_WITHIN_S),
            http_client.client(
                address, timeout=_WITHIN_S, by_proxy=by_proxy, headers=_HEADERS
            ) as client,
            client.stream("POST", address, content=b"{}") as answer,
        ):
            body = b""
            async for piece in answer.aiter_raw():
                body += piece
                if len(body) > _READ_MOST:
                    break
            ours = webhook.is_the_receivers(answer.status_code, body)
            return Reply(status=answer.status_code, is_ours=ours)
    except (TimeoutError, httpx.TimeoutException):
        return Reply(trouble=Trouble.TIME)
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        return _failed(error)


def _failed(error: BaseException) -> Reply:
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
