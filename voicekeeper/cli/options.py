"""What many commands take: their session, the name of a voice, ``--json``."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from voicekeeper.cli.session import Session
from voicekeeper.config.values import at_home
from voicekeeper.core.visible import is_unicode, is_visible
from voicekeeper.errors import VoicekeeperError
from voicekeeper.store.quick.voices import Voices


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


def _complete_names(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Offer the names of the registry; completing a line must never fail."""
    try:
        voices = Session(ctx.find_root().params.get("config")).look(Voices, lambda side: side.all())
        names = [voice.name for voice in voices if voice.name.startswith(incomplete)]
        return [name for name in names if is_visible(name)][:100]
    except (VoicekeeperError, OSError, ImportError):
        return []


class _Copy(click.Path):
    """The path of a copy of the registry; stdin and stdout can hold none."""

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Any:  # noqa: ANN401 - the same
        if value == "-":
            self.fail("a copy is a file, never '-'; './-' is the file of that name", param, ctx)
        return super().convert(at_home(value), param, ctx)


copy_argument = click.argument("file", type=_Copy(path_type=Path))
name_argument = click.argument("name", shell_complete=_complete_names)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
