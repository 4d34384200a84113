"""Holding enrollments that the day's budget does not allow.

The rule is `costs.hold`. It is asked twice: when enrollments fall due, so that those that are
held take no keeper's time, and, which is what counts, in the transaction that writes an
enrollment's intent: there no two can both be the last that the budget allows.
"""

from datetime import datetime

from sqlalchemy import select
from sqlmodel import col

from voicekeeper.core import costs, transitions
from voicekeeper.core.costs import Hold, Spent
from voicekeeper.core.models import Kind, Origin, Voice
from voicekeeper.core.schedule import Policy
from voicekeeper.store import claims, ledger, unreadable
from voicekeeper.store.history import LogLine, add_entry
from voicekeeper.store.jobs import kind_for
from voicekeeper.store.session import Session

_MOST = 500
"""Voices held in one transaction; the next pass goes on."""


def of_voice(session: Session, voice: Voice, *, now: datetime, policy: Policy) -> Hold | None:
    """Return why the enrollment of a voice may not begin; None when it may."""
    return _holds(session, now=now, policy=policy).get(kind_for(voice))


def _holds(session: Session, *, now: datetime, policy: Policy) -> dict[Kind, Hold]:
    """Return why enrollments may not begin now, by kind; all count as spent if none can be read."""
    if policy.enrollments_per_day is None:
        return {}
    try:
        spent = ledger.enrollments_on(session, costs.utc_day(now))
    except unreadable.UNREADABLE:
        spent = Spent(policy.enrollments_per_day)
    return {
        kind: hold
        for kind in (Kind.CLONE, Kind.DESIGN)
        if (hold := costs.hold(kind, spent=spent, now=now, policy=policy)) is not None
    }


def put(
    session: Session,
    voice: Voice,
    hold: Hold,
    *,
    now: datetime,
    policy: Policy,
    logged: bool = True,
) -> list[LogLine]:
    """Hold the enrollment of a voice; return what to log."""
    change = transitions.held(voice, hold, now=now, policy=policy)
    session.change(voice, change.voice)
    return [add_entry(session, voice, entry, now=now, logged=logged) for entry in change.entries]


def put_all(session: Session, *, now: datetime, policy: Policy) -> list[LogLine]:
    """Hold every enrollment that is due and not allowed; return what to log."""
    holds = _holds(session, now=now, policy=policy)
    if not holds:
        return []
    due = (
        select(Voice)
        .where(
            claims.DUE, claims.TO_ENROLL, col(Voice.origin).in_([Origin(kind) for kind in holds])
        )
        .limit(_MOST)
    )
    lines: list[LogLine] = []
    voices, _ = unreadable.load(session, due, {"now": now})
    for voice in voices:
        lines += put(session, voice, holds[kind_for(voice)], now=now, policy=policy)
    return lines
