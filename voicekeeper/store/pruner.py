"""Deleting what is older than the history is kept: events, calls, and alerts that have ended.

What a rule still needs stays, however old it is: clones and designs, by which a registry that was
put back knows what was paid for; each voice's newest keepalive, which has the say over an older
one that is still open; whatever has not ended or was not told. The money of a call that goes is
added to its voice's `Past`; the `ledger` has it anyway.

No index has these rows by their time: each keepalive would have to write into it. But keys grow
with time, so a pruner walks along them, a few rows at a time, until it comes to a young one, and
goes on from there the next time. What it left behind is looked at again with each day's first
walk. A row from the future was dated by a clock that was wrong; it is passed over until its time
has come.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, NamedTuple, Self

import sqlalchemy as sa
from sqlalchemy import select
from sqlmodel import SQLModel

from voicekeeper.core import schedule
from voicekeeper.core.digest import WEEK
from voicekeeper.core.models import Alert, AlertKind, HistoryEntry, Kind, Past, Task, Voice
from voicekeeper.core.schedule import Policy
from voicekeeper.store import rows
from voicekeeper.store.database import Database
from voicekeeper.store.jobs import IS_OPEN
from voicekeeper.store.session import Session
from voicekeeper.store.statement import InsertIfMissing, Statement

MOST: Final = 250
"""So many rows of each table are looked at in one transaction."""

_WALKS: Final = 24
"""At most so many walks go on where the last one ended; then one begins at the first row."""

_DAY: Final = timedelta(days=1)

_HISTORY, _TASK, _ALERT, _VOICE, _PAST = (
    rows.table_of(model) for model in (HistoryEntry, Task, Alert, Voice, Past)
)
_AFTER: sa.BindParameter[int] = sa.bindparam("after")
_UP_TO: sa.BindParameter[int] = sa.bindparam("up_to")
_BEFORE: sa.BindParameter[datetime] = sa.bindparam("before")
_NOW: sa.BindParameter[datetime] = sa.bindparam("now")

_LAST_USE = Statement(
    select(_VOICE.c.last_used_at)
    .where(_VOICE.c.next_at.is_not(None), _VOICE.c.last_used_at.is_not(None))
    .order_by(_VOICE.c.anchored_at.desc())  # by an index
    .limit(1)
)


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was deleted.

    Attributes:
        events: of the voices' histories.
        calls: rows of calls.
        alerts: that had ended.
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


class _Stretch(NamedTuple):
    """The next rows of a walk.

    Attributes:
        last: the key of the last one that is not young; None where there is none.
        old: how many of them are older than the history is kept.
        goes_on: whether more such rows may follow.
    """

    last: int | None
    old: int
    goes_on: bool


class _Walk:
    """The way along one table.

    Args:
        model: of the table.
        at: its column with the time that counts.
    """

    def __init__(self, model: type[SQLModel], at: str) -> None:
        key, its_time = rows.table_of(model).c.id, rows.table_of(model).c[at]
        is_young = its_time.between(_BEFORE, _NOW)
        following = select(key, its_time < _BEFORE, is_young).where(key > _AFTER).order_by(key)
        self._look = Statement(following.limit(MOST))

    def look(self, session: Session, after: int, *, before: datetime, now: datetime) -> _Stretch:
        """Return what follows a row."""
        last, old = None, 0
        following = self._look.rows(session, after=after, before=before, now=now)
        for key, is_old, is_young in following:
            if is_young:
                return _Stretch(last, old, goes_on=False)
            last = key
            old += bool(is_old)
        return _Stretch(last, old, goes_on=len(following) == MOST)


def _old(table: sa.Table, at: str, *conditions: sa.ColumnElement[bool]) -> sa.Select[int]:
    """Return the keys of the rows of a stretch that are old."""
    stretch = (table.c.id > _AFTER) & (table.c.id <= _UP_TO)
    return select(table.c.id).where(stretch, table.c[at] < _BEFORE, *conditions)


_newer = _TASK.alias("newer")
_HAS_A_NEWER = (
    select(_newer.c.id)
    .where(
        _newer.c.voice_pk == _TASK.c.voice_pk,
        _newer.c.id > _TASK.c.id,
        _newer.c.kind == Kind.KEEPALIVE,
    )
    .exists()
)
_KEEPALIVES = _old(_TASK, "sent_at", ~IS_OPEN, _TASK.c.kind == Kind.KEEPALIVE, _HAS_A_NEWER)
_CONTROLS = _old(_TASK, "sent_at", ~IS_OPEN, _TASK.c.kind == Kind.CONTROL)
_EVENTS = _old(_HISTORY, "at", _HISTORY.c.logged == sa.true())
_ENDED_ALERTS = _old(
    _ALERT,
    "since",
    _ALERT.c.ended_at < _BEFORE,
    _ALERT.c.tell_at.is_(None),
    _ALERT.c.send_at.is_(None),
    # The digest names the week's losses.
    (_ALERT.c.kind != AlertKind.LOST) | (_ALERT.c.since < sa.bindparam("week_ago")),
)


def _delete(table: sa.Table, keys: sa.Select[int]) -> sa.Delete:
    return sa.delete(table).where(table.c.id.in_(keys))


_DELETE_KEEPALIVES = Statement(
    # With its voice: who removes that one waits for us, and not we for him.
    _delete(_TASK, _KEEPALIVES.join(_VOICE, _VOICE.c.id == _TASK.c.voice_pk)).returning(
        _TASK.c.voice_pk, _TASK.c.cost_micros, _TASK.c.possible_cost_micros
    )
)
_DELETE_CONTROLS = Statement(_delete(_TASK, _CONTROLS))
_DELETE_EVENTS = Statement(_delete(_HISTORY, _EVENTS))
_DELETE_ALERTS = Statement(_delete(_ALERT, _ENDED_ALERTS))

_ADD = Statement(
    _PAST.update()
    .where(_PAST.c.voice_pk == sa.bindparam("its_voice"))
    .values(
        cost_micros=_PAST.c.cost_micros + sa.bindparam("cost"),
        possible_cost_micros=_PAST.c.possible_cost_micros + sa.bindparam("possible"),
    )
)
_BEGIN = Statement(
    InsertIfMissing(_PAST).values(
        voice_pk=sa.bindparam("its_voice"),
        cost_micros=sa.bindparam("cost"),
        possible_cost_micros=sa.bindparam("possible"),
    )
)


class Pruner:
    """Walks along the tables; what it remembers is only where it is.

    Args:
        database: of the registry.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._after = _BEGINNING
        self._walks = 0
        self._is_under_way = False

    def prune(self, *, now: datetime, policy: Policy) -> Pruned:
        """Walk on by one stretch of each table, and delete what is old there.

        Args:
            now: of this step.
            policy: the settings.
        """
        if not self._is_under_way:
            self._walks += 1
            if self._walks > min(_WALKS, _DAY // policy.prunes_every):
                self._after, self._walks = _BEGINNING, 1
        self._is_under_way = False  # nor after a failure
        deleted, after, more = [], [], False
        with self._database.writing() as session:
            before = _before(session, now=now, policy=policy)
            if before is None:
                return Pruned()
            for walk, delete, begin in zip(_WAYS, _DELETES, self._after, strict=True):
                stretch = walk.look(session, begin, before=before, now=now)
                end = begin if stretch.last is None else stretch.last
                deleted.append(
                    delete(session, after=begin, up_to=end, before=before, week_ago=now - WEEK)
                    if stretch.old
                    else 0
                )
                after.append(end)
                more |= stretch.goes_on
        self._after, self._is_under_way = tuple(after), more  # now that it is committed
        events, calls, alerts = deleted
        return Pruned(events, calls, alerts, more)


def _before(session: Session, *, now: datetime, policy: Policy) -> datetime | None:
    """Return since when it is kept what happened; None where nothing is to be deleted."""
    if policy.keep_history is None:
        return None
    found, _ = _LAST_USE.sifted(session)
    last_use = found[0][0] if found else None
    return schedule.kept_since(now, last_use, policy)


def _delete_calls(session: Session, **bounds: object) -> int:
    """Delete calls, and add what they cost to what their voices' pasts cost."""
    gone = _DELETE_KEEPALIVES.rows(session, **bounds)
    past: dict[int, tuple[int, int]] = {}
    for voice_pk, cost, possible in gone:
        certain, possibly = past.get(voice_pk, (0, 0))
        past[voice_pk] = (certain + (cost or 0), possibly + (possible or 0))
    for voice_pk, (cost, possible) in sorted(past.items()):
        if cost or possible:
            values = {"its_voice": voice_pk, "cost": cost, "possible": possible}
            if not _ADD.run(session, **values):
                _BEGIN.run(session, **values)
    return len(gone) + _DELETE_CONTROLS.run(session, **bounds)


_WAYS = (_Walk(HistoryEntry, "at"), _Walk(Task, "sent_at"), _Walk(Alert, "since"))
_DELETES: tuple[Callable[..., int], ...] = (_DELETE_EVENTS.run, _delete_calls, _DELETE_ALERTS.run)
_BEGINNING = tuple(0 for _ in _WAYS)
