"""A simulation that a test drives itself, step by step, instead of a plan."""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Self, TypeVar

from voicekeeper.config import Settings
from voicekeeper.core.models import Voice
from voicekeeper.errors import NotAllowed, NotFound
from voicekeeper.rehearsal import Plan, Simulation, faults
from voicekeeper.rehearsal.clock import BEGINNING
from voicekeeper.rehearsal.faults import Incident, Period, Rates, Timeline
from voicekeeper.sandbox import Books

T = TypeVar("T")

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

_FOR_EVER_DAYS = 40_000
"""No test lasts so long, so the end of the rehearsal is never near."""

_HEALED_WITHIN = timedelta(hours=7)


class ChangingFaults(Timeline):
    """A timeline that a test makes; ``next_faults`` strike the next calls, one each."""

    def __init__(self) -> None:
        super().__init__(Plan())
        self.next_faults: list[str] = []
        self._made: list[Period] = []

    def begin(self, period: Period) -> None:
        """Let a period begin."""
        self._made.append(period)
        super().__init__(Plan(tuple(self._made)))

    def clear(self, since: timedelta) -> None:
        """Let all faults end now."""
        self.next_faults.clear()
        ended = (Period(s.kind, s.start, min(s.end, since), s.rates) for s in self._made)
        self._made = [period for period in ended if period.start < period.end]
        super().__init__(Plan(tuple(self._made)))

    def fault(self, now: datetime, die: float) -> str | None:
        drawn = super().fault(now, die)
        return self.next_faults.pop(0) if self.next_faults else drawn


class Stage(Simulation):
    """A simulation without a plan, as a context manager; ``notes`` are the lines of its trace."""

    def __init__(self, *, voices: int = 1, seed: int = 0, **options: Any) -> None:  # noqa: ANN401
        self.timeline = ChangingFaults()
        super().__init__(
            Settings(),
            Plan(),
            voices=voices,
            days=_FOR_EVER_DAYS,
            seed=seed,
            timeline=self.timeline,
            **options,
        )
        self.host = self._host
        self.registry = self._registry
        self.notes: list[str] = []
        self._given_up: set[str] = set()
        self._paused: dict[str, set[str]] = {}

    def __enter__(self) -> Self:
        self._loop.set_exception_handler(self._crashed)
        asyncio.set_event_loop(self._loop)
        self.soon(self._import_fleet)
        self.soon(self._host.start)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.soon(self._host.stop)
            tasks = asyncio.all_tasks(self._loop)
            for task in tasks:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        finally:
            asyncio.set_event_loop(None)
            self._loop.close()
            self._database.close()

    # Time, and what happens in it.

    def soon(self, deed: Callable[[], T]) -> T:
        """Do something within the loop, at once, and in no task: a process that dies ends those."""
        done: asyncio.Future[T] = self._loop.create_future()

        def do() -> None:
            try:
                done.set_result(deed())
            except BaseException as error:  # noqa: BLE001 - handed on to the test
                done.set_exception(error)

        self._loop.call_soon(do)
        return self._until(done)

    def let_pass(self, length: timedelta) -> None:
        """Let so much time pass."""
        end = self._clock.true + length
        while self._clock.true < end:  # a future and no task: a process that dies takes its tasks
            waited: asyncio.Future[None] = self._loop.create_future()
            ahead = (end - self._clock.true).total_seconds()
            self._loop.call_later(ahead, waited.set_result, None)
            self._until(waited)

    def do(self, incident: Incident) -> None:
        """Let an incident happen now, whatever its own time."""
        self.soon(lambda: self._do(incident))

    def begin(self, kind: str, length: timedelta, rates: Rates | None = None) -> None:
        """Let a period begin now."""
        plan = faults.lasting(kind, self.since, length)
        for period in plan.periods:
            self.timeline.begin(Period(period.kind, period.start, period.end, rates or {}))
            self._begun(period.kind)
        for incident in plan.incidents:
            self.do(incident)

    @property
    def since(self) -> timedelta:
        """True time since the beginning."""
        return self._clock.true - BEGINNING

    @property
    def now(self) -> datetime:
        """The true time."""
        return self._clock.true

    @property
    def wrong_by(self) -> timedelta:
        """How far ahead of the truth the host's clock is."""
        return self._clock.wrong_by

    @property
    def books(self) -> Books:
        """The gateway's books."""
        return self._gateway.books(self._clock.true)

    @property
    def happened(self) -> Counter[str]:
        """How often each fault struck."""
        return self._happened + self._network.struck

    def _note(self, what: str) -> None:
        self.notes.append(what)
        super()._note(what)

    # A person at the terminal.

    def keep(self, name: str) -> None:
        """Use a voice once more, at the next pass."""
        self.soon(lambda: self.registry.keep(name, now=self.now))
        self.soon(self.host.registry_changed)

    def pause(self, name: str) -> None:
        """Pause a voice, if that is allowed."""

        def pause() -> None:
            self._registry.pause(name, now=self._clock.now())
            self._invariants.dealt_with(name)
            self._paused[name] = set()

        self._person(pause)

    def resume(self, name: str) -> None:
        """Resume a voice; if it is gone by now, that is no loss."""

        def resume() -> None:
            self._registry.resume(name, now=self._clock.now(), policy=self._policy)
            self._see_given_up()
            seen = self._invariants.evidence
            for voice_id in self._paused.pop(name, set()):
                if seen.book(voice_id).alive:
                    seen.abandoned.discard(voice_id)
                    seen.known[voice_id].since = seen.now

        self._person(resume)

    def remove(self, name: str) -> None:
        """Forget a voice."""

        def remove() -> None:
            self._registry.remove(name, now=self._clock.now())
            self._given_up.add(name)
            self._paused.pop(name, None)
            self._invariants.dealt_with(name)
            self._invariants.losses.acknowledged.discard(name)

        self._person(remove)

    def voice(self, name: str) -> Voice:
        """Return a voice's row."""
        return self._registry.get(name)

    def _person(self, deed: Callable[[], None]) -> None:
        def on_their_word() -> None:
            with suppress(NotAllowed, NotFound):
                deed()
                self._host.registry_changed()

        self.soon(lambda: self._as_a_person(on_their_word))

    # The invariants.

    def broken(self) -> list[str]:
        """Return all violations so far."""
        self._see_given_up()
        self._invariants.check()
        lost = self._invariants.losses.lost()
        saveable = [f"{voice_id} was lost" for voice_id, could_be in lost.items() if could_be]
        return [*self._invariants.evidence.broken, *saveable]

    def heal(self) -> None:
        """End all faults, and give that time to show."""
        self.timeline.clear(self.since)
        if not self._host.is_up:
            self.soon(self._host.start)
        self.let_pass(_HEALED_WITHIN)
        self._see_given_up()
        self._invariants.check()
        self._invariants.settle()
        self._check_healed()

    def _see_given_up(self) -> None:
        """Note which voices a person does not want kept."""
        seen = self._invariants.evidence
        kept = {v: known.name for v, known in seen.known.items() if v not in seen.abandoned}
        seen.abandoned |= {v for v, name in kept.items() if name in self._given_up}
        for name, voice_ids in self._paused.items():
            voice_ids |= {v for v, known in kept.items() if known == name}
            seen.abandoned |= voice_ids

    def _until(self, done: "asyncio.Future[T]") -> T:
        """Run until a future is done, or a bug has stopped the loop."""
        try:
            return self._loop.run_until_complete(done)
        except RuntimeError:
            if self._bug is None:
                raise
            raise self._bug from None
