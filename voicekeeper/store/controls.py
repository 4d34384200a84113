"""Control calls, and the breaker that they test: when one is begun, and what its end changes.

They test a model's route while its breaker is open, and they stand between the two answers
that blame a voice before it is given up.
"""

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import exists, select
from sqlmodel import col

from voicekeeper.core import breaker as rules
from voicekeeper.core.breaker import BreakerFields
from voicekeeper.core.events import Event
from voicekeeper.core.models import Breaker, Kind, Status, Task, TaskState, Voice
from voicekeeper.core.outcome import Fault
from voicekeeper.core.requests import CONTROL_VOICE, FLASH, is_built_in
from voicekeeper.core.schedule import Policy
from voicekeeper.core.transitions import Entry, Transition
from voicekeeper.store import alerts, breakers, claims, due, ledger, unreadable
from voicekeeper.store.history import LogLine, add_entry, model_line
from voicekeeper.store.jobs import IS_OPEN, Job, control_call, write_intents, write_outcome
from voicekeeper.store.session import Session

_IN_TURN = 10
"""So many custom voices take turns as the voice of a probe."""

_LEAST_TO_TEST_EACH_OTHER = 2
"""Among so many suspects each can test the account for the others; a single one cannot."""

_SUSPECTED = select(col(Voice.model)).where(
    due.IS_SUSPECTED,
    # Hidden from the planner, which would walk through every voice's due time.
    sa.func.coalesce(col(Voice.next_at), sa.null()).is_not(None),
)
_OF_MODEL: sa.BindParameter[str] = sa.bindparam("of_model")
_ABANDON = (
    sa.update(Task)
    .where(col(Task.model) == _OF_MODEL, col(Task.kind) == Kind.CONTROL, IS_OPEN)
    .values(state=TaskState.UNKNOWN, finished_at=sa.bindparam("now"), next_poll_at=None)
)
_IS_WAITING = select(
    exists().where(col(Voice.model) == _OF_MODEL, claims.DUE)
    | exists().where(col(Task.model) == _OF_MODEL, claims.ASKABLE)
)
_NOT_GONE = col(Voice.status).not_in((Status.LOST, Status.UNDEPLOYED))


def claim(session: Session, *, suspected: bool, now: datetime, policy: Policy) -> list[Job]:
    """Begin the control calls whose time has come: for open breakers, and for suspects."""
    jobs = []
    models = {breaker.model for breaker in breakers.opened(session)}
    if suspected:
        models.update(session.scalars(_SUSPECTED))
    for model in sorted(models):
        breaker = breakers.of_model(session, model)
        if breaker.probe_at is not None and breaker.probe_at > now:
            continue
        if _abandon(session, model, now=now):
            session.change(breaker, {"probes": breaker.probes + 1})
        if breaker.opened_at is not None and not _is_waiting(session, model, now=now):
            continue
        spoken = _control_voice(session, breaker, now=now, policy=policy)
        if spoken is None:
            if breaker.opened_at is not None:
                # No voice to test the route with: let the waiting calls themselves test it.
                trial = {"run": rules.TRIP_AFTER - 1, "opened_at": None, "distrusted": False}
                session.change(breaker, trial)
            continue
        session.change(breaker, rules.probing(breaker, now=now, policy=policy))
        jobs.append(control_call(model, spoken))
    return write_intents(session, jobs, now=now, policy=policy)


def apply(
    session: Session, task: Task, change: Transition, *, now: datetime, policy: Policy
) -> list[LogLine]:
    """Apply what an answer to a control call changes; return what to log."""
    breaker = breakers.of_model(session, task.model)
    write_outcome(session, task, change.task)
    who = {"model": task.model, "voice_id": task.spoken}
    lines = [model_line(t.event, **who, **t.detail) for t in change.entries]
    if change.success:
        lines += _succeeded(session, task, breaker, now=now, policy=policy)
    if change.only_accepted:
        lines += _close(session, task, breaker, is_ours=False, now=now)
    if change.fault is not None:
        lines += _failed(session, task, breaker, change.fault, now=now, policy=policy)
    return lines


def set_breaker(
    session: Session, breaker: Breaker, fields: BreakerFields, fault: Fault, *, now: datetime
) -> list[LogLine]:
    """Set a breaker's columns; return the line of its opening, if that is what it is.

    A half-open one that opens again keeps its alert, which is logged daily.
    """
    was_closed = breaker.opened_at is None
    session.change(breaker, fields)
    if not was_closed or breaker.opened_at is None:
        return []
    if alerts.open_of_model(session, breaker.model) is not None:
        return []
    return [alerts.blocked(session, breaker, breakers.opening(breaker, code=fault.code), now=now)]


def end_run(session: Session, model: str, *, now: datetime) -> list[LogLine]:
    """Forget the failures before a success, where the breaker is closed; return what to log.

    A half-open one is closed by that.
    """
    breaker = breakers.of_model(session, model)
    if breaker.opened_at is not None or breaker.run == 0:
        return []
    session.change(breaker, {"run": 0, "last_voice_pk": None})
    return alerts.unblocked(session, model, since=None, now=now)


