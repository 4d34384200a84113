"""The statements that move the due times of many voices, tasks and probes.

What only a wrong clock can have written is found and mended at the head of each pass.
A plan that lies further ahead than any rule sets one, a mark that lies ahead of now, and the plan
of a voice whose last use lies ahead of now were written while the host's clock was ahead. The plan
is due now, and the mark is of now: at once and for good, for while calls are paused such a time
would come near enough to be believed. After the clock was set back no plan to call can be trusted,
so all are due.

Records of what happened, such as a last use, stay as they are: the clock that is wrong may be
today's. The rules that read them go by the gateway's dates, or do nothing on the host's word.
"""

from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy import func, select
from sqlmodel import SQLModel

from voicekeeper.core import alerting, schedule
from voicekeeper.core.duration import plus
from voicekeeper.core.enums import LIVING
from voicekeeper.core.models import Status
from voicekeeper.core.schedule import Policy
from voicekeeper.store.jobs import IS_OPEN, IS_RUNNING
from voicekeeper.store.session import Session

_VOICE, _TASK, _BREAKER, _ALERT, _MESSAGE, _ACTIVE = (
    SQLModel.metadata.tables[name]
    for name in ("voice", "task", "breaker", "alert", "message", "active")
)
_NOW: sa.BindParameter[datetime] = sa.bindparam("now")
_LATEST: sa.BindParameter[datetime] = sa.bindparam("latest")
_IS_LATE = (_BREAKER.c.judged_at > _NOW) | (_BREAKER.c.probe_at > _LATEST)
_USED_AHEAD = (
    _VOICE.c.next_at.is_not(None),  # by an index
    _VOICE.c.anchored_at > sa.bindparam("soon"),
    _VOICE.c.anchored_at <= datetime.max.replace(tzinfo=UTC),  # nor what is no instant at all
    _VOICE.c.next_at > _NOW,
    _VOICE.c.failures == 0,
    ~sa.exists().where(_TASK.c.voice_pk == _VOICE.c.id, IS_OPEN),
)
"""A voice waits for its turn, and its last use lies ahead."""

SEEN: Final = (
    select(_ACTIVE.c.last_pass_at).scalar_subquery(),
    select(func.max(_VOICE.c.next_at)).scalar_subquery(),
    select(func.max(_TASK.c.next_poll_at)).where(IS_RUNNING).scalar_subquery(),
    select(func.max(_ALERT.c.tell_at)).where(_ALERT.c.tell_at.is_not(None)).scalar_subquery(),
    select(func.max(_ALERT.c.send_at)).where(_ALERT.c.send_at.is_not(None)).scalar_subquery(),
    select(func.max(_MESSAGE.c.send_at)).where(_MESSAGE.c.send_at.is_not(None)).scalar_subquery(),
    select(_VOICE.c.id).where(*_USED_AHEAD).exists(),
    select(_BREAKER.c.model).where(_IS_LATE | (_BREAKER.c.opened_at > _NOW)).exists()
    | select(_VOICE.c.id)
    .where(
        _VOICE.c.suspected_at.is_not(None),  # by an index
        _VOICE.c.controlled_at.is_(None),
        _VOICE.c.suspected_at > _NOW,
    )
    .exists(),
)
"""What `agenda.look` reads, for `judge`; at the times of `bounds`."""


def _due(column: sa.Column[datetime], *where: sa.ColumnElement[bool]) -> sa.Update:
    """Return the statement that makes due now what is planned for later than the latest."""
    late = column > _LATEST
    return sa.update(column.table).where(late, *where).values({column.name: _NOW})


_DUE_VOICES = _due(_VOICE.c.next_at)
_DUE_USED_AHEAD = sa.update(_VOICE).where(*_USED_AHEAD).values(next_at=_NOW)
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


def bounds(now: datetime, policy: Policy) -> dict[str, datetime]:
    """Return the times that `SEEN` asks for."""
    return {
        "now": now,
        "latest": schedule.latest_due(now, policy),
        "soon": schedule.latest_use(now, policy),
    }


def judge(seen: Sequence[Any] | None, *, now: datetime, policy: Policy) -> Latest | None:
    """Return how far ahead plans can lie, where anything is to be mended.

    Args:
        seen: the values of `SEEN`; None where they cannot be read.
        now: of this look.
        policy: the settings that the plans were made by.
    """
    latest = Latest(
        due=schedule.latest_due(now, policy),
        poll=plus(now, policy.longest_poll),
        turn=alerting.latest_turn(now),
        send=alerting.latest_send(now, policy),
    )
    if seen is None:
        return latest
    last_pass_at, *plans, used_ahead, marked = seen
    if schedule.is_set_back(last_pass_at, now=now, policy=policy):
        return latest._replace(due=now, poll=now)
    limits = (latest.due, latest.poll, latest.turn, latest.turn, latest.send)
    return latest if used_ahead or marked or any(_are_late(plans, limits)) else None


def mend(session: Session, latest: Latest, *, now: datetime, policy: Policy) -> None:
    """Make due now what only a wrong clock can have planned, and date its marks now.

    Args:
        session: a writing one.
        latest: how far ahead a plan can lie.
        now: of this pass.
        policy: the settings that the plans were made by.
    """
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
    for mark in _MARKS:
        session.run(mark, {"now": now})


def hurry(session: Session, *, now: datetime, policy: Policy) -> None:
    """Make every voice due now, as interval or window shrank; one that is called, within it."""
    is_called = sa.exists().where(_TASK.c.voice_pk == _VOICE.c.id, IS_OPEN)
    for due, which in ((now, ~is_called), (schedule.latest_due(now, policy), is_called)):
        session.run(sa.update(_VOICE).where(_VOICE.c.next_at > due, which).values(next_at=due))


def restored(session: Session, *, now: datetime) -> None:
    """Make every voice due now that is kept: an old copy does not know its last uses."""
    is_kept = (_VOICE.c.status.in_(LIVING), _VOICE.c.paused.is_(False))
    has_turn = (_VOICE.c.voice_id.is_not(None), _VOICE.c.next_at.is_not(None))
    session.run(sa.update(_VOICE).where(*is_kept, *has_turn).values(next_at=now))


def held(session: Session, *, now: datetime) -> None:
    """Make the enrollments due now that the budget holds: it may be another one."""
    is_held = (_VOICE.c.held_at.is_not(None), _VOICE.c.paused.is_(False))
    session.run(sa.update(_VOICE).where(*is_held).values(next_at=now))


def lost(session: Session, model: str, *, now: datetime) -> None:
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
        session: a writing one.
        column: ``voice.next_at`` or ``task.next_poll_at``.
        keys: of the rows.
        to: when they are tried again.
    """
    if keys:
        these = column.table.c.id.in_(keys)
        session.run(sa.update(column.table).where(these).values({column.name: to}))


def _are_late(plans: list[datetime | None], limits: tuple[datetime, ...]) -> Iterator[bool]:
    for at, limit in zip(plans, limits, strict=True):
        yield at is not None and at > limit
