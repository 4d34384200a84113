"""What a person must know: how loud, when first, when again, and when no more.

=================  ===============================================================
lost, undeployed   with the change of the voice's status
blocked            with the opening of the breaker
risk               two sevenths of the window are left (48 h of seven days): a
                   warning; a fourteenth (12 h): an error, at once
again              daily, until it has ended
ended              the voice speaks, or calls flow: one all-clear; or a person dealt
                   with the voice (``pause``, ``retry``, ``remove``): no more words
=================  ===============================================================

The log has a line for each alert. People at the addresses of ``alerts.urls`` get messages, and
one message holds all alerts of a kind: a thousand voices that one cause strikes are one message.
It waits until a minute brought no more of them, ten minutes at most; what comes within an hour
after it waits for the hour's end; and each is in one message a day until it has ended.

A row stands before its line is logged or its message sent, and is marked after it: a crash between
the two repeats a line, and never loses one.

Pure functions: rows and ``now`` in, decisions out.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from voicekeeper.core.duration import plus
from voicekeeper.core.enums import AlertKind, Status, VoiceFacts
from voicekeeper.core.events import Event, Level
from voicekeeper.core.schedule import Policy

if TYPE_CHECKING:
    from voicekeeper.core.models import Breaker, Voice

AGAIN: Final = timedelta(days=1)
"""Between two lines, or two messages, about what has not ended."""

MARKED_WITHIN: Final = timedelta(minutes=1)
"""Whoever records an answer logs the alert that it opens or ends, and marks it, within this time;
only then does a look at all alerts find it due."""

_SLACK: Final = timedelta(hours=1)
"""A clock that is set back by less delays an alert by less; one set back further is seen."""

EVENTS: Final = {
    AlertKind.LOST: Event.VOICE_LOST,
    AlertKind.UNDEPLOYED: Event.VOICE_UNDEPLOYED,
    AlertKind.RISK: Event.VOICE_AT_RISK,
    AlertKind.BLOCKED: Event.UPSTREAM_BLOCKED,
}
"""The event of each kind's lines, the first and the later ones."""

OPENED_BY: Final = {Event.VOICE_LOST: AlertKind.LOST, Event.VOICE_UNDEPLOYED: AlertKind.UNDEPLOYED}
"""The events in a voice's life that open an alert, in the transaction that writes them."""


def risky_before(now: datetime, policy: Policy) -> datetime:
    """Return before when a last use puts a voice at risk."""
    return plus(now, -policy.risk_age)


def is_at_risk(voice: VoiceFacts, *, now: datetime, policy: Policy) -> bool:
    """Tell whether a voice is kept, and little of its window is left."""
    is_kept = voice.voice_id is not None and voice.next_at is not None and not voice.status.is_dead
    return is_kept and voice.anchored_at < risky_before(now, policy)


def dire_before(now: datetime, policy: Policy) -> datetime:
    """Return before when a last use makes the risk an error: a fourteenth of the window is left."""
    window = policy.window
    return plus(now, min(window / 14, (window - policy.interval) / 8) - window)


def grace(policy: Policy) -> timedelta:
    """Return for how long no alert of a risk is due: ten minutes of seven days.

    After the host was down, or an import of voices long unused, the first keepalives end it.
    """
    return policy.window / 1000


def pace(policy: Policy) -> timedelta:
    """Return how often to look at all alerts: each five minutes of seven days."""
    return policy.window / 2000


def level(kind: AlertKind, anchor: datetime, *, now: datetime, policy: Policy) -> Level:
    """Return how loud an alert about a voice is; a risk by the time that is left."""
    if kind is AlertKind.RISK and anchor < dire_before(now, policy):
        return "error"
    return EVENTS[kind].level


def cause_of_risk(voice: Voice, breaker: Breaker | None) -> str:
    """Return why a voice is not used: calls are paused, or its own failed, or none was made."""
    if breaker is not None and breaker.opened_at is not None and breaker.cause:
        return breaker.cause
    return voice.last_error or "no keepalive has been made in time"


def latest_turn(now: datetime) -> datetime:
    """Return how far ahead an alert can be due; one that is further was set by a wrong clock."""
    return plus(now, AGAIN + _SLACK)


def latest_send(now: datetime, policy: Policy) -> datetime:
    """Return how far ahead the next try of a message can be, as `latest_turn` does."""
    return plus(now, policy.retry_cap + _SLACK)


def ends_enrollment(event: Event, status: Status) -> bool:
    """Tell whether an event, by the voice's status after it, ends its enrollment for good.

    An UNDEPLOYED voice has an alert of its own.
    """
    if event is Event.ENROLLMENT_SUCCEEDED:
        return True
    return event is Event.ENROLLMENT_FAILED and status in (Status.FAILED, Status.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Waiting:
    """The alerts of a kind that the next message holds.

    Attributes:
        last_at: when the last message about the kind was made.
        oldest, newest: since when they wait.
        news: how many no message has held yet.
        repeats: how many hold on, a day after a message.
        ends: how many have ended since a message held them.
        holding: how many of the kind have not ended, whether they wait or not.
    """

    last_at: datetime | None
    oldest: datetime
    newest: datetime
    news: int
    repeats: int
    ends: int
    holding: int


def is_message_due(
    waiting: Waiting, *, now: datetime, policy: Policy, settled: bool = False
) -> bool:
    """Tell whether it is time for a message about what waits.

    A daily one holds whatever there is. Before it, news are gathered, unless no more are to be
    expected (``settled``), and an end is told when all have ended. A message whose time lies ahead
    was made by a wrong clock, and holds nothing up.
    """
    if waiting.repeats:
        return True
    quiet = settling(policy)
    growing = now - waiting.newest < quiet
    if growing and not settled and now - waiting.oldest < 10 * quiet:
        return False
    if waiting.news:
        last = waiting.last_at
        return last is None or not timedelta(0) <= now - last < 60 * quiet
    return not waiting.holding


def settling(policy: Policy) -> timedelta:
    """Return for how long no more alerts must come before a message: a minute of seven days."""
    return policy.window / 10_080


def send_again_at(
    tries: int, *, made_at: datetime, outdated: bool, now: datetime, policy: Policy
) -> datetime | None:
    """Return when a message that did not arrive is tried again; None to give it up.

    A message helps nobody after a week; nor after a day where a newer one, which repeats it, waits
    (``outdated``).
    """
    age = now - made_at
    if age > (AGAIN if outdated else 7 * AGAIN):
        return None
    grown = policy.retry_base.total_seconds() * 2.0 ** min(tries - 1, 20)
    return plus(now, timedelta(seconds=min(grown, policy.retry_cap.total_seconds())))
