"""The keepers' side of the registry: what is due, who has it, and what came of it.

`claim` hands out work and `record` takes its result, each in one transaction. A claim moves the
due time forward as the lease. A call's intent row is committed before its POST: with the claim
for speech, and for an enrollment, which no doubt may fall on, by `intend` at the last moment.
So after a crash at any moment the rows say what may have been sent.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import func, select
from sqlmodel import col

from voicekeeper import __version__, lifecycle, schedule
from voicekeeper.duration import plus
from voicekeeper.errors import Withdrawn
from voicekeeper.models import Balance, Kind, Status, Task, TaskState, Voice
from voicekeeper.schedule import Policy
from voicekeeper.store import (
    agenda,
    alerts,
    blockages,
    breakers,
    claims,
    clocks,
    controls,
    holds,
    ledger,
    old_copies,
    open_calls,
    results,
    roll,
    rows,
    unreadable,
)
from voicekeeper.store.chronicle import Handout, LogLine, take_unlogged
from voicekeeper.store.database import Database
from voicekeeper.store.jobs import IS_OPEN, IS_RUNNING, Answer, Claims, Job, write_intent
from voicekeeper.store.pruner import Pruned, Pruner
from voicekeeper.store.roll import Roll
from voicekeeper.store.session import Session
from voicekeeper.store.statement import Statement
from voicekeeper.verdict import WAITS

_TASK, _VOICE = rows.table_of(Task), rows.table_of(Voice)
_BY_TOKEN = Statement(
    select(_TASK.c.id).where(_TASK.c.token_digest == sa.bindparam("digest"), IS_OPEN)
)
_ASK_NOW = Statement(
    sa.update(_TASK)
    .where(_TASK.c.id == sa.bindparam("key"), _TASK.c.token_digest.is_not(None), IS_OPEN)
    .values(next_poll_at=sa.bindparam("now"), token_digest=sa.null())
)

_OWNERS = Statement(select(_TASK.c.id, _TASK.c.voice_pk).where(IS_OPEN))
_CLAIM_ANEW = Statement(
    sa.update(_VOICE)
    .where(
        _VOICE.c.voice_id.is_(None),
        _VOICE.c.status == Status.NEW,
        _VOICE.c.next_at > sa.bindparam("now"),
        _VOICE.c.failures == 0,
    )
    .values(next_at=sa.bindparam("now"))
)
"""Enrollments that were claimed and never begun are due at a start."""

_IS_CALLED = sa.exists().where(_TASK.c.voice_pk == _VOICE.c.id, IS_OPEN)
_ALL_DUE, _CALLED_DUE = (
    Statement(
        sa.update(_VOICE)
        .where(_VOICE.c.next_at > sa.bindparam("due"), which)
        .values(next_at=sa.bindparam("due"))
    )
    for which in (~_IS_CALLED, _IS_CALLED)
)
"""By a shorter interval or window any due time may be too late; a call that is open goes on."""

_NEXT_DUE = Statement(claims.NEXT_DUE)


@dataclass(frozen=True, slots=True)
class Outlook:
    """The registry in a sentence: how many voices are kept, and when the next one is due."""

    kept: int
    next_at: datetime | None


class Worklist:
    """What is to be done, and what came of it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._roll = Roll(shared=database.is_shared)
        self._pruner = Pruner(database)

    def take_over(
        self, *, keeper: str, version: str, now: datetime, policy: Policy, once: bool = False
    ) -> Sequence[LogLine]:
        """Begin: as the only keeper, settle what a predecessor left in the middle of a call.

        Where several share the database, what one of them left is settled by a pass, once it is
        certain that its keeper is gone.

        Calls whose answer nobody saw are judged by `lifecycle.interrupted`; accepted tasks are
        asked for again at once, or at the page's pace where they are young. Enrollments that an
        older copy of the registry may have forgotten are left to a person.

        Returns:
            What to log: whose calls are paused still.
        """
        shared = self._database.is_shared
        with self._database.writing_alone() as session:
            tasks, lines = ([], []) if shared else self._open_tasks(session)
            for task, voice in tasks:
                if task.state is TaskState.RUNNING:
                    young = plus(task.sent_at, schedule.first_poll(task.kind, policy))
                    # At once, and not with the commit: what comes next may make it due.
                    ask_at = min(task.next_poll_at or now, max(now, young))
                    rows.assign(session, task, {"next_poll_at": ask_at})
                    continue
                change = lifecycle.interrupted(voice, task, now=now)
                if voice is None:
                    ledger.settle(session, task, change.task)
                else:
                    results.apply(
                        session, voice, task, change, now=now, policy=policy, logged=False
                    )
            old_copies.settle_after_a_rest(session, now=now, policy=policy)
            holds.look_again(session, now=now)
            if not shared:  # where there are others, they may be at it
                _CLAIM_ANEW.run(session, now=now)
            reckoned = roll.reckoned_by(session)
            clocks.mend(session, now=now, policy=reckoned.shorter(policy))
            if reckoned.is_longer_than(policy):
                _hurry(session, now=now, policy=policy)
            roll.begin_anew(session, keeper, shared=shared, now=now, policy=policy)
            roll.enter(session, keeper, version=version, once=once, now=now, policy=policy)
            lines += [blockages.opening(breaker) for breaker in breakers.opened(session)]
        return lines

    @staticmethod
    def _open_tasks(session: Session) -> tuple[list[tuple[Task, Voice | None]], list[LogLine]]:
        """Return the open tasks with their voices, and the lines of those that cannot be read."""
        owners: dict[int, int | None] = dict(_OWNERS.rows(session))
        tasks, bad_tasks = unreadable.by_key(session, Task, list(owners))
        voices, bad_voices = unreadable.by_key(session, Voice, sorted({*owners.values()} - {None}))
        bad = bad_voices | {owners[task_pk]: why for task_pk, why in bad_tasks.items()}
        readable = [
            (task, voices.get(owners[task_pk]))
            for task_pk, task in tasks.items()
            if owners[task_pk] not in bad_voices
        ]
        return readable, claims.unreadable_lines(session, bad)

    def claim(
        self,
        *,
        keeper: str,
        now: datetime,
        policy: Policy,
        calls: int,
        polls: int,
        busy: Collection[int] = (),
    ) -> Claims:
        """Take what is due, most urgent first, and note the pass.

        First the voices that can still be saved, by earliest deadline; those past their
        deadline last. What only a wrong clock can have written is mended before.

        Args:
            keeper: whose pass it is.
            now: of this pass.
            policy: the settings.
            calls: the most POSTs to take.
            polls: the most tasks to ask for.
            busy: voices that a call is under way for. Its lease may be over all the same, where
                the process was frozen meanwhile.
        """
        settings = policy
        self._database.see_in_place()
        with self._database.writing() as session:
            standing = self._roll.stand(session, keeper, now=now, policy=policy)
            policy = standing.adapted(policy)
            if not standing.may_call:
                calls = polls = 0
            left_behind: Sequence[LogLine] = []
            if standing.steady:
                left_behind = open_calls.settle_left_behind(session, now=now, policy=policy)
            clocks.mend(session, now=now, policy=policy)
            due = agenda.look(session, now=now, policy=policy)
            lines = take_unlogged(session) if due.unlogged else []
            if _is_here(due.due_at, now):
                lines = [*lines, *holds.put_all(session, now=now, policy=policy)]
            if due.opened or due.suspected:
                breakers.hold(session)
            paused = breakers.open_models(session) if due.opened else []
            asked: Sequence[Job] = []
            probes: Sequence[Job] = []
            voices: Sequence[Job] = []
            bad_tasks: Sequence[LogLine] = []
            bad_voices: Sequence[LogLine] = []
            if polls and _is_here(due.poll_at, now):
                asked, bad_tasks = claims.polls(session, paused, now=now, policy=policy, most=polls)
            if calls and (due.opened or due.suspected):
                probes = controls.claim(session, now=now, policy=policy)
            room = max(calls - len(probes), 0)
            if room and _is_here(due.due_at, now):
                voices, bad_voices = claims.calls(
                    session, paused, now=now, policy=policy, most=room, busy=busy
                )
            self._roll.sign(
                session, keeper, standing, version=__version__, now=now, policy=settings
            )
            return Claims(
                calls=[*probes, *voices],
                polls=asked,
                more_calls=len(voices) == room,
                more_polls=len(asked) == polls,
                alerts=due.alerting,
                lines=[*left_behind, *lines],
                unreadable=[*bad_tasks, *bad_voices],
                share=standing.share,
            )

    def replan(self, *, keeper: str, old: Policy, new: Policy, now: datetime) -> None:
        """Go by other settings from now on.

        Where the interval or the window shrank, every voice is due now. What the budget holds is
        looked at again where the budget changed.
        """
        spans = ((each.interval, each.window) for each in (old, new))
        (old_interval, old_window), (interval, window) = spans
        with self._database.writing_alone() as session:
            if interval < old_interval or window < old_window:
                _hurry(session, now=now, policy=new)
            roll.note_settings(session, keeper, new)
            if old.enrollments_per_day != new.enrollments_per_day:
                holds.look_again(session, now=now)

    def intend(
        self, job: Job, *, now: datetime, policy: Policy, token_digest: str | None = None
    ) -> Job:
        """Write down that an enrollment is requested now; return the job with its task.

        From here on the voice is never due by itself: only an answer, or a person, moves it.

        Args:
            job: as it was claimed.
            now: of this call.
            policy: the settings.
            token_digest: of the token with which the gateway is to call when the task has ended.

        Raises:
            Withdrawn: the voice was removed, paused, or is being enrolled already; or the day's
                budget does not allow it, which its row then says.
        """
        with self._database.writing_alone() as session:
            voice = session.get(Voice, job.voice_pk, with_for_update=True)
            wanted = voice is not None and not voice.paused and voice.status is Status.NEW
            if voice is None or not wanted or claims.is_enrolling(session, voice):
                raise Withdrawn(f"the enrollment of {job.name} is not wanted any more")
            hold = holds.of_voice(session, voice, now=now, policy=policy)
            if hold is None:
                rows.assign(session, voice, lifecycle.released(voice).voice | {"next_at": None})
                refusals = _refusals(session, voice)
                job = write_intent(
                    session, voice, now=now, policy=policy, token_digest=token_digest
                )
                return job._replace(refusals=refusals)
            holds.put(session, voice, hold, now=now, policy=policy, logged=False)
        raise Withdrawn(f"the enrollment of {job.name} is {hold.sentence}")  # the hold is kept

    def record(self, answers: Sequence[Answer]) -> list[Sequence[LogLine]]:
        """Apply what answers change, all or none, to the rows as they are now.

        An answer to a task that is gone (its voice was removed) or was settled already changes
        nothing.

        Returns:
            What to log of each.
        """
        # Groups of several keepers would want the rows of the books in orders of their own.
        with self._database.writing_alone() as session:
            breakers.hold(session)
            told = []
            for answer in answers:
                told.append(self._record(session, answer))
                session.forget()
            return told

    def _record(self, session: Session, answer: Answer) -> Sequence[LogLine]:
        job, decide, now, policy = answer
        found = open_calls.locked(session, job.task_pk)
        if found is None:
            return []
        task, voice, superseded = found
        change = decide(voice, task)
        if voice is None:
            return controls.apply(session, task, change, now=now, policy=policy)
        if superseded and "last_used_at" not in change.voice:
            change = replace(change, voice={}, tellings=())  # the newer call has the say
        return results.apply(session, voice, task, change, now=now, policy=policy)

    def call_back(self, digests: Collection[str], *, now: datetime) -> int:
        """Make the tasks due for polling whose webhooks came; return how many there are.

        A token is good for one call: the next of the same changes nothing.

        Args:
            digests: of the tokens that came.
            now: of this look.
        """
        with self._database.reading() as session:  # a stranger's make nobody wait for the disk
            found = [_BY_TOKEN.scalar(session, digest=digest) for digest in digests]
        keys = [key for key in found if key is not None]
        if not keys:
            return 0
        with self._database.writing() as session:
            return sum(_ASK_NOW.run(session, key=key, now=now) for key in keys)

    def prune(self, *, now: datetime, policy: Policy) -> Pruned:
        """Delete a few rows that are older than the history is kept; see `store.pruner`."""
        return self._pruner.prune(now=now, policy=policy)

    def take_alerts(self, *, now: datetime, policy: Policy) -> Sequence[LogLine]:
        """Look at what a person must be told of; return what is to be told now.

        Each line is handed out under a lease: `confirm` it once it is told.
        """
        with self._database.writing_alone() as session:
            return alerts.take(session, now=now, policy=policy)

    def confirm(self, handouts: Iterable[Handout], *, now: datetime) -> None:
        """Note that these alerts were told; their next turn is a day away."""
        with self._database.writing() as session:
            alerts.confirm(session, handouts, now=now)

    def leave(self, *, keeper: str) -> None:
        """End as a keeper: what it had of the account falls to the others at once."""
        if self._database.is_shared:
            with self._database.writing() as session:
                roll.leave(session, keeper)

    def note_balance(self, micros: int, *, now: datetime) -> None:
        """Write down what the account holds, in millionths of a US dollar."""
        with self._database.writing() as session:
            session.merge(Balance(micros=micros, told_at=now))

    def next_poll_in(self, *, now: datetime, policy: Policy) -> timedelta | None:
        """Return how long until a running task may be asked for; None when none may be."""
        with self._database.reading() as session:
            may_ask = (col(Task.kind) == Kind.CONTROL) | col(Task.model).not_in(
                breakers.open_models(session)
            )
            soonest = session.scalar(
                select(func.min(col(Task.next_poll_at))).where(IS_RUNNING, may_ask)
            )
        if soonest is None:
            return None
        return min(max(soonest - now, timedelta(milliseconds=50)), policy.longest_poll)

    def idle_until(self, *, now: datetime, policy: Policy) -> datetime | None:
        """Return when a pass could find work next; None when nothing is waiting."""
        with self._database.reading() as session:
            return agenda.next_event(session, now=now, policy=policy)

    def outlook(self, kept: int | None = None) -> Outlook:
        """Return how many voices are kept, and when the next one is due.

        Args:
            kept: how many they are, where that is known; to count a million takes long.
        """
        with self._database.reading() as session:
            if kept is None:
                kept = session.scalar(select(func.count()).where(claims.IS_KEPT)) or 0
            return Outlook(kept, next_at=_NEXT_DUE.scalar(session))


def _refusals(session: Session, voice: Voice) -> int:
    """Return how often the enrollment of a voice was refused for its own sake since it was asked.

    It was tried as often as it failed: what came before was of an earlier word of a person.
    """
    tries = (
        select(col(Task.code))
        .where(col(Task.voice_pk) == voice.id)
        .order_by(col(Task.id).desc())
        .limit(voice.failures)
        .subquery()
    )
    return session.scalar(select(func.count(tries.c.code)).where(tries.c.code.not_in(WAITS))) or 0


def _hurry(session: Session, *, now: datetime, policy: Policy) -> None:
    """Make every voice due now, but those of an open call: within the new interval."""
    _ALL_DUE.run(session, due=now)
    _CALLED_DUE.run(session, due=schedule.latest_due(now, policy))


def _is_here(at: datetime | None, now: datetime) -> bool:
    return at is not None and at <= now
