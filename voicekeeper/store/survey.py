"""The fleet at a glance, for those who watch it: plain values, read at one go.

What is told of single voices is bounded: past a thousand of them, of the hundred most urgent.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy import func, select
from sqlmodel import col

from voicekeeper.core import costs
from voicekeeper.core.costs import Spent
from voicekeeper.core.health import NAMED, Health
from voicekeeper.core.models import Active, Kind, Task, TaskState, Voice
from voicekeeper.core.schedule import Policy
from voicekeeper.store import breakers, claims, ledger, unreadable
from voicekeeper.store.database import Database
from voicekeeper.store.jobs import IS_OPEN, OPEN
from voicekeeper.store.registry import Registry
from voicekeeper.store.session import Session

ALL: Final = 1_000
"""So many voices are told of one by one."""

URGENT: Final = 100
"""Of more than that, only so many: the most urgent."""

SHARES: Final = (0, 1 / 14, 1 / 7, 2 / 7, 3 / 7, 4 / 7, 5 / 7, 6 / 7, 1)
"""The shares of a window by which margins are counted: of seven days 0, 12 h, 1 d, 2 d and on."""

MONTH_DAYS: Final = 30
"""So many days of keepalives are told of, this one counted."""

_KEPT = select(Voice).where(claims.IS_KEPT).order_by(*claims.IN_ORDER, col(Voice.name))
_OTHERS = (
    select(Voice)
    .where(sa.not_(claims.IS_KEPT))
    .order_by(*(col(Voice.status) != status for status in NAMED), col(Voice.name))
)
_CALLS = select(col(Task.sent_at), col(Task.state)).where(
    col(Task.voice_pk) == sa.bindparam("of_voice"),
    col(Task.id) > sa.bindparam("after"),
    col(Task.sent_at) >= sa.bindparam("since"),
    col(Task.kind) == Kind.KEEPALIVE,
    col(Task.state).not_in(OPEN),
)


@dataclass(frozen=True, slots=True)
class Margins:
    """How much of their window the voices have left that are kept and have a voice_id.

    Attributes:
        at_most: for each of some margins, how many voices have that much left at most.
        voices: how many there are.
        sum: of the margins; a window that is over counts as nothing.
    """

    at_most: Mapping[timedelta, int]
    voices: int
    sum: timedelta


@dataclass(frozen=True, slots=True)
class Figures:
    """What there is to count.

    Attributes:
        health: of the fleet as a whole.
        kept: the voices that are kept, the most urgent first; bounded.
        margins: of all of those.
        due: how many voices wait for a call now.
        open_tasks: tasks that have not ended, by kind.
        ended_tasks: tasks that ended, ever, by kind and end.
        spent: what all tasks cost, ever, by kind.
        models: of which there are voices, or were calls.
        started_at: when the keeper began that made the last pass.
    """

    health: Health
    kept: Sequence[Voice]
    margins: Margins
    due: int
    open_tasks: Mapping[Kind, int]
    ended_tasks: Mapping[tuple[Kind, TaskState], int]
    spent: Mapping[Kind, Spent]
    models: Collection[str]
    started_at: datetime | None


@dataclass(frozen=True, slots=True)
class Board:
    """The voices one by one.

    Attributes:
        health: of the fleet as a whole.
        kept: the voices that are kept, the most urgent first; bounded.
        others: the others: gone, in doubt, or paused, those that need a person first; bounded.
        days: of each of these, by its key, the days of the last month on which it was called, in
            UTC, and whether a call of that day succeeded.
    """

    health: Health
    kept: Sequence[Voice]
    others: Sequence[Voice]
    days: Mapping[int, Mapping[date, bool]]


class Survey:
    """The registry as monitoring sees it; nothing is changed by it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._registry = Registry(database)

    def check_writable(self) -> None:
        """See that the database can be written, without writing anything.

        Raises:
            VoicekeeperError: it cannot.
        """
        self._database.see_in_place()
        with self._database.writing():
            pass

    def figures(self, *, now: datetime, policy: Policy) -> Figures:
        """Return what there is to count.

        Raises:
            VoicekeeperError: the database cannot be read.
        """
        health = self._registry.health(now=now, policy=policy)
        with self._database.reading() as session:
            known = set(session.scalars(select(col(Voice.model)).distinct()))
            return Figures(
                health=health,
                kept=_kept(session, health.kept, now=now, policy=policy),
                margins=_margins(session, now=now, policy=policy),
                due=session.scalar(select(func.count()).where(col(Voice.next_at) <= now)) or 0,
                open_tasks=_open_tasks(session),
                ended_tasks=ledger.ended(session),
                spent=ledger.by_kind(session),
                models=known | {breaker.model for breaker in breakers.opened(session)},
                started_at=session.scalar(select(col(Active.started_at))),
            )

    def board(self, *, now: datetime, policy: Policy) -> Board:
        """Return the voices one by one.

        Raises:
            VoicekeeperError: the database cannot be read.
        """
        health = self._registry.health(now=now, policy=policy)
        others = sum(health.by_status.values()) - health.kept
        with self._database.reading() as session:
            not_kept, _ = unreadable.found(session, Voice, _OTHERS.limit(bound(others)))
            kept = _kept(session, health.kept, now=now, policy=policy)
            first_day = costs.utc_day(now) - timedelta(days=MONTH_DAYS - 1)
            since = datetime.combine(first_day, time(), UTC)
            after = _last_before(session, since)
            keys = (voice.id for voice in (*kept, *not_kept) if voice.id is not None)
            days = {key: _days(session, key, since, after) for key in keys}
        return Board(health, kept, not_kept, days)


