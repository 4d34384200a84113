"""Control calls: when one is begun, with which voice, and what its end changes.

They test a model's route while its breaker is open, and they stand between the two answers
that blame a voice before it is given up.
"""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import exists, select, update
from sqlmodel import col

from voicekeeper import breaker as rules
from voicekeeper import schedule
from voicekeeper.events import Event
from voicekeeper.lifecycle import Change, Telling
from voicekeeper.models import Breaker, Kind, Status, Task, TaskState, Voice
from voicekeeper.request import CONTROL_VOICE, FLASH, is_built_in
from voicekeeper.schedule import Policy
from voicekeeper.store import alerts, blockages, breakers, claims, ledger, unreadable
from voicekeeper.store.chronicle import LogLine, model_line, tell
from voicekeeper.store.jobs import IS_OPEN, Job, write_control_intent
from voicekeeper.store.rows import assign
from voicekeeper.store.session import Session
from voicekeeper.verdict import Fault

_IN_TURN = 10
"""So many custom voices take turns as the voice of a probe."""

_WITNESSES = 2
"""Among so many suspects each can bear witness for the others; a single one cannot for itself."""

_SUSPECTED = select(col(Voice.model)).where(
    col(Voice.suspected_at).is_not(None),
    col(Voice.controlled_at).is_(None),
    # Hidden from the planner, which would walk through every voice's due time.
    sa.func.coalesce(col(Voice.next_at), sa.null()).is_not(None),
)
_OPENED = select(col(Breaker.model)).where(col(Breaker.opened_at).is_not(None))
_WANTED = _SUSPECTED.union(_OPENED)
_MODEL: sa.BindParameter[str] = sa.bindparam("model")
_A_VOICE_WAITS = select(exists().where(col(Voice.model) == _MODEL, claims.DUE))
_A_TASK_WAITS = select(exists().where(col(Task.model) == _MODEL, claims.ASKABLE))


def claim(session: Session, *, now: datetime, policy: Policy) -> list[Job]:
    """Begin the control calls whose time has come: for open breakers, and for suspects."""
    jobs = []
    for model in session.scalars(_WANTED).all():
        breaker = breakers.of_model(session, model)
        if not rules.may_probe(breaker, now=now, policy=policy):
            continue
        if _abandon(session, model, now=now):
            assign(session, breaker, {"probes": breaker.probes + 1})
        if breaker.opened_at is not None and not _is_waiting(
            session, model, now=now, policy=policy
        ):
            continue
        spoken = _control_voice(session, breaker, now=now, policy=policy)
        if spoken is None:
            if breaker.opened_at is not None:
                # No voice to test the route with: let the waiting calls themselves test it.
                trial = {"run": rules.TRIP_AFTER - 1, "opened_at": None, "distrusted": False}
                assign(session, breaker, trial)
            continue
        until = rules.control_ends(breaker, now=now, policy=policy)
        assign(session, breaker, {"probe_at": until})
        jobs.append(write_control_intent(session, model, spoken=spoken, now=now, policy=policy))
    return jobs


def apply(
    session: Session, task: Task, change: Change, *, now: datetime, policy: Policy
) -> list[LogLine]:
    """Apply what an answer to a control call changes; return what to log."""
    ledger.settle(session, task, change.task)
    breaker = breakers.of_model(session, task.model)
    who = {"model": task.model, "voice_id": task.spoken}
    lines = [model_line(t.event, **who, **t.detail) for t in change.tellings]
    if change.success:
        lines += _succeeded(session, task, breaker, now=now)
    if change.passable:
        lines += _close(session, task, breaker, is_ours=False, now=now)
    if change.fault is not None:
        lines += _failed(session, task, breaker, change.fault, now=now, policy=policy)
    return lines


def _abandon(session: Session, model: str, *, now: datetime) -> bool:
    """Give up the control calls that have not ended in time; return whether there were any."""
    abandoned = (
        update(Task)
        .where(col(Task.model) == model, col(Task.kind) == Kind.CONTROL, IS_OPEN)
        .values(state=TaskState.UNKNOWN, finished_at=now, next_poll_at=None)
        .returning(col(Task.id))
    )
    return bool(session.scalars(abandoned).all())


