"""When voices and tasks are due: the look at all that waits, and what moves many due times.

What only a wrong clock can have written is found and mended at the head of each pass.
A plan that lies further ahead than any rule sets one, a mark that lies ahead of now, and the plan
of a voice whose last use lies ahead of now were written while the host's clock was ahead. The plan
is due now, and the mark is of now: at once and for good, for while calls are paused such a time
would come near enough to be believed. After the clock was set back no plan to call can be trusted,
so all are due.

Records of what happened, such as a last use, stay as they are: the clock that is wrong may be
today's. The rules that read them go by the gateway's dates, or do nothing on the host's word.
"""

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy import func, select
from sqlmodel import SQLModel

from voicekeeper.core import alerting, schedule
from voicekeeper.core.duration import plus
from voicekeeper.core.enums import LIVING
from voicekeeper.core.models import AlertKind, Status
from voicekeeper.core.schedule import Policy
from voicekeeper.store import unreadable
from voicekeeper.store.jobs import IS_OPEN, IS_RUNNING, MAY_BE_CUT_SHORT
from voicekeeper.store.session import Session

_VOICE, _TASK, _BREAKER, _ALERT, _MESSAGE, _ACTIVE, _HISTORY, _REMOVAL = (
    SQLModel.metadata.tables[name]
    for name in (
        *("voice", "task", "breaker", "alert", "message", "active"),
        *("history", "removal"),
    )
)
_NOW: sa.BindParameter[datetime] = sa.bindparam("now")
_LATEST: sa.BindParameter[datetime] = sa.bindparam("latest")
_IS_LATE = (_BREAKER.c.judged_at > _NOW) | (_BREAKER.c.probe_at > _LATEST)
IS_SUSPECTED = _VOICE.c.suspected_at.is_not(None) & _VOICE.c.controlled_at.is_(None)
"""A voice waits for a control call."""

_USED_AHEAD = (
    _VOICE.c.next_at.is_not(None),  # by an index
    _VOICE.c.anchored_at > sa.bindparam("soon"),
    _VOICE.c.anchored_at <= datetime.max.replace(tzinfo=UTC),  # nor what is no instant at all
    _VOICE.c.next_at > _NOW,
    _VOICE.c.failures == 0,
    ~sa.exists().where(_TASK.c.voice_pk == _VOICE.c.id, IS_OPEN),
)
"""A voice waits for its turn, and its last use lies ahead."""


def _due(column: sa.Column[datetime], *where: sa.ColumnElement[bool]) -> sa.Update:
    """Return the statement that makes due now what is planned for later than the latest."""
    late = column > _LATEST
    return sa.update(column.table).where(late, *where).values({column.name: _NOW})


_DUE_VOICES = _due(_VOICE.c.next_at)
_DUE_USED_AHEAD = sa.update(_VOICE).where(*_USED_AHEAD).values(next_at=_NOW)
_DUE_GIVEN_UP = (
    sa.update(_VOICE)
    .where(
        _VOICE.c.status == Status.LOST,
        _VOICE.c.next_at.is_(None),
        _VOICE.c.paused.is_(False),
        _VOICE.c.anchored_at > sa.bindparam("since"),
    )
    .values(next_at=_NOW)
)
"""A LOST voice was given up by a clock that was ahead."""

_DUE_TASKS = _due(_TASK.c.next_poll_at, IS_RUNNING)
_DUE_PROBES = (
    sa.update(_BREAKER)
    .where(_BREAKER.c.probe_at.is_not(None), _IS_LATE)
    .values(probe_at=_NOW, judged_at=_NOW)
)
_MARKS = tuple(
    sa.update(column.table).where(column > _NOW).values({column.name: _NOW})
    for column in (_BREAKER.c.opened_at, _VOICE.c.suspected_at, _VOICE.c.controlled_at)
)


class Latest(NamedTuple):
    """How far ahead a plan of each sort can lie.

    Attributes:
        due: the next keepalive or try of a voice, or the next probe of a breaker.
        poll: the next poll of a task.
        turn: the next line or message about an alert.
        send: the next try of a message.
    """

    due: datetime
    poll: datetime
    turn: datetime
    send: datetime