def bound(voices: int) -> int:
    """Return of how many voices to tell one by one."""
    return ALL if voices <= ALL else URGENT


def _kept(session: Session, voices: int, *, now: datetime, policy: Policy) -> list[Voice]:
    """Return the voices that are kept, the most urgent first; a row that is broken is left out."""
    over = {"over": now - policy.window}
    kept, _ = unreadable.found(session, Voice, _KEPT.limit(bound(voices)), over)
    return kept


def _last_before(session: Session, since: datetime) -> int:
    """Return the key of about the last task that was sent before an instant.

    There are years of tasks and no index by their time; but keys grow with it, unless a clock was
    set, so a few steps between the first and the last find it.
    """
    low, high = 0, session.scalar(select(func.max(col(Task.id)))) or 0
    while low < high:
        middle = (low + high) // 2
        following = select(col(Task.id), col(Task.sent_at)).where(col(Task.id) > middle)
        row = session.execute(following.order_by(col(Task.id)).limit(1)).first()
        key, sent_at = row or (high, since)
        if sent_at >= since:
            high = middle
        else:
            low = key
    return low


def _days(session: Session, voice_pk: int, since: datetime, after: int) -> dict[date, bool]:
    """Return on which days from an instant on a voice was called, and whether that succeeded."""
    days: dict[date, bool] = {}
    bounds = {"of_voice": voice_pk, "since": since, "after": after}
    for sent_at, state in session.execute(_CALLS, bounds):
        day = costs.utc_day(sent_at)
        days[day] = days.get(day, False) or state is TaskState.SUCCESS
    return days


def _margins(session: Session, *, now: datetime, policy: Policy) -> Margins:
    over = now - policy.window
    lengths = [policy.window * share for share in SHARES]
    left = sa.extract("epoch", col(Voice.anchored_at)) - over.timestamp()
    query = select(
        func.count(),
        func.sum(sa.case((left > 0, left), else_=0)),
        *(func.count().filter(col(Voice.anchored_at) <= over + length) for length in lengths),
    ).where(claims.IS_KEPT, col(Voice.voice_id).is_not(None))
    voices, seconds, *at_most = session.execute(query).one()
    return Margins(
        dict(zip(lengths, at_most, strict=True)), voices, timedelta(seconds=float(seconds or 0))
    )


def _open_tasks(session: Session) -> dict[Kind, int]:
    query = select(col(Task.kind), func.count()).where(IS_OPEN).group_by(col(Task.kind))
    return {kind: count for kind, count in session.execute(query)}  # noqa: C416 - rows are no pairs
