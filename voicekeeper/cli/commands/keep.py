"""``voicekeeper keep``."""

import click

from voicekeeper.cli import notes, prose
from voicekeeper.cli.options import name_argument, pass_session
from voicekeeper.cli.session import Session


@click.command
@name_argument
@pass_session
def command(session: Session, *, name: str) -> None:
    """Use the voice NAME now: make it due for a keepalive.

    Even one that was given up, such as a LOST voice: it is OK again if the
    gateway knows it after all.
    """
    registry = session.registry()
    registry.keep(name, now=session.now)
    if session.is_unkept(registry.keeping()):
        when = "once it runs"
    elif notes.of_pauses(session, registry, registry.get(name).model):
        when = "when calls flow again"
    else:
        when = "on its next pass"
    prose.say(f"{name} is due now; the daemon uses it {when}.")
    notes.of_keeping(session, registry)
