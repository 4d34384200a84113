"""The active keeper: who works on the registry, and the epoch that fences all others.

One row holds the epoch. Every transaction that writes an intent begins with `beat`, which changes
nothing once another keeper has taken over. Where a server has the registry, its clock tells who
has been silent for too long; the lock beside a file tells it of a file.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from voicekeeper.core.duration import plus
from voicekeeper.core.models import Active, Standby
from voicekeeper.core.schedule import Policy
from voicekeeper.errors import NotActive
from voicekeeper.store import rows
from voicekeeper.store.session import Session
from voicekeeper.store.statement import InsertIfMissing, Statement

_KEPT: Final = timedelta(days=1)
"""So long the row of a standby that is gone is kept."""

_ACTIVE, _STANDBY = rows.table_of(Active), rows.table_of(Standby)


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
_HOLDER = Statement(select(_ACTIVE.c.keeper, _ACTIVE.c.beat, _PRESENT))
_TAKE = Statement(
    sa.update(_ACTIVE)
    .values(
        epoch=_ACTIVE.c.epoch + 1,
        keeper=sa.bindparam("of"),
        version=sa.bindparam("its_version"),
        once=sa.bindparam("its_once"),
        started_at=sa.bindparam("its_start"),
        beat=_PRESENT,
    )
    .returning(_ACTIVE.c.epoch)
)
_IS_MINE = (_ACTIVE.c.epoch == sa.bindparam("mine")) & (_ACTIVE.c.keeper == sa.bindparam("of"))
_BEAT = Statement(sa.update(_ACTIVE).where(_IS_MINE).values(beat=_PRESENT))
_LEAVE = Statement(sa.update(_ACTIVE).where(_IS_MINE).values(beat=sa.null()))
_PASSED = Statement(sa.update(_ACTIVE).values(last_pass_at=sa.bindparam("at")))
_SERVER = Statement(select(_ACTIVE.c.server))
_NOTE_SERVER = Statement(sa.update(_ACTIVE).values(server=sa.bindparam("its_server")))
_RECKONED = Statement(select(_ACTIVE.c.keeper, _ACTIVE.c.interval_s, _ACTIVE.c.window_s))
_RECKON = Statement(
    sa.update(_ACTIVE).values(
        interval_s=sa.bindparam("its_interval_s"), window_s=sa.bindparam("its_window_s")
    )
)

_STAND_BY = Statement(
    InsertIfMissing(_STANDBY).values(
        keeper=sa.bindparam("of"),
        version=sa.bindparam("its_version"),
        since=sa.bindparam("its_start"),
        seen_at=_PRESENT,
    )
)
_IS_ITS = _STANDBY.c.keeper == sa.bindparam("of")
_SEE = Statement(sa.update(_STANDBY).where(_IS_ITS).values(seen_at=_PRESENT))
_STAND_NO_MORE = Statement(sa.delete(_STANDBY).where(_IS_ITS))
_FORGET = Statement(sa.delete(_STANDBY).where(_STANDBY.c.seen_at < sa.bindparam("before")))
_STANDING_BY = Statement(
    select(_STANDBY.c.keeper, _STANDBY.c.seen_at).order_by(_STANDBY.c.since, _STANDBY.c.keeper)
)


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

        Args:
            session: a writing one.
            keeper: who takes over.
            version: of this program.
            once: whether it is ``run --once``.
            now: of this attempt, by the host's clock.
            policy: the settings.

        Returns:
            None when it is the active keeper from now on; else the error that it stands by.
        """
        of = {"of": keeper, "now": now, "its_version": version, "its_start": now}
        if self._is_shared:
            holder, beat, present = _HOLDER.rows(session, now=now)[0]
            _FORGET.run(session, before=present - _KEPT)
            if beat is not None and beat > present - policy.silence:
                if not once and not _SEE.run(session, of=keeper, now=now):
                    _STAND_BY.run(session, **of)
                return NotActive(holder, self._place)
            _STAND_NO_MORE.run(session, of=keeper)
        self._epoch = _TAKE.scalar(session, its_once=once, **of)
        self._keeper = keeper
        return None

    def beat(self, session: Session, *, now: datetime) -> None:
        """Give a sign of life: the first statement of each transaction that writes an intent.

        Raises:
            NotActive: another keeper has taken over.
        """
        if not _BEAT.run(session, mine=self._epoch, of=self._keeper, now=now):
            raise NotActive(_HOLDER.rows(session, now=now)[0][0] or "nobody", self._place)

    def leave(self, session: Session, keeper: str) -> None:
        """End: another keeper may take over at once."""
        _LEAVE.run(session, mine=self._epoch, of=keeper)
        _STAND_NO_MORE.run(session, of=keeper)


def moved_to(session: Session, server: str | None) -> bool:
    """Note which server has the registry now; return whether another one had it before."""
    before = _SERVER.scalar(session)
    if before != server:
        _NOTE_SERVER.run(session, its_server=server)
    return before is not None and before != server


def note_pass(session: Session, at: datetime | None) -> None:
    """Note when the last pass ended; None at a start."""
    _PASSED.run(session, at=at)


def note_settings(session: Session, policy: Policy) -> None:
    """Note the settings that due times are reckoned by from now on."""
    _RECKON.run(
        session,
        its_interval_s=policy.interval.total_seconds(),
        its_window_s=policy.window.total_seconds(),
    )


def reckoned_by(session: Session) -> Reckoned:
    """Return the settings that due times were reckoned by until now."""
    keeper, *spans = _RECKONED.rows(session)[0]
    return Reckoned(keeper is not None, *map(_noted, spans))


def _noted(seconds: object) -> float:
    """Return a duration of a row, in which anything may stand; 0 for what is none."""
    if isinstance(seconds, float) and 0 < seconds < timedelta.max.total_seconds():
        return seconds
    return 0.0


def living(session: Session, *, now: datetime, policy: Policy) -> Sequence[str]:
    """Return the active keeper, if there is one, and after it those that stand by."""
    holder, beat, present = _HOLDER.rows(session, now=now)[0]
    since = plus(present, -policy.silence)
    others = [keeper for keeper, seen_at in _STANDING_BY.rows(session) if seen_at > since]
    return [holder, *others] if beat is not None and beat > since else others
