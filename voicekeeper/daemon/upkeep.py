"""The work beside the passes, on which no voice depends: the balance, and retention."""

from collections.abc import Callable
from functools import partial
from typing import Any

from voicekeeper.core.clock import Clock
from voicekeeper.core.events import Event, Logger, tell
from voicekeeper.core.schedule import Policy
from voicekeeper.daemon.event_log import EventLog
from voicekeeper.errors import VoicekeeperError
from voicekeeper.gateway import GatewayPort
from voicekeeper.store.database import Offload
from voicekeeper.store.retention import Pruned
from voicekeeper.store.worklist import Worklist


class Upkeep:
    """Does this work for one keeper; no failure of it reaches further than the log.

    Args:
        worklist: the registry's side for keepers.
        gateway: which knows the balance.
        clock: the host's.
        policy: returns the settings that hold.
        events: where failures of the store are logged.
        log: where events are logged.
        offload: runs the store's blocking functions.
    """

    def __init__(
        self,
        *,
        worklist: Worklist,
        gateway: GatewayPort,
        clock: Clock,
        policy: Callable[[], Policy],
        events: EventLog,
        log: Logger,
        offload: Offload[Any],
    ) -> None:
        self._worklist = worklist
        self._gateway = gateway
        self._clock = clock
        self._policy = policy
        self._events = events
        self._log = log
        self._offload = offload

    async def note_balance(self) -> None:
        """Ask for the account's balance, and note it for `status`.

        A failure is logged at the quietest level: the gateway does not promise an answer.
        """
        try:
            micros = await self._gateway.balance_micros()
            if micros is not None:
                note = partial(self._worklist.note_balance, micros, now=self._clock.now())
                await self._offload(note)
        except Exception as error:  # noqa: BLE001 - no voice depends on it
            tell(self._log, Event.BALANCE_ASKED, error=str(error))
        else:
            tell(self._log, Event.BALANCE_ASKED, balance_micros=micros)

    async def prune(self) -> None:
        """Delete what is older than the history is kept.

        Each step is a short transaction of its own, and between two of them the store does what
        else waits for it.
        """
        pruned = Pruned(more=True)
        try:
            while pruned.more:
                prune = partial(self._worklist.prune, now=self._clock.now(), policy=self._policy())
                pruned += await self._offload(prune)
        except VoicekeeperError as error:
            self._events.failed(error)
        if pruned.rows:
            tell(self._log, Event.HISTORY_PRUNED, **pruned.rows)
