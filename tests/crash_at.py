"""The daemon that kills itself at its n-th commit or call; the package knows nothing of it.

``VOICEKEEPER_CRASH_AT=n python -m tests.crash_at run`` is ``voicekeeper run`` with a fuse. Counted
are the moments before each commit on SQLite that changes more than the sign of life, and before
and after each call to the gateway and each message to people. At the n-th the process ends by
SIGKILL, as in a power failure. (What a crash after a commit leaves is what one before the next
moment leaves.)

A `Nursery` starts such daemons by forking one process that has imported everything already: a
sweep over every n starts a hundred of them.
"""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Self

import httpx
import requests
import sqlalchemy as sa

from tests.daemon_support import is_running, until
from voicekeeper.cli import main
from voicekeeper.core.secret import SecretStr
from voicekeeper.notify import senders

VARIABLE = "VOICEKEEPER_CRASH_AT"

FROM = "VOICEKEEPER_CRASH_FROM"
"""The beginning of a statement; the moments are counted from the commit of the first such on."""


class Fuse:
    """Counts moments down, and ends the process at the last one.

    Args:
        moments: how many.
        cause: the beginning of a statement; the moments before its commit do not count.
    """

    def __init__(self, moments: int, cause: str) -> None:
        self._left = moments
        self._cause = cause
        self._is_lit = not cause

    def burn(self) -> None:
        """Count a moment."""
        self._left -= self._is_lit
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def lay(self) -> None:
        """Lay the fuse around every commit and every call of this process."""
        sa.event.listen(sa.Engine, "connect", lambda driver, _: _Commits(driver, self.commit))
        transport = httpx.AsyncHTTPTransport
        call = transport.handle_async_request

        async def fused(line: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
            self.burn()
            response = await call(line, request)
            self.burn()
            return response

        transport.handle_async_request = fused  # type: ignore[assignment,method-assign]
        send = requests.adapters.HTTPAdapter.send

        def fused_send(adapter: Any, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - apprise's
            self.burn()
            answer = send(adapter, *args, **options)
            self.burn()
            return answer

        requests.adapters.HTTPAdapter.send = fused_send  # type: ignore[assignment,method-assign]

    def commit(self, statements: list[str]) -> None:
        """Count the commit of these statements."""
        self._is_lit = self._is_lit or any(each.startswith(self._cause) for each in statements)
        self.burn()


class _Commits:
    """Sees each statement of a connection, and the commits that change more than ``active``."""

    def __init__(self, driver: sqlite3.Connection, committing: Callable[[list[str]], None]) -> None:
        self._driver = driver
        self._committing = committing
        self._changed = driver.total_changes
        self._last = ""
        self._changing: list[str] = []
        driver.set_trace_callback(self._see)

    def _see(self, statement: str) -> None:
        """See a statement that is about to run, and whether the one before it changed a row."""
        changed = self._driver.total_changes
        if changed > self._changed and not self._last.startswith("UPDATE active"):
            self._changing.append(self._last)
        self._changed, self._last = changed, statement
        if statement == "COMMIT" and self._changing:
            self._committing(self._changing)
        if statement.startswith(("BEGIN", "COMMIT", "ROLLBACK")):
            self._changing = []


def run(arguments: list[str]) -> None:
    """Run a command of the program, with a fuse if the environment asks for one."""
    moments = os.environ.pop(VARIABLE, None)
    if moments is not None:
        Fuse(int(moments), os.environ.pop(FROM, "")).lay()
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

    def __exit__(self, *_: object) -> None:
        if self._pid is not None and is_running(self._pid):
            os.kill(self._pid, signal.SIGKILL)
        self._process.communicate()

    def live(self, environ: dict[str, str], log: Path, is_at_rest: Callable[[], bool]) -> int:
        """Run ``voicekeeper run`` until it kills itself, or all is at rest.

        Args:
            environ: its environment.
            log: the file that its output is appended to.
            is_at_rest: whether nothing is left to do; asked once it is ready.

        Returns:
            Its exit code, negative for a signal.
        """
        log.touch()
        before = log.read_text().count("daemon.ready")
        assert self._process.stdin is not None
        print(json.dumps([environ, str(log)]), file=self._process.stdin, flush=True)
        pid = self._pid = self._number()
        until(
            lambda: (
                not is_running(pid)
                or (log.read_text().count("daemon.ready") > before and is_at_rest())
            ),
            "it rests or is killed",
        )
        if is_running(pid):
            os.kill(pid, signal.SIGTERM)
        code = self._number()
        self._pid = None
        return code

    def _number(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())


def _nursery() -> None:
    senders([SecretStr("json://localhost")])  # which loads what apprise knows
    say = partial(print, flush=True)
    for line in sys.stdin:
        environ, log = json.loads(line)
        child = os.fork()
        if child == 0:
            _become(environ, log)
        say(child)
        say(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def _become(environ: dict[str, str], log: str) -> None:
    """Be the daemon in this process, to its end."""
    os.environ.clear()
    os.environ.update(environ)
    output = os.open(log, os.O_WRONLY | os.O_APPEND)
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
