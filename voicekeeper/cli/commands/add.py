"""``voicekeeper add``: register a voice that exists."""

import click

from voicekeeper.cli import notes, prose
from voicekeeper.cli.options import pass_session
from voicekeeper.cli.session import Session
from voicekeeper.core import registration
from voicekeeper.core.enums import Origin
from voicekeeper.store.registry import NewVoice


@click.command
@click.argument("voice_id")
@click.option("--name", required=True, help="What you call it here; unique, never changes.")
@click.option("--model", help="The model it was made for; else the setting upstream.model.")
@click.option(
    "--last-used",
    metavar="TIME",
    help="Its last speech call, e.g. 2026-05-01T12:00:00Z. Without it the voice is used at once.",
)
@pass_session
def command(
    session: Session, *, voice_id: str, name: str, model: str | None, last_used: str | None
) -> None:
    """Register a voice that exists, by the VOICE_ID the gateway gave it."""
    new = NewVoice(
        name=registration.name(name),
        voice_id=registration.voice_id(voice_id),
        model=registration.model(session.settings.upstream.model if model is None else model),
        origin=Origin.IMPORTED,
        last_used_at=None
        if last_used is None
        else registration.used_at(last_used, now=session.now),
    )
    registry = session.registry(make=True)
    registry.register([new], now=session.now, policy=session.policy)
    prose.say(f"{name} is registered.")
    notes.of_models([new])
    notes.of_windows(session, [new])
    notes.of_pauses(session, registry, new.model)
    notes.of_keeping(session, registry)
