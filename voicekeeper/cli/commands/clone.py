"""``voicekeeper clone``: request a voice made from a recording."""

from functools import partial
from pathlib import Path

import click

from voicekeeper.cli.enrollment import enroll, register, wait_options
from voicekeeper.cli.options import pass_session
from voicekeeper.cli.session import Session
from voicekeeper.core.enums import Origin
from voicekeeper.core.requests import Clone
from voicekeeper.errors import InvalidInput


@click.command
@click.argument("name")
@click.option("--prefix", required=True, help="1 to 10 letters or digits; part of the voice_id.")
@click.option(
    "--audio-url",
    "audio_urls",
    metavar="URL",
    multiple=True,
    required=True,
    help="The reference recording; http or https, where the gateway can reach it.",
)
@wait_options
@pass_session
def command(
    session: Session,
    *,
    name: str,
    prefix: str,
    audio_urls: tuple[str, ...],
    wait: bool,
    save_preview: Path | None,
) -> None:
    """Request a voice made from a recording, to be called NAME here.

    The daemon makes the request, once; it costs money. With --wait the
    voice_id is printed when the voice is OK.
    """
    if len(audio_urls) != 1:
        raise InvalidInput(f"--audio-url must be given exactly once, not {len(audio_urls)} times")
    clone = Clone(prefix=prefix, audio_url=audio_urls[0])
    recipe = {"prefix": clone.prefix, "audio_url": clone.audio_url}
    request = partial(register, session, name, Origin.CLONE, recipe)
    enroll(session, name, request, wait=wait, save_preview=save_preview)
