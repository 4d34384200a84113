"""Ask a daemon to reload its settings, and hear how that ended.

A Unix socket in the service's runtime directory, which is closed to other users. To connect is to
ask; the answer is one line of JSON, sent when the reload is over. A signal has no answer: with the
socket ``systemctl reload`` waits for the reload, and fails with its reason (``systemd.service(5)``,
*ExecReload=*).
"""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from voicekeeper.errors import VoicekeeperError, reason

WITHIN_S = 20.0
"""How long to wait for an answer; a database that is busy may take a few seconds of it."""

NAME = "reload"
"""Of the socket in its directory."""

_ANSWER_MOST = 1024 * 1024
"""Bytes of an answer; more is none."""


def directory(environ: Mapping[str, str]) -> Path | None:
    """Return where the socket is: in the first of the service's runtime directories, if it has any.

    Args:
        environ: the environment; ``RUNTIME_DIRECTORY`` (``systemd.exec(5)``).
    """
    first = environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    return Path(first) if first else None


class Answer(NamedTuple):
    """How a reload ended.

    Attributes:
        problem: why the old settings stay in force; empty when the new ones are.
        exit_code: that of the command that asked.
    """

    problem: str = ""
    exit_code: int = 0


@asynccontextmanager
async def answering(
    directory: Path, reload: Callable[[], Awaitable[object]]
) -> AsyncIterator[None]:
    """Take questions for as long as the block lasts.

    Args:
        directory: the service's own, where the socket is made.
        reload: done for each question; what it raises is the answer.

    Raises:
        OSError: the socket cannot be made.
    """

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ended = Answer()
        try:
            await reload()
        except VoicekeeperError as error:
            ended = Answer(str(error), error.exit_code)
        with suppress(OSError):  # who asked has gone
            writer.write(f"{json.dumps(ended._asdict())}\n".encode())
            writer.close()
            await writer.wait_closed()

    server = await asyncio.start_unix_server(answer, directory / NAME)
    try:
        yield
    finally:
        server.close()
        with suppress(OSError):
            (directory / NAME).unlink()


def ask(directory: Path) -> Answer:
    """Have the daemon that answers here reload its settings; return how that ended.

    Raises:
        VoicekeeperError: no daemon answers.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(WITHIN_S)
        try:
            line.connect(str(directory / NAME))
            with line.makefile("rb") as answers:
                return Answer(**json.loads(answers.readline(_ANSWER_MOST)))
        except TimeoutError:
            problem = f"the daemon did not answer within {WITHIN_S:g} s"
        except (OSError, ValueError) as error:
            why = reason(error) if isinstance(error, OSError) else "it ended"
            problem = f"no daemon answers at {directory / NAME}: {why}; send it SIGHUP"
    raise VoicekeeperError(f"{problem}; its log tells which settings are in force")
