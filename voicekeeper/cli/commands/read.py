"""``voicekeeper list``, ``show``, ``history`` and ``resolve``: what the registry holds."""

# ruff: noqa: PLC0415 - `list` stands in prompts: what only a terminal needs is imported there

import sys
from typing import Any

import click

from voicekeeper.cli import document, prose
from voicekeeper.cli.options import json_option, name_argument, pass_session
from voicekeeper.cli.session import Session
from voicekeeper.core.costs import usd
from voicekeeper.core.duration import rfc3339
from voicekeeper.core.enums import ANOTHER_VOICE, VoiceFacts, is_another_voice
from voicekeeper.core.events import is_pruned
from voicekeeper.core.schedule import Policy, known_deadline
from voicekeeper.core.visible import filled, visible
from voicekeeper.core.visible import words as in_words
from voicekeeper.errors import NotAllowed, NotFound

_FIRST = ("code", "error")
"""What a person looks for stands first in an event."""


@click.command
@json_option
@pass_session
def list_command(session: Session, *, as_json: bool) -> None:
    """List the voices and the time each has left, the most urgent first.

    On a terminal: a table, with each window as a bar. In a pipe: a line a
    voice, its columns separated by tabs: name, voice_id, status, deadline,
    next keepalive, last error, and "not the same voice" after a design that
    was made again.
    """
    policy = session.policy
    try:
        voices, blocked = session.look(
            lambda side: (side.by_urgency(now=session.now, policy=policy), side.blocked())
        )
    except NotFound as nothing:
        prose.say(f"{nothing}.")
        voices, blocked = None, []
    if as_json:
        for piece in document.voices(voices or (), policy):
            prose.put(piece, nl=False)
    elif voices is None:
        return
    elif sys.stdout.isatty():
        from voicekeeper.cli import table

        console = prose.console()
        shown = table.voices(voices, now=session.now, policy=policy, console=console)
        if shown.row_count:
            console.print(shown)
        else:
            prose.say("No voices; 'voicekeeper add' registers one.")
    else:
        for voice in voices:
            prose.columns(*_columns(voice, policy))
    if blocked:
        session.note_paused(blocked)


def _columns(voice: VoiceFacts, policy: Policy) -> tuple[str, ...]:
    """Return the columns of a voice for a pipe; empty where unknown."""
    return (
        voice.name,
        voice.voice_id or "",
        voice.status,
        document.instant(known_deadline(voice, policy)) or "",
        "paused" if voice.paused else document.instant(voice.next_at) or "",
        " ".join((voice.last_error or "").split()),
        ANOTHER_VOICE if is_another_voice(voice) else "",
    )


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
    from voicekeeper.cli import table

    console = prose.console()
    rows: dict[str, Any] = {
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
        **({} if preview_url is None else {"preview": preview_url}),
        **{f"recipe {field}": value for field, value in (voice.recipe or {}).items()},
    }
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
        event, words = visible(entry.event), in_words(first | detail)
        if sys.stdout.isatty():
            head = f"{rfc3339(entry.at)}  {event} "
            lines = filled(head, words, width=prose.width())
            prose.put("\n".join(line.rstrip() for line in lines))
        else:
            prose.put(" ".join([f"{rfc3339(entry.at)}  {event:<22} ", *words]).rstrip())


def _in_dollars(detail: dict[str, Any]) -> dict[str, Any]:
    """Return an event's fields with each amount as a person reads it, e.g. ``cost=$0.00006``."""
    return {
        key.removesuffix("_micros"): usd(value) if key.endswith("_micros") else value
        for key, value in detail.items()
    }


@click.command
@name_argument
@json_option
@pass_session
def resolve_command(session: Session, *, name: str, as_json: bool) -> None:
    """Print the voice_id to use now for the voice NAME, and nothing else.

    Exits with 1 when there is none that could speak.
    """
    voice = session.look(lambda voices: voices.get(name))
    if voice.voice_id is None or voice.status.is_dead:
        raise NotAllowed(f"{name} is {voice.status}: there is no voice_id to use")
    if as_json:
        prose.put(document.text({"name": name, "voice_id": voice.voice_id}))
    else:
        prose.bare(voice.voice_id, f"the voice_id of {name}")
