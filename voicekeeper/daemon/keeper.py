"""One pass: claim what is due, call the gateway, record what came of it.

The story of the program in one class. It decides nothing (the rules do) and knows neither SQL
nor HTTP (the edges do). A pass only claims and starts calls; each call runs on its own, so one
that hangs holds up one voice. When a lane empties and more is due, the next pass follows at
once; otherwise it waits for the scheduler's tick.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple, TypeVar

from voicekeeper import __version__
from voicekeeper.core import alerting, costs, outcome, requests, transitions, webhook
from voicekeeper.core.clock import Clock
from voicekeeper.core.events import NUMBERS, Event, Logger, tell
from voicekeeper.core.models import Task, Voice
from voicekeeper.core.outcome import Culprit, Fault
from voicekeeper.core.requests import Request, Speech
from voicekeeper.core.schedule import Policy
from voicekeeper.core.transitions import Transition
from voicekeeper.core.webhook import Callbacks
from voicekeeper.daemon.recorder import Recorder
from voicekeeper.errors import (
    CallFailed,
    DatabaseAway,
    InvalidInput,
    NotActive,
    VoicekeeperError,
    Withdrawn,
)
from voicekeeper.gateway import GatewayPort
from voicekeeper.store.chronicle import LogLine
from voicekeeper.store.jobs import Answer, Claims, Job
from voicekeeper.store.retention import Pruned
from voicekeeper.store.worklist import Outlook, Worklist

T = TypeVar("T")

Offload = Callable[[Callable[[], T]], Awaitable[T]]
"""Runs a blocking function of the store: in a thread of its own, or at once in a simulation."""

Rule = Callable[..., Transition]
"""A rule of `transitions`: rows, an answer, ``now`` and the settings in."""

Work = Callable[[Job], Coroutine[Any, Any, None]]
"""One call and what follows; begun in a task of its own, or never if that is cancelled before."""

STOP_WITHIN_S = 8.0
"""For what is under way when the process is told to stop; the whole stop stays under 10 s."""

_SUCCESSES = (Event.KEEPALIVE_SUCCEEDED, Event.ENROLLMENT_SUCCEEDED)
_FAILURES = (Event.KEEPALIVE_FAILED, Event.ENROLLMENT_FAILED)

_LARGE = 10_000
_COUNT_EVERY_S = 300.0
"""To count so many voices takes longer than a pass; a line for people may be minutes old."""


def say(log: Logger, lines: Iterable[LogLine]) -> None:
    """Write events to the log, after their commit."""
    for line in lines:
        log.log(NUMBERS[line.level], line.event, **line.fields)


class Keeper:
    """Keeps the voices of one registry.

    Args:
        worklist: the registry's side for keepers.
        upstream: the gateway.
        clock: the only source of time.
        policy: the settings.
        name: ``PID@HOST``.
        log: where events are told.
        offload: runs the store's blocking functions.
        callbacks: how the gateway is to call when an enrollment has ended; None to ask only.
    """

    def __init__(
        self,
        *,
        worklist: Worklist,
        upstream: GatewayPort,
        clock: Clock,
        policy: Policy,
        name: str,
        log: Logger,
        offload: Offload[Any],
        callbacks: Callbacks | None = None,
    ) -> None:
        self._worklist = worklist
        self._upstream = upstream
        self._clock = clock
        self._policy = policy
        self._name = name
        self._log = log
        self._callbacks = callbacks
        self.offload = self._offload = offload
        """Where the store's blocking functions run, for what else needs them."""
        self._recorder = Recorder(self._write)
        self._sweeping = asyncio.Lock()
        self._stopping = False
        self._polls, self._calls = _Lane(), _Lane()
        self._give_room()
        self._busy: Counter[int] = Counter()
        self._in_flight: set[int] = set()
        self._intended: dict[int | None, int | None] = {}
        """The task of each enrollment under way whose intent is written, by its voice."""
        self._is_active = False
        self.stands_by = False
        """Whether another keeper is the active one, as far as it knows."""
        self._unreadable: set[str] = set()
        self.key_refused = False
        """Whether the gateway answered 401 to any call so far."""
        self._told: set[str] = set()
        """Every event that an answer was told by, so far."""
        self._looked_at: datetime | None = None
        self._counted: _Counted | None = None

    @property
    def policy(self) -> Policy:
        """The settings that hold."""
        return self._policy

    async def take_over(self, *, once: bool = False) -> None:
        """Become the active keeper, and settle what a predecessor left in the middle.

        Args:
            once: whether this keeper ends when all that is due is done.

        Raises:
            NotActive: another keeper is the active one.
            VoicekeeperError: the database cannot be used.
        """
        take_over = partial(
            self._worklist.take_over,
            keeper=self._name,
            version=__version__,
            now=self._clock.now(),
            policy=self._policy,
            once=once,
        )
        lines = await self._as_active(take_over)
        self._is_active, self.stands_by = True, False
        say(self._log, lines)

    async def adopt(self, policy: Policy) -> None:
        """Go by other settings from now on; calls under way are recorded by them.

        Raises:
            VoicekeeperError: the database cannot be used; the old settings stay.
        """
        async with self._sweeping:
            # What was recorded by the old settings is written before the due times are reckoned
            # anew, and what is recorded from here on goes by the new ones.
            old, self._policy = self._policy, policy
            await self._recorder.settle()
            replan = partial(self._worklist.replan, old=old, new=policy, now=self._clock.now())
            try:
                if self._is_active:  # else whoever takes over sees to it
                    await self._offload(replan)
            except BaseException:
                self._policy = old
                raise
            self._give_room()

    def _give_room(self) -> None:
        # A lane each, so that hanging polls cannot keep voices from being used.
        polls = max(1, self._policy.max_in_flight // 2)
        self._polls.size = polls
        self._calls.size = max(1, self._policy.max_in_flight - polls)

    async def sweep(self) -> bool:
        """Make one pass; return whether it found work.

        A keeper that is not the active one takes over first, if it may.

        Raises:
            NotActive: another keeper is the active one.
            VoicekeeperError: the database cannot be used; nothing was claimed.
        """
        async with self._sweeping:
            if self._stopping:
                return False
            if not self._is_active:
                await self.take_over()
            claim = partial(
                self._worklist.claim,
                now=self._clock.now(),
                policy=self._policy,
                calls=self._calls.free,
                polls=self._polls.free,
                busy=tuple(self._busy),
                in_flight=self._tasks_in_flight(),
            )
            claims: Claims = await self._as_active(claim)
            if claims.lines:  # a command may have changed how many there are
                self._counted = None
            say(self._log, claims.lines)
            say(self._log, self._untold(claims.unreadable))
            self._polls.more, self._calls.more = claims.more_polls, claims.more_calls
            for job in claims.polls:
                self._start(self._polls, job, self._ask)
            for job in claims.calls:
                self._start(self._calls, job, self._call)
            if claims.alerts:
                await self._look_at_alerts()
            return bool(claims.polls or claims.calls)

    async def _as_active(self, function: Callable[[], T]) -> T:
        """Run what only the active keeper may, and note where another one is that."""
        try:
            return await self._offload(function)  # type: ignore[no-any-return]
        except NotActive:
            self._is_active, self.stands_by = False, True
            raise

    async def heed(self, digests: Collection[str]) -> int:
        """Ask at once for the tasks whose webhooks came; return how many there are.

        Args:
            digests: of the tokens that came, whoever sent them.

        Raises:
            VoicekeeperError: the database cannot be used.
        """
        call_back = partial(self._worklist.call_back, digests, now=self._clock.now())
        known: int = await self._offload(call_back)
        if known:
            await self.sweep()
        return known

    async def outlook(self) -> Outlook:
        """Return how many voices are kept, and when the next one is due.

        Raises:
            VoicekeeperError: the database cannot be used.
        """
        now, counted = self._clock.monotonic(), self._counted
        is_known = (
            counted is not None and counted.kept >= _LARGE and now - counted.at < _COUNT_EVERY_S
        )
        known = counted.kept if counted is not None and is_known else None
        outlook: Outlook = await self._offload(partial(self._worklist.outlook, known))
        if known is None:
            self._counted = _Counted(outlook.kept, now)
        return outlook

    async def look_at_balance(self) -> None:
        """Ask what the account holds, and write it down for `status`.

        Whatever goes wrong with that is told to the log at its quietest, and to nobody else: no
        voice depends on it, and the gateway does not promise to tell.
        """
        try:
            micros = await self._upstream.balance_micros()
            if micros is not None:
                note = partial(self._worklist.note_balance, micros, now=self._clock.now())
                await self._offload(note)
        except Exception as error:  # noqa: BLE001 - as above
            tell(self._log, Event.BALANCE_ASKED, error=str(error))
        else:
            tell(self._log, Event.BALANCE_ASKED, balance_micros=micros)

    async def came_to_nothing(self) -> bool:
        """Tell whether something was due, and nothing succeeded so far.

        What is due still, when there was room for it, waits for calls that are paused.

        Raises:
            VoicekeeperError: the database cannot be used.
        """
        if not self._told.isdisjoint(_SUCCESSES):
            return False
        next_at = (await self.outlook()).next_at
        waits = next_at is not None and next_at <= self._clock.now()
        return waits or not self._told.isdisjoint(_FAILURES)

    async def next_poll_in(self) -> timedelta | None:
        """Return how long until a running task may be asked for; None when none may be.

        Raises:
            VoicekeeperError: the database cannot be used.
        """
        now = self._clock.now()
        wait: timedelta | None = await self._offload(
            partial(self._worklist.next_poll_in, now=now, policy=self._policy)
        )
        return wait

    async def settle(self) -> None:
        """Wait until no call is under way and none is about to be begun."""
        lanes = (self._calls, self._polls)
        while running := [task for lane in lanes for task in (*lane.running, *lane.refills)]:
            await asyncio.wait(running)

    async def stop(self, within: float) -> int:
        """Begin no more calls, wait for those under way, and leave the rest to be resumed.

        Args:
            within: seconds to wait.

        Returns:
            How many calls were cut short. Their rows say so, and the next start settles them.
        """
        self._stopping = True
        until = self._clock.monotonic() + within
        with suppress(TimeoutError):
            async with asyncio.timeout(within), self._sweeping:
                pass  # a pass that is claiming begins its calls first
        left = await self._stopped(until)
        with suppress(VoicekeeperError):  # else whoever stands by waits until it counts as dead
            await self._offload(partial(self._worklist.leave, keeper=self._name))
        return left

    async def _stopped(self, until: float) -> int:
        """Wait for the calls under way; return how many were cut short."""
        running = [*self._calls.running, *self._polls.running]
        if not running:
            return 0
        _, left = await asyncio.wait(running, timeout=max(0, until - self._clock.monotonic()))
        for call in left:
            call.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        return len(left)

    def _untold(self, lines: Iterable[LogLine]) -> Iterator[LogLine]:
        """Yield the lines of voices that no line told of since this keeper began."""
        for line in lines:
            if line.fields["name"] not in self._unreadable:
                self._unreadable.add(line.fields["name"])
                yield line

    def _start(self, lane: "_Lane", job: Job, work: Work) -> None:
        task = asyncio.create_task(self._guarded(job, work), name=f"{job.kind} {job.name}")
        lane.running.add(task)
        if job.voice_pk is not None:
            self._busy[job.voice_pk] += 1
        if job.task_pk is not None:
            self._in_flight.add(job.task_pk)
        task.add_done_callback(partial(self._ended, lane, job))

    def _tasks_in_flight(self) -> set[int]:
        """Return the tasks whose calls are under way, or that are asked for."""
        intended = {task_pk for task_pk in self._intended.values() if task_pk is not None}
        return self._in_flight | intended

    def _release(self, job: Job) -> None:
        """Let a later pass take the same work again."""
        if job.voice_pk is not None:
            self._busy[job.voice_pk] -= 1
            if not self._busy[job.voice_pk]:
                del self._busy[job.voice_pk]
        if job.task_pk is None:
            self._intended.pop(job.voice_pk, None)
        else:
            self._in_flight.discard(job.task_pk)

    def _ended(self, lane: "_Lane", job: Job, task: asyncio.Task[bool]) -> None:
        lane.running.discard(task)
        if task.cancelled() or task.result():
            self._release(job)
        else:  # nothing says that it is done, so it would be taken again at once
            backoff = self._policy.longest_call.total_seconds()
            asyncio.get_running_loop().call_later(backoff, self._release, job)
        if lane.more and not self._stopping and lane.free * 2 >= lane.size:
            lane.more = False
            refill = asyncio.create_task(self._refill())
            lane.refills.add(refill)
            refill.add_done_callback(lane.refills.discard)

    async def _refill(self) -> None:
        try:
            await self.sweep()
        except (DatabaseAway, NotActive):
            return  # the next pass tells of it
        except VoicekeeperError as error:
            self._failed(error)

    async def _guarded(self, job: Job, work: Work) -> bool:
        """Keep an error in one voice's work from stopping another's.

        Returns:
            Whether its outcome is recorded, or nothing was begun.
        """
        try:
            await work(job)
        except (Withdrawn, DatabaseAway, NotActive):
            return True  # nothing was sent; of a database that is away the passes tell
        except Exception as error:  # noqa: BLE001 - whatever it is, the others go on
            tell(
                self._log,
                Event.PASS_FAILED,
                name=job.name,
                error=str(error) or type(error).__name__,
                exc_info=error,
            )
            return False
        return True

    async def _call(self, job: Job) -> None:
        """Make the POST whose intent is written down, and record its answer."""
        url, digest = self._expected_call(job)

        async def intend() -> None:
            nonlocal job
            write = partial(
                self._worklist.intend,
                job,
                now=self._clock.now(),
                policy=self._policy,
                token_digest=digest,
            )
            job = await self._as_active(write)
            self._intended[job.voice_pk] = job.task_pk

        async def refuse(fault: Fault) -> None:
            if job.task_pk is None:  # an enrollment that failed before its turn
                await intend()
            await self._record(job, transitions.refused, fault)

        try:
            wanted = self._request(job)
            price = costs.price(job.kind, self._policy.prompt)
            on_turn = intend if job.kind.is_enrollment else self._see_active
            accepted = await self._upstream.submit(
                wanted, job.model, on_turn=on_turn, callback_url=url
            )
        except InvalidInput as error:  # a recipe that another version wrote
            await refuse(Fault(Culprit.REQUEST, "invalid", str(error)))
        except CallFailed as failure:
            self._note_key(failure)
            await refuse(outcome.of_submission(job.kind, failure, refusals=job.refusals))
        except VoicekeeperError:
            raise  # nothing was sent: it was withdrawn, or its intent could not be written
        except Exception as error:
            # A bug of ours, and nobody knows whether the call was made: judge it as unanswered.
            words = f"voicekeeper failed in the middle of the call ({type(error).__name__})"
            await refuse(Fault(Culprit.NOBODY, "error", words, ambiguous=True))
            raise
        else:
            submitted = partial(transitions.submitted, cost_micros=price)
            await self._record(job, submitted, accepted)

    async def _see_active(self) -> None:
        """See that a call that has waited for its turn is still this keeper's to make.

        Raises:
            Withdrawn: another keeper has taken over.
        """
        if not self._is_active:
            raise Withdrawn("another keeper has taken over")

    async def _ask(self, job: Job) -> None:
        """Ask for a task, and record what is told of it."""
        assert job.task_id is not None  # noqa: S101 - a running task has one, by constraint
        told: dict[str, object] = {"name": job.name, "task_id": job.task_id}
        try:
            report = await self._upstream.status(job.task_id, job.model)
        except CallFailed as failure:
            self._note_key(failure)
            tell(self._log, Event.TASK_POLLED, **told, error=str(failure))
            await self._record(job, transitions.unanswered, outcome.of_poll(failure))
        else:
            told |= {"state": report.state, "voice_status": report.voice_status}
            tell(self._log, Event.TASK_POLLED, **told)
            await self._record(job, transitions.reported, report)

    def _expected_call(self, job: Job) -> tuple[str | None, str | None]:
        """Return what the gateway is to call when a task has ended, and what is kept of that."""
        if self._callbacks is None or not job.kind.is_enrollment:
            return None, None
        token = self._callbacks.new_token()
        return webhook.address(self._callbacks.public_url, token), webhook.digest(token)

    def _note_key(self, failure: CallFailed) -> None:
        self.key_refused |= failure.code == 401  # noqa: PLR2004 - HTTP's number

    def _request(self, job: Job) -> Request:
        if job.kind.is_enrollment:
            return requests.from_recipe(job.kind, job.recipe or {})
        return Speech(job.spoken or "", self._policy.prompt, self._policy.format)

    async def _record(self, job: Job, rule: Rule, answer: object) -> None:
        """Write down what an answer changes, by one of the rules of `transitions`."""
        now, policy = self._clock.now(), self._policy

        def decide(voice: Voice | None, task: Task) -> Transition:
            return rule(voice, task, answer, now=now, policy=policy)

        answered = Answer(job, decide, now, policy)
        lines = await self._recorder.record(answered, failed=partial(self._failed, name=job.name))
        self._told.update(line.event for line in lines)
        await self._tell(lines)

    def _failed(self, error: VoicekeeperError, **fields: object) -> None:
        """Tell of what failed beside a pass; of a database that is away the passes tell."""
        if not isinstance(error, DatabaseAway):
            tell(self._log, Event.PASS_FAILED, **fields, error=str(error))

    async def _write(self, answers: Sequence[Answer]) -> Sequence[Sequence[LogLine]]:
        told: Sequence[Sequence[LogLine]] = await self._offload(
            partial(self._worklist.record, answers)
        )
        return told

    async def _look_at_alerts(self) -> None:
        """Tell what is owed; not at each pass, and no failure of it fails the pass."""
        now = self._clock.now()
        last = self._looked_at
        if last is not None and abs(now - last) < alerting.pace(self._policy):
            return
        self._looked_at = now
        try:
            take = partial(self._worklist.take_alerts, now=now, policy=self._policy)
            await self._tell(await self._offload(take))
        except VoicekeeperError as error:
            self._failed(error)

    async def prune(self) -> None:
        """Delete what is older than the history is kept; no failure of it reaches further.

        Each step is a short transaction of its own, and between two of them the store does what
        else waits for it.
        """
        pruned = Pruned()
        try:
            while not self._stopping:
                prune = partial(self._worklist.prune, now=self._clock.now(), policy=self._policy)
                pruned += await self._offload(prune)
                if not pruned.more:
                    break
        except VoicekeeperError as error:
            self._failed(error)
        if pruned.rows:
            tell(self._log, Event.HISTORY_PRUNED, **pruned.rows)

    async def _tell(self, lines: Sequence[LogLine]) -> None:
        """Write events to the log; then mark the alerts among them, or they are logged again."""
        say(self._log, lines)
        if any(line.alert is not None for line in lines):
            with suppress(VoicekeeperError):  # nothing is lost: they are logged again
                mark = partial(self._worklist.mark_alerts, lines, now=self._clock.now())
                await self._offload(mark)


class _Counted(NamedTuple):
    """How many voices are kept, and by the monotonic time when that was counted."""

    kept: int
    at: float


class _Lane:
    """Room for so many calls at a time.

    Attributes:
        size: how many.
        running: the calls under way.
        refills: passes begun because the lane had room again.
        more: whether the last pass left work behind for want of room.
    """

    def __init__(self) -> None:
        self.size = 0
        self.running: set[asyncio.Task[bool]] = set()
        self.refills: set[asyncio.Task[None]] = set()
        self.more = False

    @property
    def free(self) -> int:
        return max(0, self.size - len(self.running))  # more may run than a smaller lane has room
