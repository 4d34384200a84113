"""``voicekeeper pause``."""

import click

from voicekeeper.cli import prose
from voicekeeper.cli.options import name_argument, pass_session
from voicekeeper.cli.session import Session
from voicekeeper.core.duration import words
from voicekeeper.core.schedule import known_deadline


@click.command
@name_argument
@pass_session
def command(session: Session, *, name: str) -> None:
    """Stop keeping the voice NAME.

    The gateway's window goes on: unless the voice is used elsewhere or
    resumed in time, the gateway deletes it.
    """
    registry = session.registry()
    registry.pause(name, now=session.now)
    voice = registry.get(name)
    deadline = known_deadline(voice, session.policy)
    told = f"{name} is paused"
    if deadline is not None and deadline > session.now and not voice.status.is_dead:
        told += f", and deleted by the gateway in {words(deadline - session.now)} if nobody uses it"
    prose.say(f"{told}; 'voicekeeper resume {name}' keeps it again.")
