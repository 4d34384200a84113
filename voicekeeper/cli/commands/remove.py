"""``voicekeeper remove``: forget a voice."""

import shlex

import click

from voicekeeper.cli.session import Session, name_argument, pass_session


@click.command
@name_argument
@pass_session
def command(session: Session, *, name: str) -> None:
    """Forget the voice NAME and its history.

    The gateway keeps it until its window is over; there is no call to
    delete a voice.
    """
    voice = session.registry().remove(name)
    click.echo(f"{name} is removed.", err=True)
    if voice.voice_id is not None:
        again = ["voicekeeper", "add", voice.voice_id, "--name", name, "--model", voice.model]
        click.echo(f"To keep it after all: {shlex.join(again)}", err=True)
