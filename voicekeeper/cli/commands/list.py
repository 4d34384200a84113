"""``voicekeeper list``: the voices and the time each has left."""

import sys
from collections.abc import Iterable, Iterator

import click

from voicekeeper.cli import document, prose
from voicekeeper.cli.options import json_option, pass_session
from voicekeeper.cli.session import Session
from voicekeeper.core.facts import ANOTHER_VOICE, VoiceFacts, is_another_voice
from voicekeeper.core.schedule import Policy, known_deadline
from voicekeeper.errors import NotFound
from voicekeeper.store.quick_fleet import QuickFleet


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
            QuickFleet,
            lambda side: (side.by_urgency(now=session.now, policy=policy), side.blocked()),
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
        from voicekeeper.cli import table  # noqa: PLC0415 - a pipe does without

        console = prose.console()
        shown = table.voices(voices, now=session.now, policy=policy, console=console)
        if shown.row_count:
            console.print(shown)
        else:
            prose.say("No voices; 'voicekeeper add' registers one.")
    else:
        for row in _rows(voices, policy):
            prose.columns(*row)
    if blocked:
        from voicekeeper.cli import notes  # noqa: PLC0415 - seldom needed

        notes.say_pauses(session, blocked)


def _rows(voices: Iterable[VoiceFacts], policy: Policy) -> Iterator[tuple[str, ...]]:
    """Yield the columns of each voice, for a pipe; empty where unknown."""
    for voice in voices:
        yield (
            voice.name,
            voice.voice_id or "",
            voice.status,
            document.instant(known_deadline(voice, policy)) or "",
            "paused" if voice.paused else document.instant(voice.next_at) or "",
            " ".join((voice.last_error or "").split()),
            ANOTHER_VOICE if is_another_voice(voice) else "",
        )
