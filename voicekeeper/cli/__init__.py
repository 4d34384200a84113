"""The command line: ``voicekeeper COMMAND``, from its first word to its exit code.

`program` lists the commands; each stands in ``commands``, few together where they share a subject.
`session` finds settings and database for it; `prose`, `table` and `document` lay out what it shows.
Data goes to stdout, words to stderr, and every error is one clear sentence.
"""

# ruff: noqa: PLC0415 - `resolve` stands in scripts, and imports no more than it needs

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from voicekeeper.errors import INTERRUPTED

_STDOUT, _STDERR = 1, 2


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run one command and end the process with its exit code."""
    # A standard stream that is closed must not become a file or a socket of ours.
    while (nowhere := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        pass
    os.close(nowhere)
    if sys.stdout is None:
        sys.stdout = os.fdopen(_STDOUT, "w", encoding="utf-8", closefd=False)
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
        if line is None:
            from voicekeeper.cli import program

            return program.run(args)
    except KeyboardInterrupt:
        return INTERRUPTED
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

    Scripts ask for a voice_id before each of their calls, and to import click takes longer than all
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
    is_completing = "_VOICEKEEPER_COMPLETE" in os.environ
    return not is_completing and (file == os.devnull or os.path.isfile(file))  # noqa: PTH113 - without pathlib


def _resolved(name: str) -> str | None:
    from voicekeeper.cli.session import Session
    from voicekeeper.errors import VoicekeeperError
    from voicekeeper.store.quick import Unsure

    try:
        session = Session(None)
        if session.owner is not None:
            return None  # a command that begins anew would read the settings as another user
        voice = session.glance(lambda voices: voices.get(name))
    except (Unsure, VoicekeeperError):
        return None
    voice_id = voice.voice_id or ""
    # Any other is for click, which knows what each terminal takes.
    is_plain = voice_id.isascii() and voice_id.isprintable()
    return voice_id if voice_id and is_plain and not voice.status.is_dead else None
