"""The evidence: the gateway's books, the answers that came back to the host, and the faults.

All of it is seen from outside the host, whose own rows are no evidence.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from voicekeeper.core.schedule import Policy
from voicekeeper.rehearsal import faults
from voicekeeper.rehearsal.clock import HostClock
from voicekeeper.rehearsal.faults import Span, Timeline, has_room
from voicekeeper.sandbox import Gateway, VoiceBook

SLACK: Final = timedelta(minutes=2)
"""A death within this time after an answer may have come before the answer was written down."""

_HINDERED: Final = frozenset(
    {faults.HOST_DOWN, faults.SUSPENDED, faults.DISK_FULL, faults.DATABASE_LOCKED}
)
"""The faults in which the host itself can do nothing, or write nothing down."""

_CONFUSED_FOR = 2
"""For so many windows after the clock was set, times that it stamped may still be wrong."""


@dataclass(slots=True)
class KnownVoice:
    """A voice as far as the host can know it.

    Attributes:
        since: when its id came to the host.
        used_at: the latest use whose success came back whole, at ``heard_at``.
        is_lost: whether the host has it as LOST.
        failures: answers since then that named the voice, and were not the account's fault.
    """

    name: str
    since: datetime
    used_at: datetime | None = None
    heard_at: datetime | None = None
    is_lost: bool = False
    failures: int = 0


@dataclass(slots=True, eq=False)
class Call:
    """One call.

    Attributes:
        kind: ``status`` or the mode of a submission: ``speech``, ``clone``, ``design``.
        subject: the task asked for, the voice spoken with, or the prefix of the voice to make.
        body: the JSON of a submission.
        answered: whether the gateway has done the work.
    """

    kind: str
    model: str
    subject: str
    body: Any
    answered: bool = False


@dataclass(slots=True)
class Task:
    """A task that was accepted at an instant.

    Attributes:
        wrong_account: whether the key was another account's then.
        used_at: the same instant, where it used a voice.
        too_early: the sentence that it came too early, unless it turns out to be a control call.
    """

    kind: str
    subject: str
    at: datetime
    wrong_account: bool
    used_at: datetime | None = None
    too_early: str | None = None
    is_control: bool = False


class Evidence:
    """The evidence so far.

    Attributes:
        known: what the host can know of each voice, by its id.
        tasks: the accepted ones, by their id.
        clock_set: when the host's clock was set; the beginning too, where it was wrong then.
        downs: from each death of the process to the start of the next.
        started: when the last process began.
        abandoned: ids of the voices that no person wants kept.
        broken: each violation of an invariant, as a sentence.
    """

    def __init__(
        self, gateway: Gateway, *, clock: HostClock, timeline: Timeline, policy: Policy
    ) -> None:
        self.gateway = gateway
        self.clock = clock
        self.timeline = timeline
        self.policy = policy
        self.known: dict[str, KnownVoice] = {}
        self.tasks: dict[str, Task] = {}
        self.clock_set: list[datetime] = [clock.true] if clock.wrong_by else []
        self.downs: list[Span] = []
        self.started: datetime | None = None
        self.abandoned: set[str] = set()
        self.broken: list[str] = []

    @property
    def now(self) -> datetime:
        """The true time."""
        return self.clock.true

    def book(self, voice_id: str) -> VoiceBook:
        """Return the gateway's truth about a voice."""
        return self.gateway.book(voice_id, self.now)

    def living(self) -> dict[str, datetime]:
        """Return the last use of each voice that lives and has to be kept, by its id."""
        books = {v: self.book(v) for v in self.known if v not in self.abandoned}
        return {v: book.last_used_at for v, book in books.items() if is_well(book)}

    def has(self, kind: str) -> bool:
        """Return whether there is such a fault now."""
        return kind in self.timeline.at(self.now)

    def died_within(self, start: datetime, length: timedelta) -> bool:
        """Return whether the process died in a stretch of time."""
        return any(start <= died <= start + length for died, _ in self.downs)

    def was_set_since(self, start: datetime) -> bool:
        """Return whether the host's clock was set since then."""
        return any(at >= start for at in self.clock_set)

    def is_confused(self) -> bool:
        """Return whether the host's clock is wrong, or was so lately."""
        lately = self.now - _CONFUSED_FOR * self.policy.window
        return bool(self.clock.wrong_by) or self.was_set_since(lately)

    def could_work(self, since: datetime, length: timedelta, *, in_calm: bool = False) -> bool:
        """Return whether the host was up and well for so long at a stretch, since then.

        ``in_calm`` means without any other fault either.
        """
        if self.now - since < length:
            return False
        spans = [*self.timeline.of(faults.PERIODS if in_calm else _HINDERED), *self.downs]
        return has_room(spans, since, self.now, length)

    def was_hindered(self, start: datetime, length: timedelta) -> bool:
        """Return whether the host could not work at any moment of a stretch of time.

        A process that restarts in the moment of its death was away for no time at all, and has
        forgotten all the same what it was about to write down.
        """
        spans = [*self.timeline.of(_HINDERED), *self.downs]
        return self.died_within(start, length) or not has_room(spans, start, start + length, length)

    def violated(self, sentence: str) -> None:
        """Note a violation."""
        self.broken.append(f"{self.now:%Y-%m-%d %H:%M:%S}: {sentence}")


def is_well(book: VoiceBook) -> bool:
    """Return whether a voice lives, and speaks."""
    return book.alive and book.status == "OK"
