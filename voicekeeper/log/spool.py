"""A stream whose reader holds nobody up: what is written waits in memory for a thread of its own.

The reader of a pipe may stand still, a journal may hang, a terminal may be stopped with Ctrl-S: a
write then lasts until they go on. Here only the thread waits for that.
What finds no room is dropped and counted. At its end the process waits a moment for what is left.
"""

import atexit
import io
import os
import select
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from typing_extensions import Buffer

ROOM: Final = 1_048_576  # bytes that may wait: some 3,000 lines
END_WITHIN_S: Final = 0.5  # for what waits when the process ends


def spooled(stream: TextIO, *, dropped: Callable[[int], object] = lambda _: None) -> TextIO:
    """Return a stream in place of one that is an open file; a write to it never waits.

    When there is room again, ``dropped`` is called with how many writes found none.
    """
    spool = _Spool(stream.fileno(), dropped)
    atexit.register(spool.drain, END_WITHIN_S)
    return io.TextIOWrapper(  # which writes to it without a buffer, one write a line
        spool,  # type: ignore[type-var]  # as python's own -u does
        encoding=stream.encoding,
        errors=stream.errors,
        write_through=True,
    )


class _Spool(io.RawIOBase):
    """An open file that is written to by a thread.

    It writes to the descriptor, so that no lock of a buffer is held while the reader stands still.
    """

    def __init__(self, file: int, dropped: Callable[[int], object]) -> None:
        self._file = file
        self._report = dropped
        self._change = threading.Condition()
        self._waiting: list[bytes] = []
        self._size = 0  # of what waits or is being written
        self._dropped = 0
        threading.Thread(target=self._work, name="spool", daemon=True).start()

    def fileno(self) -> int:
        return self._file

    def isatty(self) -> bool:
        return os.isatty(self._file)

    def writable(self) -> bool:
        return True

    def write(self, line: "Buffer", /) -> int:
        data = bytes(line)
        with self._change:
            if self._size < ROOM:
                self._waiting.append(data)
                self._size += len(data)
                self._change.notify_all()
            else:
                self._dropped += 1
        return len(data)

    def drain(self, within: float) -> None:
        """Wait so many seconds for the reader to take all lines."""
        with self._change:
            self._change.wait_for(lambda: not self._size, within)

    def _work(self) -> None:
        """Write what waits, for as long as the process lives."""
        while True:
            with self._change:
                self._change.wait_for(lambda: self._waiting)
                lines, self._waiting = self._waiting, []
            is_taken = _written(self._file, b"".join(lines))
            with self._change:
                self._size -= sum(map(len, lines))
                if not is_taken:  # the reader has gone, or the disk is full
                    self._dropped += len(lines)
                # Reported once a write succeeded: a report is a line, which may be dropped too.
                dropped = self._dropped if is_taken else 0
                self._dropped -= dropped
                self._change.notify_all()
            if dropped:
                self._report(dropped)


def _written(file: int, data: bytes) -> bool:
    """Write all of this, however long that takes; return False where it cannot be written."""
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(file, left) :]
        except BlockingIOError:  # another program that has the file open wants it so
            select.select([], [file], [])
        except OSError:
            return False
    return True
