"""``voicekeeper resolve NAME`` past the library of the command line.

Scripts ask for a voice_id before each of their calls, and to import click takes as long as all else
that this needs. So the plain form is answered here where all is well. Whatever else is asked, or
goes wrong, is left to the command itself, which begins anew and has the words for it.
"""

import os
import sys
from collections.abc import Sequence

_COMPLETION = "_VOICEKEEPER_COMPLETE"
"""Set by a shell that asks for the words that could follow."""


def is_answered(args: Sequence[str]) -> bool:
    """Print the voice_id if that is all there is to do; tell whether it is done.

    Args:
        args: of the whole command line.
    """
    match args:
        case ["resolve", name] if not name.startswith("-") and _COMPLETION not in os.environ:
            voice_id = _resolved(name)
        case _:
            return False
    if voice_id is None:
        return False
    try:
        sys.stdout.write(f"{voice_id}\n")
        sys.stdout.flush()
    except (OSError, UnicodeEncodeError):
        return False
    return True


def _resolved(name: str) -> str | None:
    from voicekeeper.cli.session import Session  # noqa: PLC0415 - other commands begin elsewhere
    from voicekeeper.errors import VoicekeeperError  # noqa: PLC0415
    from voicekeeper.glance.file import Unsure  # noqa: PLC0415
    from voicekeeper.glance.voices import Voices  # noqa: PLC0415

    try:
        voice = Session(None).glance(Voices, lambda side: side.get(name))
    except (Unsure, VoicekeeperError):
        return None
    return None if voice.status.is_dead else voice.voice_id
