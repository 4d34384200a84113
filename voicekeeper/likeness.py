"""Whether a voice sounds as it did when it was first made. Pure.

A recording makes the same voice again; the same words of a design make another.
"""

from typing import Final

from voicekeeper.facts import VoiceFacts
from voicekeeper.terms import Origin

ANOTHER_VOICE: Final = "not the same voice"
"""What is said of a design that was made again."""


def is_another_voice(voice: VoiceFacts) -> bool:
    """Tell whether a voice is a design that was made again, and so sounds otherwise."""
    return voice.remade_at is not None and voice.origin is Origin.DESIGN