def _is_waiting(session: Session, model: str, *, now: datetime, policy: Policy) -> bool:
    """Tell whether a call of a model has reason to be made, if only its breaker let it."""
    of = {"now": now, "model": model}
    return bool(
        session.scalar(_A_VOICE_WAITS, of | {"absurd": schedule.latest_due(now, policy)})
        or session.scalar(_A_TASK_WAITS, of | {"absurd": now + schedule.longest_poll(policy)})
    )


def _control_voice(
    session: Session, breaker: Breaker, *, now: datetime, policy: Policy
) -> str | None:
    """Return a voice to test with.

    Before a voice is given up, another of ours that should live is the better witness: it shows
    that the account is the right one. So it is one of those in turn, used last first. Where all
    are suspects, they bear witness for each other: voices that fall due together are blamed
    together by an account that knows none of them. A built-in one speaks only where there is no
    such other. While the breaker is open, each takes its turn, the built-in
    one every other time: no single voice that is gone may keep a route closed. Where our voices
    are not known any more, only they can tell that they are again.
    """
    built_in = CONTROL_VOICE if breaker.model == FLASH else None
    living = (
        select(col(Voice.voice_id))
        .where(
            col(Voice.model) == breaker.model,
            col(Voice.voice_id).is_not(None),
            col(Voice.status).not_in([Status.LOST, Status.UNDEPLOYED]),
        )
        .order_by(col(Voice.last_used_at).desc().nulls_last(), col(Voice.id))
        .limit(_IN_TURN)
    )
    turn = breaker.probes
    if breaker.opened_at is None:
        living = living.where(
            col(Voice.status).in_([Status.OK, Status.NEW]),
            col(Voice.anchored_at) > now - policy.window,
        )
        well = living.where(col(Voice.status) == Status.OK, col(Voice.suspected_at).is_(None))
        if session.scalars(well).first() is not None:
            living = well
        elif len(session.scalars(living).all()) < _WITNESSES:
            return built_in
    elif breaker.distrusted:
        built_in = None
        living = living.where(col(Voice.anchored_at) > now - policy.window)
    elif built_in is not None:
        turn, is_ours = divmod(turn, 2)
        if not is_ours:
            return built_in
    voices = session.scalars(living).all()
    return voices[turn % len(voices)] if voices else built_in


def _succeeded(session: Session, task: Task, breaker: Breaker, *, now: datetime) -> list[LogLine]:
    cleared = (
        update(Voice)
        .where(
            col(Voice.model) == task.model,
            # A suspicion in the future was dated by a wrong clock.
            (col(Voice.suspected_at) <= task.sent_at) | (col(Voice.suspected_at) > now),
            col(Voice.controlled_at).is_(None),
            col(Voice.voice_id) != task.spoken,
        )
        .values(controlled_at=now)
        .returning(col(Voice.id))
        .execution_options(synchronize_session=False)
    )
    told = {"model": task.model, "voice_id": task.spoken, "task_id": task.task_id}
    lines = [model_line(Event.CONTROL_SUCCEEDED, **told)]
    # A suspect's own history shows what stands between its failures.
    telling = Telling(Event.CONTROL_SUCCEEDED, {"task_id": task.task_id, "spoken": task.spoken})
    suspects, _ = unreadable.by_key(session, Voice, session.scalars(cleared).all())
    lines += [tell(session, suspect, telling, now=now) for suspect in suspects.values()]
    return [*lines, *_close(session, task, breaker, is_ours=_is_ours(task), now=now)]


def _is_ours(task: Task) -> bool:
    """Tell whether a control call spoke with a voice of the registry."""
    return task.spoken is not None and not is_built_in(task.spoken)


def _close(
    session: Session, task: Task, breaker: Breaker, *, is_ours: bool, now: datetime
) -> list[LogLine]:
    was_open = breaker.opened_at
    fields = rules.after_control_success(breaker, is_ours=is_ours, sent_at=task.sent_at, now=now)
    assign(session, breaker, fields)
    if was_open is None or breaker.opened_at is not None:
        return []
    return alerts.unblocked(session, task.model, since=was_open, now=now)


def _failed(
    session: Session, task: Task, breaker: Breaker, fault: Fault, *, now: datetime, policy: Policy
) -> list[LogLine]:
    fields = rules.after_control_fault(
        breaker,
        fault,
        is_ours=_is_ours(task),
        anchor=breakers.most_urgent(session, task.model, now=now, policy=policy),
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
    return [line, *blockages.set_and_tell(session, breaker, fields, fault, now=now)]
