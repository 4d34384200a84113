"""``voicekeeper clone``, ``design`` and ``retry``: enrollments, which the daemon makes.

With ``--wait`` the command follows one until the voice speaks or never will.
"""

import functools
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

import click
from rich.status import Status as Spinner

from voicekeeper.cli import owner, prose
from voicekeeper.cli.options import name_argument, pass_session
from voicekeeper.cli.session import Session
from voicekeeper.config.values import at_home
from voicekeeper.core import requests
from voicekeeper.core.duration import words
from voicekeeper.core.enums import Origin, Status
from voicekeeper.core.models import Voice
from voicekeeper.core.requests import Clone, Design
from voicekeeper.errors import FetchFailed, InvalidInput, NotAllowed
from voicekeeper.store.registry import NewVoice, Registry

_LOOK_EVERY_S = 0.3
_ENDS = (Status.FAILED, Status.UNDEPLOYED, Status.UNKNOWN, Status.LOST)

_prefix_option = click.option(
    "--prefix", required=True, help="1 to 10 letters or digits; part of the voice_id."
)


def _followed(request: Callable[..., Registry]) -> Callable[..., None]:
    """Let a command that requests an enrollment follow it, and save the preview of its voice."""

    @click.option(
        "--wait",
        is_flag=True,
        help="Follow it until it is OK (exit 0), or has failed or is held (exit 1). Ctrl-C ends"
        " the waiting only.",
    )
    @click.option(
        "--save-preview",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="With --wait: download the gateway's sample of the voice to this new file (exit 1"
        " where that fails; the voice is kept all the same).",
    )
    @pass_session
    @functools.wraps(request)
    def command(
        session: Session, *, name: str, wait: bool, save_preview: Path | None, **recipe: object
    ) -> None:
        def make() -> Registry:
            registry = request(session, name=name, **recipe)
            if wait:
                _follow(session, registry, name)
            return registry

        if save_preview is None:
            make()
        elif wait:
            _save_preview(session, at_home(save_preview), name, make)
        else:
            raise click.UsageError("--save-preview needs --wait.")

    return command


@click.command
@click.argument("name")
@_prefix_option
@click.option(
    "--audio-url",
    "audio_urls",
    metavar="URL",
    multiple=True,
    required=True,
    help="The reference recording; http or https, where the gateway can reach it.",
)
@_followed
def clone_command(
    session: Session, *, name: str, prefix: str, audio_urls: tuple[str, ...]
) -> Registry:
    """Request a voice made from a recording, to be called NAME here.

    The daemon makes the request, once; it costs money. With --wait the
    voice_id is printed when the voice is OK.
    """
    if len(audio_urls) != 1:
        raise InvalidInput(f"--audio-url must be given exactly once, not {len(audio_urls)} times")
    clone = Clone(prefix=prefix, audio_url=audio_urls[0])
    return _register(session, name, Origin.CLONE, asdict(clone))


@click.command
@click.argument("name")
@_prefix_option
@click.option("--prompt", required=True, help="What the voice is like, in 1 to 500 characters.")
@click.option("--preview-text", required=True, help="What its sample says, in 1 to 200 characters.")
@_followed
def design_command(
    session: Session, *, name: str, prefix: str, prompt: str, preview_text: str
) -> Registry:
    """Request a voice made from a description, to be called NAME here.

    The daemon makes the request, once; it costs money. With --wait the
    voice_id is printed when the voice is OK.
    """
    design = Design(prefix=prefix, prompt=prompt, preview_text=preview_text)
    return _register(session, name, Origin.DESIGN, asdict(design))


@click.command
@name_argument
@_followed
def retry_command(session: Session, *, name: str) -> Registry:
    """Repeat the enrollment of the voice NAME.

    It is paid for again, and makes a new voice with a new voice_id; a
    designed one may sound different. For voices that are FAILED, UNKNOWN,
    UNDEPLOYED, LOST, or stuck in DEPLOYING. With --wait the voice_id is
    printed when the voice is OK.
    """
    registry = session.registry()
    registry.retry(name, now=session.now)
    voice = registry.get(name)
    again = "designed" if voice.origin is Origin.DESIGN else "cloned"
    prose.say(f"{name} is to be {again} again, as a new voice.")
    _note_holds(session, registry, voice)
    return registry


