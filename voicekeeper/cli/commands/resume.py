"""``voicekeeper resume``."""

import click

from voicekeeper.cli import notes, prose
from voicekeeper.cli.options import name_argument, pass_session
from voicekeeper.cli.session import Session


@click.command
@name_argument
@pass_session
def command(session: Session, *, name: str) -> None:
    """Keep the paused voice NAME again, at once if it fell due."""
    registry = session.registry()
    registry.resume(name, now=session.now, policy=session.policy)
    prose.say(f"{name} is kept again.")
    notes.of_keeping(session, registry)
