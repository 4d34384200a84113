"""The ping of a dead man's switch: a GET that tells somebody else that we live."""

import asyncio

import httpx

from voicekeeper.errors import NotSent
from voicekeeper.secret import SecretStr

_PATIENCE_S = 10.0


def may_ping(address: SecretStr) -> bool:
    """Tell whether an address can be asked for at all; nothing is asked."""
    try:
        return bool(httpx.URL(address.get_secret_value()).host)
    except (httpx.InvalidURL, ValueError):
        return False


async def ping(address: SecretStr, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
    """Ask for an address; what it answers does not matter, but that it does.

    The API key is not known here: nothing is sent but the address.

    Args:
        address: http or https; it may hold a secret.
        transport: replaces the network.

    Raises:
        NotSent: no answer came, or one that refuses.
    """
    try:
        async with (
            asyncio.timeout(_PATIENCE_S),
            httpx.AsyncClient(timeout=_PATIENCE_S, transport=transport) as client,
            client.stream("GET", address.get_secret_value()) as answer,
        ):
            pass  # its body, however long, is nobody's business
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        # Its own words may hold the address.
        raise NotSent(f"no answer ({type(error).__name__})") from None
    if answer.status_code >= httpx.codes.BAD_REQUEST:
        raise NotSent(f"the answer was {answer.status_code}")
