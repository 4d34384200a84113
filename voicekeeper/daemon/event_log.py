"""Logging what the store returns: events after their commit, and the alerts among them."""

from collections.abc import Iterable, Sequence
from contextlib import suppress

from voicekeeper.core.events import NUMBERS, Event, tell
from voicekeeper.daemon.context import Context
from voicekeeper.errors import DatabaseAway, VoicekeeperError
from voicekeeper.store.history import LogLine


class EventLog:
    """The log of one keeper.

    Args:
        context: of the keeper.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._unreadable: set[str] = set()

    def write(self, lines: Iterable[LogLine]) -> None:
        """Log events that hold no alert."""
        for line in lines:
            self._context.log.log(NUMBERS[line.level], line.event, **line.fields)

    async def write_and_mark(self, lines: Sequence[LogLine]) -> None:
        """Log events; then mark the alerts among them, or they are logged again."""
        self.write(lines)
        context = self._context
        if any(line.alert is not None for line in lines):
            with suppress(VoicekeeperError):  # nothing is lost: they are logged again
                mark = context.worklist.mark_alerts
                await context.run(mark, lines, now=context.clock.now())

    def write_unreadable(self, lines: Iterable[LogLine]) -> None:
        """Log the voices whose rows cannot be read, each once."""
        for line in lines:
            if line.fields["name"] not in self._unreadable:
                self._unreadable.add(line.fields["name"])
                self.write([line])

    def failed(self, error: VoicekeeperError, *, note: str = "", **fields: object) -> None:
        """Log a failure beside a pass; that a database is away is logged by the passes."""
        if not isinstance(error, DatabaseAway):
            tell(self._context.log, Event.PASS_FAILED, **fields, error=f"{error}{note}")
