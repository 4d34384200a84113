"""``voicekeeper list``: the voices and the time each has left."""

import click
from rich.console import Console

from voicekeeper.cli import document, prose, text
from voicekeeper.cli.session import Session, is_terminal, json_option, pass_session
from voicekeeper.errors import NotFound


@click.command
@json_option
@pass_session
def command(session: Session, *, as_json: bool) -> None:
    """List the voices and the time each has left.

    On a terminal: a table, with each window as a bar. In a pipe: a line a
    voice, its columns separated by tabs: name, voice_id, status, deadline,
    next keepalive, last error, and "not the same voice" after a design that
    was made again.
    """
    try:
        voices = session.registry().all()
    except NotFound as nothing:
        prose.say(f"{nothing}.")
        voices = None
    if as_json:
        for piece in document.voices(voices or (), session.policy):
            click.echo(piece, nl=False)
    elif voices is None:
        return
    elif is_terminal():
        console = Console()
        table = text.table(voices, now=session.now, policy=session.policy, console=console)
        if table.row_count:
            console.print(table)
        else:
            click.echo("No voices; 'voicekeeper add' registers one.", err=True)
    else:
        for row in text.rows(voices, session.policy):
            click.echo(row)
