"""The port to the gateway: the two calls a keeper makes.

A protocol, so that a simulated gateway can stand in for the real one.
"""

from typing import Protocol

from voicekeeper.answers import Accepted, Report
from voicekeeper.request import Request


class Upstream(Protocol):
    """What a keeper asks of a gateway."""

    async def submit(self, request: Request, model: str) -> Accepted:
        """Start a task; this is what costs money (page section *Submit task response*).

        Raises:
            CallFailed: no task id came back. ``ambiguous`` tells whether the task may exist,
                and be charged, all the same.
        """

    async def status(self, task_id: str, model: str) -> Report:
        """Ask how a task stands; free (page section *Status response fields*).

        Raises:
            CallFailed: no report came back; never ``ambiguous``, because asking changes nothing.
        """
