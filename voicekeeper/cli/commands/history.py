"""``voicekeeper history``: what happened in a voice's life."""

import sys
from typing import Any

import click

from voicekeeper.cli import document, prose
from voicekeeper.cli.session import Session, json_option, name_argument, pass_session
from voicekeeper.duration import rfc3339
from voicekeeper.pricing import usd

_EVENT_AT = 22  # the column


@click.command
@name_argument
@json_option
@pass_session
def command(session: Session, *, name: str, as_json: bool) -> None:
    """Show what happened in the life of the voice NAME, oldest first.

    The same events stand in the log under name=NAME.
    """
    entries = session.registry().history(name)
    if as_json:
        click.echo(document.text(document.history(name, entries)))
        return
    for entry in entries:
        told = _in_dollars(entry.detail or {})
        detail = " ".join(f"{key}={value}" for key, value in told.items())
        line = f"{rfc3339(entry.at)}  {entry.event:<22}  {detail}".rstrip()
        click.echo(prose.fitted(line, sys.stdout, indent=_EVENT_AT))


def _in_dollars(detail: dict[str, Any]) -> dict[str, Any]:
    """Return an event's fields with each amount as a person reads it, e.g. ``cost=$0.00006``."""
    amounts = {key: usd(value) for key, value in detail.items() if key.endswith("_micros")}
    return {key.removesuffix("_micros"): amounts.get(key, value) for key, value in detail.items()}
