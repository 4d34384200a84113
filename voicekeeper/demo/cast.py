"""The four voices of the demonstration, and what the stand-in's books say of each.

Pure: books and ``now`` in, rows out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from voicekeeper.sandbox import Books, VoiceBook

GONE: Final = "deleted"
NOT_YET: Final = "-"


@dataclass(frozen=True, slots=True)
class Part:
    """One voice's part in the demonstration.

    Attributes:
        name: what it is called in the registry, and here.
        made_by: how it came to be, in the books' word.
        voice_id: of a voice that exists before the demonstration, else None.
        command: the arguments that register it; empty for the voice that nobody keeps.
    """

    name: str
    made_by: str
    voice_id: str | None = None
    command: tuple[str, ...] = ()

    @property
    def is_kept(self) -> bool:
        """Whether it is registered."""
        return bool(self.command)

    def book(self, books: Books) -> VoiceBook | None:
        """Return its page in the books; None while it was not made."""
        if self.voice_id is not None:
            return books.voices.get(self.voice_id)
        made = (book for book in books.voices.values() if book.made_by == self.made_by)
        return next(made, None)


CAST: Final = (
    Part(
        "narrator",
        "import",
        voice_id="voice-of-a-narrator",
        command=("add", "voice-of-a-narrator", "--name", "narrator"),
    ),
    Part(
        "host",
        "clone",
        command=("clone", "host", "--prefix", "h", "--audio-url", "https://example.com/a.wav"),
    ),
    Part(
        "guide",
        "design",
        command=(
            *("design", "guide", "--prefix", "g"),
            *("--prompt", "Warm.", "--preview-text", "Hi."),
        ),
    ),
    Part("stray", "import", voice_id="voice-that-nobody-keeps"),
)
"""One voice registered, one cloned, one designed; the fourth exists but is never registered."""


@dataclass(frozen=True, slots=True)
class Row:
    """What is shown of one voice at one instant.

    Attributes:
        status: ``-`` before it is made; ``DEPLOYING`` or ``OK``; ``deleted``.
        left: until its window is over; None before it is made and once it is gone.
        share: ``left`` as a share of the window.
        uses: speech tasks with it that ended in success.
    """

    name: str
    is_kept: bool
    status: str
    left: timedelta | None
    share: float
    uses: int


def rows(
    books: Books, *, now: datetime, window: timedelta, cast: Sequence[Part] = CAST
) -> tuple[Row, ...]:
    """Return a row for each voice, in the order of the cast."""
    return tuple(_row(part, part.book(books), now, window) for part in cast)


def _row(part: Part, book: VoiceBook | None, now: datetime, window: timedelta) -> Row:
    if book is None:
        return Row(part.name, part.is_kept, NOT_YET, None, 0.0, 0)
    if not book.alive:
        return Row(part.name, part.is_kept, GONE, None, 0.0, book.uses)
    left = max(book.last_used_at + window - now, timedelta(0))
    return Row(part.name, part.is_kept, book.status, left, left / window, book.uses)
