"""``voicekeeper history``: what happened in a voice's life."""

import sys
from typing import Any

import click

from voicekeeper.cli import document, prose
from voicekeeper.cli.options import json_option, name_argument, pass_session
from voicekeeper.cli.session import Session
from voicekeeper.core import fields
from voicekeeper.core.costs import usd
from voicekeeper.core.duration import rfc3339
from voicekeeper.core.events import is_pruned
from voicekeeper.core.visible import visible

_FIRST = ("code", "error")
"""What a person looks for stands first in an event."""


@click.command
@name_argument
@json_option
@pass_session
def command(session: Session, *, name: str, as_json: bool) -> None:
    """Show what happened in the life of the voice NAME, oldest first.

    Into a pipe each event is one line. The same events stand in the log
    under name=NAME. What is older than daemon.keep_history is deleted.
    """
    entries = session.registry().history(name)
    if as_json:
        prose.put(document.text(document.history(name, entries)))
        return
    if is_pruned([entry.event for entry in entries]):
        prose.say("What came before is kept no more; see daemon.keep_history.")
    for entry in entries:
        detail = _in_dollars(entry.detail or {})
        first = {key: detail[key] for key in _FIRST if key in detail}
        event, words = visible(entry.event), fields.words(first | detail)
        if sys.stdout.isatty():
            head = f"{rfc3339(entry.at)}  {event} "
            lines = fields.filled(head, words, width=prose.width())
            prose.put("\n".join(line.rstrip() for line in lines))
        else:
            prose.put(" ".join([f"{rfc3339(entry.at)}  {event:<22} ", *words]).rstrip())


def _in_dollars(detail: dict[str, Any]) -> dict[str, Any]:
    """Return an event's fields with each amount as a person reads it, e.g. ``cost=$0.00006``."""
    amounts = {key: usd(value) for key, value in detail.items() if key.endswith("_micros")}
    return {key.removesuffix("_micros"): amounts.get(key, value) for key, value in detail.items()}
