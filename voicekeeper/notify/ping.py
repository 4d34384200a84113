"""The ping of a dead man's switch: a GET that tells somebody else that we live."""

import asyncio
from typing import Final

from voicekeeper.core.secret import SecretStr
from voicekeeper.errors import ConfigError, NotSent
from voicekeeper.gateway import http_client
from voicekeeper.gateway.http_client import httpx

_PATIENCE_S: Final = 10.0


async def ping(address: SecretStr) -> None:
    """Ask for an address. Redirects are followed, and only 2xx at their end is a ping that arrived.

    The API key is not known here: nothing is sent but the address.

    Args:
        address: http or https; it may hold a secret.

    Raises:
        NotSent: no answer came, or another one.
    """
    status = await _asked(address.get_secret_value())
    if not httpx.codes.is_success(status):
        raise NotSent(f"the answer was {status}")


async def reach(address: SecretStr) -> None:
    """Ask the host of an address for its first page, which is no ping.

    Raises:
        NotSent: no answer came, or one that tells of trouble on the way or there.
    """
    try:
        first_page = str(httpx.URL(address.get_secret_value()).join("/"))
    except (httpx.InvalidURL, ValueError):
        raise NotSent("the name of its host cannot be written so") from None
    status = await _asked(first_page)
    if httpx.codes.is_server_error(status):
        raise NotSent(f"the answer was {status}")


async def _asked(address: str) -> int:
    """Return the status of what answers an address in the end."""
    try:
        async with (
            asyncio.timeout(_PATIENCE_S),
            http_client.get(address, timeout_s=_PATIENCE_S) as answer,
        ):
            return answer.status_code  # its body, however long, is nobody's business
    except ConfigError as error:
        raise NotSent("; ".join(error.problems)) from None
    except Exception as error:  # noqa: BLE001 - whatever it is, its own words may hold the address
        raise NotSent(f"no answer ({type(error).__name__})") from None
