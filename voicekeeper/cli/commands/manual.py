"""``voicekeeper manual``: the manual page."""

import sys

import click

from voicekeeper.cli import manual
from voicekeeper.cli.program import HEADINGS, program
from voicekeeper.errors import InvalidInput


@click.command
def command() -> None:
    """Print the manual page, made from the commands themselves.

    \b
    To read it at once, or have 'man voicekeeper' find it:
      voicekeeper manual | man -l -
      voicekeeper manual > ~/.local/share/man/man1/voicekeeper.1

    The installer of the systemd units does that for everybody.
    """  # noqa: D301 - click's mark for lines to leave alone must be the character itself
    if sys.flags.optimize > 1:
        raise InvalidInput(
            "PYTHONOPTIMIZE=2 and 'python -OO' leave out the texts that the page is made of; "
            "print it without"
        )
    click.echo(manual.page(program, HEADINGS), nl=False)
