"""The ``voicekeeper`` command, from its first word to its exit code."""

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from voicekeeper.cli import shortcut
from voicekeeper.errors import INTERRUPTED

_STDOUT, _STDERR = 1, 2


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run one command and end the process with its exit code."""
    # Of stdin, stdout and stderr, what is closed is taken by no file or socket of ours.
    while (nowhere := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        pass
    os.close(nowhere)
    if sys.stdout is None:
        sys.stdout = os.fdopen(_STDOUT, "w", encoding="utf-8", closefd=False)  # to the end
    exit_code = _exit_code(sys.argv[1:] if args is None else args)
    try:
        sys.stdout.flush()
    except OSError:
        # Nobody takes the rest; keep Python from failing over it once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(exit_code)


def _exit_code(args: Sequence[str]) -> int:
    try:
        line = shortcut.answer(args)
        if line is not None:
            return _printed(line)
        from voicekeeper.cli import program  # noqa: PLC0415 - what it takes, the shortcut saves

        return program.run(args)
    except KeyboardInterrupt:
        return INTERRUPTED


def _printed(line: str) -> int:
    try:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        return 0  # whoever reads has enough
    except OSError as error:
        from voicekeeper.cli import program  # noqa: PLC0415 - the same

        return program.fail(error)
    return 0
