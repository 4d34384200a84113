"""What is read in a pipe: plain columns."""

from collections.abc import Iterable, Iterator

from voicekeeper import likeness
from voicekeeper.duration import rfc3339
from voicekeeper.facts import VoiceFacts
from voicekeeper.schedule import Policy, known_deadline


def rows(voices: Iterable[VoiceFacts], policy: Policy) -> Iterator[tuple[str, ...]]:
    """Yield the columns of each voice, for a pipe; empty where unknown."""
    for voice in voices:
        deadline = known_deadline(voice, policy)
        yield (
            voice.name,
            voice.voice_id or "",
            voice.status,
            rfc3339(deadline) if deadline else "",
            "paused" if voice.paused else rfc3339(voice.next_at) if voice.next_at else "",
            " ".join((voice.last_error or "").split()),
            likeness.ANOTHER_VOICE if likeness.is_another_voice(voice) else "",
        )
