"""A dead man's switch: while voices are kept in time it is pinged, and a service misses the ping.

A ping is a GET. It shows progress: a pass has ended lately, and nothing is overdue. Where the
daemon is dead, hangs, or runs and gets nothing done, there is none, and the service calls people.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from voicekeeper.core.events import Event, Logger, tell
from voicekeeper.core.secret import SecretStr
from voicekeeper.errors import ConfigError, NotSent, VoicekeeperError
from voicekeeper.gateway import http_client
from voicekeeper.gateway.http_client import httpx

_TIMEOUT_S: Final = 10.0


class Heartbeat:
    """Pings while all is in time; ``ping`` is None where nobody waits for one."""

    def __init__(
        self,
        *,
        is_in_time: Callable[[], Awaitable[bool]],
        ping: Callable[[], Awaitable[None]] | None,
        log: Logger,
    ) -> None:
        self._is_in_time = is_in_time
        self._ping = ping
        self._log = log
        self._failing = False

    def adopt(self, ping: Callable[[], Awaitable[None]] | None) -> None:
        """Ping another way from now on."""
        self._ping = ping
        self._failing = False

    async def beat(self) -> None:
        """Ping once, if all is in time; no failure of it reaches further."""
        if self._ping is None:
            return
        try:
            if not await self._is_in_time():
                return
            await self._ping()
        except NotSent as error:
            self._fail(error=str(error))
        except VoicekeeperError:
            return  # the database cannot be read, which each pass logs: no ping
        except Exception as error:  # noqa: BLE001 - whatever it is, the next one may do better
            self._fail(error=type(error).__name__, exc_info=error)
        else:
            self._failing = False

    async def once(self, within: float) -> None:
        """Ping once; give up after so many seconds."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.beat(), within)

    def _fail(self, **fields: object) -> None:
        """Log a failure, once until a ping arrives."""
        if not self._failing:
            tell(self._log, Event.HEARTBEAT_FAILED, **fields)
        self._failing = True


async def ping(address: SecretStr) -> None:
    """Ask for an address; NotSent where no answer came, or another than 2xx after redirects.

    The API key is not known here: nothing is sent but the address.
    """
    status = await _asked(address.get_secret_value())
    if not httpx.codes.is_success(status):
        raise NotSent(f"the answer was {status}")


async def reach(address: SecretStr) -> None:
    """Ask the host of an address for its first page, which is no ping; NotSent where it fails."""
    try:
        first_page = str(httpx.URL(address.get_secret_value()).join("/"))
    except (httpx.InvalidURL, ValueError):
        raise NotSent("the name of its host cannot be written so") from None
    status = await _asked(first_page)
    if httpx.codes.is_server_error(status):
        raise NotSent(f"the answer was {status}")


async def _asked(address: str) -> int:
    """Return the status of the last answer from an address."""
    try:
        async with (
            asyncio.timeout(_TIMEOUT_S),
            http_client.get(address, timeout_s=_TIMEOUT_S) as answer,
        ):
            return answer.status_code  # its body, however long, is nobody's business
    except ConfigError as error:
        raise NotSent("; ".join(error.problems)) from None
    except Exception as error:  # noqa: BLE001 - whatever it is, its own words may hold the address
        raise NotSent(f"no answer ({type(error).__name__})") from None
