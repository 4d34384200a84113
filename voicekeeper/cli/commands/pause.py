"""``voicekeeper pause``."""

import click

from voicekeeper.cli.session import Session, name_argument, pass_session


@click.command
@name_argument
@pass_session
def command(session: Session, *, name: str) -> None:
    """Stop keeping the voice NAME; the gateway's window goes on."""
    session.registry().pause(name, now=session.now)
    click.echo(f"{name} is paused; 'voicekeeper resume {name}' keeps it again.", err=True)
