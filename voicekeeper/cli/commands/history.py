"""``voicekeeper history``: what happened in a voice's life."""

import click

from voicekeeper import fields
from voicekeeper.cli import document, prose
from voicekeeper.cli.session import (
    Session,
    is_terminal,
    json_option,
    name_argument,
    pass_session,
)
from voicekeeper.duration import rfc3339

_FIRST = ("code", "error")
"""What a person looks for stands first in an event."""


@click.command
@name_argument
@json_option
@pass_session
def command(session: Session, *, name: str, as_json: bool) -> None:
    """Show what happened in the life of the voice NAME, oldest first.

    Into a pipe each event is one line. The same events stand in the log
    under name=NAME.
    """
    entries = session.registry().history(name)
    if as_json:
        click.echo(document.text(document.history(name, entries)))
        return
    for entry in entries:
        detail = entry.detail or {}
        first = {key: detail[key] for key in _FIRST if key in detail}
        words = fields.words(first | detail)
        if is_terminal():
            head = f"{rfc3339(entry.at)}  {entry.event} "
            lines = fields.filled(head, words, width=prose.width())
            click.echo("\n".join(line.rstrip() for line in lines))
        else:
            line = " ".join([f"{rfc3339(entry.at)}  {entry.event:<22} ", *words])
            click.echo(line.rstrip())
