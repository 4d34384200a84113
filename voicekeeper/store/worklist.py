"""The keepers' side of the registry: what is due, who has it, and what came of it.

`claim` hands out work and `record` takes its result, each in one transaction. A claim moves the
due time forward as the lease. A call's intent row is committed before its POST: with the claim
for speech, and for an enrollment, which no doubt may fall on, by `intend` at the last moment.
So after a crash at any moment the rows say what may have been sent.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import exists, func, select, update
from sqlmodel import Session, SQLModel, col

from voicekeeper import breaker as breakers
from voicekeeper import lifecycle, schedule
from voicekeeper.breaker import BreakerFields
from voicekeeper.errors import Withdrawn
from voicekeeper.events import Event
from voicekeeper.lifecycle import Change, Telling
from voicekeeper.models import (
    Breaker,
    KeeperBeat,
    Kind,
    Origin,
    Status,
    Task,
    TaskState,
    Voice,
)
from voicekeeper.request import CONTROL_VOICE, FLASH
from voicekeeper.schedule import Policy
from voicekeeper.store.chronicle import LogLine, model_line, take_unlogged, tell
from voicekeeper.store.database import Database
from voicekeeper.verdict import Fault

Decide = Callable[[Voice | None, Task], Change]
"""A rule of `lifecycle` that lacks but the rows; the voice is None for a control call."""

_OPEN = (TaskState.INTENT, TaskState.RUNNING)


@dataclass(frozen=True, slots=True)
class Job:
    """One call to make.

    Attributes:
        voice_pk: the voice; None for a control call.
        task_pk: the task's row; None for an enrollment, whose intent is written when its turn
            has come.
        kind, model: of the task.
        name: of the voice; for a control call, of the model.
        spoken: the voice id to speak with; None for an enrollment.
        recipe: of an enrollment; None for speech.
        task_id: the gateway's, when the call is to ask for the task.
    """

    voice_pk: int | None
    task_pk: int | None
    kind: Kind
    model: str
    name: str
    spoken: str | None
    recipe: dict[str, str] | None
    task_id: str | None


@dataclass(frozen=True, slots=True)
class Claims:
    """What one pass was given.

    Attributes:
        calls: POSTs to make, most urgent first.
        polls: tasks to ask for.
        more_calls, more_polls: whether more may be due than there was room for.
        lines: for the log.
    """

    calls: Sequence[Job]
    polls: Sequence[Job]
    more_calls: bool
    more_polls: bool
    lines: Sequence[LogLine]


@dataclass(frozen=True, slots=True)
class Outlook:
    """The registry in a sentence: how many voices are kept, and when the next one is due."""

    kept: int
    next_at: datetime | None


class Worklist:
    """What is to be done, and what came of it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take_over(self, *, keeper: str, version: str, now: datetime, policy: Policy) -> None:
        """Begin as the only keeper: settle what a predecessor left in the middle of a call.

        Calls whose answer nobody saw are judged by `lifecycle.interrupted`; accepted tasks are
        asked for again at once, or at the page's pace where they are young.
        """
        with self._database.writing() as session:
            for task in session.scalars(select(Task).where(col(Task.state) == TaskState.INTENT)):
                voice = session.get(Voice, task.voice_pk) if task.voice_pk else None
                change = lifecycle.interrupted(voice, task, now=now)
                if voice is None:
                    _set(task, change.task)
                else:
                    _apply(session, voice, task, change, now=now, policy=policy, logged=False)
            for task in session.scalars(select(Task).where(col(Task.state) == TaskState.RUNNING)):
                young = task.sent_at + schedule.first_poll(task.kind, policy)
                task.next_poll_at = min(task.next_poll_at or now, max(now, young))
            session.execute(  # enrollments that were claimed and never begun
                update(Voice)
                .where(
                    col(Voice.voice_id).is_(None),
                    col(Voice.status) == Status.NEW,
                    col(Voice.next_at) > now,
                    col(Voice.failures) == 0,
                )
                .values(next_at=now)
            )
            session.execute(sa.delete(KeeperBeat))
            session.add(KeeperBeat(keeper=keeper, version=version, started_at=now))

    def claim(
        self, *, keeper: str, now: datetime, policy: Policy, calls: int, polls: int
    ) -> Claims:
        """Take what is due, most urgent first, and note the pass.

        First the voices that can still be saved, by earliest deadline; those past their
        deadline last. A due time that only a wrong clock can have set is due.

        Args:
            keeper: whose pass it is.
            now: of this pass.
            policy: the settings.
            calls: the most POSTs to take.
            polls: the most tasks to ask for.
        """
        with self._database.writing() as session:
            lines = take_unlogged(session)
            open_models = _open_models(session)
            asked = _claim_polls(session, open_models, now=now, policy=policy, most=polls)
            controls = _claim_controls(session, now=now, policy=policy) if calls else []
            room = max(calls - len(controls), 0)
            voices = _claim_voices(session, open_models, now=now, policy=policy, most=room)
            session.execute(
                update(KeeperBeat).where(col(KeeperBeat.keeper) == keeper).values(last_pass_at=now)
            )
            return Claims(
                calls=[*controls, *voices],
                polls=asked,
                more_calls=len(voices) == room,
                more_polls=len(asked) == polls,
                lines=lines,
            )

    def intend(self, job: Job, *, now: datetime) -> Job:
        """Write down that an enrollment is requested now; return the job with its task.

        From here on the voice is never due by itself: only an answer, or a person, moves it.

        Raises:
            Withdrawn: the voice was removed, paused, or is being enrolled already.
        """
        with self._database.writing() as session:
            voice = session.get(Voice, job.voice_pk)
            wanted = voice is not None and not voice.paused and voice.status is Status.NEW
            if voice is None or not wanted or _is_enrolling(session, voice):
                raise Withdrawn(f"the enrollment of {job.name} is not wanted any more")
            voice.next_at = None
            task = _intent(voice, now=now)
            session.add(task)
            session.flush()
            return _job(task.kind, voice, task)

    def record(
        self, job: Job, decide: Decide, *, now: datetime, policy: Policy
    ) -> Sequence[LogLine]:
        """Apply what an answer changes, to the rows as they are now; return what to log.

        A task that is gone (its voice was removed) or was settled already changes nothing.
        """
        with self._database.writing() as session:
            task = session.get(Task, job.task_pk) if job.task_pk is not None else None
            if task is None or task.state not in _OPEN:
                return []
            voice = session.get(Voice, task.voice_pk) if task.voice_pk is not None else None
            change = decide(voice, task)
            if voice is None:
                return _apply_control(session, task, change, now=now, policy=policy)
            if "last_used_at" not in change.voice and _is_superseded(session, task):
                change = replace(change, voice={}, tellings=())  # the newer call has the say
            return _apply(session, voice, task, change, now=now, policy=policy)

    def next_poll_in(self, *, now: datetime, policy: Policy) -> timedelta | None:
        """Return how long until a running task may be asked for; None when none may be."""
        with self._database.reading() as session:
            may_ask = (col(Task.kind) == Kind.CONTROL) | col(Task.model).not_in(
                _open_models(session)
            )
            soonest = session.scalar(
                select(func.min(col(Task.next_poll_at))).where(
                    col(Task.state) == TaskState.RUNNING, may_ask
                )
            )
        if soonest is None:
            return None
        return min(max(soonest - now, timedelta(milliseconds=50)), _longest_poll(policy))

    def outlook(self) -> Outlook:
        """Return how many voices are kept, and when the next one is due."""
        kept = (Status.NEW, Status.DEPLOYING, Status.OK)
        with self._database.reading() as session:
            count = select(func.count()).where(
                col(Voice.status).in_(kept), col(Voice.paused).is_(False)
            )
            return Outlook(
                kept=session.scalar(count) or 0,
                next_at=session.scalar(select(func.min(col(Voice.next_at)))),
            )


