"""Retention: delete events, calls, and ended alerts that are older than the history is kept.

Rows that a rule still needs stay, however old: clones and designs, by which an old copy of the
registry shows what was paid for; each voice's newest keepalive, which has the say over an older
one that is still open; whatever has not ended, or was not logged or sent. The cost of a deleted
call is added to its voice's `Past`.

No index has these rows by their time, for each keepalive would have to write into it. But keys
grow with time: a run reads along them in short steps, and ends at the first young row. A row dated
ahead, by a clock that was wrong, is passed over until its time has come.
"""

from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Self

import sqlalchemy as sa
from sqlalchemy import bindparam, func, select
from sqlmodel import SQLModel, col

from voicekeeper.core import schedule
from voicekeeper.core.messages import WEEK
from voicekeeper.core.models import AlertKind, Kind, Past, Voice
from voicekeeper.core.schedule import Policy
from voicekeeper.store.database import Database
from voicekeeper.store.jobs import IS_OPEN
from voicekeeper.store.session import Session
from voicekeeper.store.unreadable import UNREADABLE

MOST: Final = 500
"""The rows of each table that one step reads, in one transaction."""

_HISTORY, _TASK, _ALERT = (SQLModel.metadata.tables[name] for name in ("history", "task", "alert"))
_BEFORE: sa.BindParameter[datetime] = bindparam("before")

_LAST_USE = (
    select(col(Voice.last_used_at))
    .where(col(Voice.next_at).is_not(None), col(Voice.last_used_at).is_not(None))
    .order_by(col(Voice.anchored_at).desc())  # by an index
    .limit(1)
)


def _next_rows(key: sa.Column[int], at: sa.Column[datetime]) -> sa.Select[*tuple[Any, ...]]:
    """Return the query for the first young key, the last key and the number of the next rows."""
    rows = select(key, at).where(key > bindparam("after")).order_by(key).limit(MOST).subquery()
    is_young = rows.c[at.name].between(_BEFORE, bindparam("now"))
    return select(func.min(sa.case((is_young, rows.c.id))), func.max(rows.c.id), func.count())


def _delete(
    table: sa.Table, at: sa.Column[datetime], *conditions: sa.ColumnElement[bool]
) -> sa.Delete:
    in_step = (table.c.id > bindparam("after")) & (table.c.id <= bindparam("up_to"))
    return sa.delete(table).where(in_step, at < _BEFORE, *conditions)


_newer = _TASK.alias("newer")
_HAS_NEWER = (
    select(_newer.c.id)
    .where(
        _newer.c.voice_pk == _TASK.c.voice_pk,
        _newer.c.id > _TASK.c.id,
        _newer.c.kind == Kind.KEEPALIVE,
    )
    .exists()
)
_DELETE_EVENTS = _delete(_HISTORY, _HISTORY.c.at, _HISTORY.c.logged == sa.true())
_DELETE_CALLS = _delete(
    _TASK,
    _TASK.c.sent_at,
    ~IS_OPEN,
    (_TASK.c.kind == Kind.CONTROL) | (_TASK.c.kind == Kind.KEEPALIVE) & _HAS_NEWER,
).returning(_TASK.c.voice_pk, _TASK.c.cost_micros, _TASK.c.possible_cost_micros)
_DELETE_ALERTS = _delete(
    _ALERT,
    _ALERT.c.since,
    _ALERT.c.ended_at < _BEFORE,
    _ALERT.c.tell_at.is_(None),
    _ALERT.c.send_at.is_(None) | (_ALERT.c.ended_at < bindparam("week_ago")),  # given up
    # The digest names the week's losses.
    (_ALERT.c.kind != AlertKind.LOST) | (_ALERT.c.since < bindparam("week_ago")),
)
_STEPS = (
    (_next_rows(_HISTORY.c.id, _HISTORY.c.at), _DELETE_EVENTS),
    (_next_rows(_TASK.c.id, _TASK.c.sent_at), _DELETE_CALLS),
    (_next_rows(_ALERT.c.id, _ALERT.c.since), _DELETE_ALERTS),
)
_BEGINNING = [0 for _ in _STEPS]


@dataclass(frozen=True, slots=True)
class Pruned:
    """The number of deleted events of histories, calls, and ended alerts.

    Attributes:
        more: whether there may be more to delete.
    """

    events: int = 0
    calls: int = 0
    alerts: int = 0
    more: bool = False

    def __add__(self, later: Self) -> "Pruned":
        """Return what both have deleted."""
        return replace(
            later,
            events=self.events + later.events,
            calls=self.calls + later.calls,
            alerts=self.alerts + later.alerts,
        )

    @property
    def rows(self) -> dict[str, int]:
        """How many rows of each sort, for the log; nothing where there are none at all."""
        rows = {"events": self.events, "calls": self.calls, "alerts": self.alerts}
        return rows if any(rows.values()) else {}


class Pruner:
    """Deletes old rows step by step; it remembers only how far its run has come."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._after = _BEGINNING

    def prune(self, *, now: datetime, policy: Policy) -> Pruned:
        """Delete the old among the next rows of each table."""
        deleted, after, more = [], [], False
        with self._database.writing() as session:
            before = schedule.kept_since(now, _last_use(session), policy)
            if before is None:
                return Pruned()
            for (next_rows, delete), begin in zip(_STEPS, self._after, strict=True):
                bounds = {"after": begin, "before": before, "now": now}
                young, last, count = session.run(next_rows, bounds).one()
                end = begin if last is None else last if young is None else young - 1
                after.append(end)
                if end == begin:  # nothing is old
                    deleted.append(0)
                    continue
                bounds = {"after": begin, "up_to": end, "before": before, "week_ago": now - WEEK}
                gone = session.run(delete, bounds)
                deleted.append(_add_to_past(session, gone) if gone.returns_rows else gone.rowcount)
                more |= young is None and count == MOST
        self._after = after if more else _BEGINNING  # now that it is committed
        events, calls, alerts = deleted
        return Pruned(events, calls, alerts, more)


def _last_use(session: Session) -> datetime | None:
    """Return the last known use of any voice; None where it cannot be read."""
    try:
        return session.scalar(_LAST_USE)
    except UNREADABLE:
        return None


def _add_to_past(session: Session, calls: sa.CursorResult[Any]) -> int:
    """Add the cost of deleted calls to their voices' pasts; return the number of calls."""
    rows = calls.all()
    costs: dict[int, list[int]] = defaultdict(lambda: [0, 0])
    for row in rows:
        if row.voice_pk is not None and (row.cost_micros or row.possible_cost_micros):
            costs[row.voice_pk][0] += row.cost_micros or 0
            costs[row.voice_pk][1] += row.possible_cost_micros or 0
    if not costs:
        return len(rows)
    pasts = session.scalars(select(Past).where(col(Past.voice_pk).in_(costs))).all()
    by_voice = {past.voice_pk: past for past in pasts}
    for voice_pk, (certain, possible) in costs.items():
        past = by_voice.get(voice_pk) or Past(
            voice_pk=voice_pk, cost_micros=0, possible_cost_micros=0
        )
        past.cost_micros += certain
        past.possible_cost_micros += possible
        session.add(past)
    return len(rows)
