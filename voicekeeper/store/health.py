"""Read the health of the fleet as a whole, and who keeps it."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import BindParameter, ColumnElement, bindparam, exists, func, select
from sqlalchemy.orm import aliased
from sqlmodel import col

from voicekeeper.core.enums import LIVING
from voicekeeper.core.health import NAMED, SHOWN_NAMES, Health, Keeping, late_before, named
from voicekeeper.core.models import Active, Balance, Status, Task, TaskState, Voice
from voicekeeper.core.schedule import Policy
from voicekeeper.store import active, alerts, breakers
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


def keeping(session: Session, database: Database) -> Keeping:
    """Return who keeps the voices, if anybody does."""
    holder = session.get_one(Active, 1)
    return Keeping(holder.last_pass_at, holder.once, _runs(holder, database))


def is_any_overdue(session: Session, *, now: datetime, policy: Policy) -> bool:
    """Return whether a voice fell due so long ago that its keeper is not in time."""
    late = {"late": late_before(now, policy)}
    return bool(session.scalar(select(exists().where(_OVERDUE)), late))


def of_fleet(
    session: Session,
    database: Database,
    *,
    now: datetime,
    policy: Policy,
    skips_unreadable: bool = False,
) -> Health:
    """Read the health of the fleet as a whole.

    Args:
        session: any.
        database: of the session.
        now: of this look.
        policy: the settings.
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
