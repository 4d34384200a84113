"""``voicekeeper show`` and ``history``: all that is known of one voice."""

import sys
from typing import Any

import click
from rich.text import Text

from voicekeeper.cli import document, prose, table
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
def show_command(session: Session, *, name: str, as_json: bool) -> None:
    """Show all that is known of the voice NAME."""
    registry, policy = session.registry(), session.policy
    voice = registry.get(name)
    spent = registry.spent(voice)
    preview_url = registry.preview_url(voice)
    if as_json:
        shown = document.voice(voice, policy) | {"recipe": voice.recipe} | document.spent(spent)
        prose.put(document.text({**shown, "preview_url": preview_url}))
        return
    console = prose.console()
    rows: dict[str, str | Text] = {
        "name": voice.name,
        "voice_id": voice.voice_id or "-",
        "model": voice.model,
        "origin": voice.origin,
        "status": table.status(voice),
        "time left": table.left(voice, now=session.now, policy=policy, console=console),
        "last used": document.instant(voice.last_used_at) or "-",
        "next keepalive": table.next_keepalive(voice, now=session.now),
        "failures": str(voice.failures),
        "held back" if voice.held_at else "last error": voice.last_error or "-",
        "cost so far": f"{spent} (estimate)",
        "registered": rfc3339(voice.created_at),
    }
    if preview_url is not None:
        rows["preview"] = preview_url
    rows |= {f"recipe {field}": value for field, value in (voice.recipe or {}).items()}
    if sys.stdout.isatty():
        console.print(table.pairs(rows.items()))
    else:
        for label, value in rows.items():
            prose.columns(label, str(value))


@click.command
@name_argument
@json_option
@pass_session
def history_command(session: Session, *, name: str, as_json: bool) -> None:
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
