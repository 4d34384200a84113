"""The one place where commands print, so that words from outside are made visible here.

Sentences for a person are broken at 80 columns on a terminal, and left whole everywhere else. A
reader that has enough, as in ``voicekeeper list | head``, ends no command and changes no exit code.
"""

from __future__ import annotations

import contextlib
import re
import sys
from typing import TYPE_CHECKING, TextIO

from voicekeeper.core.visible import is_visible, visible
from voicekeeper.errors import NotAllowed, quoted

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

WIDEST = 80
_NARROWEST = 40
_QUOTED = re.compile(r"(?<!\S)'[^']{1,60}'")
_JOINT = "\0"


def say(*lines: str) -> None:
    """Tell a person something, on stderr: a line each, whatever is in it."""
    put(fitted("\n".join(map(visible, lines)), sys.stderr), err=True)


def tell(*lines: str, indent: int = 2) -> None:
    """Answer a person, on stdout: a line each, whatever is in it; `fitted` tells of the indent."""
    put(fitted("\n".join(map(visible, lines)), sys.stdout, indent=indent))


def columns(*cells: str) -> None:
    """Answer a pipe, on stdout: one line of columns with tabs between them."""
    put("\t".join(map(visible, cells)))


def bare(word: str, what: str) -> None:
    """Answer a script, on stdout, with one word that it takes as it is.

    Args:
        word: to write.
        what: it is, for the sentence of the error.

    Raises:
        NotAllowed: it holds what does not print, which a script could not be trusted with.
    """
    if not is_visible(word):
        raise NotAllowed(f"{what} holds characters that do not print: {quoted(word)}")
    put(word)


def put(text: str, *, err: bool = False, nl: bool = True) -> None:
    """Write what is laid out already and holds no word from outside that is not made visible."""
    import click  # noqa: PLC0415 - who has nothing to say does without

    with contextlib.suppress(BrokenPipeError):
        click.echo(text, err=err, nl=nl)


def cell(words: str, *, is_cut: bool = False) -> Text:
    """Return words as they can stand in a table, cut at the end of a line or broken there."""
    from rich.text import Text  # noqa: PLC0415 - the same

    if is_cut:
        return Text(visible(words), no_wrap=True, overflow="ellipsis")
    return Text(visible(words))


def console(*, stderr: bool = False) -> Console:
    """Return what shows tables; strings that are no `cell` are our own."""
    from rich.console import Console  # noqa: PLC0415 - the same

    class Screen(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # rich would end the process with 1

    return Screen(stderr=stderr, highlight=False)


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
    first, *others = text.split("\n")
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
