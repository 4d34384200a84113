"""``voicekeeper design``: request a voice made from a description."""

from functools import partial
from pathlib import Path

import click

from voicekeeper.cli.enrollment import enroll, register, wait_options
from voicekeeper.cli.options import pass_session
from voicekeeper.cli.session import Session
from voicekeeper.core.enums import Origin
from voicekeeper.core.requests import Design


@click.command
@click.argument("name")
@click.option("--prefix", required=True, help="1 to 10 letters or digits; part of the voice_id.")
@click.option("--prompt", required=True, help="What the voice is like, in 1 to 500 characters.")
@click.option("--preview-text", required=True, help="What its sample says, in 1 to 200 characters.")
@wait_options
@pass_session
def command(
    session: Session,
    *,
    name: str,
    prefix: str,
    prompt: str,
    preview_text: str,
    wait: bool,
    save_preview: Path | None,
) -> None:
    """Request a voice made from a description, to be called NAME here.

    The daemon makes the request, once; it costs money. With --wait the
    voice_id is printed when the voice is OK.
    """
    design = Design(prefix=prefix, prompt=prompt, preview_text=preview_text)
    recipe = {
        "prefix": design.prefix,
        "prompt": design.prompt,
        "preview_text": design.preview_text,
    }
    request = partial(register, session, name, Origin.DESIGN, recipe)
    enroll(session, name, request, wait=wait, save_preview=save_preview)
