"""``voicekeeper resolve NAME`` past the library of the command line.

Scripts ask for a voice_id before each of their calls, and to import click takes as long as all else
that this needs. So the plain form is answered here where all is well. Whatever else is asked, or
goes wrong, is left to the command itself, which begins anew and has the words for it.
"""

import os
from collections.abc import Sequence

_COMPLETION = "_VOICEKEEPER_COMPLETE"
"""Set by a shell that asks for the words that could follow."""


def answer(args: Sequence[str]) -> str | None:
    """Return the line that is all there is to print; None where the command is to be run.

    Args:
        args: of the whole command line.
    """
    match args:
        case ["resolve", name] if not name.startswith("-") and _may_begin_anew():
            return _resolved(name)
    return None


def _may_begin_anew() -> bool:
    """Tell whether the settings may be read once more: a pipe would be empty then."""
    file = os.environ.get("VOICEKEEPER_CONFIG") or os.devnull
    return _COMPLETION not in os.environ and (file == os.devnull or os.path.isfile(file))  # noqa: PTH113 - without pathlib


def _resolved(name: str) -> str | None:
    from voicekeeper.cli.session import Session  # noqa: PLC0415 - other commands begin elsewhere
    from voicekeeper.errors import VoicekeeperError  # noqa: PLC0415
    from voicekeeper.glance.file import Unsure  # noqa: PLC0415
    from voicekeeper.glance.voices import Voices  # noqa: PLC0415

    try:
        session = Session(None)
        if session.owner is not None:
            return None  # a command that begins anew would read the settings as another user
        voice = session.glance(Voices, lambda side: side.get(name))
    except (Unsure, VoicekeeperError):
        return None
    voice_id = voice.voice_id or ""
    # Any other is for click, which knows what each terminal takes.
    is_plain = voice_id.isascii() and voice_id.isprintable()
    return voice_id if voice_id and is_plain and not voice.status.is_dead else None
