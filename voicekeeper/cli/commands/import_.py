"""``voicekeeper import``: register many voices at once."""

import codecs
import json
from contextlib import nullcontext, suppress
from typing import IO, Any

import click

from voicekeeper.cli import notes, prose
from voicekeeper.cli.options import pass_session
from voicekeeper.cli.progress import progress
from voicekeeper.cli.session import Session
from voicekeeper.core import registration
from voicekeeper.core.visible import decoded
from voicekeeper.errors import InvalidInput, Taken, VoicekeeperError, quoted
from voicekeeper.store.registry import NewVoice

_WITH_A_BAR = 1000
_TOLD_MOST = 20


@click.command
@click.argument("file", type=click.File("rb"))
@pass_session
def command(session: Session, *, file: IO[bytes]) -> None:
    """Register the voices in FILE, all or none; "-" reads stdin.

    FILE holds JSON Lines, one object a voice: "voice_id" and "name", and
    optionally "model", "last_used_at", "origin", "recipe" and "paused". What
    'voicekeeper export' writes, this takes.
    """
    lines, voices, problems = [], [], []
    for number, line in enumerate(_lines(file.read()), 1):
        if not line.strip():
            continue
        try:
            voices.append(_voice(line, session))
            lines.append(number)
        except InvalidInput as error:
            problems.append((number, str(error)))
        except _Twice as twice:
            raise InvalidInput(
                f"nothing was imported: line {number} has the field {quoted(str(twice))} twice"
            ) from None
    if problems:
        raise _refused(problems)
    registry = session.registry(make=True)
    try:
        is_long = len(voices) > _WITH_A_BAR
        bar = progress("importing", len(voices)) if is_long else nullcontext(lambda _: None)
        with bar as done:
            registry.register(voices, now=session.now, policy=session.policy, progress=done)
    except Taken as error:
        conflicts = [(lines[place], sentence) for place, sentence in error.conflicts]
        raise _refused(conflicts) from None
    counted = "1 voice is" if len(voices) == 1 else f"{len(voices)} voices are"
    prose.say(f"{counted} registered.")
    if voices:
        notes.of_models(voices)
        notes.of_windows(session, voices)
        notes.of_keeping(session, registry)


def _lines(content: bytes) -> list[bytes]:
    """Return the lines of a file.

    Raises:
        InvalidInput: they are those of one JSON array.
    """
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
    facts: dict[str, Any] = registration.facts(
        record, default_model=session.settings.upstream.model, now=session.now
    )
    return NewVoice(**facts)


def _refused(problems: list[tuple[int, str]]) -> VoicekeeperError:
    counted = "1 bad line" if len(problems) == 1 else f"{len(problems)} bad lines"
    told = [f"line {number}: {sentence}" for number, sentence in problems[:_TOLD_MOST]]
    if len(problems) > _TOLD_MOST:
        told.append(f"and {len(problems) - _TOLD_MOST} more")
    return VoicekeeperError(f"nothing was imported, because of {counted}:", told)
