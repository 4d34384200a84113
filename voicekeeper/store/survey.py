"""Read the fleet for the page and the metrics, as plain values.

Of more than a thousand voices only the hundred most urgent are read one by one; a voice whose row
cannot be read is left out.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import func, select
from sqlmodel import col

from voicekeeper.core import costs
from voicekeeper.core.costs import Spent
from voicekeeper.core.health import NAMED, Health
from voicekeeper.core.models import Active, Kind, Task, TaskState, Voice
from voicekeeper.core.schedule import Policy
from voicekeeper.store import health, ledger, unreadable
from voicekeeper.store.claims import IN_ORDER, IS_KEPT
from voicekeeper.store.database import Database
from voicekeeper.store.jobs import IS_OPEN
from voicekeeper.store.session import Session

ALL: Final = 1_000
"""So many voices are read one by one."""

URGENT: Final = 100
"""Of more than that, only so many: the most urgent."""

MONTH_DAYS: Final = 30
"""The days of keepalives that are shown, today included."""

_SHARES: Final = (0, 1 / 14, 1 / 7, 2 / 7, 3 / 7, 4 / 7, 5 / 7, 6 / 7, 1)
"""The shares of a window by which margins are counted: of seven days 0, 12 h, 1 d, 2 d and on."""


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
    """What the metrics count.

    Attributes:
        health: of the fleet as a whole.
        kept: the voices that are kept, the most urgent first; bounded.
        margins: of all of those.
        due: how many voices wait for a keepalive or an enrollment now.
        open_tasks: unfinished tasks, by kind.
        ended_tasks: finished tasks, ever, by kind and state.
        spent: what all tasks cost, ever, by kind.
        models: those of a voice or an open breaker.
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
    """What the page shows.

    Attributes:
        health: of the fleet as a whole.
        kept: the voices that are kept, the most urgent first; bounded.
        others: the others: gone, in doubt, or paused, those that need a person first; bounded.
        days: of each of these, by its key, the days (UTC) of the last month with a finished
            keepalive, and whether one of that day succeeded.
    """

    health: Health
    kept: Sequence[Voice]
    others: Sequence[Voice]
    days: Mapping[int, Mapping[date, bool]]


def figures(database: Database, *, now: datetime, policy: Policy) -> Figures:
    """Read what the metrics count.

    Raises:
        VoicekeeperError: the database cannot be read.
    """
    with database.reading() as session:
        fleet = health.of_fleet(session, database, now=now, policy=policy, skips_unreadable=True)
        of_voices = set(session.scalars(select(col(Voice.model)).distinct()))
        open_tasks = select(col(Task.kind), func.count()).where(IS_OPEN).group_by(col(Task.kind))
        return Figures(
            health=fleet,
            kept=_kept(session, fleet.kept, now=now, policy=policy),
            margins=_margins(session, now=now, policy=policy),
            due=session.scalar(select(func.count()).where(col(Voice.next_at) <= now)) or 0,
            open_tasks=dict(session.execute(open_tasks).all()),
            ended_tasks=ledger.ended(session),
            spent=ledger.by_kind(session),
            models=of_voices | {breaker.model for breaker in fleet.blocked},
            started_at=session.scalar(select(col(Active.started_at))),
        )


def board(database: Database, *, now: datetime, policy: Policy) -> Board:
    """Read what the page shows.

    Raises:
        VoicekeeperError: the database cannot be read.
    """
    with database.reading() as session:
        fleet = health.of_fleet(session, database, now=now, policy=policy, skips_unreadable=True)
        kept = _kept(session, fleet.kept, now=now, policy=policy)
        others = _voices(
            session,
            sa.not_(IS_KEPT),
            *(col(Voice.status) != status for status in NAMED),
            count=sum(fleet.by_status.values()) - fleet.kept,
        )
        return Board(fleet, kept, others, _days(session, [*kept, *others], now=now))


def _kept(session: Session, count: int, *, now: datetime, policy: Policy) -> list[Voice]:
    return _voices(session, IS_KEPT, *IN_ORDER, count=count, over=now - policy.window)


def _voices(
    session: Session,
    condition: sa.ColumnElement[bool],
    *order: sa.ColumnElement[Any],
    count: int,
    **values: object,
) -> list[Voice]:
    """Return the first voices of an order, as far as their rows can be read.

    Args:
        session: any.
        condition: which voices.
        order: of these, before their names.
        count: how many they are.
        values: of the parameters of the order.
    """
    query = select(col(Voice.id)).where(condition).order_by(*order, col(Voice.name))
    keys = session.scalars(query.limit(ALL if count <= ALL else URGENT), values).all()
    readable, _ = unreadable.by_key(session, Voice, keys)
    return [readable[key] for key in keys if key in readable]


def _days(
    session: Session, voices: Sequence[Voice], *, now: datetime
) -> dict[int, dict[date, bool]]:
    """Return the days of the last month on which each voice was called."""
    first_day = costs.utc_day(now) - timedelta(days=MONTH_DAYS - 1)
    day = func.date(col(Task.sent_at), type_=sa.String)  # NULL where it cannot be read
    succeeded = func.max(sa.case((col(Task.state) == TaskState.SUCCESS, 1), else_=0))
    query = (
        select(col(Task.voice_pk), day, succeeded)
        .where(
            col(Task.voice_pk).in_([voice.id for voice in voices]),
            col(Task.sent_at) >= datetime.combine(first_day, time(), UTC),
            col(Task.kind) == Kind.KEEPALIVE,
            ~IS_OPEN,
        )
        .group_by(col(Task.voice_pk), day)
    )
    days: dict[int, dict[date, bool]] = {}
    for key, its_day, is_used in session.execute(query):
        if its_day is not None:
            days.setdefault(key, {})[date.fromisoformat(str(its_day))] = bool(is_used)
    return days


def _margins(session: Session, *, now: datetime, policy: Policy) -> Margins:
    over = now - policy.window
    lengths = [policy.window * share for share in _SHARES]
    left = sa.extract("epoch", col(Voice.anchored_at)) - over.timestamp()
    query = select(
        func.count(),
        func.sum(sa.case((left > 0, left), else_=0)),
        *(func.count().filter(col(Voice.anchored_at) <= over + length) for length in lengths),
    ).where(IS_KEPT, col(Voice.voice_id).is_not(None))
    voices, seconds, *at_most = session.execute(query).one()
    return Margins(
        dict(zip(lengths, at_most, strict=True)), voices, timedelta(seconds=float(seconds or 0))
    )
