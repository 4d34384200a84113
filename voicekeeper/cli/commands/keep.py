"""``voicekeeper keep``."""

import click

from voicekeeper.cli.session import Session, name_argument, pass_session


@click.command
@name_argument
@pass_session
def command(session: Session, *, name: str) -> None:
    """Use the voice NAME now: make it due for a keepalive."""
    registry = session.registry()
    registry.keep(name, now=session.now)
    click.echo(f"{name} is due now; the daemon uses it on its next pass.", err=True)
    session.warn_if_unkept(registry)
