"""``voicekeeper resume``."""

import click

from voicekeeper.cli.options import name_argument, pass_session
from voicekeeper.cli.session import Session


@click.command
@name_argument
@pass_session
def command(session: Session, *, name: str) -> None:
    """Keep the paused voice NAME again, at once if it fell due."""
    registry = session.registry()
    registry.resume(name, now=session.now, policy=session.policy)
    click.echo(f"{name} is kept again.", err=True)
    session.warn_if_unkept(registry)
