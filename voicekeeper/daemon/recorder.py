"""Writing answers down; those that come while the disk is at work share a transaction.

A transaction costs a trip to the disk whatever it holds, so under load many answers share one, as
by the group commit of a database. Nothing waits for company: an answer that comes alone is written
alone, at once. What was paid for may be known here only, so each is tried again for as long as the
database is busy or the disk full.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

from voicekeeper.errors import VoicekeeperError
from voicekeeper.store.history import LogLine
from voicekeeper.store.jobs import Answer

Write = Callable[[Sequence[Answer]], Awaitable[Sequence[Sequence[LogLine]]]]
"""Writes answers down, all or none; returns what to log of each."""

T = TypeVar("T")

_MOST = 64
_AGAIN_S = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Waits between tries when the database is busy or full."""


async def until_written(
    write: Callable[[], Awaitable[T]], *, failed: Callable[[VoicekeeperError], None]
) -> T:
    """Write until it succeeds, however long the database is busy or the disk full.

    Args:
        write: one transaction.
        failed: told of the first failure.
    """
    tries = 0
    while True:
        try:
            return await write()
        except VoicekeeperError as error:
            if tries == 0:
                failed(error)
            await asyncio.sleep(_AGAIN_S[min(tries, len(_AGAIN_S) - 1)])
            tries += 1


class _Waiting(NamedTuple):
    """An answer, and who waits for it to be written."""

    answer: Answer
    written: asyncio.Future[Sequence[LogLine]]


class Recorder:
    """Writes down what calls were answered.

    Args:
        write: one transaction of the store.
    """

    def __init__(self, write: Write) -> None:
        self._write = write
        self._waiting: list[_Waiting] = []
        self._is_writing = False
        self._task: asyncio.Task[None] | None = None

    async def record(
        self, answer: Answer, *, failed: Callable[[VoicekeeperError], None]
    ) -> Sequence[LogLine]:
        """Write an answer down, however long that takes; return what to log.

        Args:
            answer: to one call.
            failed: told once that it could not be written, and is tried again.

        Raises:
            Exception: an error of our own in the rules or the rows; it concerns this answer alone.
        """
        return await until_written(partial(self._written, answer), failed=failed)

    async def settle(self) -> None:
        """Wait until what came so far is written, or has failed."""
        unwritten: list[asyncio.Future[Any]] = [waiting.written for waiting in self._waiting]
        if self._task is not None and not self._task.done():
            unwritten.append(self._task)
        if unwritten:
            await asyncio.wait(unwritten)

    async def _written(self, answer: Answer) -> Sequence[LogLine]:
        if self._is_writing:
            waiting = _Waiting(answer, asyncio.get_running_loop().create_future())
            self._waiting.append(waiting)
            return await waiting.written
        self._is_writing = True
        try:
            (lines,) = await self._write([answer])
            return lines
        finally:
            self._hand_on()

    def _hand_on(self) -> None:
        """Let those who came meanwhile be written next."""
        self._is_writing = bool(self._waiting)
        if self._waiting:
            group, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
            self._task = asyncio.create_task(self._write_group(group))

    async def _write_group(self, group: Sequence[_Waiting]) -> None:
        try:
            told = await self._write([waiting.answer for waiting in group])
        except VoicekeeperError as error:  # of the database, which is the same for all
            for waiting in group:
                _end(waiting, error=error)
        except Exception:  # noqa: BLE001 - of one answer, which must not spoil the others
            for waiting in group:
                await self._write_alone(waiting)
        else:
            for waiting, lines in zip(group, told, strict=True):
                _end(waiting, lines)
        finally:
            self._hand_on()

    async def _write_alone(self, waiting: _Waiting) -> None:
        try:
            (lines,) = await self._write([waiting.answer])
        except Exception as error:  # noqa: BLE001 - it is raised where the answer came from
            _end(waiting, error=error)
        else:
            _end(waiting, lines)


def _end(
    waiting: _Waiting, lines: Sequence[LogLine] = (), *, error: Exception | None = None
) -> None:
    if waiting.written.done():  # who waited was cut short
        return
    if error is None:
        waiting.written.set_result(lines)
    else:
        waiting.written.set_exception(error)
