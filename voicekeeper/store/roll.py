"""The roll of the keepers that share a database: who lives, and how much of the account each has.

At each pass a keeper signs its row: until when it counts as living, and which share of the
account's requests a second it allows itself. The shares of the living never add up to more than
one. Who comes new takes no more than the others leave, and calls nothing until they have made
room, at their next pass; what a dead one had falls to the others when its time is over.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy import select

from voicekeeper.models import KeeperBeat
from voicekeeper.schedule import Policy
from voicekeeper.store import rows
from voicekeeper.store.session import Session
from voicekeeper.store.statement import Statement

_KEPT: Final = timedelta(days=1)
"""So long the row of a keeper that is gone tells when it was last seen."""

_ENOUGH: Final = 0.5
"""Of its fair share; with less a keeper's claims would outlive their leases in its own queue."""

_TABLE = rows.table_of(KeeperBeat)
_IT = _TABLE.c.keeper == sa.bindparam("of")
_BEAT = Statement(
    sa.update(_TABLE)
    .where(_IT)
    .values(last_pass_at=sa.bindparam("now"), alive_until=sa.bindparam("until"))
)
"""The sign of life of the only keeper."""

_SETTINGS: Final[dict[str, sa.BindParameter[float]]] = {
    "interval_s": sa.bindparam("its_interval_s"),
    "window_s": sa.bindparam("its_window_s"),
}
_SIGN = Statement(
    sa.update(_TABLE)
    .where(_IT)
    .values(
        last_pass_at=sa.bindparam("now"),
        alive_until=sa.bindparam("until"),
        share=sa.bindparam("its_share"),
        **_SETTINGS,
    )
)
_NOTE_SETTINGS = Statement(sa.update(_TABLE).where(_IT).values(_SETTINGS))
_NOTE_SETTINGS_OF_GONE = Statement(
    sa.update(_TABLE)
    .where(sa.func.coalesce(_TABLE.c.alive_until, sa.bindparam("now")) <= sa.bindparam("now"))
    .values(_SETTINGS)
)
_NOTED_SETTINGS = Statement(select(_TABLE.c.interval_s, _TABLE.c.window_s).distinct())
_OTHERS = Statement(
    select(_TABLE.c.share, _TABLE.c.interval_s).where(
        _TABLE.c.keeper != sa.bindparam("of"), _TABLE.c.alive_until > sa.bindparam("now")
    )
)
_LEAVE = Statement(sa.update(_TABLE).where(_IT).values(alive_until=sa.null(), share=0))
_REMOVE = Statement(sa.delete(_TABLE).where(_IT))
_REMOVE_ALL = Statement(sa.delete(_TABLE))
_FORGET = Statement(
    sa.delete(_TABLE).where(
        sa.func.coalesce(_TABLE.c.alive_until, _TABLE.c.last_pass_at, _TABLE.c.started_at)
        < sa.bindparam("before")
    )
)


class Standing(NamedTuple):
    """What a keeper may do until its next pass.

    Attributes:
        share: of the account's requests a second.
        may_call: whether that is enough to begin calls.
        longest: the longest keepalive interval that any living keeper goes by.
        steady: whether this keeper has passed without a break for so long that whoever is silent
            is so by his own fault, and not because the database was away from all.
        one_of: its name, where it is one of several; None where it is the only one.
    """

    share: float
    may_call: bool
    longest: timedelta
    steady: bool
    one_of: str | None

    def adapted(self, policy: Policy) -> Policy:
        """Return the settings by which a claim reckons its leases, and judges due times."""
        if self.one_of is None:
            return policy
        rate = policy.requests_per_second * self.share
        return replace(policy, requests_per_second=rate, interval=self.longest)


class Reckoned(NamedTuple):
    """The settings that the registry's due times were reckoned by, as far as they are known.

    Attributes:
        pairs: the interval and the window of each keeper, in seconds; 0 where nobody noted them.
    """

    pairs: frozenset[tuple[float, float]]

    def is_longer_than(self, policy: Policy) -> bool:
        """Return whether a due time may be later than these settings allow."""
        now = (policy.interval.total_seconds(), policy.window.total_seconds())
        return any(
            not old or old > new for pair in self.pairs for old, new in zip(pair, now, strict=True)
        )

    def shorter(self, policy: Policy) -> Policy:
        """Return the settings with the shorter interval of these and its own."""
        known = [timedelta(seconds=interval) for interval, _ in self.pairs if interval]
        return replace(policy, interval=min([policy.interval, *known]))


