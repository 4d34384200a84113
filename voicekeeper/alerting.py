"""What a person must be told of: how loud, when first, when again, and when no more.

=================  ===============================================================
lost, undeployed   told with the change of the voice's status
blocked            told with the opening of the breaker
risk               two sevenths of the window are left (48 h of seven days): a
                   warning; a fourteenth (12 h): an error, told at once
again              daily, until it has ended
ended              the voice speaks, or calls flow: one all-clear; or a person dealt
                   with the voice (``pause``, ``retry``, ``remove``): no more words
=================  ===============================================================

Telling takes two steps, so that a crash between them repeats a word and never loses one: an
alert is handed out under a lease, and only when it was told is its next turn a day away.

Pure functions: rows and ``now`` in, new values out.
"""

from datetime import datetime, timedelta
from typing import Final, TypedDict

from voicekeeper.events import MEANINGS, Event, Level
from voicekeeper.models import Alert, AlertKind, Breaker, Status, Voice
from voicekeeper.schedule import Policy

AGAIN: Final = timedelta(days=1)
"""Between two tellings of what has not ended."""

LEASE: Final = timedelta(minutes=1)
"""For handing one telling out; if it was not confirmed by then, it is told once more."""

_SLACK: Final = timedelta(hours=1)
"""A clock that is set back by less delays a telling by less; one set back further is seen."""

EVENTS: Final = {
    AlertKind.LOST: Event.VOICE_LOST,
    AlertKind.UNDEPLOYED: Event.VOICE_UNDEPLOYED,
    AlertKind.RISK: Event.VOICE_AT_RISK,
    AlertKind.BLOCKED: Event.UPSTREAM_BLOCKED,
}
"""The event that tells of each kind, for the first time and again."""

OPENED_BY: Final = {Event.VOICE_LOST: AlertKind.LOST, Event.VOICE_UNDEPLOYED: AlertKind.UNDEPLOYED}
"""The events in a voice's life that open an alert, in the transaction that writes them."""


class AlertFields(TypedDict, total=False):
    """New values for columns of an alert."""

    told: int
    tell_at: datetime | None
    ended_at: datetime


def risky_before(now: datetime, policy: Policy) -> datetime:
    """Return before when a last use puts a voice at risk: two sevenths of the window are left.

    Less where the interval is long: a voice in its ordinary turn is never at risk.
    """
    window = policy.window
    return now - window + min(window * 2 / 7, (window - policy.interval) / 2)


def dire_before(now: datetime, policy: Policy) -> datetime:
    """Return before when a last use makes the risk an error: a fourteenth of the window is left."""
    window = policy.window
    return now - window + min(window / 14, (window - policy.interval) / 8)


def at_risk_since(anchor: datetime, policy: Policy) -> datetime:
    """Return from when on a voice is at risk, unless it is used."""
    return anchor + (anchor - risky_before(anchor, policy))


def grace(policy: Policy) -> timedelta:
    """Return how long a risk is not told yet: ten minutes of seven days.

    After the host was down, or an import of voices long unused, the first keepalives end it.
    """
    return policy.window / 1000


def pace(policy: Policy) -> timedelta:
    """Return how often to look for what is to be told: each five minutes of seven days."""
    return policy.window / 2000


def level(kind: AlertKind, anchor: datetime | None, *, now: datetime, policy: Policy) -> Level:
    """Return how loud an alert is; of a risk, by the time that is left.

    Args:
        kind: of the alert.
        anchor: what the voice's deadline counts from; None where no voice is concerned.
        now: of this look.
        policy: the settings.
    """
    if kind is AlertKind.RISK and anchor is not None and anchor < dire_before(now, policy):
        return "error"
    return MEANINGS[EVENTS[kind]].level


def cause_of_risk(voice: Voice, breaker: Breaker | None) -> str:
    """Return why a voice is not used: calls are paused, or its own failed, or none was made."""
    if breaker is not None and breaker.opened_at is not None and breaker.cause:
        return breaker.cause
    return voice.last_error or "no keepalive has been made in time"


def handed_out(alert: Alert, *, now: datetime) -> AlertFields:
    """Begin a telling: others keep off until the lease is over."""
    return {"told": alert.told + 1, "tell_at": now + LEASE}


def confirmed(alert: Alert, *, now: datetime) -> AlertFields:
    """End a telling: the next one is a day away, and an end needs no other."""
    return {"tell_at": now + AGAIN if alert.ended_at is None else None}


def ended(alert: Alert, *, now: datetime, well: bool) -> AlertFields:
    """End an alert. Where somebody was told of it and all is well again, that is told too."""
    return {"ended_at": now, "tell_at": now if well and alert.told else None}


def latest_turn(now: datetime) -> datetime:
    """Return how far ahead a telling can be; one that is further was set by a wrong clock."""
    return now + AGAIN + _SLACK


def is_first(alert: Alert, how_loud: Level) -> bool:
    """Tell whether an alert was never told before, or at another level."""
    return alert.told == 0 or alert.level != how_loud


def speaks(voice: Voice) -> bool:
    """Tell whether a voice is kept and OK: an alert about it has ended well."""
    return voice.status is Status.OK and not voice.paused
