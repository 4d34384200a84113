"""The active keeper: who works on the registry, and the epoch that fences all others.

One row holds the epoch. Every transaction that writes an intent calls `Fence.stay_active`:
``UPDATE active … WHERE epoch = mine``, which changes no row once another keeper has taken over;
then the transaction is rolled back. Where a server has the registry, its clock decides who has
been silent for too long; beside a file, its lock does.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy import delete, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlmodel import SQLModel, col

from voicekeeper.core.duration import plus
from voicekeeper.core.models import Standby
from voicekeeper.core.schedule import Policy
from voicekeeper.errors import NotActive
from voicekeeper.store.session import Session

_KEPT: Final = timedelta(days=1)
"""So long the row of a standby that is gone is kept."""

_ACTIVE, _STANDBY = (SQLModel.metadata.tables[name] for name in ("active", "standby"))


class _Present(FunctionElement[datetime]):
    """The present: by the server's clock, or by the parameter where there is no server."""

    type = _ACTIVE.c.beat.type
    inherit_cache = True


@compiles(_Present)
def _of_the_host(element: _Present, compiler: Any, **options: Any) -> str:  # noqa: ANN401 - the library's
    return str(compiler.process(element.clauses, **options))


@compiles(_Present, "postgresql")
def _of_the_server(_element: _Present, _compiler: Any, **_options: Any) -> str:  # noqa: ANN401 - the same
    return "clock_timestamp()"


_PRESENT = _Present(sa.bindparam("now", type_=_Present.type))
_HOLDER = select(_ACTIVE.c.keeper, _ACTIVE.c.beat, _PRESENT)
_IS_MINE = (_ACTIVE.c.epoch == sa.bindparam("mine")) & (_ACTIVE.c.keeper == sa.bindparam("of"))
_BEAT = sa.update(_ACTIVE).where(_IS_MINE).values(beat=_PRESENT)
_PASSED = _BEAT.values(last_pass_at=sa.bindparam("now"))


class Reckoned(NamedTuple):
    """The settings that the registry's due times were reckoned by, as far as they are known.

    Attributes:
        by_any: whether any keeper ever reckoned one.
        interval_s: the interval, in seconds; 0 where nobody noted it.
        window_s: the window, likewise.
    """

    by_any: bool
    interval_s: float
    window_s: float

    def is_longer_than(self, policy: Policy) -> bool:
        """Return whether a due time may be later than these settings allow."""
        spans = (
            (self.interval_s, policy.interval.total_seconds()),
            (self.window_s, policy.window.total_seconds()),
        )
        return self.by_any and any(not old or old > new for old, new in spans)

    def shorter(self, policy: Policy) -> Policy:
        """Return the settings with the shorter interval of these and its own."""
        if not self.interval_s:
            return policy
        interval = min(policy.interval, timedelta(seconds=self.interval_s))
        return replace(policy, interval=interval)


class Fence:
    """One keeper's hold on the registry; it holds nothing until it has taken over.

    Args:
        is_shared: whether another keeper may be the active one.
        place: what sentences call the registry.
    """

    def __init__(self, *, is_shared: bool, place: str) -> None:
        self._is_shared = is_shared
        self._place = place
        self._epoch: int | None = None
        self._keeper: str | None = None
        self._stands_by_since: datetime | None = None

    def take(
        self,
        session: Session,
        keeper: str,
        *,
        version: str,
        once: bool,
        now: datetime,
        policy: Policy,
    ) -> NotActive | None:
        """Take over, unless another keeper has given a sign of life lately.

        Returns:
            None when it is the active keeper from now on; else the error that it stands by.
        """
        at = {"now": now}
        if self._is_shared:
            holder, beat, present = session.execute(_HOLDER, at).one()
            session.execute(
                delete(Standby).where(
                    (col(Standby.seen_at) < present - _KEPT) | (col(Standby.keeper) == keeper)
                )
            )
            if beat is not None and beat > present - policy.silence:
                if not once:
                    since = self._stands_by_since = self._stands_by_since or now
                    session.add(
                        Standby(keeper=keeper, version=version, since=since, seen_at=present)
                    )
                return NotActive(holder, self._place)
        self._stands_by_since = None
        taken = (
            sa.update(_ACTIVE)
            .values(
                epoch=_ACTIVE.c.epoch + 1,
                keeper=keeper,
                version=version,
                once=once,
                started_at=now,
                beat=_PRESENT,
            )
            .returning(_ACTIVE.c.epoch)
        )
        self._epoch = session.execute(taken, at).scalar_one()
        self._keeper = keeper
        return None

    def stay_active(self, session: Session, *, now: datetime, is_pass: bool = False) -> None:
        """See that no other keeper has taken over, and give a sign of life.

        Raises:
            NotActive: another keeper has taken over.
        """
        mine = {"mine": self._epoch, "of": self._keeper, "now": now}
        if session.run(_PASSED if is_pass else _BEAT, mine).rowcount == 0:
            holder = session.scalar(select(_ACTIVE.c.keeper))
            raise NotActive(holder or "nobody", self._place)

    def leave(self, session: Session, keeper: str) -> None:
        """End: another keeper may take over at once."""
        leave = sa.update(_ACTIVE).where(_IS_MINE).values(beat=None)
        session.execute(leave, {"mine": self._epoch, "of": keeper})
        session.execute(delete(Standby).where(col(Standby.keeper) == keeper))


def moved_to(session: Session, server: str | None) -> bool:
    """Note which server has the registry now; return whether another one had it before."""
    before = session.scalar(select(_ACTIVE.c.server))
    if before != server:
        session.execute(sa.update(_ACTIVE).values(server=server))
    return before is not None and before != server


def note_settings(session: Session, policy: Policy) -> None:
    """Note the settings that due times are reckoned by from now on."""
    session.execute(
        sa.update(_ACTIVE).values(
            interval_s=policy.interval.total_seconds(), window_s=policy.window.total_seconds()
        )
    )


def reckoned_by(session: Session) -> Reckoned:
    """Return the settings that due times were reckoned by until now."""
    query = select(_ACTIVE.c.keeper, _ACTIVE.c.interval_s, _ACTIVE.c.window_s)
    keeper, *spans = session.execute(query).one()
    return Reckoned(keeper is not None, *map(_noted, spans))


def _noted(seconds: object) -> float:
    """Return a duration of a row, in which anything may stand; 0 for what is none."""
    if isinstance(seconds, float) and 0 < seconds < timedelta.max.total_seconds():
        return seconds
    return 0.0


def living(session: Session, *, now: datetime, policy: Policy) -> Sequence[str]:
    """Return the active keeper, if there is one, and after it those that stand by."""
    holder, beat, present = session.execute(_HOLDER, {"now": now}).one()
    since = plus(present, -policy.silence)
    standing_by = (
        select(col(Standby.keeper))
        .where(col(Standby.seen_at) > since)
        .order_by(col(Standby.since), col(Standby.keeper))
    )
    others = session.scalars(standing_by).all()
    return [holder, *others] if beat is not None and beat > since else others
