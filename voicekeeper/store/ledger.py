"""The ledger: what the tasks should have cost, by day and kind, and how many ended how.

It is kept when a voice is removed. Each entry is the sum of what its tasks' rows say, and is moved
in the transaction that moves them: `move` it with an intent, `settle` a task with its answer.
"""

from datetime import date, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import func, select
from sqlmodel import col

from voicekeeper.core import costs
from voicekeeper.core.costs import Spent, Totals
from voicekeeper.core.models import Kind, LedgerEntry, Past, Tally, Task, TaskState, Voice
from voicekeeper.core.transitions import TaskFields
from voicekeeper.store.rows import assign, table_of
from voicekeeper.store.session import Session
from voicekeeper.store.statement import Statement

_TABLE, _TALLY = table_of(LedgerEntry), table_of(Tally)


def _moved(column: sa.Column[int], by: str) -> sa.ColumnElement[int]:
    """Return a sum moved by a parameter, and never below zero.

    No error in the books may break a CHECK, and keep a voice from being used.
    """
    moved = column + sa.bindparam(by, type_=column.type)
    return sa.case((moved > 0, moved), else_=0)


_MOVE = Statement(
    _TABLE.update()
    .where(_TABLE.c.day == sa.bindparam("its_day"), _TABLE.c.kind == sa.bindparam("its_kind"))
    .values(
        cost_micros=_moved(_TABLE.c.cost_micros, "by"),
        possible_cost_micros=_moved(_TABLE.c.possible_cost_micros, "possibly_by"),
    )
)

_BEGIN = Statement(
    _TABLE.insert().values(
        day=sa.bindparam("day"),
        kind=sa.bindparam("kind"),
        cost_micros=sa.bindparam("cost"),
        possible_cost_micros=sa.bindparam("possible"),
    )
)

_OF_STATE = (_TALLY.c.kind == sa.bindparam("its_kind")) & (
    _TALLY.c.state == sa.bindparam("its_state")
)
_UNCOUNT = Statement(
    _TALLY.update().where(_OF_STATE, _TALLY.c.ended > 0).values(ended=_TALLY.c.ended - 1)
)
_COUNT = Statement(
    _TALLY.update().where(_OF_STATE).values(ended=_TALLY.c.ended + sa.bindparam("more"))
)
_BEGIN_COUNT = Statement(
    _TALLY.insert().values(
        kind=sa.bindparam("kind"), state=sa.bindparam("state"), ended=sa.bindparam("ended")
    )
)
_COUNTED = Statement(select(_TALLY))

_OPEN = (TaskState.INTENT, TaskState.RUNNING)
_ENROLLMENTS = [kind for kind in Kind if kind.is_enrollment]


def settle(session: Session, task: Task, fields: TaskFields) -> None:
    """Set a task's new columns, its entry to what it now costs, and count it if it has ended."""
    before = _cost(task)
    assign(session, task, fields)
    if task.state not in _OPEN:
        count(session, task.kind, task.state)
    move(session, task.kind, task.sent_at, before, _cost(task))


def move(session: Session, kind: Kind, sent_at: datetime, before: Spent, after: Spent) -> None:
    """Move an entry by what one of its tasks costs more, or less, than before.

    Args:
        session: a writing one.
        kind: of the task.
        sent_at: its day is the entry's.
        before: what the task's row said; nothing for a new one.
        after: what it says now.
    """
    if after == before:
        return
    day = costs.utc_day(sent_at)
    by, possibly_by = after.certain - before.certain, after.possible - before.possible
    if not _MOVE.run(session, its_day=day, its_kind=kind, by=by, possibly_by=possibly_by):
        _BEGIN.run(session, day=day, kind=kind, cost=max(0, by), possible=max(0, possibly_by))


def enrollments_on(session: Session, day: date) -> Spent:
    """Return what the enrollments of a day cost."""
    return _sum(session, col(LedgerEntry.day) == day, col(LedgerEntry.kind).in_(_ENROLLMENTS))


def totals(session: Session, now: datetime) -> Totals:
    """Return what all tasks cost."""
    today = costs.utc_day(now)
    return Totals(
        today=_sum(session, col(LedgerEntry.day) == today),
        last_30_days=_sum(session, col(LedgerEntry.day) > today - timedelta(days=30)),
        ever=_sum(session),
    )


def since(session: Session, day: date) -> Spent:
    """Return what all tasks from a day on cost."""
    return _sum(session, col(LedgerEntry.day) >= day)


def by_kind(session: Session) -> dict[Kind, Spent]:
    """Return what all tasks of each kind cost."""
    kind, cost, possible = (
        col(column)
        for column in (
            LedgerEntry.kind,
            LedgerEntry.cost_micros,
            LedgerEntry.possible_cost_micros,
        )
    )
    sums = session.execute(select(kind, func.sum(cost), func.sum(possible)).group_by(kind))
    return {kind: Spent(int(cost), int(possible)) for kind, cost, possible in sums}


def of_voice(session: Session, voice: Voice) -> Spent:
    """Return what the tasks of one voice cost, those too whose rows were pruned."""
    cost, possible = session.execute(
        select(func.sum(col(Task.cost_micros)), func.sum(col(Task.possible_cost_micros))).where(
            col(Task.voice_pk) == voice.id
        )
    ).one()
    assert voice.id is not None  # noqa: S101 - a stored voice has its key
    past = session.get(Past, voice.id) or Past(voice_pk=voice.id)
    return Spent(past.cost_micros + int(cost or 0), past.possible_cost_micros + int(possible or 0))


def count(session: Session, kind: Kind, state: TaskState, ended: int = 1) -> None:
    """Count tasks that have ended."""
    if not _COUNT.run(session, its_kind=kind, its_state=state, more=ended):
        _BEGIN_COUNT.run(session, kind=kind, state=state, ended=ended)


def uncount(session: Session, kind: Kind, state: TaskState) -> None:
    """Take back that a task has ended."""
    _UNCOUNT.run(session, its_kind=kind, its_state=state)


def ended(session: Session) -> dict[tuple[Kind, TaskState], int]:
    """Return how many tasks ended, by kind and state."""
    return {(kind, state): ended for kind, state, ended in _COUNTED.rows(session)}


def _cost(task: Task) -> Spent:
    return Spent(task.cost_micros or 0, task.possible_cost_micros or 0)


def _sum(session: Session, *where: sa.ColumnElement[bool]) -> Spent:
    columns = (LedgerEntry.cost_micros, LedgerEntry.possible_cost_micros)
    cost, possible = session.execute(
        select(*(func.sum(col(c)) for c in columns)).where(*where)
    ).one()
    return Spent(int(cost or 0), int(possible or 0))