class Agenda(NamedTuple):
    """Whether there may be work of each sort; one cheap query.

    Attributes:
        wrong: a wrong clock has written times; how far ahead they can lie.
        interrupted: a call may have been cut short whose answer nobody waits for.
        unlogged: commands have written events that are not yet logged.
        opened: a breaker is open.
        suspected: a voice waits for a control call.
        due_at: when the first voice is due; None where none ever is.
        are_many: so many are due that to put them in order would take longer than a pass.
        poll_at: when the first task is to be asked for.
        alerting: an alert is owed, or may have to be opened or ended.
    """

    wrong: Latest | None
    interrupted: bool
    unlogged: bool
    opened: bool
    suspected: bool
    due_at: datetime | None
    are_many: bool
    poll_at: datetime | None
    alerting: bool


_MANY: Final = 1_024


def _latest(
    column: sa.Column[datetime], *where: sa.ColumnElement[bool]
) -> sa.ScalarSelect[datetime]:
    """Return the query for the latest of the plans in a column."""
    return select(func.max(column)).where(*where).scalar_subquery()


_LOOK = select(
    # What only a wrong clock can have written.
    select(_ACTIVE.c.last_pass_at).scalar_subquery().label("last_pass_at"),
    _latest(_VOICE.c.next_at).label("last_due"),
    _latest(_TASK.c.next_poll_at, IS_RUNNING).label("last_poll"),
    _latest(_ALERT.c.tell_at, _ALERT.c.tell_at.is_not(None)).label("last_tell"),
    _latest(_ALERT.c.send_at, _ALERT.c.send_at.is_not(None)).label("last_alert"),
    _latest(_MESSAGE.c.send_at, _MESSAGE.c.send_at.is_not(None)).label("last_message"),
    select(_VOICE.c.id).where(*_USED_AHEAD).exists().label("used_ahead"),
    (
        select(_BREAKER.c.model).where(_IS_LATE | (_BREAKER.c.opened_at > _NOW)).exists()
        | select(_VOICE.c.id).where(IS_SUSPECTED, _VOICE.c.suspected_at > _NOW).exists()
    ).label("marked_ahead"),
    # What waits.
    select(_TASK.c.id).where(MAY_BE_CUT_SHORT).exists().label("interrupted"),
    (
        select(_HISTORY.c.id).where(_HISTORY.c.logged == sa.false()).exists()
        | select(_REMOVAL.c.id).exists()
    ).label("unlogged"),
    select(_BREAKER.c.model).where(_BREAKER.c.opened_at.is_not(None)).exists().label("opened"),
    select(_VOICE.c.id).where(IS_SUSPECTED).exists().label("suspected"),
    select(func.min(_VOICE.c.next_at)).scalar_subquery().label("due_at"),
    select(_VOICE.c.next_at)
    .where(_VOICE.c.next_at.is_not(None))
    .order_by(_VOICE.c.next_at)
    .limit(1)
    .offset(_MANY)
    .scalar_subquery()
    .label("nth_at"),
    select(func.min(_TASK.c.next_poll_at)).where(IS_RUNNING).scalar_subquery().label("poll_at"),
    select(func.min(_ALERT.c.tell_at))
    .where(_ALERT.c.tell_at.is_not(None))
    .scalar_subquery()
    .label("tell_at"),
    (
        select(_ALERT.c.id)
        .where(
            _ALERT.c.voice_pk.is_not(None),  # by an index
            _ALERT.c.ended_at.is_(None),
            _ALERT.c.kind == AlertKind.RISK,
        )
        .exists()
        | select(_VOICE.c.id)
        .where(_VOICE.c.anchored_at < sa.bindparam("risky"), _VOICE.c.next_at.is_not(None))
        .exists()
    ).label("at_risk"),
)


def look(session: Session, *, now: datetime, policy: Policy) -> Agenda:
    """See what there is to do; where a time cannot be read, all is looked at."""
    latest = Latest(
        due=schedule.latest_due(now, policy),
        poll=plus(now, policy.longest_poll),
        turn=alerting.latest_turn(now),
        send=alerting.latest_send(now, policy),
    )
    times = {
        "now": now,
        "latest": latest.due,
        "soon": schedule.latest_use(now, policy),
        "before": plus(now, -policy.longest_call),
        "after": plus(now, policy.longest_call),
        "risky": alerting.risky_before(now, policy),
    }
    try:
        found = session.run(_LOOK, times).one()
    except unreadable.UNREADABLE:
        return Agenda(
            wrong=latest,
            interrupted=True,
            unlogged=True,
            opened=True,
            suspected=True,
            due_at=now,
            are_many=False,
            poll_at=now,
            alerting=True,
        )
    is_telling = found.tell_at is not None and found.tell_at <= now
    return Agenda(
        wrong=_exceeded(found, latest, now=now, policy=policy),
        interrupted=found.interrupted,
        unlogged=found.unlogged,
        opened=found.opened,
        suspected=found.suspected,
        due_at=found.due_at,
        are_many=found.nth_at is not None and found.nth_at <= now,
        poll_at=found.poll_at,
        # A person's command may end an alert, and so may a clock that was set right.
        alerting=found.unlogged or found.at_risk or is_telling,
    )