def _abandon(session: Session, model: str, *, now: datetime) -> bool:
    """Give up the control calls that have not ended in time; return whether there were any."""
    abandoned = session.run(_ABANDON, {"of_model": model, "now": now}).rowcount
    if abandoned:
        ledger.count(session, Kind.CONTROL, TaskState.UNKNOWN, abandoned)
    return abandoned > 0


def _is_waiting(session: Session, model: str, *, now: datetime) -> bool:
    """Tell whether a call of a model has reason to be made, if only its breaker let it."""
    return bool(session.run(_IS_WAITING, {"of_model": model, "now": now}).scalar())


def _control_voice(
    session: Session, breaker: Breaker, *, now: datetime, policy: Policy
) -> str | None:
    """Return a voice to test with.

    Before a voice is given up, another of ours that should live is the better control: it shows
    that the account is the right one. So it is one of those in turn, used last first. Where all
    are suspects, they test it for each other: voices that fall due together are blamed
    together by an account that knows none of them. A built-in one speaks only where there is no
    such other. While the breaker is open, each takes its turn, the built-in
    one every other time: no single voice that is gone may keep a route closed. Where our voices
    are not known any more, only they can tell that they are again.
    """
    built_in = CONTROL_VOICE if breaker.model == FLASH else None
    over = now - policy.window
    turn = breaker.probes
    if breaker.opened_at is None:
        voices = _control_voices(session, breaker.model, over=over)
    elif breaker.distrusted:
        built_in = None
        voices = _in_turn(session, breaker.model, col(Voice.anchored_at) > over, _NOT_GONE)
    else:
        if built_in is not None:
            turn, is_ours = divmod(turn, 2)
            if not is_ours:
                return built_in
        voices = _in_turn(session, breaker.model, _NOT_GONE)
    return voices[turn % len(voices)] if voices else built_in


def _control_voices(session: Session, model: str, *, over: datetime) -> Sequence[str]:
    """Return the ids of the voices last used after ``over`` that can test a suspect's account."""
    in_window, status = col(Voice.anchored_at) > over, col(Voice.status)
    not_suspected = col(Voice.suspected_at).is_(None)
    well = _in_turn(session, model, in_window, status == Status.OK, not_suspected)
    if well:
        return well
    living = _in_turn(session, model, in_window, status.in_((Status.OK, Status.NEW)))
    return living if len(living) >= _LEAST_TO_TEST_EACH_OTHER else []


def _in_turn(session: Session, model: str, *conditions: sa.ColumnElement[bool]) -> Sequence[str]:
    """Return the ids of the voices of a model that take turns, used last first."""
    query = (
        select(col(Voice.voice_id))
        .where(col(Voice.model) == model, col(Voice.voice_id).is_not(None), *conditions)
        .order_by(col(Voice.last_used_at).desc().nulls_last(), col(Voice.id))
        .limit(_IN_TURN)
    )
    return [voice_id for voice_id in session.scalars(query) if voice_id is not None]


def _succeeded(
    session: Session, task: Task, breaker: Breaker, *, now: datetime, policy: Policy
) -> list[LogLine]:
    told = {"model": task.model, "voice_id": task.spoken, "task_id": task.task_id}
    lines = [model_line(Event.CONTROL_SUCCEEDED, **told)]
    # A suspect's own history shows what stands between its failures.
    entry = Entry(Event.CONTROL_SUCCEEDED, {"task_id": task.task_id, "spoken": task.spoken})
    was_distrusted = breaker.distrusted
    lines += _close(session, task, breaker, is_ours=_is_ours(task), now=now)
    if was_distrusted and not breaker.distrusted:
        # Another account may have blamed them, so that says nothing of them.
        session.execute(
            sa.update(Voice)
            .where(col(Voice.model) == task.model, col(Voice.suspected_at).is_not(None), _NOT_GONE)
            .values(suspected_at=None, controlled_at=None)
        )
        return lines
    suspects: list[Voice] = []
    # A built-in voice that probed an open breaker says nothing of whose the account is.
    if _is_ours(task) or not _control_voices(session, task.model, over=now - policy.window):
        suspects = _clear(session, task, now=now)
    return [*lines, *(add_entry(session, suspect, entry, now=now) for suspect in suspects)]


def _clear(session: Session, task: Task, *, now: datetime) -> list[Voice]:
    """Note of the suspects of a model that a control call was made; return them."""
    suspected = select(Voice).where(
        col(Voice.model) == task.model,
        col(Voice.suspected_at) <= task.sent_at,
        col(Voice.controlled_at).is_(None),
        col(Voice.voice_id) != task.spoken,
    )
    suspects, bad = unreadable.load(session, suspected)
    if bad:  # else a control call would be paid for them again and again
        session.run(sa.update(Voice).where(col(Voice.id).in_(bad)).values(suspected_at=None))
    for suspect in suspects:
        session.change(suspect, {"controlled_at": now})
    return suspects


def _is_ours(task: Task) -> bool:
    """Tell whether a control call spoke with a voice of the registry."""
    return task.spoken is not None and not is_built_in(task.spoken)


def _close(
    session: Session, task: Task, breaker: Breaker, *, is_ours: bool, now: datetime
) -> list[LogLine]:
    was_open = breaker.opened_at
    fields = rules.after_control_success(breaker, is_ours=is_ours, sent_at=task.sent_at)
    session.change(breaker, fields)
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
    return [line, *set_breaker(session, breaker, fields, fault, now=now)]