def _claim_polls(
    session: Session, open_models: Sequence[str], *, now: datetime, policy: Policy, most: int
) -> list[Job]:
    leased_until = now + schedule.lease(policy)
    due = (
        select(Task, Voice)
        .join(Voice, col(Voice.id) == Task.voice_pk, isouter=True)
        .where(
            col(Task.state) == TaskState.RUNNING,
            (col(Task.next_poll_at) <= now)
            | (col(Task.next_poll_at) > now + _longest_poll(policy)),
            (col(Task.kind) == Kind.CONTROL) | col(Task.model).not_in(open_models),
        )
        .order_by(col(Voice.anchored_at).asc().nulls_first())
        .limit(most)
    )
    jobs = []
    for task, voice in session.execute(due):
        task.next_poll_at = leased_until
        if voice is not None and not task.kind.is_enrollment and voice.next_at is not None:
            # Ask first, speak later: while its task is asked for, the voice is not due.
            voice.next_at = max(voice.next_at, leased_until)
        jobs.append(_job(task.kind, voice, task) if voice else _control_job(task))
    return jobs


def _longest_poll(policy: Policy) -> timedelta:
    """Return how far ahead a poll can be; one that is further was set by a wrong clock."""
    return max(policy.give_up, policy.retry_cap, schedule.lease(policy))


