"""What a keeper, its parts and its notifier work with."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ParamSpec, TypeVar, cast

from voicekeeper.core.clock import Clock
from voicekeeper.core.events import Logger
from voicekeeper.core.schedule import Policy
from voicekeeper.gateway import GatewayPort
from voicekeeper.store.database import Offload
from voicekeeper.store.worklist import Worklist

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(slots=True)
class Context:
    """What the parts of a keeper work with.

    Attributes:
        worklist: the registry's side for keepers.
        gateway: whom to call.
        clock: the only source of time.
        log: where events are logged.
        offload: runs the store's blocking functions.
        policy: the settings that hold; others after a reload.
    """

    worklist: Worklist
    gateway: GatewayPort
    clock: Clock
    log: Logger
    offload: Offload[Any]
    policy: Policy

    async def run(self, function: Callable[P, T], *args: P.args, **given: P.kwargs) -> T:
        """Run a blocking function of the store in its thread; return its result."""
        return cast("T", await self.offload(partial(function, *args, **given)))
