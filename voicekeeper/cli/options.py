"""What many commands take: their session, the name of a voice, ``--json``, values of a form."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from voicekeeper.cli.session import Session
from voicekeeper.config.values import at_home
from voicekeeper.core.visible import is_unicode, is_visible
from voicekeeper.errors import InvalidInput, VoicekeeperError


def pass_session(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Hand a command its session as its first argument."""

    @click.pass_context
    @functools.wraps(handler)
    def with_session(ctx: click.Context, /, *args: object, **options: object) -> object:
        for parameter in ctx.command.params:
            value = ctx.params.get(parameter.name or "")
            if isinstance(value, str) and not is_unicode(value):
                raise click.BadParameter(f"{value!r} is not UTF-8 text", ctx, parameter)
        session = Session(ctx.obj)
        ctx.call_on_close(session.close)
        return ctx.invoke(handler, session, *args, **options)

    return with_session


def read_by(read: Callable[[str], Any]) -> Callable[..., Any]:
    """Return an option's callback that reads each of its texts; told are a ValueError's words."""

    def callback(_ctx: click.Context, _parameter: click.Parameter, given: Any) -> Any:  # noqa: ANN401 - click's
        try:
            if isinstance(given, tuple):
                return [read(text) for text in given]
            return None if given is None else read(given)
        except (ValueError, InvalidInput) as error:
            raise click.BadParameter(str(error)) from None

    return callback


def _complete_names(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Offer the names of the registry; completing a line must never fail."""
    try:
        voices = Session(ctx.find_root().params.get("config")).look(lambda voices: voices.all())
        names = [voice.name for voice in voices if voice.name.startswith(incomplete)]
        return [name for name in names if is_visible(name)][:100]
    except (VoicekeeperError, OSError, ImportError):
        return []


def _copy(text: str) -> Path:
    if text == "-":
        raise ValueError("a copy is a file, never '-'; './-' is the file of that name")
    return at_home(text)


copy_argument = click.argument("file", type=click.Path(), callback=read_by(_copy))
name_argument = click.argument("name", shell_complete=_complete_names)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
