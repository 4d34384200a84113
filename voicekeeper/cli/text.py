"""What is read in a pipe: plain columns."""

from collections.abc import Iterable, Iterator

from voicekeeper.duration import rfc3339
from voicekeeper.facts import ANOTHER_VOICE, VoiceFacts, is_another_voice
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
            ANOTHER_VOICE if is_another_voice(voice) else "",
        )
