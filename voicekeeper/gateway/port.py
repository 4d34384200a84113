"""The port to the gateway: the two calls a keeper makes, and what the account holds.

A protocol, so that a simulated gateway can stand in for the real one.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

from voicekeeper.core.outcome import Accepted, Report
from voicekeeper.core.requests import Request

OnTurn = Callable[[], Awaitable[None]]
"""Run when a call's turn has come, just before its first byte; if it raises, nothing is sent."""


class GatewayPort(Protocol):
    """What a keeper asks of a gateway."""

    async def submit(
        self,
        request: Request,
        model: str,
        *,
        on_turn: OnTurn | None = None,
        callback_url: str | None = None,
    ) -> Accepted:
        """Start a task; this is what costs money (page section *Submit task response*).

        With a ``callback_url``, the gateway calls that when the task has ended.

        Raises:
            CallFailed: no task id came back. ``ambiguous`` tells whether the task may exist,
                and be charged, all the same.
        """

    async def status(self, task_id: str, model: str) -> Report:
        """Ask how a task stands; free (page section *Status response fields*).

        Raises:
            CallFailed: no report came back; never ``ambiguous``, because asking changes nothing.
        """

    async def balance_micros(self) -> int | None:
        """Ask what the account holds, in millionths of a US dollar; None if it is not told.

        Raises:
            CallFailed: the gateway was not reached, or answered what leaves it open.
        """
