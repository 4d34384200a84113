"""The daemon's stdout: a reader that stands still costs lines, which are counted, and no time."""

import fcntl
import os
import threading
from pathlib import Path

from voicekeeper.log.spool import ROOM, spooled

LINE = "x" * 999 + "\n"


def test_lines_that_find_no_room_are_dropped_and_counted_once_the_reader_goes_on() -> None:
    near, far = os.pipe()
    fcntl.fcntl(far, fcntl.F_SETPIPE_SZ, 4096)
    dropped, read, reported = list[int](), list[bytes](), threading.Event()

    def report(lines: int) -> None:
        dropped.append(lines)
        reported.set()

    with os.fdopen(near, "rb") as reader, os.fdopen(far, "w") as stream:
        spool = spooled(stream, dropped=report)
        for _ in range(2_000):
            spool.write(LINE)  # nobody reads, and it returns all the same
        reading = threading.Thread(target=lambda: read.extend(iter(reader.readline, b"after\n")))
        reading.start()
        assert reported.wait(30)
        spool.write("after\n")
        reading.join(30)
    assert len(read) >= ROOM // len(LINE)
    assert len(read) + sum(dropped) == 2_000


def test_a_disk_that_is_full_costs_lines_and_raises_nothing() -> None:
    with Path("/dev/full").open("w") as full:
        spool = spooled(full)
        spool.write(LINE)
        spool.flush()
        assert spool.fileno() == full.fileno()
        assert not spool.isatty()
