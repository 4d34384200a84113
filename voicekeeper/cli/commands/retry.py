"""``voicekeeper retry``: repeat an enrollment, on the user's word."""

from functools import partial
from pathlib import Path

import click

from voicekeeper.cli import notes, prose
from voicekeeper.cli.enrollment import enroll, wait_options
from voicekeeper.cli.options import name_argument, pass_session
from voicekeeper.cli.session import Session
from voicekeeper.core.enums import Origin
from voicekeeper.store.registry import Registry


@click.command
@name_argument
@wait_options
@pass_session
def command(session: Session, *, name: str, wait: bool, save_preview: Path | None) -> None:
    """Repeat the enrollment of the voice NAME.

    It is paid for again, and makes a new voice with a new voice_id; a
    designed one may sound different. For voices that are FAILED, UNKNOWN,
    UNDEPLOYED, LOST, or stuck in DEPLOYING. With --wait the voice_id is
    printed when the voice is OK.
    """
    request = partial(_retry, session, name)
    enroll(session, name, request, wait=wait, save_preview=save_preview)


def _retry(session: Session, name: str) -> Registry:
    registry = session.registry()
    registry.retry(name, now=session.now)
    voice = registry.get(name)
    again = "designed" if voice.origin is Origin.DESIGN else "cloned"
    prose.say(f"{name} is to be {again} again, as a new voice.")
    notes.of_request(session, registry, voice)
    return registry
