"""``voicekeeper retry``: repeat an enrollment, on the user's word."""

import click

from voicekeeper.cli import enrollment, notes, prose
from voicekeeper.cli.options import name_argument, pass_session
from voicekeeper.cli.session import Session
from voicekeeper.terms import Origin


@click.command
@name_argument
@pass_session
def command(session: Session, *, name: str) -> None:
    """Repeat the enrollment of the voice NAME.

    It is paid for again, and makes a new voice with a new voice_id; a
    designed one may sound different. For voices that are FAILED, UNKNOWN,
    UNDEPLOYED, LOST, or stuck in DEPLOYING.
    """
    registry = session.registry()
    registry.retry(name, now=session.now)
    voice = registry.get(name)
    again = "designed" if voice.origin is Origin.DESIGN else "cloned"
    prose.say(f"{name} is to be {again} again, as a new voice.")
    enrollment.warn_if_held(session, registry, voice)
    notes.of_pauses(session, registry, voice.model)
    notes.of_keeping(session, registry)
