"""The tallies: how many tasks of each kind ended how, ever, counted as they end."""

import sqlalchemy as sa
from sqlalchemy import select

from voicekeeper.core.models import Kind, Tally, TaskState
from voicekeeper.store.rows import table_of
from voicekeeper.store.session import Session
from voicekeeper.store.statement import Statement

_TABLE = table_of(Tally)
_OF_STATE = (_TABLE.c.kind == sa.bindparam("its_kind")) & (
    _TABLE.c.state == sa.bindparam("its_state")
)
_UNCOUNT = Statement(
    _TABLE.update().where(_OF_STATE, _TABLE.c.ended > 0).values(ended=_TABLE.c.ended - 1)
)
_COUNT = Statement(
    _TABLE.update().where(_OF_STATE).values(ended=_TABLE.c.ended + sa.bindparam("more"))
)
_BEGIN = Statement(
    _TABLE.insert().values(
        kind=sa.bindparam("kind"), state=sa.bindparam("state"), ended=sa.bindparam("ended")
    )
)
_ALL = Statement(select(_TABLE))


def count(session: Session, kind: Kind, state: TaskState, ended: int = 1) -> None:
    """Count tasks that have ended."""
    if not _COUNT.run(session, its_kind=kind, its_state=state, more=ended):
        _BEGIN.run(session, kind=kind, state=state, ended=ended)


def uncount(session: Session, kind: Kind, state: TaskState) -> None:
    """Take back that a task has ended."""
    _UNCOUNT.run(session, its_kind=kind, its_state=state)


def all_of(session: Session) -> dict[tuple[Kind, TaskState], int]:
    """Return how many tasks ended, by kind and state."""
    return {(kind, state): ended for kind, state, ended in _ALL.rows(session)}
