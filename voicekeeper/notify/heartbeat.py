"""A dead man's switch: while voices are kept in time it pings, and somebody else misses the ping.

What it tells is progress: a pass has ended lately, and nothing is overdue. Where the daemon is
dead, hangs, or runs and gets nothing done, it is silent, and the service at the other end calls.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from voicekeeper.core.events import Event, Logger, tell
from voicekeeper.errors import NotSent, VoicekeeperError


class Heartbeat:
    """Pings while all is in time.

    Args:
        is_in_time: tells whether it is.
        ping: sends one ping; None where nobody waits for one.
        log: where events are told.
    """

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
        ping = self._ping
        if ping is None:
            return
        try:
            if not await self._is_in_time():
                return
            await ping()
        except NotSent as error:
            self._fail(error=str(error))
        except VoicekeeperError:
            return  # the database cannot be read, which each pass tells: no ping
        except Exception as error:  # noqa: BLE001 - whatever it is, the next one may do better
            self._fail(error=type(error).__name__, exc_info=error)
        else:
            self._failing = False

    def _fail(self, **told: object) -> None:
        """Tell of a failure, once until a ping arrives."""
        if not self._failing:
            tell(self._log, Event.HEARTBEAT_FAILED, **told)
        self._failing = True

    async def once(self, within: float) -> None:
        """Ping once."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.beat(), within)
