"""The ``voicekeeper`` command, from its first word to its exit code."""

# ruff: noqa: PLC0415 - `resolve` stands in scripts, and imports no more than it needs

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from voicekeeper.errors import INTERRUPTED

_STDOUT, _STDERR = 1, 2
_COMPLETION = "_VOICEKEEPER_COMPLETE"
"""Set by a shell that asks for the words that could follow."""


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
        line = shortcut(args)
        if line is not None:
            return _printed(line)
        from voicekeeper.cli import program

        return program.run(args)
    except KeyboardInterrupt:
        return INTERRUPTED


def _printed(line: str) -> int:
    try:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        return 0  # its reader has enough
    except OSError as error:
        from voicekeeper.cli import program

        return program.fail(error)
    return 0


def shortcut(args: Sequence[str]) -> str | None:
    """Return what ``resolve NAME`` prints, past click; None where the command has to be run.

    Scripts ask for a voice_id before each of their calls, and to import click takes as long as all
    else that this needs. What else is asked, or goes wrong, is left to the command itself, which
    begins anew and has the words for it.
    """
    match args:
        case ["resolve", name] if not name.startswith("-") and _may_begin_anew():
            return _resolved(name)
    return None


def _may_begin_anew() -> bool:
    """Tell whether the settings may be read once more: a pipe would be empty then."""
    file = os.environ.get("VOICEKEEPER_CONFIG") or os.devnull
    return _COMPLETION not in os.environ and (file == os.devnull or os.path.isfile(file))  # noqa: PTH113 - without pathlib


def _resolved(name: str) -> str | None:
    from voicekeeper.cli.session import Session
    from voicekeeper.errors import VoicekeeperError
    from voicekeeper.store.quick import QuickVoices, Unsure

    try:
        session = Session(None)
        if session.owner is not None:
            return None  # a command that begins anew would read the settings as another user
        voice = session.glance(QuickVoices, lambda side: side.get(name))
    except (Unsure, VoicekeeperError):
        return None
    voice_id = voice.voice_id or ""
    # Any other is for click, which knows what each terminal takes.
    is_plain = voice_id.isascii() and voice_id.isprintable()
    return voice_id if voice_id and is_plain and not voice.status.is_dead else None
