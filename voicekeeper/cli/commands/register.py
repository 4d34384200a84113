"""``voicekeeper add``, ``import`` and ``export``: voices that exist."""

import codecs
import json
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from typing import IO, Any

import click

from voicekeeper.cli import document, prose
from voicekeeper.cli.options import pass_session
from voicekeeper.cli.session import Session
from voicekeeper.core import requests, schedule
from voicekeeper.core.duration import words
from voicekeeper.core.enums import Origin, Status
from voicekeeper.core.health import SHOWN_NAMES, few, voices
from voicekeeper.core.visible import decoded
from voicekeeper.errors import InvalidInput, Taken, VoicekeeperError, quoted
from voicekeeper.store.registry import NewVoice

_MANY = 1000
"""More voices than this are imported under a progress bar."""
_MOST_NAMED = 20


@click.command
@click.argument("voice_id")
@click.option("--name", required=True, help="What you call it here; unique, never changes.")
@click.option("--model", help="The model it was made for; else the setting upstream.model.")
@click.option(
    "--last-used",
    metavar="TIME",
    help="Its last speech call, e.g. 2026-05-01T12:00:00Z. Without it the voice is used at once.",
)
@pass_session
def add_command(
    session: Session, *, voice_id: str, name: str, model: str | None, last_used: str | None
) -> None:
    """Register a voice that exists, by the VOICE_ID the gateway gave it."""
    new = NewVoice(
        name=requests.name(name),
        voice_id=requests.voice_id(voice_id),
        model=requests.model(session.settings.upstream.model if model is None else model),
        origin=Origin.IMPORTED,
        last_used_at=None if last_used is None else requests.used_at(last_used, now=session.now),
    )
    registry = session.registry(make=True)
    registry.register([new], now=session.now, policy=session.policy)
    prose.say(f"{name} is registered.")
    _note_models([new])
    _note_windows(session, [new])
    session.note_paused(registry.blocked(), new.model)
    session.note_unkept(registry)


@click.command
@click.argument("file", type=click.File("rb"))
@pass_session
def import_command(session: Session, *, file: IO[bytes]) -> None:
    """Register the voices in FILE, all or none; "-" reads stdin.

    FILE holds JSON Lines, one object a voice: "voice_id" and "name", and
    optionally "model", "last_used_at", "origin", "recipe" and "paused". What
    'voicekeeper export' writes, this takes.
    """
    numbers, new, problems = [], [], []
    for number, line in enumerate(_lines(file.read()), 1):
        if not line.strip():
            continue
        try:
            new.append(_voice(line, session))
            numbers.append(number)
        except InvalidInput as error:
            problems.append((number, str(error)))
        except _Twice as twice:
            raise InvalidInput(
                f"nothing was imported: line {number} has the field {quoted(str(twice))} twice"
            ) from None
    if problems:
        raise _refused(problems)
    registry = session.registry(make=True)
    is_long = len(new) > _MANY
    bar = prose.progress("importing", len(new)) if is_long else nullcontext(lambda _: None)
    try:
        with bar as done:
            registry.register(new, now=session.now, policy=session.policy, progress=done)
    except Taken as error:
        conflicts = [(numbers[place], sentence) for place, sentence in error.conflicts]
        raise _refused(conflicts) from None
    prose.say(f"{voices(len(new))} {'is' if len(new) == 1 else 'are'} registered.")
    if new:
        _note_models(new)
        _note_windows(session, new)
        session.note_unkept(registry)


def _lines(content: bytes) -> list[bytes]:
    """Return the lines of a file, or raise InvalidInput where they are one JSON array."""
    with suppress(UnicodeDecodeError):  # a line of it is told
        content = decoded(content).encode()
    content = content.removeprefix(codecs.BOM_UTF8)
    if content.lstrip().startswith(b"["):
        with suppress(ValueError, RecursionError):
            if any(isinstance(each, dict) for each in json.loads(content)):
                raise InvalidInput(
                    "nothing was imported: the file is a JSON array, not one object a line, as "
                    "'jq -c .[] FILE' writes it"
                )
    return content.split(b"\n")


class _Twice(Exception):  # noqa: N818 - the sentence is made where the line is known
    """A field that stands twice in an object: which of the two was meant, nobody can tell."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        fields = [field for field, _ in pairs]
        raise _Twice(next(field for field in fields if fields.count(field) > 1))
    return record


def _voice(line: bytes, session: Session) -> NewVoice:
    try:
        record = json.loads(line, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        raise InvalidInput("not a line of JSON") from None
    facts: dict[str, Any] = requests.facts(
        record, default_model=session.settings.upstream.model, now=session.now
    )
    return NewVoice(**facts)


def _refused(problems: list[tuple[int, str]]) -> VoicekeeperError:
    counted = "1 bad line" if len(problems) == 1 else f"{len(problems)} bad lines"
    told = [f"line {number}: {sentence}" for number, sentence in problems[:_MOST_NAMED]]
    if len(problems) > _MOST_NAMED:
        told.append(f"and {len(problems) - _MOST_NAMED} more")
    return VoicekeeperError(f"nothing was imported, because of {counted}:", told)


def _note_windows(session: Session, voices: Sequence[NewVoice]) -> None:
    """Say of which of these voices the window is over already."""
    policy = session.policy
    over = [
        voice.name
        for voice in voices
        if voice.last_used_at is not None
        and schedule.deadline(voice.last_used_at, policy) <= session.now
        and not voice.paused
    ]
    if over:
        prose.say(
            f"note: the last use of {few(over)} is longer ago than the window of "
            f"{words(policy.window)}: probably deleted by the gateway, and tried at once all the "
            "same."
        )


def _note_models(voices: Sequence[NewVoice]) -> None:
    """Say which of these voices have the id of another model."""
    found = [
        (voice, other)
        for voice in voices
        if (other := requests.other_model(voice.voice_id or "", voice.model))
    ]
    for voice, other in found[:SHOWN_NAMES]:
        prose.say(
            f"note: the voice_id of {voice.name} names the model {other}, but it is registered "
            f"for {voice.model}, so calls would fail; where the model is wrong, remove "
            f"{voice.name} and register it for {other}."
        )
    if len(found) > SHOWN_NAMES:
        prose.say(f"note: so do the voice_ids of {len(found) - SHOWN_NAMES} more.")


@click.command
@pass_session
def export_command(session: Session) -> None:
    """Write the registry to stdout as JSON Lines, which 'import' takes.

    Voices that have no voice_id, or whose voice_id is dead, are left out;
    stderr tells how many.
    """
    left_out = 0
    for voice in session.registry().all():
        if voice.voice_id is None or voice.status in (Status.LOST, Status.UNDEPLOYED):
            left_out += 1
        else:
            prose.put(document.export_line(voice))
    if left_out:
        prose.say(f"{voices(left_out)} without a living voice_id left out.")
