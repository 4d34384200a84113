"""The ledger: what the tasks should have cost, by day and kind, and how many ended how.

It is kept when a voice is removed. Each entry is the sum of what its tasks' rows say, and is moved
in the transaction that moves them: `move` it with an intent, `book` a task with its outcome.
"""

from datetime import date, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import func, select
from sqlmodel import col

from voicekeeper.core import costs
from voicekeeper.core.costs import Spent, Totals
from voicekeeper.core.models import Kind, LedgerEntry, Past, Tally, Task, TaskState, Voice
from voicekeeper.store.session import Session

_SUMS = (
    func.sum(col(LedgerEntry.cost_micros)),
    func.sum(col(LedgerEntry.possible_cost_micros)),
)

_ENROLLMENTS = [kind for kind in Kind if kind.is_enrollment]


def book(session: Session, task: Task, before: Spent) -> None:
    """Move a task's entry from what it cost before to what it costs now; count it if it ended."""
    if not task.state.is_open:
        count(session, task.kind, task.state)
    move(session, task.kind, task.sent_at, before, cost(task))


def move(session: Session, kind: Kind, sent_at: datetime, before: Spent, after: Spent) -> None:
    """Move the entry of a task's day and kind by what the task costs more, or less, than before."""
    if after == before:
        return
    by = {
        "cost_micros": after.certain - before.certain,
        "possible_cost_micros": after.possible - before.possible,
    }
    session.increase(LedgerEntry, (costs.utc_day(sent_at), kind), by)


def count(session: Session, kind: Kind, state: TaskState, ended: int = 1) -> None:
    """Count tasks of a kind that ended in a state beside those before; -1 takes one back."""
    session.increase(Tally, (kind, state), {"ended": ended})


def ended(session: Session) -> dict[tuple[Kind, TaskState], int]:
    """Return how many tasks ended, by kind and state."""
    tally = select(col(Tally.kind), col(Tally.state), col(Tally.ended))
    return {(kind, state): ended for kind, state, ended in session.execute(tally)}


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
    sums = session.execute(select(col(LedgerEntry.kind), *_SUMS).group_by(col(LedgerEntry.kind)))
    return {kind: Spent(int(cost), int(possible)) for kind, cost, possible in sums}


def of_voice(session: Session, voice: Voice) -> Spent:
    """Return what the tasks of one voice cost, those too whose rows were deleted."""
    cost, possible = session.execute(
        select(func.sum(col(Task.cost_micros)), func.sum(col(Task.possible_cost_micros))).where(
            col(Task.voice_pk) == voice.id
        )
    ).one()
    past = session.get(Past, voice.id)
    deleted = Spent(past.cost_micros, past.possible_cost_micros) if past else Spent()
    return Spent(deleted.certain + int(cost or 0), deleted.possible + int(possible or 0))


def cost(task: Task) -> Spent:
    """Return what a task costs, by its row."""
    return Spent(task.cost_micros or 0, task.possible_cost_micros or 0)


def _sum(session: Session, *where: sa.ColumnElement[bool]) -> Spent:
    cost, possible = session.execute(select(*_SUMS).where(*where)).one()
    return Spent(int(cost or 0), int(possible or 0))
