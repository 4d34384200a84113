"""Retention: delete events, calls, and ended alerts that are older than the history is kept.

Rows that a rule still needs stay, however old: clones and designs, by which an old copy of the
registry shows what was paid for; each voice's newest keepalive, which has the say over an older
one that is still open; whatever has not ended, or was not logged or sent. The cost of a deleted
call is added to its voice's `Past`.

No index has these rows by their time, for each keepalive would have to write into it. But keys
grow with time: a run reads along them in short steps, and ends at the first young row. A row dated
ahead, by a clock that was wrong, is passed over until its time has come.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import bindparam, func, select
from sqlmodel import SQLModel, col

from voicekeeper.core import schedule
from voicekeeper.core.messages import WEEK
from voicekeeper.core.models import AlertKind, Kind, Past, Voice
from voicekeeper.core.schedule import Policy
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
    ("events", _next_rows(_HISTORY.c.id, _HISTORY.c.at), _DELETE_EVENTS),
    ("calls", _next_rows(_TASK.c.id, _TASK.c.sent_at), _DELETE_CALLS),
    ("alerts", _next_rows(_ALERT.c.id, _ALERT.c.since), _DELETE_ALERTS),
)

Place = Sequence[int]
"""How far a run has come: of each table, the key up to which it was read."""

BEGINNING: Final[Place] = [0 for _ in _STEPS]


def prune(
    session: Session, after: Place, *, now: datetime, policy: Policy
) -> tuple[Counter[str], Place | None]:
    """Delete the old among the next rows of each table.

    Returns:
        The number of deleted ``events`` of histories, ``calls`` and ended ``alerts``, and where
        the next step begins; None where the run has come to its end.
    """
    deleted, ends, more = Counter[str](), [], False
    before = schedule.kept_since(now, _last_use(session), policy)
    if before is None:
        return deleted, None
    for (rows, next_rows, delete), begin in zip(_STEPS, after, strict=True):
        bounds = {"after": begin, "before": before, "now": now}
        young, last, count = session.run(next_rows, bounds).one()
        end = begin if last is None else last if young is None else young - 1
        ends.append(end)
        deleted[rows] = 0
        if end > begin:
            bounds = {"after": begin, "up_to": end, "before": before, "week_ago": now - WEEK}
            gone = session.run(delete, bounds)
            deleted[rows] = _add_to_past(session, gone) if gone.returns_rows else gone.rowcount
        more |= young is None and count == MOST
    return deleted, ends if more else None


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
