"""Requesting enrollments, and following them until the voice speaks or never will."""

import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
from rich.status import Status as Spinner

from voicekeeper.cli import notes, preview, prose
from voicekeeper.cli.session import Session
from voicekeeper.config.values import at_home
from voicekeeper.core import registration
from voicekeeper.core.duration import words
from voicekeeper.core.enums import Origin, Status
from voicekeeper.core.models import Voice
from voicekeeper.errors import NotAllowed
from voicekeeper.store.registry import NewVoice, Registry

_LOOK_EVERY_S = 0.3
_ENDS = (Status.FAILED, Status.UNDEPLOYED, Status.UNKNOWN, Status.LOST)

_wait_option = click.option(
    "--wait",
    is_flag=True,
    help="Follow it until it is OK (exit 0), or has failed or is held (exit 1). Ctrl-C ends the"
    " waiting only.",
)
_preview_option = click.option(
    "--save-preview",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="With --wait: download the gateway's sample of the voice to this new file (exit 1 where"
    " that fails; the voice is kept all the same).",
)


def wait_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command ``--wait`` and ``--save-preview``, for `enroll`."""
    return _wait_option(_preview_option(command))


def enroll(
    session: Session,
    name: str,
    request: Callable[[], Registry],
    *,
    wait: bool,
    save_preview: Path | None,
) -> None:
    """Request an enrollment; follow it and save the preview of its voice where that is wanted.

    Args:
        session: the command's.
        name: of the voice.
        request: writes the enrollment down.
        wait: whether to follow it.
        save_preview: the file for the preview, if it is wanted.

    Raises:
        click.UsageError: a preview is wanted without waiting for it.
        FetchFailed: the preview cannot be downloaded.
        VoicekeeperError: of `register` or `follow`, or the file cannot be written.
    """

    def make() -> Registry:
        registry = request()
        if wait:
            follow(session, registry, name)
        return registry

    if save_preview is None:
        make()
    elif wait:
        preview.saving(session, at_home(save_preview), name, make)
    else:
        raise click.UsageError("--save-preview needs --wait.")


def register(session: Session, name: str, origin: Origin, recipe: dict[str, str]) -> Registry:
    """Write down a voice that the daemon is to have made.

    Raises:
        VoicekeeperError: the name is taken or not allowed, or the registry cannot be used.
    """
    new = NewVoice(
        name=registration.name(name),
        model=session.settings.upstream.model,
        voice_id=None,
        origin=origin,
        recipe=recipe,
    )
    registry = session.registry(make=True)
    registry.register([new], now=session.now, policy=session.policy)
    prose.say(f"{name} is registered; the daemon requests it from the gateway.")
    notes.of_request(session, registry, registry.get(name))
    return registry


def follow(session: Session, registry: Registry, name: str) -> None:
    """Show a voice's status until its enrollment has ended, or is held.

    On a terminal one line lives; elsewhere each change is a line on stderr.

    Raises:
        NotFound: the voice was removed meanwhile.
        NotAllowed: the enrollment made no voice that can be used, or is held.
        click.Abort: the person has waited enough; the enrollment goes on.
    """
    try:
        _follow(session, registry, name)
    except KeyboardInterrupt:
        prose.say(
            f"No longer waiting; the enrollment of {name} goes on without this command. "
            f"'voicekeeper show {name}' tells how it stands."
        )
        raise click.Abort from None


def _follow(session: Session, registry: Registry, name: str) -> None:
    began = session.clock.monotonic()
    is_unkept = session.is_unkept(registry.keeping())
    console = prose.console(stderr=True)
    seen: Status | None = None
    with Spinner("", console=console, spinner="line") as spinner:
        while True:
            voice = registry.get(name)
            if voice.status is Status.OK or _is_over(voice):
                break
            waited = words(timedelta(seconds=session.clock.monotonic() - began))
            line = f"{name}  {voice.status}  {waited}  {voice.voice_id or ''}"
            spinner.update(prose.cell(line[: console.width - 3]))
            if voice.status is not seen and not sys.stderr.isatty():
                prose.say(f"{name} is {voice.status}.")
            seen = voice.status
            if not is_unkept:  # else it was told already
                is_unkept = notes.of_keeping(session, registry)
            time.sleep(_LOOK_EVERY_S)
    took = session.clock.monotonic() - began
    if voice.status is not Status.OK:
        raise NotAllowed(f"{name} is {voice.status}: {voice.last_error}")
    prose.say(f"{name} is OK after {took:.0f} s.")
    prose.bare(voice.voice_id or "", f"the voice_id of {name}")


def _is_over(voice: Voice) -> bool:
    held = voice.status is Status.NEW and voice.held_at is not None
    return held or voice.status in _ENDS
