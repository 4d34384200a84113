"""Sentences for a person: broken at 80 columns on a terminal, left whole everywhere else."""

import re
import sys
from typing import TextIO

WIDEST = 80
_NARROWEST = 40
_QUOTED = re.compile(r"(?<!\S)'[^']{1,60}'")
_JOINT = "\0"


def say(sentence: str) -> None:
    """Tell a person something, on stderr."""
    import click  # noqa: PLC0415 - who has nothing to say does without

    click.echo(fitted(sentence, sys.stderr), err=True)


def fitted(text: str, stream: TextIO, *, indent: int = 2) -> str:
    """Return text as it is to be written to a stream.

    Args:
        text: one line or more; each is broken on its own, between words.
        stream: where it goes; what is no terminal takes lines of any length.
        indent: how far the rest of the first line stands in when that line is broken. That of
            any other stands in by two more than the line itself.
    """
    if not stream.isatty():
        return text
    columns = width()
    first, *others = text.splitlines() or [""]
    broken = [_broken(first, columns, indent)]
    for line in others:
        outer = len(line) - len(line.lstrip(" "))
        broken.append(_broken(line, columns, outer + 2))
    return "\n".join(broken)


def width() -> int:
    """Return how many columns a line for a person may take."""
    import shutil  # noqa: PLC0415 - a pipe does without, and commands wait for it

    return max(_NARROWEST, min(WIDEST, shutil.get_terminal_size().columns))


def _broken(line: str, width: int, indent: int) -> str:
    import textwrap  # noqa: PLC0415 - the same

    # What stands in quotes is often a command to copy: it stays on one line.
    whole = _QUOTED.sub(lambda match: match[0].replace(" ", _JOINT), line)
    broken = textwrap.fill(
        whole,
        width,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
        replace_whitespace=False,
    )
    return broken.replace(_JOINT, " ")
