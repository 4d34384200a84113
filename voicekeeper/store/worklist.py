"""The keepers' side of the registry: what is due, who has it, and what came of it.

`claim` hands out work and `record` takes its result, each in one transaction. A call's intent row
is committed before its POST: with the claim for speech; for an enrollment, which must never be paid
for twice, by `intend` just before it. So after a crash at any moment the rows say what may have
been sent. Only the active keeper writes intents; an answer is recorded whoever that is by now.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import func, select
from sqlmodel import col

from voicekeeper.core import transitions
from voicekeeper.core.duration import plus
from voicekeeper.core.models import Active, Balance, Kind, Status, Task, Voice
from voicekeeper.core.outcome import WAITS
from voicekeeper.core.schedule import Policy
from voicekeeper.errors import Withdrawn
from voicekeeper.store import (
    active,
    alerts,
    breakers,
    claims,
    controls,
    due,
    holds,
    restore,
    results,
    retention,
    unreadable,
)
from voicekeeper.store.active import Fence
from voicekeeper.store.database import Database
from voicekeeper.store.history import LogLine, take_unlogged
from voicekeeper.store.jobs import IS_OPEN, IS_RUNNING, Answer, Claims, Job, call_for, write_intents
from voicekeeper.store.session import Session

_FIRST = 100
"""Of so many tasks, the first that can be read is waited for."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """The registry in a sentence: how many voices are kept, and when the next one is due."""

    kept: int
    next_at: datetime | None


class Worklist:
    """What is to be done, and what came of it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._fence = Fence(is_shared=database.is_shared, place=database.place)

    def take_over(
        self, *, keeper: str, version: str, now: datetime, policy: Policy, once: bool = False
    ) -> Sequence[LogLine]:
        """Become the active keeper, and settle what a predecessor left in the middle of a call.

        Calls whose answer nobody saw are judged by `transitions.interrupted`: at once where the
        lock of a file tells that whoever made them is gone, else by the passes, once no call can
        take so long. Enrollments that an older copy of the registry may have forgotten are left
        to a person.

        Returns:
            What to log: whose calls are paused still.

        Raises:
            NotActive: another keeper is the active one; this one stands by.
        """
        self._database.see_in_place()
        with self._database.writing() as session:
            reckoned = active.reckoned_by(session)  # by the keepers before this one
            stands_by = self._fence.take(
                session, keeper, version=version, once=once, now=now, policy=policy
            )
            lines = [] if stands_by else self._begin(session, reckoned, now=now, policy=policy)
        if stands_by is not None:  # after the commit, which holds that it stands by
            raise stands_by
        return lines

    def _begin(
        self, session: Session, reckoned: active.Reckoned, *, now: datetime, policy: Policy
    ) -> list[LogLine]:
        """Set right what a predecessor left; return what to log."""
        bad: dict[int | None, str] = {}
        if not self._database.is_shared:
            bad = results.settle_interrupted(
                session, (), before=now, after=now, now=now, policy=policy
            )
        server = self._database.identity(session)
        passed_at = self._database.passed_at
        restore.doubt_at_start(session, server=server, passed_at=passed_at, now=now, policy=policy)
        due.make_held_due(session, now=now)
        session.execute(  # tasks whose webhook may have come while nobody listened
            sa.update(Task)
            .where(
                IS_RUNNING,
                col(Task.token_digest).is_not(None),
                col(Task.next_poll_at) > now,
                col(Task.sent_at) <= plus(now, -policy.enrollment_first),
            )
            .values(next_poll_at=now)
        )
        shorter = reckoned.shorter(policy)
        wrong = due.look(session, now=now, policy=shorter).wrong
        if wrong:
            due.mend(session, wrong, now=now, policy=shorter)
        if reckoned.is_longer_than(policy):
            due.make_all_due(session, now=now, policy=policy)
        active.note_settings(session, policy)
        session.run(sa.update(Active).values(last_pass_at=None))
        return [
            *claims.unreadable_lines(session, bad),
            *(breakers.opening(breaker) for breaker in breakers.opened(session)),
        ]

    def claim(
        self,
        *,
        now: datetime,
        policy: Policy,
        calls: int,
        polls: int,
        busy: Collection[int] = (),
        in_flight: Collection[int] = (),
    ) -> Claims:
        """Take what is due, most urgent first, and note the pass.

        First the voices that can still be saved, by earliest deadline; those past their
        deadline last. What only a wrong clock can have written is mended before.

        Args:
            calls: the most POSTs to take.
            polls: the most tasks to ask for.
            busy: voices that this process makes a call for.
            in_flight: tasks whose calls it makes, or that it asks for.

        Raises:
            NotActive: another keeper has taken over.
        """
        self._database.see_in_place()
        with self._database.writing() as session:
            found = due.look(session, now=now, policy=policy)
            self._fence.stay_active(session, now=now, is_pass=True)
            left: dict[int | None, str] = {}
            if found.interrupted:
                left = results.settle_interrupted(
                    session,
                    in_flight,
                    before=plus(now, -policy.longest_call),
                    after=plus(now, policy.longest_call),
                    now=now,
                    policy=policy,
                )
            if found.wrong:
                due.mend(session, found.wrong, now=now, policy=policy)
            if found.interrupted or found.wrong:
                found = due.look(session, now=now, policy=policy)
            lines = take_unlogged(session) if found.unlogged else []
            if _has_come(found.due_at, now):
                lines = [*lines, *holds.put_all(session, now=now, policy=policy)]
            paused = [each.model for each in breakers.opened(session)] if found.opened else []
            asked: Sequence[Job] = []
            probes: Sequence[Job] = []
            voices: Sequence[Job] = []
            bad_tasks: Sequence[LogLine] = []
            bad_voices: Sequence[LogLine] = []
            if polls and _has_come(found.poll_at, now):
                asked, bad_tasks = claims.polls(
                    session, paused, now=now, policy=policy, most=polls, in_flight=in_flight
                )
            if calls and (found.opened or found.suspected):
                probes = controls.claim(session, suspected=found.suspected, now=now, policy=policy)
            room = max(calls - len(probes), 0)
            if room and _has_come(found.due_at, now):
                voices, bad_voices = claims.calls(
                    session,
                    paused,
                    now=now,
                    policy=policy,
                    most=room,
                    busy=busy,
                    are_many=found.are_many,
                )
            bad_left = claims.unreadable_lines(session, left)
            claimed = Claims(
                calls=[*probes, *voices],
                polls=asked,
                more_calls=len(voices) + len(bad_voices) == room,
                more_polls=len(asked) + len(bad_tasks) == polls,
                alerts=found.alerting,
                lines=lines,
                unreadable=[*bad_left, *bad_tasks, *bad_voices],
            )
        self._database.note_pass(now)
        return claimed

    def replan(self, *, old: Policy, new: Policy, now: datetime) -> None:
        """Go by other settings from now on.

        Where the interval or the window shrank, every voice is due now. What the budget holds is
        looked at again where the budget changed.
        """
        spans = ((each.interval, each.window) for each in (old, new))
        (old_interval, old_window), (interval, window) = spans
        with self._database.writing() as session:
            if interval < old_interval or window < old_window:
                due.make_all_due(session, now=now, policy=new)
            active.note_settings(session, new)
            if old.enrollments_per_day != new.enrollments_per_day:
                due.make_held_due(session, now=now)

    def intend(
        self, job: Job, *, now: datetime, policy: Policy, token_digest: str | None = None
    ) -> Job:
        """Write down that an enrollment is requested now; return the job with its task.

        From here on the voice is never due by itself: only an answer, or a person, moves it.

        Args:
            token_digest: of the token with which the gateway is to call when the task has ended.

        Raises:
            Withdrawn: the voice was removed, paused, or is being enrolled already; or the day's
                budget does not allow it, which its row then says.
            NotActive: another keeper has taken over.
        """
        self._database.see_in_place()
        with self._database.writing() as session:
            self._fence.stay_active(session, now=now)
            voice = session.get(Voice, job.voice_pk)
            wanted = voice is not None and not voice.paused and voice.status is Status.NEW
            if voice is None or not wanted or claims.is_enrolling(session, voice):
                raise Withdrawn(f"the enrollment of {job.name} is not wanted any more")
            hold = holds.of_voice(session, voice, now=now, policy=policy)
            if hold is None:
                session.change(voice, transitions.released(voice).voice | {"next_at": None})
                refusals = _refusals(session, voice)
                (job,) = write_intents(
                    session, [call_for(voice)], now=now, policy=policy, token_digest=token_digest
                )
                return job._replace(refusals=refusals)
            holds.put(session, voice, hold, now=now, policy=policy, logged=False)
        raise Withdrawn(f"the enrollment of {job.name} is {hold.sentence}")  # the hold is kept

    def record(self, answers: Sequence[Answer]) -> list[Sequence[LogLine]]:
        """Apply what answers change, all or none, to the rows as they are now.

        Whoever is the active keeper by now: an answer to a task that was settled as interrupted
        meanwhile counts too. One to a task that is gone (its voice was removed), was answered
        already, or whose enrollment was asked for again since, changes nothing.

        Returns:
            What to log of each.
        """
        with self._database.writing() as session:
            keys = [answer.job.task_pk for answer in answers if answer.job.task_pk is not None]
            found, bad = results.find(session, keys)
            for why in bad.values():
                raise ValueError(why)
            return [
                self._record(session, answer, found.get(answer.job.task_pk or 0))
                for answer in answers
            ]

    def _record(
        self, session: Session, answer: Answer, found: results.Found | None
    ) -> Sequence[LogLine]:
        _, rule, now, policy = answer
        if found is None or not results.reopen(session, found, now=now):
            return []
        task, voice, superseded = found
        change = rule(voice, task)
        if voice is None:
            return controls.apply(session, task, change, now=now, policy=policy)
        if superseded and "last_used_at" not in change.voice:
            change = results.of_task_alone(change)
        return results.apply(session, voice, task, change, now=now, policy=policy)

    def call_back(self, digests: Collection[str], *, now: datetime) -> int:
        """Make the tasks due for polling whose webhooks came; return how many there are.

        A token is good for one call: the next of the same changes nothing.
        """
        expected = (col(Task.token_digest).in_(digests), IS_OPEN)
        with self._database.reading() as session:  # a stranger's make nobody wait for the disk
            if not session.scalars(select(col(Task.id)).where(*expected)).first():
                return 0
        ask_now = sa.update(Task).where(*expected).values(next_poll_at=now, token_digest=None)
        with self._database.writing() as session:
            return len(session.scalars(ask_now.returning(col(Task.id))).all())

    def prune(
        self, after: retention.Place, *, now: datetime, policy: Policy
    ) -> tuple[Counter[str], retention.Place | None]:
        """Delete some rows that are older than the history is kept; see `retention.prune`."""
        with self._database.writing() as session:
            return retention.prune(session, after, now=now, policy=policy)

    def take_alerts(self, *, now: datetime, policy: Policy) -> Sequence[LogLine]:
        """Open and end alerts; return the lines that are due. Log them, then `mark_alerts`."""
        with self._database.writing() as session:
            return alerts.take(session, now=now, policy=policy)

    def mark_alerts(self, lines: Iterable[LogLine], *, now: datetime) -> None:
        """Note that the alerts among these lines were logged; they are due again in a day."""
        with self._database.writing() as session:
            alerts.mark(session, lines, now=now)

    def leave(self, *, keeper: str) -> None:
        """End as a keeper: another one may take over at once."""
        with self._database.writing() as session:
            self._fence.leave(session, keeper)

    def note_balance(self, micros: int, *, now: datetime) -> None:
        """Write down what the account holds, in millionths of a US dollar."""
        with self._database.writing() as session:
            session.merge(Balance(micros=micros, told_at=now))

    def next_poll_in(self, *, now: datetime, policy: Policy) -> timedelta | None:
        """Return how long until a running task may be asked for; None when none may be.

        One whose row, or whose voice's, cannot be read is no reason to wait.
        """
        with self._database.reading() as session:
            paused = [breaker.model for breaker in breakers.opened(session)]
            may_ask = (col(Task.kind) == Kind.CONTROL) | col(Task.model).not_in(paused)
            query = (
                select(Task, Voice)
                .join(Voice, col(Voice.id) == Task.voice_pk, isouter=True)
                .where(IS_RUNNING, may_ask)
                .order_by(col(Task.next_poll_at))
                .limit(_FIRST)
            )
            found, _ = unreadable.load_joined(session, query)
        if not found:
            return None
        soonest: datetime = found[0][0].next_poll_at
        return min(max(soonest - now, timedelta(milliseconds=50)), policy.longest_poll)

    def outlook(self, kept: int | None = None) -> Outlook:
        """Return how many voices are kept, and when the next one is due.

        Args:
            kept: how many they are, where that is known; to count a million takes long.
        """
        with self._database.reading() as session:
            if kept is None:
                kept = session.scalar(select(func.count()).where(claims.IS_KEPT)) or 0
            return Outlook(kept, next_at=session.scalar(claims.NEXT_DUE))


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


def _has_come(at: datetime | None, now: datetime) -> bool:
    return at is not None and at <= now
