"""The daemon that kills itself at its n-th commit or call; the package knows nothing of it.

``VOICEKEEPER_CRASH_AT=n python -m tests.crash_at run`` is ``voicekeeper run`` with a fuse. Counted
are the moments before and after each commit that changes more than the sign of life, and before
and after each call to the gateway and each message to people. At the n-th the process ends by
SIGKILL, as in a power failure.

A `Nursery` starts such daemons by forking one process that has imported everything already: a
sweep over every n starts a hundred of them.
"""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import requests

from voicekeeper.cli.main import main
from voicekeeper.core.secret import SecretStr
from voicekeeper.notify import senders
from voicekeeper.store import database

VARIABLE = "VOICEKEEPER_CRASH_AT"

FROM = "VOICEKEEPER_CRASH_FROM"
"""A query; the moments are counted from before the commit on with which it finds a row."""

_BEAT_ALONE = 1
"""Rows that an idle pass changes: the keeper's own."""


class Fuse:
    """Counts moments down, and ends the process at the last one.

    Args:
        moments: how many.
        begin: the query that has to find a row first.
    """

    def __init__(self, moments: int, begin: str | None = None) -> None:
        self._left = moments
        self._begin = begin

    def light(self, driver: sqlite3.Connection) -> None:
        """See whether the moments are to be counted from here on."""
        if self._begin is not None and driver.execute(self._begin).fetchone():
            self._begin = None

    def burn(self) -> None:
        self._left -= self._begin is None
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def install(fuse: Fuse) -> None:
    """Lay the fuse around every commit and every call of this process."""
    before: dict[int, int] = {}
    begin, commit = database._begin, database._commit  # noqa: SLF001 - under the store

    def fused_begin(driver: sqlite3.Connection, mode: str) -> None:
        begin(driver, mode)
        before[id(driver)] = driver.total_changes

    def fused_commit(driver: sqlite3.Connection) -> None:
        beats = not threading.current_thread().name.startswith("tellers")
        changed = driver.total_changes - before[id(driver)]
        counted = changed > (_BEAT_ALONE if beats else 0)
        if counted:
            fuse.light(driver)
            fuse.burn()
        commit(driver)
        if counted:
            fuse.burn()

    database._begin, database._commit = fused_begin, fused_commit  # noqa: SLF001
    transport = httpx.AsyncHTTPTransport
    call = transport.handle_async_request

    async def fused(line: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        fuse.burn()
        response = await call(line, request)
        fuse.burn()
        return response

    transport.handle_async_request = fused  # type: ignore[assignment,method-assign]
    send = requests.adapters.HTTPAdapter.send

    def fused_send(adapter: Any, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - apprise's
        fuse.burn()
        answer = send(adapter, *args, **options)
        fuse.burn()
        return answer

    requests.adapters.HTTPAdapter.send = fused_send  # type: ignore[assignment,method-assign]


def run(arguments: list[str]) -> None:
    """Run a command of the program, with a fuse if the environment asks for one."""
    moments = os.environ.pop(VARIABLE, None)
    if moments is not None:
        install(Fuse(int(moments), os.environ.pop(FROM, None)))
    main(arguments)


class Nursery:
    """Starts daemons, one at a time, without the half second of their imports."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tests.crash_at", "nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parent.parent,
            text=True,
        )
        self._pid: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
        self._process.communicate()

    def start(self, environ: dict[str, str], log: Path) -> int:
        """Start ``voicekeeper run``; return its process id."""
        assert self._process.stdin is not None
        print(json.dumps([environ, str(log)]), file=self._process.stdin, flush=True)
        self._pid = int(self._line())
        return self._pid

    def exit_code(self) -> int:
        """Wait for its end; return its exit code, negative for a signal."""
        code = int(self._line())
        self._pid = None
        return code

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


def _nursery() -> None:
    senders([SecretStr("json://localhost")])  # which loads what apprise knows
    for line in sys.stdin:
        environ, log = json.loads(line)
        child = os.fork()
        if child == 0:
            _become(environ, log)
        _say(child)
        _say(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def _say(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def _become(environ: dict[str, str], log: str) -> None:
    """Be the daemon in this process, to its end."""
    os.environ.clear()
    os.environ.update(environ)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(output, stream)
    code: object = 1
    try:
        run(["run"])
    except SystemExit as ended:
        code = ended.code
    finally:
        os._exit(code if isinstance(code, int) else 1)


if __name__ == "__main__":
    if sys.argv[1:] == ["nursery"]:
        _nursery()
    else:
        run(sys.argv[1:])
