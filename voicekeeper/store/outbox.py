"""The outbox: messages to people, made of the alerts that wait, and sent one at a time.

A message is made in the transaction that marks its alerts as sent, one row for each address. The
row stands before the send and is marked after it: so a crash at any moment sends a message once
more, and loses none. A message that fails is tried again with backoff, and given up in the end; of
one topic an address gets its messages in order.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import bindparam, exists, func, select
from sqlalchemy.orm import aliased
from sqlmodel import col

from voicekeeper.core import alerting, costs, messages
from voicekeeper.core.alerting import Waiting
from voicekeeper.core.messages import Item, Text, Week
from voicekeeper.core.models import Alert, AlertKind, Message, Topic, Voice
from voicekeeper.core.schedule import Policy, deadline
from voicekeeper.store import alerts, claims, fleet, ledger, unreadable
from voicekeeper.store.database import Database
from voicekeeper.store.session import Session

KEPT = timedelta(days=30)
"""So long a message stays after it was made: it shows what was sent to whom."""

_SHOWN_DEADLINES = 3
_ONCE = (Topic.ENROLLMENT, Topic.DIGEST)
"""Topics whose messages repeat nothing of what came before."""

_WAITS = col(Message.send_at).is_not(None)
_OTHER = aliased(Message)
_COMES_BEFORE = exists().where(
    col(_OTHER.place) == Message.place,
    col(_OTHER.topic) == Message.topic,
    col(_OTHER.id) < Message.id,
    col(_OTHER.send_at).is_not(None),
)
_DUE = (
    select(Message)
    .where(
        _WAITS,
        col(Message.send_at) <= bindparam("now"),
        col(Message.place) == bindparam("at_place"),
        ~_COMES_BEFORE,
    )
    .order_by(col(Message.id))
)
_TO_SEND = col(Alert.send_at).is_not(None)
_IS_OPEN = col(Alert.ended_at).is_(None)


class Outbox:
    """The messages to people, and how far each is.

    Args:
        places: how many addresses there are.
        host: the name of this machine, for the titles.
        tick: between two passes.
    """

    def __init__(self, database: Database, *, places: int, host: str, tick: timedelta) -> None:
        self._database = database
        self._places = places
        self._host = host
        self._tick = tick

    def open(self, *, now: datetime) -> None:
        """Begin: messages that a predecessor left are due at once.

        Alerts that ended a week ago, when perhaps no address was set, are given up.
        """
        with self._database.writing() as session:
            stale = (col(Alert.ended_at) < now - messages.WEEK) & col(Alert.sent_at).is_(None)
            is_enrollment = col(Alert.kind) == AlertKind.ENROLLMENT
            session.execute(sa.delete(Alert).where(stale, is_enrollment))
            session.execute(sa.update(Alert).where(stale, _TO_SEND).values(send_at=None))
            session.execute(sa.update(Message).where(_WAITS).values(send_at=now))

    def adopt(self, *, places: int, tick: timedelta) -> None:
        """Go by other settings from now on."""
        self._places = places
        self._tick = tick

    def gather(self, *, now: datetime, policy: Policy, settled: bool = False) -> None:
        """Make the messages that are due; give up those to an address that there is no more.

        Args:
            settled: whether no more alerts are to be expected for now.
        """
        with self._database.writing() as session:
            gone = _WAITS & (col(Message.place) >= self._places)
            session.execute(sa.update(Message).where(gone).values(send_at=None))
            try:
                kinds = _waiting(session, now=now)
            except unreadable.UNREADABLE:
                alerts.drop_unreadable(session)
                kinds = _waiting(session, now=now)
            for kind, waiting in kinds.items():
                if alerting.is_message_due(waiting, now=now, policy=policy, settled=settled):
                    text = messages.of_alerts(kind, _items(session, kind, policy), host=self._host)
                    is_repeat = not (waiting.news or waiting.ends)
                    self._put(session, Topic(kind), text, now=now, is_repeat=is_repeat)
                    _mark(session, kind, now=now)
            last_digest_at = _last_at(session, Topic.DIGEST)
        if messages.is_digest_due(last_digest_at, now=now):
            self._make_digest(now=now, policy=policy)

    def next(self, place: int, *, now: datetime) -> Message | None:
        """Return the next message for an address; None when none is due."""
        with self._database.reading() as session:
            due, _ = unreadable.load(session, _DUE, {"now": now, "at_place": place})
            return due[0] if due else None

    def arrived(self, message: Message, *, now: datetime) -> None:
        """Mark a message as sent; others that wait for the same address are due at once."""
        with self._database.writing() as session:
            row = sa.update(Message).where(col(Message.id) == message.id)
            session.execute(row.values(send_at=None, sent_at=now, tries=message.tries + 1))
            same = _WAITS & (col(Message.place) == message.place)
            session.execute(sa.update(Message).where(same).values(send_at=now))

    def failed(self, message: Message, *, now: datetime, policy: Policy) -> datetime | None:
        """Note that a message did not arrive; return when it is tried again, None if never."""
        tries = message.tries + 1
        with self._database.writing() as session:
            newer = exists().where(
                col(Message.place) == message.place,
                col(Message.topic) == message.topic,
                col(Message.id) > message.id,
                _WAITS,
            )
            again = alerting.send_again_at(
                tries,
                made_at=message.made_at,
                outdated=message.topic not in _ONCE and bool(session.scalar(select(newer))),
                now=now,
                policy=policy,
            )
            row = sa.update(Message).where(col(Message.id) == message.id)
            session.execute(row.values(send_at=again, tries=tries))
        return again

    def _put(
        self, session: Session, topic: Topic, text: Text, *, now: datetime, is_repeat: bool
    ) -> None:
        """Put a message into the outbox for each address.

        A repeat is left out where an earlier message of its topic still waits.
        """
        waiting = select(col(Message.place)).where(_WAITS, col(Message.topic) == topic)
        left_out = set(session.scalars(waiting)) if is_repeat else set()
        session.add_all(
            Message(topic=topic, place=place, **text._asdict(), made_at=now, send_at=now)
            for place in range(self._places)
            if place not in left_out
        )

    def _make_digest(self, *, now: datetime, policy: Policy) -> None:
        with self._database.reading() as session:  # which takes long, and holds up no pass
            health = fleet.read_health(
                session, self._database, now=now, policy=policy, skips_unreadable=True
            )
        with self._database.writing() as session:
            session.execute(sa.delete(Message).where(col(Message.made_at) < now - KEPT, ~_WAITS))
            text = messages.of_week(
                _week(session, now=now, policy=policy),
                health,
                now=now,
                tick=self._tick,
                policy=policy,
                host=self._host,
            )
            self._put(session, Topic.DIGEST, text, now=now, is_repeat=False)


def _waiting(session: Session, *, now: datetime) -> dict[AlertKind, Waiting]:
    """Return what the next message about each kind is to hold, where anything waits."""
    is_due, is_new = col(Alert.send_at) <= now, col(Alert.sent_at).is_(None)
    found = session.execute(
        select(
            col(Alert.kind),
            func.min(col(Alert.send_at)).filter(is_due),
            func.max(col(Alert.send_at)).filter(is_due),
            func.count().filter(is_due & is_new),
            func.count().filter(is_due & _IS_OPEN & ~is_new),
            func.count().filter(is_due & ~_IS_OPEN & ~is_new),
            func.count().filter(_IS_OPEN),
        )
        .where(_TO_SEND)
        .group_by(col(Alert.kind))
    )
    return {
        kind: Waiting(_last_at(session, Topic(kind)), *counted)
        for kind, *counted in found
        if counted[0] is not None
    }


def _items(session: Session, kind: AlertKind, policy: Policy) -> Sequence[Item]:
    """Return the alerts of a kind that a message is to hold, the most urgent first.

    One that cannot be read, or whose voice cannot, is left out.
    """
    query = (
        select(Alert, Voice)
        .join(Voice, col(Voice.id) == col(Alert.voice_pk), isouter=True)
        .where(_TO_SEND, col(Alert.kind) == kind)
        .order_by(col(Voice.anchored_at), col(Alert.id))
    )
    found, _ = unreadable.load_joined(session, query)
    return [_item(alert, voice, policy) for alert, voice in found]


def _item(alert: Alert, voice: Voice | None, policy: Policy) -> Item:
    cause = alert.cause
    if voice is not None and voice.voice_id:
        # What one fault did to many voices has one cause, whichever voice it names.
        cause = cause.replace(voice.voice_id, "this voice")
    is_risk = alert.kind is AlertKind.RISK
    return Item(
        subject=alert.model if voice is None else voice.name,
        level=alert.level,  # type: ignore[arg-type]  # a CHECK holds it
        cause=cause,
        since=alert.since,
        is_new=alert.sent_at is None,
        ended_at=alert.ended_at,
        deadline_at=deadline(voice.anchored_at, policy) if voice is not None and is_risk else None,
    )


def _mark(session: Session, kind: AlertKind, *, now: datetime) -> None:
    """Note that a message holds all alerts of a kind that are to be sent."""
    these = _TO_SEND & (col(Alert.kind) == kind)
    if kind is AlertKind.ENROLLMENT:
        session.execute(sa.delete(Alert).where(these))
        return
    mark = sa.update(Alert).where(these).values(sent_at=now)
    session.execute(mark.where(~_IS_OPEN).values(send_at=None))
    session.execute(mark.where(_IS_OPEN).values(send_at=now + alerting.AGAIN))


def _last_at(session: Session, topic: Topic) -> datetime | None:
    """Return when the last message about a topic was made."""
    return session.scalar(select(func.max(col(Message.made_at))).where(col(Message.topic) == topic))


def _week(session: Session, *, now: datetime, policy: Policy) -> Week:
    urgent, _ = unreadable.load(
        session,
        select(Voice)
        .where(claims.IS_KEPT, col(Voice.voice_id).is_not(None))
        .order_by(col(Voice.anchored_at))
        .limit(_SHOWN_DEADLINES),
    )
    lost = session.scalars(
        select(col(Voice.name))
        .join(Alert, col(Alert.voice_pk) == col(Voice.id))
        .where(col(Alert.kind) == AlertKind.LOST, col(Alert.since) > now - messages.WEEK)
        .order_by(col(Voice.name))
        .distinct()
    )
    return Week(
        spent=ledger.since(session, costs.utc_day(now) - timedelta(days=6)),
        lost=list(lost),
        deadlines=[(voice.name, deadline(voice.anchored_at, policy)) for voice in urgent],
    )
