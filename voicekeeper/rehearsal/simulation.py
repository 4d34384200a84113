"""One simulation: a fleet, a host and a gateway, and the faults of a plan, day by day."""

import asyncio
import hashlib
import logging
import random
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, cast

from sqlmodel import col, select

from voicekeeper.config import Settings, policy_of
from voicekeeper.core.enums import Kind, Origin, Status
from voicekeeper.core.events import Level
from voicekeeper.core.models import Task, Voice
from voicekeeper.core.requests import FLASH
from voicekeeper.errors import NotAllowed
from voicekeeper.rehearsal import faults
from voicekeeper.rehearsal.clock import BEGINNING, HostClock, VirtualLoop
from voicekeeper.rehearsal.faults import (
    NAMES,
    Delete,
    Enroll,
    Incident,
    Jump,
    Kill,
    Plan,
    Retry,
    Suspend,
    Timeline,
    Undeploy,
)
from voicekeeper.rehearsal.host import Host, Killed
from voicekeeper.rehearsal.invariants import Claims, Invariants
from voicekeeper.rehearsal.network import Network
from voicekeeper.rehearsal.report import Report
from voicekeeper.sandbox import Gateway
from voicekeeper.store.jobs import IS_OPEN
from voicekeeper.store.memory import MemoryDatabase
from voicekeeper.store.registry import NewVoice, Registry

Action = Callable[[], None]

_DAY = timedelta(days=1)
_PERSON_TRIES_AGAIN = timedelta(hours=1)
_CALM = timedelta(days=1)


