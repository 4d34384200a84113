"""``voicekeeper export``: the registry as JSON Lines."""

import click

from voicekeeper.cli import document, prose
from voicekeeper.cli.options import pass_session
from voicekeeper.cli.session import Session
from voicekeeper.core.enums import Status
from voicekeeper.core.health import voices


@click.command
@pass_session
def command(session: Session) -> None:
    """Write the registry to stdout as JSON Lines, which 'import' takes.

    Voices that have no voice_id, or whose voice_id is dead, are left out;
    stderr tells how many.
    """
    left_out = 0
    for voice in session.registry().all():
        if voice.voice_id is None or voice.status in (Status.LOST, Status.UNDEPLOYED):
            left_out += 1
        else:
            prose.put(document.export_line(voice))
    if left_out:
        prose.say(f"{voices(left_out)} without a living voice_id left out.")
