"""The work beside the passes, on which no voice depends: the balance, and retention."""

from collections import Counter

from voicekeeper.core.events import Event, tell
from voicekeeper.daemon.context import Context
from voicekeeper.daemon.event_log import EventLog
from voicekeeper.errors import VoicekeeperError
from voicekeeper.store.retention import BEGINNING, Place


class Upkeep:
    """Does this work for one keeper; no failure of it reaches further than the log.

    Args:
        context: of the keeper.
        events: where failures of the store are logged.
    """

    def __init__(self, context: Context, events: EventLog) -> None:
        self._context = context
        self._events = events

    async def note_balance(self) -> None:
        """Ask for the account's balance, and note it for `status`.

        A failure is logged at the quietest level: the gateway does not promise an answer.
        """
        context = self._context
        try:
            micros = await context.gateway.balance_micros()
            if micros is not None:
                note = context.worklist.note_balance
                await context.run(note, micros, now=context.clock.now())
        except Exception as error:  # noqa: BLE001 - no voice depends on it
            tell(context.log, Event.BALANCE_ASKED, error=str(error))
        else:
            tell(context.log, Event.BALANCE_ASKED, balance_micros=micros)

    async def prune(self) -> None:
        """Delete what is older than the history is kept.

        Each step is a short transaction of its own, and between two of them the store does what
        else waits for it.
        """
        context, pruned = self._context, Counter[str]()
        after: Place | None = BEGINNING
        try:
            while after is not None:
                now, prune = context.clock.now(), context.worklist.prune
                deleted, after = await context.run(prune, after, now=now, policy=context.policy)
                pruned.update(deleted)
        except VoicekeeperError as error:
            self._events.failed(error)
        if any(pruned.values()):
            tell(context.log, Event.HISTORY_PRUNED, **pruned)
