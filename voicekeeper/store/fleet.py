"""Read the fleet as a whole: its health, and what the page and the metrics show.

Of more than a thousand voices only the hundred most urgent are read one by one.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import BindParameter, ColumnElement, bindparam, exists, func, select
from sqlalchemy.orm import aliased
from sqlmodel import col

from voicekeeper.core import costs
from voicekeeper.core.costs import Spent
from voicekeeper.core.enums import LIVING
from voicekeeper.core.health import NAMED, SHOWN_NAMES, Health, Keeping, late_before, named
from voicekeeper.core.models import Active, Balance, Kind, Status, Task, TaskState, Voice
from voicekeeper.core.schedule import Policy
from voicekeeper.store import active, alerts, breakers, ledger, unreadable
from voicekeeper.store.claims import IN_ORDER, IS_KEPT, NEXT_DUE
from voicekeeper.store.database import Database
from voicekeeper.store.jobs import IS_OPEN
from voicekeeper.store.session import Session
from voicekeeper.store.unreadable import UNREADABLE

_LATE: BindParameter[datetime] = bindparam("late")
_NEWER = aliased(Task)
_TRIED_IN_VAIN = exists().where(
    col(Task.voice_pk) == Voice.id,
    col(Task.state) != TaskState.SUCCESS,
    col(Task.sent_at).between(col(Voice.anchored_at), _LATE),
    ~exists().where(
        col(_NEWER.voice_pk) == col(Task.voice_pk),
        col(_NEWER.id) > col(Task.id),
        col(_NEWER.state) == TaskState.SUCCESS,
    ),
)
_BEING_USED = col(Voice.id).in_(select(col(Task.voice_pk)).where(IS_OPEN))
_OVERDUE: ColumnElement[bool] = (
    IS_KEPT
    & col(Voice.next_at).is_not(None)
    & ((col(Voice.next_at) < _LATE) | ((col(Voice.failures) > 0) | _BEING_USED) & _TRIED_IN_VAIN)
)
"""A voice fell due so long ago, and was not used since.

Each failed keepalive puts its due time off, so the first of them counts.
"""

_REFUSED: ColumnElement[bool] = (
    IS_KEPT
    & (col(Voice.status) == Status.NEW)
    & col(Voice.voice_id).is_(None)
    & col(Voice.held_at).is_(None)
    & (col(Voice.failures) > 0)
)
"""A voice is yet to be made, and its enrollment was refused so far."""

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


def keeping(session: Session, database: Database) -> Keeping:
    """Return who keeps the voices, if anybody does."""
    holder = session.get_one(Active, 1)
    return Keeping(holder.last_pass_at, holder.once, _runs(holder, database))


def is_any_overdue(session: Session, *, now: datetime, policy: Policy) -> bool:
    """Return whether a voice fell due so long ago that its keeper is not in time."""
    late = {"late": late_before(now, policy)}
    return bool(session.scalar(select(exists().where(_OVERDUE)), late))


def read_health(
    session: Session,
    database: Database,
    *,
    now: datetime,
    policy: Policy,
    skips_unreadable: bool = False,
) -> Health:
    """Read the health of the fleet as a whole.

    Args:
        skips_unreadable: whether a voice whose row cannot be read is left out.

    Raises:
        LookupError, ValueError: a row cannot be read, and is not to be left out.
    """
    at = {
        **alerts.risk_at(now, policy),
        "late": late_before(now, policy),
        "over": now - policy.window,
    }
    held = IS_KEPT & col(Voice.held_at).is_not(None)
    by_status = _by_status(session)
    if skips_unreadable:
        by_status = {known: by_status[known] for known in Status if known in by_status}
    holder = session.get_one(Active, 1)
    health = Health(
        by_status={Status(status): count for status, count in by_status.items()},
        paused=_count(session, col(Voice.paused).is_(True) & col(Voice.status).in_(LIVING)),
        overdue=(overdue := _count(session, _OVERDUE, at)),
        late=_urgent(session, _OVERDUE, at) if overdue else [],
        at_risk=_count(session, alerts.AT_RISK, at),
        risky=_urgent(session, alerts.AT_RISK, at),
        refused=(refused := _count(session, _REFUSED)),
        waiting=_some(session, Status.NEW, _REFUSED) if refused else [],
        last_pass_at=holder.last_pass_at,
        keeper=holder.keeper,
        once=holder.once,
        runs=_runs(holder, database),
        names={status: _some(session, status, col(Voice.status) == status) for status in NAMED},
        blocked=breakers.opened(session),
        balance=session.get(Balance, 1),
        held=_count(session, held & col(Voice.next_at).is_not(None)),
        held_for_good=_count(session, held & col(Voice.next_at).is_(None)),
        next_at=_next_at(session, skips_unreadable=skips_unreadable),
        keepers=active.living(session, now=now, policy=policy),
    )
    session.expunge_all()
    return health


def _runs(holder: Active, database: Database) -> bool | None:
    """Return whether a daemon runs; None where its passes alone can tell."""
    if not database.is_shared:
        return database.is_held()
    return None if holder.last_pass_at is not None and holder.beat is not None else False


def _by_status(session: Session) -> dict[str, int]:
    status = sa.type_coerce(col(Voice.status), sa.String)  # as it is stored
    return dict(session.execute(select(status, func.count()).group_by(status)).all())


def _next_at(session: Session, *, skips_unreadable: bool) -> datetime | None:
    try:
        return session.scalar(NEXT_DUE)
    except UNREADABLE:
        if not skips_unreadable:
            raise
        return None


def _urgent(
    session: Session, condition: ColumnElement[bool], at: Mapping[str, datetime]
) -> Sequence[str]:
    query = select(col(Voice.name)).where(condition).order_by(*IN_ORDER, col(Voice.name))
    return session.scalars(query.limit(SHOWN_NAMES), at).all()


def _some(session: Session, status: Status, condition: ColumnElement[bool]) -> Sequence[str]:
    query = select(col(Voice.name), col(Voice.last_error)).where(condition)
    found = session.execute(query.order_by(col(Voice.name)).limit(SHOWN_NAMES))
    return [named(name, status, error) for name, error in found]


def _count(
    session: Session, condition: ColumnElement[bool], at: Mapping[str, datetime] | None = None
) -> int:
    count = select(func.count()).select_from(Voice).where(condition)
    return session.scalar(count, at or {}) or 0


def figures(database: Database, *, now: datetime, policy: Policy) -> Figures:
    """Read what the metrics count.

    Raises:
        VoicekeeperError: the database cannot be read.
    """
    with database.reading() as session:
        fleet = read_health(session, database, now=now, policy=policy, skips_unreadable=True)
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
        fleet = read_health(session, database, now=now, policy=policy, skips_unreadable=True)
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
        count: how many voices the condition holds for.
        values: of the parameters of the order.
    """
    query = select(Voice).where(condition).order_by(*order, col(Voice.name))
    voices, _ = unreadable.load(session, query.limit(ALL if count <= ALL else URGENT), values)
    return voices


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
