"""Sends messages to people, beside the passes: no keepalive waits for one that is slow or fails.

Rows are the truth: alerts are gathered into the outbox, each address has its messages from there on
its own, and a message is marked after it was sent. A crash at any moment repeats a message and
loses none; an ordinary stop waits for those that are under way.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from voicekeeper.core import alerting
from voicekeeper.core.clock import Clock
from voicekeeper.core.events import Event, Logger, tell
from voicekeeper.core.messages import Text
from voicekeeper.core.models import Message
from voicekeeper.core.schedule import Policy
from voicekeeper.daemon.recorder import until_written
from voicekeeper.errors import NotSent, VoicekeeperError
from voicekeeper.notify import Sender
from voicekeeper.store.database import Offload
from voicekeeper.store.outbox import Outbox

T = TypeVar("T")

_SHORTEST, _LONGEST = timedelta(seconds=0.2), timedelta(minutes=1)
"""Between two looks for messages to send."""


class Notifier:
    """Sends the messages of the outbox.

    Args:
        outbox: of the registry.
        senders: the way to each address, in the order of the settings.
        clock: the only source of time.
        policy: the settings.
        log: where events are logged.
        offload: runs the store's blocking functions.
    """

    def __init__(
        self,
        *,
        outbox: Outbox,
        senders: Sequence[Sender],
        clock: Clock,
        policy: Policy,
        log: Logger,
        offload: Offload[Any],
    ) -> None:
        self._outbox = outbox
        self._senders = senders
        self._clock = clock
        self._policy = policy
        self._log = log
        self._offload = offload
        self._rounds: dict[int, asyncio.Task[None]] = {}
        self._is_open = False
        self._stopping = False
        self._failing: str | None = None

    def adopt(self, senders: Sequence[Sender], *, policy: Policy, tick: timedelta) -> None:
        """Go by other settings from now on; what is under way goes on.

        Args:
            senders: the way to each address, in the order of the settings.
            policy: the settings.
            tick: between two passes.
        """
        self._senders, self._policy = senders, policy
        self._outbox.adopt(places=len(senders), tick=tick)

    def stand_by(self) -> None:
        """Begin no more messages, as another keeper sends them; until the next look."""
        self._is_open = False

    @property
    def busy(self) -> bool:
        """Whether a message is under way."""
        return bool(self._rounds)

    @property
    def pace(self) -> timedelta:
        """Between two looks."""
        return max(_SHORTEST, min(alerting.settling(self._policy), _LONGEST))

    async def once(self, within: float) -> None:
        """Send what there is; after a run nothing more comes that would be gathered.

        Args:
            within: seconds to wait.
        """
        await self.look(settled=True)
        if self._rounds:
            await asyncio.wait(self._rounds.values(), timeout=within)
        await self.stop(0)

    async def look(self, *, settled: bool = False) -> None:
        """Gather the messages that are due, and begin to send them; no failure reaches further.

        Args:
            settled: whether no more alerts are to be expected for now.
        """
        if not self._senders:
            return
        try:
            if not self._is_open:
                await self._offload(partial(self._outbox.open, now=self._clock.now()))
                self._is_open = True
            now, policy = self._clock.now(), self._policy
            gather = partial(self._outbox.gather, now=now, policy=policy, settled=settled)
            await self._offload(gather)
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
        while self._is_open and not self._stopping and sender in self._senders:
            following = partial(self._outbox.next, place, now=self._clock.now())
            message: Message | None = await self._offload(following)
            if message is None:
                return
            await self._send(message, sender)

    async def _send(self, message: Message, sender: Sender) -> None:
        fields = {"place": sender.label, "topic": message.topic, "title": message.title}
        try:
            await sender.send(Text(message.level, message.title, message.body))  # type: ignore[arg-type]  # a CHECK holds it
        except NotSent as failure:
            again = await self._marked(
                lambda: self._outbox.failed(message, now=self._clock.now(), policy=self._policy)
            )
            if again is None:
                tell(self._log, Event.MESSAGE_DROPPED, **fields, error=str(failure))
            elif message.tries == 0:
                tell(self._log, Event.MESSAGE_FAILED, **fields, error=str(failure), retry_at=again)
        else:
            await self._marked(lambda: self._outbox.arrived(message, now=self._clock.now()))
            tell(self._log, Event.MESSAGE_SENT, **fields)

    async def _marked(self, mark: Callable[[], T]) -> T:
        """Mark a message; else it would be sent twice, though nothing crashed."""
        return await until_written(lambda: self._offload(mark), failed=self._log_failure)

    def _log_failure(self, error: BaseException) -> None:
        """Log a failure of our own, once for all that fail alike."""
        words = str(error) or type(error).__name__
        if words != self._failing:
            unforeseen = None if isinstance(error, VoicekeeperError) else error
            tell(self._log, Event.PASS_FAILED, error=words, exc_info=unforeseen)
        self._failing = words
