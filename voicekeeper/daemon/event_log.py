"""Logging what the store returns: events after their commit, and the alerts among them."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from voicekeeper.core.clock import Clock
from voicekeeper.core.events import NUMBERS, Event, Logger, tell
from voicekeeper.errors import DatabaseAway, VoicekeeperError
from voicekeeper.store.database import Offload
from voicekeeper.store.history import LogLine
from voicekeeper.store.worklist import Worklist


class EventLog:
    """The log of one keeper.

    Args:
        worklist: where alerts are marked as logged.
        clock: the host's.
        log: where events are logged.
        offload: runs the store's blocking functions.
    """

    def __init__(
        self, *, worklist: Worklist, clock: Clock, log: Logger, offload: Offload[Any]
    ) -> None:
        self._worklist = worklist
        self._clock = clock
        self._log = log
        self._offload = offload
        self._unreadable: set[str] = set()

    def write(self, lines: Iterable[LogLine]) -> None:
        """Log events that hold no alert."""
        for line in lines:
            self._log.log(NUMBERS[line.level], line.event, **line.fields)

    async def write_and_mark(self, lines: Sequence[LogLine]) -> None:
        """Log events; then mark the alerts among them, or they are logged again."""
        self.write(lines)
        if any(line.alert is not None for line in lines):
            with suppress(VoicekeeperError):  # nothing is lost: they are logged again
                mark = partial(self._worklist.mark_alerts, lines, now=self._clock.now())
                await self._offload(mark)

    def write_unreadable(self, lines: Iterable[LogLine]) -> None:
        """Log the voices whose rows cannot be read, each once."""
        for line in lines:
            if line.fields["name"] not in self._unreadable:
                self._unreadable.add(line.fields["name"])
                self.write([line])

    def failed(self, error: VoicekeeperError, *, note: str = "", **fields: object) -> None:
        """Log a failure beside a pass; that a database is away is logged by the passes."""
        if not isinstance(error, DatabaseAway):
            tell(self._log, Event.PASS_FAILED, **fields, error=f"{error}{note}")