class Roll:
    """One keeper's part in the roll.

    Args:
        shared: whether there may be others.
    """

    def __init__(self, *, shared: bool) -> None:
        self._shared = shared
        self._last: datetime | None = None
        self._since: datetime | None = None

    def stand(self, session: Session, keeper: str, *, now: datetime, policy: Policy) -> Standing:
        """Return what a keeper may do; the only one may do all.

        Args:
            session: a writing one.
            keeper: whose pass it is.
            now: of this pass.
            policy: the settings.
        """
        if not self._shared:
            return Standing(1.0, may_call=True, longest=policy.interval, steady=False, one_of=None)
        others = _OTHERS.rows(session, of=keeper, now=now)
        fair = 1 / (len(others) + 1)
        left = 1 - sum(share for share, _ in others)
        may_call = left >= fair * _ENOUGH
        longest = max([policy.interval.total_seconds(), *(interval for _, interval in others)])
        return Standing(
            share=min(fair, left) if may_call else fair / 100,  # for what waits already
            may_call=may_call,
            longest=timedelta(seconds=longest),
            steady=self._is_steady(now, policy),
            one_of=keeper,
        )

    def sign(
        self,
        session: Session,
        keeper: str,
        standing: Standing,
        *,
        version: str,
        now: datetime,
        policy: Policy,
    ) -> None:
        """Note a pass; one that others took for dead, and forgot, begins anew.

        Args:
            session: a writing one.
            keeper: whose pass it is.
            standing: as the pass began.
            version: of this program.
            now: of this pass.
            policy: the settings.
        """
        until = now + policy.silence
        if not self._shared:
            _BEAT.run(session, of=keeper, now=now, until=until)
            return
        signed = {
            "now": now,
            "until": until,
            "its_share": standing.share if standing.may_call else 0.0,
            **_settings(policy),
        }
        if not _SIGN.run(session, of=keeper, **signed):
            enter(session, keeper, version=version, once=False, now=now, policy=policy)
            _SIGN.run(session, of=keeper, **signed)

    def _is_steady(self, now: datetime, policy: Policy) -> bool:
        silence = policy.silence
        if (
            self._since is None
            or self._last is None
            or not (self._last <= now <= self._last + silence)
        ):
            self._since = now
        self._last = now
        return now - self._since >= silence


def _settings(policy: Policy) -> dict[str, float]:
    interval, window = policy.interval.total_seconds(), policy.window.total_seconds()
    return {"its_interval_s": interval, "its_window_s": window}


def reckoned_by(session: Session) -> Reckoned:
    """Return the settings that due times were reckoned by until now."""
    pairs = _NOTED_SETTINGS.rows(session)
    return Reckoned(frozenset((_noted(interval), _noted(window)) for interval, window in pairs))


def _noted(seconds: object) -> float:
    """Return a duration of a row, in which anything may stand; 0 for what is none."""
    if isinstance(seconds, float) and 0 < seconds < timedelta.max.total_seconds():
        return seconds
    return 0.0


def note_settings(session: Session, keeper: str, policy: Policy) -> None:
    """Note the settings that a keeper reckons due times by from now on."""
    _NOTE_SETTINGS.run(session, of=keeper, **_settings(policy))


def enter(
    session: Session, keeper: str, *, version: str, once: bool, now: datetime, policy: Policy
) -> None:
    """Add a keeper's row; it has no share yet."""
    rows.insert(
        session,
        KeeperBeat,
        keeper=keeper,
        version=version,
        once=once,
        started_at=now,
        share=0.0,
        interval_s=policy.interval.total_seconds(),
        window_s=policy.window.total_seconds(),
    )


def leave(session: Session, keeper: str) -> None:
    """Give up a keeper's share; its row tells still when it was last seen."""
    _LEAVE.run(session, of=keeper)


def begin_anew(
    session: Session, keeper: str, *, shared: bool, now: datetime, policy: Policy
) -> None:
    """Delete a keeper's row, if there is one, and those of the keepers that are gone.

    By whatever those reckoned that stay, their due times were reckoned anew.

    Args:
        session: a writing one.
        keeper: who begins.
        shared: whether there may be others, who are gone only after long silence.
        now: of its start.
        policy: the settings.
    """
    if shared:
        _NOTE_SETTINGS_OF_GONE.run(session, now=now, **_settings(policy))
        _REMOVE.run(session, of=keeper)
        _FORGET.run(session, before=now - _KEPT)
    else:
        _REMOVE_ALL.run(session)
