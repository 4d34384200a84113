"""``voicekeeper touch``: record a use made elsewhere."""

import click

from voicekeeper.cli import prose
from voicekeeper.cli.options import name_argument, pass_session
from voicekeeper.cli.session import Session
from voicekeeper.core import registration


@click.command
@name_argument
@click.option("--at", metavar="TIME", help="When, e.g. 2026-05-01T12:00:00Z; else now.")
@pass_session
def command(session: Session, *, name: str, at: str | None) -> None:
    """Record that the voice NAME was used elsewhere, so that it needs no call.

    Count only speech calls that succeeded: the gateway counts no others.
    """
    used_at = session.now if at is None else registration.used_at(at, now=session.now)
    session.registry().touch(name, used_at, now=session.now, policy=session.policy)
    prose.say(f"{name}: the use is recorded.")