def _register(session: Session, name: str, origin: Origin, recipe: dict[str, str]) -> Registry:
    new = NewVoice(
        name=requests.name(name),
        model=session.settings.upstream.model,
        voice_id=None,
        origin=origin,
        recipe=recipe,
    )
    registry = session.registry(make=True)
    registry.register([new], now=session.now, policy=session.policy)
    prose.say(f"{name} is registered; the daemon requests it from the gateway.")
    _note_holds(session, registry, registry.get(name))
    return registry


def _note_holds(session: Session, registry: Registry, voice: Voice) -> None:
    """Say what keeps an enrollment from being made: the day's budget, a pause, or no daemon."""
    hold = registry.hold(voice, now=session.now, policy=session.policy)
    if hold is not None:
        prose.say(f"note: {voice.name} is {hold.sentence}.")
    session.note_paused(registry.blocked(), voice.model)
    session.note_unkept(registry)


def _follow(session: Session, registry: Registry, name: str) -> None:
    """Show a voice's status until its enrollment has ended, or is held.

    On a terminal one line lives; elsewhere each status is a line on stderr. Raises NotFound where
    the voice was removed meanwhile, NotAllowed where no voice was made that can be used.
    """
    began = session.clock.monotonic()
    try:
        voice = _ended(session, registry, name)
    except KeyboardInterrupt:
        prose.say(
            f"No longer waiting; the enrollment of {name} goes on without this command. "
            f"'voicekeeper show {name}' tells how it stands."
        )
        raise click.Abort from None
    if voice.status is not Status.OK:
        raise NotAllowed(f"{name} is {voice.status}: {voice.last_error}")
    prose.say(f"{name} is OK after {session.clock.monotonic() - began:.0f} s.")
    prose.bare(voice.voice_id or "", f"the voice_id of {name}")


def _ended(session: Session, registry: Registry, name: str) -> Voice:
    """Return the voice once its enrollment has ended or is held; show its status until then."""
    began = session.clock.monotonic()
    is_unkept = session.is_unkept(registry.keeping())
    console = prose.console(stderr=True)
    seen: Status | None = None
    with Spinner("", console=console, spinner="line") as spinner:
        while True:
            voice = registry.get(name)
            is_held = voice.status is Status.NEW and voice.held_at is not None
            if is_held or voice.status is Status.OK or voice.status in _ENDS:
                return voice
            waited = words(timedelta(seconds=session.clock.monotonic() - began))
            line = f"{name}  {voice.status}  {waited}  {voice.voice_id or ''}"
            spinner.update(prose.cell(line[: console.width - 3]))
            if voice.status is not seen and not sys.stderr.isatty():
                prose.say(f"{name} is {voice.status}.")
            seen = voice.status
            if not is_unkept:  # else it was told already
                is_unkept = session.note_unkept(registry)
            time.sleep(_LOOK_EVERY_S)


def _save_preview(session: Session, file: Path, name: str, make: Callable[[], Registry]) -> None:
    """Make a voice and save its preview to a new file of mode 0600, whole or not at all.

    The folder is opened before anything is paid for, and by root where root asks; the rest is then
    done by whom root becomes.
    """

    def fill() -> None:
        from voicekeeper.cli import network  # noqa: PLC0415 - its libraries are for this alone

        registry = make()
        url = registry.preview_url(registry.get(name))
        if url is None:
            raise FetchFailed(f"the preview of {name} is not saved: the gateway named none")
        try:
            audio = network.answer(network.download(url))
        except FetchFailed as error:
            raise FetchFailed(f"the preview of {name} is not saved: {error}") from None
        with os.fdopen(descriptor, "wb", closefd=False) as given:
            given.write(audio)

    with owner.new_file(file) as descriptor:
        if session.owner is None:
            fill()
        else:
            owner.in_child(fill)
    prose.say(f"{file} is the preview of {name}.")
