"""Sends messages to people, beside the passes: no keepalive waits for one that is slow or fails.

Rows are the truth: alerts are gathered into the outbox, each address has its messages from there on
its own, and a message is marked after it was sent. A crash at any moment repeats a message and
loses none; an ordinary stop waits for those that are under way.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import TypeVar

from voicekeeper.core import alerting
from voicekeeper.core.events import Event, tell
from voicekeeper.core.messages import Text
from voicekeeper.core.models import Message
from voicekeeper.daemon.context import Context
from voicekeeper.daemon.recorder import until_written
from voicekeeper.errors import NotSent, VoicekeeperError
from voicekeeper.notify import Sender
from voicekeeper.store.outbox import Outbox

T = TypeVar("T")

_SHORTEST, _LONGEST = timedelta(seconds=0.2), timedelta(minutes=1)
"""Between two looks for messages to send."""


class Notifier:
    """Sends the messages of the outbox.

    Args:
        context: what it shares with the keeper.
        outbox: of the registry.
        senders: the way to each address, in the order of the settings.
    """

    def __init__(self, context: Context, outbox: Outbox, senders: Sequence[Sender]) -> None:
        self._context = context
        self._outbox = outbox
        self._senders = senders
        self._rounds: dict[int, asyncio.Task[None]] = {}
        self._is_open = False
        self._stopping = False
        self._failing: str | None = None

    def adopt(self, senders: Sequence[Sender], *, tick: timedelta) -> None:
        """Go by other settings from now on; what is under way goes on.

        Args:
            senders: the way to each address, in the order of the settings.
            tick: between two passes.
        """
        self._senders = senders
        self._outbox.adopt(places=len(senders), tick=tick)

    def stand_by(self) -> None:
        """Begin no more messages, as another keeper sends them; until the next look."""
        self._is_open = False

    @property
    def pace(self) -> timedelta:
        """Between two looks."""
        return max(_SHORTEST, min(alerting.settling(self._context.policy), _LONGEST))

    async def once(self, within: float) -> None:
        """Send what there is; after a run nothing more comes that would be gathered.

        Args:
            within: seconds to wait.
        """
        await self.look(settled=True)
        await self.settle(within)
        await self.stop(0)

    async def settle(self, within: float | None = None) -> None:
        """Wait, so many seconds at most, until no message is under way."""
        if self._rounds:
            await asyncio.wait(self._rounds.values(), timeout=within)

    async def look(self, *, settled: bool = False) -> None:
        """Gather the messages that are due, and begin to send them; no failure reaches further.

        Args:
            settled: whether no more alerts are to be expected for now.
        """
        if not self._senders:
            return
        context, outbox = self._context, self._outbox
        try:
            if not self._is_open:
                await context.run(outbox.open, now=context.clock.now())
                self._is_open = True
            now, policy = context.clock.now(), context.policy
            await context.run(outbox.gather, now=now, policy=policy, settled=settled)
        except Exception as error:  # noqa: BLE001 - whatever it is, voices are kept
            self._log_failure(error)
        else:
            self._failing = None
        for place, sender in enumerate(self._senders):
            if place not in self._rounds and not self._stopping:
                task = asyncio.create_task(self._round(place, sender), name=sender.label)
                self._rounds[place] = task
                task.add_done_callback(partial(self._ended, place))

    async def stop(self, within: float) -> None:
        """Begin nothing more, and wait for what is under way.

        Args:
            within: seconds to wait. What is cut short is sent again after the next start.
        """
        self._stopping = True
        if not self._rounds:
            return
        _, left = await asyncio.wait(self._rounds.values(), timeout=within)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def _ended(self, place: int, task: asyncio.Task[None]) -> None:
        del self._rounds[place]
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log_failure(error)

    async def _round(self, place: int, sender: Sender) -> None:
        """Send all that is due to one address, one after the other."""
        context, following = self._context, self._outbox.next
        while self._is_open and not self._stopping and sender in self._senders:
            message = await context.run(following, place, now=context.clock.now())
            if message is None:
                return
            await self._send(message, sender)

    async def _send(self, message: Message, sender: Sender) -> None:
        context, outbox = self._context, self._outbox
        fields = {"place": sender.label, "topic": message.topic, "title": message.title}
        try:
            await sender.send(Text(message.level, message.title, message.body))  # type: ignore[arg-type]  # a CHECK holds it
        except NotSent as failure:
            again = await self._marked(
                lambda: outbox.failed(message, now=context.clock.now(), policy=context.policy)
            )
            if again is None:
                tell(context.log, Event.MESSAGE_DROPPED, **fields, error=str(failure))
            elif message.tries == 0:
                tell(
                    context.log, Event.MESSAGE_FAILED, **fields, error=str(failure), retry_at=again
                )
        else:
            await self._marked(lambda: outbox.arrived(message, now=context.clock.now()))
            tell(context.log, Event.MESSAGE_SENT, **fields)

    async def _marked(self, mark: Callable[[], T]) -> T:
        """Mark a message; else it would be sent twice, though nothing crashed."""
        return await until_written(lambda: self._context.run(mark), failed=self._log_failure)

    def _log_failure(self, error: BaseException) -> None:
        """Log a failure of our own, once for all that fail alike."""
        words = str(error) or type(error).__name__
        if words != self._failing:
            unforeseen = None if isinstance(error, VoicekeeperError) else error
            tell(self._context.log, Event.PASS_FAILED, error=words, exc_info=unforeseen)
        self._failing = words
