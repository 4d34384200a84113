"""The one place where commands print, so that words from outside are made visible here.

Sentences for a person are broken at 80 columns on a terminal, and left whole everywhere else. A
reader that has enough, as in ``voicekeeper list | head``, ends no command and changes no exit code.
What only a terminal needs is imported where it is used: scripts wait for this module.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable, Iterator
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
    """Write lines for a person to stderr."""
    put(fitted("\n".join(map(visible, lines)), sys.stderr), err=True)


def tell(*lines: str, indent: int = 2) -> None:
    """Write lines for a person to stdout; see `fitted`."""
    put(fitted("\n".join(map(visible, lines)), sys.stdout, indent=indent))


def columns(*cells: str) -> None:
    """Write one line of columns with tabs between them to stdout, for a pipe."""
    put("\t".join(map(visible, cells)))


def bare(word: str, what: str) -> None:
    """Write one word, such as a voice_id, to stdout for a script that takes it as it is.

    Raises NotAllowed where it holds what does not print; ``what`` it is stands in the sentence.
    """
    if not is_visible(word):
        raise NotAllowed(f"{what} holds characters that do not print: {quoted(word)}")
    put(word)


def put(text: str, *, err: bool = False, nl: bool = True) -> None:
    """Write a text that is laid out, and whose words from outside are visible already."""
    import click  # noqa: PLC0415 - see the module

    with contextlib.suppress(BrokenPipeError):
        click.echo(text, err=err, nl=nl)


def cell(words: str, *, is_cut: bool = False) -> Text:
    """Return words as they can stand in a table, cut at the end of a line or broken there."""
    from rich.text import Text  # noqa: PLC0415 - see the module

    if is_cut:
        return Text(visible(words), no_wrap=True, overflow="ellipsis")
    return Text(visible(words))


def console(*, stderr: bool = False) -> Console:
    """Return the console that shows tables; their strings that are no `cell` are our own."""
    from rich.console import Console  # noqa: PLC0415 - see the module

    class Screen(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # rich would end the process with 1

    return Screen(stderr=stderr, highlight=False)


@contextlib.contextmanager
def progress(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on stderr, if that is a terminal; give what advances it."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.progress import Progress  # noqa: PLC0415 - see the module

    shown = console(stderr=True)
    # What goes into a pipe meanwhile must not turn up above the bar.
    with Progress(console=shown, transient=True, redirect_stdout=sys.stdout.isatty()) as bar:
        task = bar.add_task(label, total=total)
        yield lambda done: bar.advance(task, done)


def fitted(text: str, stream: TextIO, *, indent: int = 2) -> str:
    """Return text as it is written to a stream: on a terminal each line broken between words.

    The rest of the first line is indented by ``indent`` columns, that of any other by two more
    than the line itself.
    """
    if not stream.isatty():
        return text
    first, *others = text.split("\n")
    broken = [_broken(first, indent)]
    broken += [_broken(line, len(line) - len(line.lstrip(" ")) + 2) for line in others]
    return "\n".join(broken)


def width() -> int:
    """Return how many columns a line for a person may take."""
    import shutil  # noqa: PLC0415 - see the module

    return max(_NARROWEST, min(WIDEST, shutil.get_terminal_size().columns))


def _broken(line: str, indent: int) -> str:
    import textwrap  # noqa: PLC0415 - see the module

    # Quotes often hold a command to copy: it stays on one line.
    whole = _QUOTED.sub(lambda match: match[0].replace(" ", _JOINT), line)
    broken = textwrap.fill(
        whole,
        width(),
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
        replace_whitespace=False,
    )
    return broken.replace(_JOINT, " ")