class Simulation:
    """A fleet's life in virtual time.

    Args:
        voices: how many exist at the beginning; the plan's enrollments come on top.
        seed: of all random numbers.
        undated: the share of the voices that are registered without their last use.
        timeline: replaces that of the plan, where a test makes its own.
    """

    def __init__(
        self,
        settings: Settings,
        plan: Plan,
        *,
        voices: int,
        days: int,
        seed: int,
        undated: float = 0.0,
        timeline: Timeline | None = None,
    ) -> None:
        # No name is resolved and no handshake made; without https no certificates are read either.
        upstream = settings.upstream._replace(base_url="http://rehearsed.invalid")
        settings = settings._replace(upstream=upstream)
        self._plan = plan
        self._voices = voices
        self._days = days
        self._seed = seed
        self._undated = undated
        self._rng = random.Random(f"rehearsal {seed}")
        self._policy = policy_of(settings)
        self._loop = VirtualLoop()
        self._clock = HostClock(self._loop)
        self._clock.wrong_by = plan.clock_wrong_by
        self._timeline = timeline or Timeline(plan)
        self._gateway = Gateway(random.Random(f"gateway {seed}"), window=self._policy.window)
        self._invariants = Invariants(
            self._gateway, clock=self._clock, timeline=self._timeline, policy=self._policy
        )
        self._trace = hashlib.sha256()
        self._happened: Counter[str] = Counter()
        self._margins: list[timedelta | None] = []
        self._bug: BaseException | None = None
        self._database = MemoryDatabase()
        self._registry = Registry(self._database)
        self._network = Network(
            self._gateway,
            clock=self._clock,
            timeline=self._timeline,
            rng=random.Random(f"network {seed}"),
            watcher=self._invariants,
            note=self._note,
            step=lambda: self._host.step(),  # noqa: PLW0108 - it comes after
        )
        self._host = Host(
            settings,
            database=self._database,
            clock=self._clock,
            timeline=self._timeline,
            transport=self._network,
            log=self,
            on_start=self._invariants.started,
            on_kill=self._killed,
            on_crash=self._failed,
            on_claim=self._claimed,
        )

    def run(self, progress: Callable[[int], None] = lambda _: None) -> Report:
        """Run to the end; call ``progress`` after each day."""
        self._loop.set_exception_handler(self._crashed)
        try:
            asyncio.set_event_loop(self._loop)
            self._loop.run_until_complete(self._live(progress))
        except RuntimeError:  # the loop was stopped
            if self._bug is None:
                raise
            raise self._bug from None
        finally:
            asyncio.set_event_loop(None)
            self._loop.close()
            self._database.close()
        return self._report()

    def log(self, level: int, event: str, **fields: Any) -> None:  # noqa: ANN401 - a log's
        """Take a line of the host's log."""
        fields.pop("exc_info", None)
        text = " ".join(f"{key}={fields[key]}" for key in sorted(fields))
        self._note(f"{level} {event} {text}")
        self._invariants.logged(cast("Level", logging.getLevelName(level).lower()), event, fields)

    async def _live(self, progress: Callable[[int], None]) -> None:
        self._import_fleet()
        self._host.start()
        for at, action in self._moments(partial(self._day, progress)):
            await self._wait_until(BEGINNING + at)
            action()
        await self._wait_until(BEGINNING + self._days * _DAY)
        self._day(progress)
        self._invariants.settle()
        self._check_healed()
        others = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
        self._host.stop()
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _moments(self, day: Action) -> list[tuple[timedelta, Action]]:
        """Return all that happens, in order."""
        moments = [
            (incident.at, partial(self._do_planned, incident))
            for incident in sorted(self._plan.incidents, key=lambda each: type(each).__name__)
        ]
        moments += [(each.start, partial(self._begun, each.kind)) for each in self._plan.periods]
        moments += [
            (each.end, partial(self._invariants.backlogs.begin, each.kind))
            for each in self._plan.periods
            if each.kind in faults.HARD
        ]
        moments += [(number * _DAY, partial(day)) for number in range(1, self._days)]
        in_time = (moment for moment in moments if moment[0] <= self._days * _DAY)
        return sorted(in_time, key=lambda moment: moment[0])

    async def _wait_until(self, at: datetime) -> None:
        # While the host is suspended its loop stands still, and then has less to wait for.
        while self._clock.true < at:  # noqa: ASYNC110 - nothing sets an event
            await asyncio.sleep((at - self._clock.true).total_seconds())

    def _import_fleet(self) -> None:
        voices = []
        for number in range(1, self._voices + 1):
            name = f"v{number:05d}"
            used_at = BEGINNING - self._policy.interval * self._rng.random()
            self._gateway.import_voice(f"id-{name}-", FLASH, BEGINNING, last_used_at=used_at)
            is_dated = self._rng.random() >= self._undated and used_at <= self._clock.now()
            voices.append(
                NewVoice(name, FLASH, f"id-{name}-", Origin.IMPORTED, used_at if is_dated else None)
            )
            self._invariants.registered(name, f"id-{name}-")
        self._registry.register(voices, now=self._clock.now(), policy=self._policy)

    def _do_planned(self, incident: Incident) -> None:
        """Do what is planned; on a suspended host it happens late."""
        self._do(incident, late=self._clock.true - (BEGINNING + incident.at))

    def _do(self, incident: Incident, late: timedelta = timedelta(0)) -> None:
        self._happened[NAMES[type(incident)]] += 1
        match incident:
            case Kill():
                after = max(incident.restart_after - late, timedelta(0))
                self._host.kill(restart_after=after, steps=incident.steps)
            case Jump():
                self._invariants.evidence.clock_set.append(self._clock.true)
                self._host.set_clock(incident.by)
            case Suspend():
                self._host.suspend(max(incident.length - late, timedelta(0)))
            case Delete():
                deed = self._gateway.delete_voice
                if isinstance(incident, Undeploy):
                    deed = self._gateway.undeploy_voice
                if living := sorted(self._invariants.evidence.living()):
                    deed(living[int(incident.pick * len(living))], self._clock.true)
            case Enroll():
                self._as_a_person(lambda: self._enroll(incident))
            case Retry():
                self._as_a_person(self._retry)

    def _begun(self, kind: str) -> None:
        self._happened[kind] += 1
        self._note(kind)

    def _day(self, progress: Callable[[int], None]) -> None:
        self._margins.append(self._invariants.margin())
        self._invariants.check()
        progress(1)

    def _as_a_person(self, command: Action) -> None:
        """Give a command, and again later while the disk cannot be written."""
        if self._host.storage_fails() is None:
            command()
        else:
            wait = _PERSON_TRIES_AGAIN.total_seconds()
            self._loop.call_later(wait, lambda: self._as_a_person(command))

    def _enroll(self, incident: Enroll) -> None:
        origin, recipe = Origin.CLONE, {"audio_url": "https://example.com/voice.wav"}
        if incident.design:
            origin, recipe = Origin.DESIGN, {"prompt": "A calm voice.", "preview_text": "Hello."}
        recipe = {"prefix": incident.name, **recipe}
        voice = NewVoice(incident.name, FLASH, None, origin, recipe=recipe)
        self._registry.register([voice], now=self._clock.now(), policy=self._policy)
        self._invariants.losses.acknowledged.add(incident.name)
        self._host.registry_changed()

    def _retry(self) -> None:
        for voice in list(self._registry.all()):
            if voice.status in (Status.FAILED, Status.UNKNOWN, Status.UNDEPLOYED, Status.LOST):
                try:
                    self._registry.retry(voice.name, now=self._clock.now())
                except NotAllowed:
                    continue
                self._invariants.retried(voice.name)
        self._host.registry_changed()

    def _claimed(self, claims: Claims) -> None:
        full = claims.more_calls and any(job.kind is Kind.KEEPALIVE for job in claims.calls)
        self._invariants.claimed(claims, self._left() if full else ())

    def _left(self) -> Sequence[str]:
        """Return the ids of the voices that a pass left though they were due.

        Only the host's own rows show that a voice is due; its urgency is the gateway's.
        """
        speaking = select(Task.voice_pk).where(IS_OPEN)
        due = select(Voice.id, Voice.voice_id).where(
            col(Voice.next_at) <= self._clock.now(), col(Voice.voice_id).is_not(None)
        )
        with self._database.reading() as session:
            busy = set(session.scalars(speaking))
            return [voice_id for key, voice_id in session.execute(due) if key not in busy]

    def _killed(self) -> None:
        self._note("killed")
        self._invariants.killed()
        self._network.cut()

    def _crashed(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, Killed | asyncio.CancelledError):
            self._failed(error or RuntimeError(context["message"]))

    def _failed(self, error: BaseException) -> None:
        """Stop: a bug is not one more fault."""
        self._bug = self._bug or error
        self._loop.stop()

    def _check_healed(self) -> None:
        ends = [*(each.end for each in self._plan.periods), *(i.at for i in self._plan.incidents)]
        if max(ends, default=timedelta(0)) + _CALM > self._days * _DAY:
            return  # there was no time to heal
        now, voices = self._clock.now(), list(self._registry.all())
        unfinished = [v for v in voices if v.status in (Status.NEW, Status.DEPLOYING)]
        waiting = {voice.name for voice in unfinished if voice.created_at < now - _CALM}
        hanging = select(Task.id).where(IS_OPEN, col(Task.sent_at) < now - timedelta(hours=6))
        with self._database.reading() as session:
            count = len(session.scalars(hanging).all())
        self._invariants.losses.check_healed({voice.name for voice in voices}, waiting, count)

    def _note(self, what: str) -> None:
        self._trace.update(f"{self._clock.true.isoformat()} {what}\n".encode())

    def _report(self) -> Report:
        books = self._gateway.books(self._clock.true)
        seen, lost = self._invariants, self._invariants.losses.lost()
        return Report(
            seed=self._seed,
            voices=self._voices,
            days=self._days,
            saveable_lost=sum(lost.values()),
            unsaveable_lost=len(lost) - sum(lost.values()),
            smallest_margin=seen.smallest_margin,
            keepalives=seen.keepalives,
            polls=seen.polls,
            cost_micros=books.cost_micros,
            faults=self._happened + self._network.struck,
            transitions=seen.statuses.counts,
            backlogs=seen.backlogs.all,
            margins=self._margins,
            broken=seen.evidence.broken,
            trace=self._trace.hexdigest(),
        )
