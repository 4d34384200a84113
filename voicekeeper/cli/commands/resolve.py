"""``voicekeeper resolve``: the voice_id of a voice, for scripts."""

import click

from voicekeeper.cli import prose
from voicekeeper.cli.session import Session, json_option, name_argument, pass_session
from voicekeeper.errors import NotAllowed


@click.command
@name_argument
@json_option
@pass_session
def resolve_command(session: Session, *, name: str, as_json: bool) -> None:
    """Print the voice_id to use now for the voice NAME, and nothing else.

    Exits with 1 when there is none that could speak.
    """
    if as_json:
        from voicekeeper.cli import document  # noqa: PLC0415 - the bare id does without
    voice = session.look(lambda voices: voices.get(name))
    if voice.voice_id is None or voice.status.is_dead:
        raise NotAllowed(f"{name} is {voice.status}: there is no voice_id to use")
    if as_json:
        prose.put(document.text({"name": name, "voice_id": voice.voice_id}))
    else:
        prose.bare(voice.voice_id, f"the voice_id of {name}")