def _claim_voices(
    session: Session, open_models: Sequence[str], *, now: datetime, policy: Policy, most: int
) -> list[Job]:
    if most <= 0:
        return []
    asked_first = exists().where(
        col(Task.voice_pk) == Voice.id,
        col(Task.state) == TaskState.RUNNING,
        col(Task.kind) == Kind.KEEPALIVE,
        col(Task.next_poll_at) <= now,
    )
    speaks = col(Voice.voice_id).is_not(None) & ~asked_first
    enrolls = (col(Voice.status) == Status.NEW) & col(Voice.voice_id).is_(None) & ~_enrolling()
    urgency = (col(Voice.anchored_at) <= now - policy.window, col(Voice.anchored_at))
    due = (
        select(col(Voice.id))
        .where(
            (col(Voice.next_at) <= now) | (col(Voice.next_at) > now + policy.interval),
            col(Voice.model).not_in(open_models),
            speaks | enrolls,
        )
        .order_by(*urgency)
        .limit(most)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    claimed = (
        update(Voice)
        .where(col(Voice.id).in_(select(due.c.id)))
        .values(next_at=now + schedule.lease(policy))
        .returning(Voice)
        .execution_options(populate_existing=True)
    )
    voices = list(session.scalars(claimed))
    voices.sort(key=lambda v: (v.anchored_at <= now - policy.window, v.anchored_at))
    tasks = {v.id: _intent(v, now=now) for v in voices if v.voice_id is not None}
    session.add_all(tasks.values())
    session.flush()
    return [_job(_kind(voice), voice, tasks.get(voice.id)) for voice in voices]


def _claim_controls(session: Session, *, now: datetime, policy: Policy) -> list[Job]:
    """Begin the control calls whose time has come: for open breakers, and for suspects."""
    suspected = select(col(Voice.model)).where(
        col(Voice.suspected_at).is_not(None),
        col(Voice.controlled_at).is_(None),
        col(Voice.next_at).is_not(None),
    )
    opened = select(col(Breaker.model)).where(col(Breaker.opened_at).is_not(None))
    jobs = []
    for model in session.scalars(suspected.union(opened)).all():
        breaker = _breaker(session, model)
        if not breakers.may_probe(breaker, now=now, policy=policy):
            continue
        _abandon_controls(session, model, now=now)
        if breaker.opened_at is not None and not _is_waiting(
            session, model, now=now, policy=policy
        ):
            continue
        spoken = _control_voice(session, model, any_voice=breaker.opened_at is not None)
        if spoken is None:
            if breaker.opened_at is not None:
                # No voice to test the route with: let the waiting calls themselves test it.
                breaker.run, breaker.opened_at = breakers.TRIP_AFTER - 1, None
            continue
        breaker.probe_at = breakers.control_ends(now=now, policy=policy)
        task = Task(
            model=model, kind=Kind.CONTROL, state=TaskState.INTENT, spoken=spoken, sent_at=now
        )
        session.add(task)
        session.flush()
        jobs.append(_control_job(task))
    return jobs


def _abandon_controls(session: Session, model: str, *, now: datetime) -> None:
    session.execute(
        update(Task)
        .where(
            col(Task.model) == model,
            col(Task.kind) == Kind.CONTROL,
            col(Task.state).in_(_OPEN),
        )
        .values(state=TaskState.UNKNOWN, finished_at=now, next_poll_at=None)
    )


def _is_waiting(session: Session, model: str, *, now: datetime, policy: Policy) -> bool:
    voice = exists().where(
        col(Voice.model) == model,
        (col(Voice.next_at) <= now) | (col(Voice.next_at) > now + policy.interval),
    )
    task = exists().where(
        col(Task.model) == model,
        col(Task.state) == TaskState.RUNNING,
        (col(Task.next_poll_at) <= now) | (col(Task.next_poll_at) > now + _longest_poll(policy)),
    )
    return bool(session.scalar(select(voice | task)))


def _control_voice(session: Session, model: str, *, any_voice: bool) -> str | None:
    """Return a voice to test with: a built-in one, else another of the model that is OK.

    To test a route only, any voice of the model will do.
    """
    if model == FLASH:
        return CONTROL_VOICE
    usable = (
        select(col(Voice.voice_id))
        .where(col(Voice.model) == model, col(Voice.voice_id).is_not(None))
        .order_by(col(Voice.last_used_at).desc().nulls_last())
        .limit(1)
    )
    trusted = usable.where(col(Voice.status) == Status.OK, col(Voice.suspected_at).is_(None))
    return session.scalar(trusted) or (session.scalar(usable) if any_voice else None)


def _control_job(task: Task) -> Job:
    return Job(
        voice_pk=None,
        task_pk=task.id,
        kind=Kind.CONTROL,
        model=task.model,
        name=task.model,
        spoken=task.spoken,
        recipe=None,
        task_id=task.task_id,
    )


def _apply_control(
    session: Session, task: Task, change: Change, *, now: datetime, policy: Policy
) -> list[LogLine]:
    _set(task, change.task)
    breaker = _breaker(session, task.model)
    who = {"model": task.model, "voice_id": task.spoken}
    lines = [model_line(t.event, **who, **t.detail) for t in change.tellings]
    if change.success:
        lines += _control_succeeded(session, task, breaker, now=now)
    if change.fault is not None:
        lines += _control_failed(session, task, breaker, change.fault, now=now, policy=policy)
    return lines


def _control_succeeded(
    session: Session, task: Task, breaker: Breaker, *, now: datetime
) -> list[LogLine]:
    was_open = breaker.opened_at
    fields = breakers.after_control_success(breaker, sent_at=task.sent_at, now=now)
    _set(breaker, fields)
    session.execute(
        update(Voice)
        .where(
            col(Voice.model) == task.model,
            # A suspicion in the future was dated by a wrong clock.
            (col(Voice.suspected_at) <= task.sent_at) | (col(Voice.suspected_at) > now),
            col(Voice.controlled_at).is_(None),
            col(Voice.voice_id) != task.spoken,
        )
        .values(controlled_at=now)
    )
    told = {"model": task.model, "voice_id": task.spoken, "task_id": task.task_id}
    lines = [model_line(Event.CONTROL_SUCCEEDED, **told)]
    if was_open is not None and breaker.opened_at is None:
        lines.append(model_line(Event.UPSTREAM_RECOVERED, model=task.model, blocked_since=was_open))
    return lines


def _control_failed(
    session: Session, task: Task, breaker: Breaker, fault: Fault, *, now: datetime, policy: Policy
) -> list[LogLine]:
    fields = breakers.after_control_fault(
        breaker,
        fault,
        spoken=task.spoken or "",
        built_in=task.model == FLASH,
        anchor=_most_urgent(session, task.model, now=now, policy=policy),
        now=now,
        policy=policy,
    )
    line = model_line(
        Event.CONTROL_FAILED,
        model=task.model,
        voice_id=task.spoken,
        task_id=task.task_id,
        code=fault.code,
        error=fault.message,
        retry_at=fields.get("probe_at"),
    )
    return [line, *_set_and_tell(breaker, fields, fault)]


def _apply(
    session: Session,
    voice: Voice,
    task: Task,
    change: Change,
    *,
    now: datetime,
    policy: Policy,
    logged: bool = True,
) -> list[LogLine]:
    change = _free_of_conflict(session, voice, task, change)
    _set(voice, change.voice)
    _set(task, change.task)
    lines = [tell(session, voice, telling, now=now, logged=logged) for telling in change.tellings]
    if change.fault is not None:
        breaker = _breaker(session, voice.model)
        anchor = _most_urgent(session, voice.model, now=now, policy=policy)
        fields = breakers.after_fault(
            breaker, change.fault, voice_pk=voice.id, anchor=anchor, now=now, policy=policy
        )
        lines += _set_and_tell(breaker, fields, change.fault)
    if change.success:
        session.execute(
            update(Breaker)
            .where(
                col(Breaker.model) == voice.model,
                col(Breaker.opened_at).is_(None),
                col(Breaker.run) > 0,
            )
            .values(run=0, last_voice_pk=None)
        )
    return lines


def _is_superseded(session: Session, task: Task) -> bool:
    """Tell whether a keepalive's voice has been called again since, its patience at an end."""
    newer = exists().where(
        col(Task.voice_pk) == task.voice_pk,
        col(Task.kind) == Kind.KEEPALIVE,
        col(Task.id) > task.id,
    )
    return task.kind is Kind.KEEPALIVE and bool(session.scalar(select(newer)))


def _free_of_conflict(session: Session, voice: Voice, task: Task, change: Change) -> Change:
    """Leave out a voice_id that another voice has: one bad answer must not block this voice."""
    fields = change.voice
    voice_id = fields.get("voice_id")
    if voice_id is None or voice_id == voice.voice_id:
        return change
    taken = exists().where(
        col(Voice.model) == voice.model, col(Voice.voice_id) == voice_id, col(Voice.id) != voice.id
    )
    if not session.scalar(select(taken)):
        return change
    kept: lifecycle.VoiceFields = {**fields}
    del kept["voice_id"]
    kept["last_error"] = f"the gateway gave it {voice_id}, which another voice has"
    if "status" not in kept:
        return replace(change, voice=kept)
    kept["status"], kept["next_at"] = Status.FAILED, None
    tellings = (
        Telling(Event.ENROLLMENT_FAILED, {"task_id": task.task_id, "error": kept["last_error"]}),
        Telling(Event.VOICE_STATUS_CHANGED, {"from": voice.status, "to": Status.FAILED}),
    )
    return replace(change, voice=kept, tellings=tellings)


def _set_and_tell(breaker: Breaker, fields: BreakerFields, fault: Fault) -> list[LogLine]:
    was_closed = breaker.opened_at is None
    _set(breaker, fields)
    if not was_closed or breaker.opened_at is None:
        return []
    return [
        model_line(
            Event.UPSTREAM_BLOCKED,
            model=breaker.model,
            code=fault.code,
            error=breaker.cause,
            next_probe_at=breaker.probe_at,
        )
    ]


def _set(row: SQLModel, fields: Mapping[str, object]) -> None:
    for column, value in fields.items():
        setattr(row, column, value)


def _breaker(session: Session, model: str) -> Breaker:
    breaker = session.get(Breaker, model)
    if breaker is None:
        breaker = Breaker(model=model)
        session.add(breaker)
    return breaker


def _open_models(session: Session) -> list[str]:
    return list(
        session.scalars(select(col(Breaker.model)).where(col(Breaker.opened_at).is_not(None)))
    )


def _most_urgent(session: Session, model: str, *, now: datetime, policy: Policy) -> datetime | None:
    """Return what the earliest deadline counts from among the waiting that can be saved."""
    return session.scalar(
        select(func.min(col(Voice.anchored_at))).where(
            col(Voice.model) == model,
            col(Voice.voice_id).is_not(None),
            col(Voice.next_at) <= now + timedelta(hours=1),
            col(Voice.anchored_at) > now - policy.window,
        )
    )


def _enrolling() -> sa.Exists:
    """Return the condition that a voice has an enrollment that has not come to its end."""
    return exists().where(
        col(Task.voice_pk) == Voice.id,
        col(Task.state).in_(_OPEN),
        col(Task.kind).in_([Kind.CLONE, Kind.DESIGN]),
    )


def _is_enrolling(session: Session, voice: Voice) -> bool:
    return bool(session.scalar(select(_enrolling()).where(col(Voice.id) == voice.id)))


def _kind(voice: Voice) -> Kind:
    if voice.voice_id is not None:
        return Kind.KEEPALIVE
    return Kind.CLONE if voice.origin is Origin.CLONE else Kind.DESIGN


def _intent(voice: Voice, *, now: datetime) -> Task:
    return Task(
        voice_pk=voice.id,
        model=voice.model,
        kind=_kind(voice),
        state=TaskState.INTENT,
        spoken=voice.voice_id,
        sent_at=now,
    )


def _job(kind: Kind, voice: Voice, task: Task | None) -> Job:
    return Job(
        voice_pk=voice.id,
        task_pk=task.id if task else None,
        kind=kind,
        model=voice.model,
        name=voice.name,
        spoken=None if kind.is_enrollment else voice.voice_id,
        recipe=voice.recipe if kind.is_enrollment else None,
        task_id=task.task_id if task else None,
    )
