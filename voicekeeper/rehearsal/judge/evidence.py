"""What the judges know: the gateway's books, what came back to the host, and when it was hindered.

Everything here was seen from outside of the host. What it wrote down for itself is no evidence.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from voicekeeper.rehearsal import troubles
from voicekeeper.rehearsal.clocks import HostClock
from voicekeeper.rehearsal.weather import Span, Weather, has_room
from voicekeeper.sandbox import Gateway, VoiceBook
from voicekeeper.schedule import Policy

SLACK: Final = timedelta(minutes=2)
"""So long after something was heard, a death may have come before it was written down."""

_HINDERED: Final = frozenset(
    {troubles.HOST_DOWN, troubles.SUSPENDED, troubles.DISK_FULL, troubles.DATABASE_LOCKED}
)
"""The spells in which the host itself can do nothing, or write nothing down."""

_CONFUSED_FOR = 2
"""So many windows after the clock was set, times told by it may still be wrong."""


@dataclass(slots=True)
class Known:
    """What the host was told of a voice.

    Attributes:
        name: what the host calls it.
        since: when its id came to the host.
        used_at: the latest use whose success came back whole.
        told_at: when that came back.
        is_lost: whether the host says that it is gone.
        blamed: answers that named the voice since, and were not an account's fault.
    """

    name: str
    since: datetime
    used_at: datetime | None = None
    told_at: datetime | None = None
    is_lost: bool = False
    blamed: int = 0


@dataclass(slots=True)
class Task:
    """An accepted task.

    Attributes:
        at: when it was accepted.
        used_at: the same, where it used a voice.
        at_fault: whether the key was another account's then.
        too_early: the sentence that it came too early, unless it turns out to be a control call.
        is_control: whether it turned out to be one.
    """

    kind: str
    subject: str
    at: datetime
    used_at: datetime | None
    at_fault: bool
    too_early: str | None
    is_control: bool = False


class Evidence:
    """What was seen.

    Args:
        gateway: whose books count.
        clock: for the truth.
        weather: what was wrong when.
        policy: the settings.

    Attributes:
        known: what the host was told of each voice, by its id.
        tasks: those that were accepted, by their id.
        touched: when the host's clock was set; the beginning too, where it was wrong from then on.
        killed: when its process died.
        started: when its last process began.
        abandoned: the voices that no person wants kept.
        broken: each break of the promise, as a sentence.
    """

    def __init__(
        self, gateway: Gateway, *, clock: HostClock, weather: Weather, policy: Policy
    ) -> None:
        self.gateway = gateway
        self.weather = weather
        self.policy = policy
        self._clock = clock
        self._downs: list[Span] = []
        self.known: dict[str, Known] = {}
        self.tasks: dict[str, Task] = {}
        self.touched: list[datetime] = [clock.true] if clock.wrong_by else []
        self.killed: list[datetime] = []
        self.started: datetime | None = None
        self.abandoned: set[str] = set()
        self.broken: list[str] = []

    @property
    def now(self) -> datetime:
        """The true time."""
        return self._clock.true

    @property
    def host_now(self) -> datetime:
        """What the host takes for the time."""
        return self._clock.now()

    def process_died(self) -> None:
        """Note a death."""
        self.killed.append(self.now)
        self._downs.append((self.now, None))

    def process_began(self) -> None:
        """Note a beginning."""
        self.started = self.now
        if self._downs and self._downs[-1][1] is None:
            self._downs[-1] = (self._downs[-1][0], self.now)

    def book(self, voice_id: str) -> VoiceBook:
        """Return the gateway's truth about a voice."""
        return self.gateway.book(voice_id, self.now)

    def living(self) -> dict[str, datetime]:
        """Return the last use of each voice that lives and is to be kept."""
        books = {v: self.book(v) for v in self.known if v not in self.abandoned}
        return {v: book.last_used_at for v, book in books.items() if is_well(book)}

    def has(self, kind: str) -> bool:
        """Tell whether a spell is there now."""
        return kind in self.weather.at(self.now)

    def died_within(self, start: datetime, length: timedelta) -> bool:
        """Tell whether the process died in such a stretch of time."""
        return any(start <= at <= start + length for at in self.killed)

    def was_set_since(self, start: datetime) -> bool:
        """Tell whether the host's clock was set since then."""
        return any(at >= start for at in self.touched)

    def is_confused(self) -> bool:
        """Tell whether the host's clock is wrong, or was so lately."""
        lately = self.now - _CONFUSED_FOR * self.policy.window
        return bool(self._clock.wrong_by) or self.was_set_since(lately)

    def could_work(self, since: datetime, length: timedelta, *, in_calm: bool = False) -> bool:
        """Tell whether the host was alive and well for so long at a stretch, since then.

        Args:
            since: from when on.
            length: how long.
            in_calm: whether nothing else may have been wrong meanwhile either.
        """
        if self.now - since < length:
            return False
        return has_room(self._hindrances(in_calm=in_calm), since, self.now, length)

    def was_hindered(self, start: datetime, end: datetime) -> bool:
        """Tell whether the host could not work at any moment of a stretch of time.

        A process that is started again in the moment of its death was away for no time at all, and
        has forgotten what it was about to write down all the same.
        """
        died = self.died_within(start, end - start)
        return died or not has_room(self._hindrances(), start, end, end - start)

    def _hindrances(self, *, in_calm: bool = False) -> list[Span]:
        kinds = troubles.SPELLS if in_calm else _HINDERED
        return [*self.weather.of(kinds), *self._downs]

    def break_(self, sentence: str) -> None:
        """Note a break of the promise."""
        self.broken.append(f"{self.now:%Y-%m-%d %H:%M:%S}: {sentence}")

    def names_of(self, voice_ids: Iterable[str]) -> set[str]:
        """Return what the host calls these voices."""
        return {self.known[voice_id].name for voice_id in voice_ids}


def is_well(book: VoiceBook) -> bool:
    """Tell whether a voice lives, and speaks."""
    return book.alive and book.status == "OK"