def _exceeded(
    found: sa.Row[*tuple[Any, ...]], latest: Latest, *, now: datetime, policy: Policy
) -> Latest | None:
    """Return how far ahead plans can lie, where anything is to be mended."""
    if schedule.is_set_back(found.last_pass_at, now=now, policy=policy):
        return latest._replace(due=now, poll=now)
    plans = (
        (found.last_due, latest.due),
        (found.last_poll, latest.poll),
        (found.last_tell, latest.turn),
        (found.last_alert, latest.turn),
        (found.last_message, latest.send),
    )
    is_late = any(at is not None and at > limit for at, limit in plans)
    return latest if is_late or found.used_ahead or found.marked_ahead else None


def mend(session: Session, latest: Latest, *, now: datetime, policy: Policy) -> None:
    """Make due now what only a wrong clock can have planned, and date its marks now."""
    for statement, until in (
        (_DUE_VOICES, latest.due),
        (_DUE_TASKS, latest.poll),
        (_DUE_PROBES, latest.due),
        (_due(_ALERT.c.tell_at), latest.turn),
        (_due(_ALERT.c.send_at), latest.turn),
        (_due(_MESSAGE.c.send_at), latest.send),
    ):
        session.run(statement, {"now": now, "latest": until})
    session.run(_DUE_USED_AHEAD, {"now": now, "soon": schedule.latest_use(now, policy)})
    session.run(_DUE_GIVEN_UP, {"now": now, "since": plus(now, -2 * policy.window)})
    for mark in _MARKS:
        session.run(mark, {"now": now})


def make_all_due(session: Session, *, now: datetime, policy: Policy) -> None:
    """Make every voice due now; one with an unfinished task, within one interval."""
    is_called = sa.exists().where(_TASK.c.voice_pk == _VOICE.c.id, IS_OPEN)
    for due, which in ((now, ~is_called), (schedule.latest_due(now, policy), is_called)):
        session.run(sa.update(_VOICE).where(_VOICE.c.next_at > due, which).values(next_at=due))


def make_kept_due(session: Session, *, now: datetime) -> None:
    """Make every voice due now that is kept: an old copy does not know its last uses."""
    is_kept = (_VOICE.c.status.in_(LIVING), _VOICE.c.paused.is_(False))
    has_turn = (_VOICE.c.voice_id.is_not(None), _VOICE.c.next_at.is_not(None))
    session.run(sa.update(_VOICE).where(*is_kept, *has_turn).values(next_at=now))


def make_held_due(session: Session, *, now: datetime) -> None:
    """Make the enrollments due now that the budget holds: it may be another one."""
    is_held = (_VOICE.c.held_at.is_not(None), _VOICE.c.paused.is_(False))
    session.run(sa.update(_VOICE).where(*is_held).values(next_at=now))


def make_lost_due(session: Session, model: str, *, now: datetime) -> None:
    """Make all voices of a model due now that are LOST and still tried, as one of them speaks.

    What blamed it may have blamed the others: another account's key, or the gateway itself.
    """
    is_lost = (_VOICE.c.model == model, _VOICE.c.status == Status.LOST, _VOICE.c.next_at > now)
    session.run(sa.update(_VOICE).where(*is_lost).values(next_at=now))


def put_off(
    session: Session, column: sa.Column[datetime], keys: Collection[int | None], to: datetime
) -> None:
    """Put off rows that cannot be read, so that they crowd out no other.

    Args:
        column: ``voice.next_at`` or ``task.next_poll_at``.
    """
    if keys:
        these = column.table.c.id.in_(keys)
        session.run(sa.update(column.table).where(these).values({column.name: to}))
