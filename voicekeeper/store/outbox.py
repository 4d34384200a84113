"""The outbox: messages to people, made of the alerts that wait, and handed out to be sent.

A message is made in the transaction that notes in its alerts that they are sent, one row for each
address. Who takes one has it under a lease, and says how it went: so a crash at any moment sends a
message once more, and loses none. One that fails is tried again with backoff, and given up in the
end; of one topic an address gets its messages in order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import exists, func, select
from sqlalchemy.orm import aliased
from sqlmodel import col

from voicekeeper.core import alerting, costs, digest
from voicekeeper.core.alerting import Waiting
from voicekeeper.core.digest import Week
from voicekeeper.core.models import Alert, AlertKind, Message, Topic, Voice
from voicekeeper.core.notice import Item, Notice, of_alerts
from voicekeeper.core.schedule import Policy, deadline
from voicekeeper.store import claims, ledger
from voicekeeper.store.database import Database
from voicekeeper.store.registry import Registry
from voicekeeper.store.session import Session

KEPT = timedelta(days=30)
"""So long a message stays after it was made: it tells what was told."""

_SHOWN_DEADLINES = 3
_ONCE = (Topic.ENROLLMENT, Topic.DIGEST)
"""Topics whose messages repeat nothing of what came before."""

_WAITS = col(Message.send_at).is_not(None)
_OTHER = aliased(Message)


@dataclass(frozen=True, slots=True)
class Parcel:
    """One message handed out to be sent.

    Attributes:
        key: of its row.
        until: when its lease ends.
        tries: how often it was handed out, this time counted.
        notice: what to send.
    """

    key: int
    until: datetime
    tries: int
    notice: Notice


class Outbox:
    """What people are to be told, and how far that is.

    Args:
        database: of the registry.
        places: how many addresses there are.
        host: the name of this machine, for the titles.
        tick: between two passes.
    """

    def __init__(self, database: Database, *, places: int, host: str, tick: timedelta) -> None:
        self._database = database
        self._registry = Registry(database)
        self._places = places
        self._host = host
        self._tick = tick

    def open(self, *, now: datetime) -> None:
        """Begin: what a predecessor left is due at once, where there is one sender.

        Where several may send, it is due when the lease of who had it is over. What ended a week
        ago, when perhaps no address was set, is given up.
        """
        with self._database.writing() as session:
            stale = (col(Alert.ended_at) < now - digest.WEEK) & col(Alert.sent_at).is_(None)
            once = stale & (col(Alert.kind) == AlertKind.ENROLLMENT)
            session.execute(sa.delete(Alert).where(once))
            session.execute(
                sa.update(Alert).where(stale, col(Alert.send_at).is_not(None)).values(send_at=None)
            )
            if not self._database.is_shared:
                session.execute(sa.update(Message).where(_WAITS).values(send_at=now))

    def adopt(self, *, places: int, tick: timedelta) -> None:
        """Go by other settings from now on."""
        self._places = places
        self._tick = tick

    def gather(self, *, now: datetime, policy: Policy, settled: bool = False) -> int:
        """Make the messages that are due; return how many.

        What waits for an address that there is no more is given up.

        Args:
            now: of this look.
            policy: the settings.
            settled: whether no more alerts are to be expected for now.
        """
        made = 0
        with self._database.writing() as session:
            gone = _WAITS & (col(Message.place) >= self._places)
            session.execute(sa.update(Message).where(gone).values(send_at=None))
            for kind, waiting in _waiting(session, now=now).items():
                if alerting.is_message_due(waiting, now=now, policy=policy, settled=settled):
                    items = _items(session, kind, policy)
                    news = bool(waiting.news or waiting.ends)
                    notice = of_alerts(kind, items, host=self._host)
                    _mark(session, kind, now=now)
                    made += self._put(session, notice, now=now, news=news)
            last = _last_at(session, Topic.DIGEST)
        if digest.is_due(last, now=now):
            made += self._make_digest(now=now, policy=policy)
        return made

    def take(self, place: int, *, now: datetime) -> Parcel | None:
        """Hand out the next message for an address; None when none is due."""
        behind = exists().where(
            col(_OTHER.place) == Message.place,
            col(_OTHER.topic) == Message.topic,
            col(_OTHER.id) < Message.id,
            col(_OTHER.send_at).is_not(None),
        )
        due = col(Message.send_at) <= now
        with self._database.writing() as session:
            message = session.scalars(
                select(Message)
                .where(_WAITS, due, col(Message.place) == place, ~behind)
                .order_by(col(Message.id))
                .limit(1)
            ).first()
            if message is None:
                return None
            message.tries += 1
            message.send_at = until = now + alerting.SEND_LEASE
            assert message.id is not None  # noqa: S101 - a stored message has its key
            return Parcel(message.id, until, message.tries, _notice(message))

    def arrived(self, parcel: Parcel, *, now: datetime) -> None:
        """Note that a message arrived; what waits for the same address may go at once."""
        with self._database.writing() as session:
            message = session.get_one(Message, parcel.key)
            message.send_at, message.sent_at = None, now
            session.flush()
            same = _WAITS & (col(Message.place) == message.place)
            session.execute(sa.update(Message).where(same).values(send_at=now))

    def failed(self, parcel: Parcel, *, now: datetime, policy: Policy) -> datetime | None:
        """Note that a message did not arrive; return when it is tried again, None if never."""
        with self._database.writing() as session:
            message = session.get_one(Message, parcel.key)
            newer = exists().where(
                col(Message.place) == message.place,
                col(Message.topic) == message.topic,
                col(Message.id) > parcel.key,
                _WAITS,
            )
            message.send_at = alerting.send_again_at(
                message.tries,
                made_at=message.made_at,
                outdated=message.topic not in _ONCE and bool(session.scalar(select(newer))),
                now=now,
                policy=policy,
            )
            return message.send_at

    def _put(self, session: Session, notice: Notice, *, now: datetime, news: bool) -> int:
        """Put a message into the outbox for each address.

        A repeat is not, where an earlier message of its topic still waits.
        """
        assert notice.topic is not None  # noqa: S101 - a trial is put into no outbox
        held = select(col(Message.place)).where(_WAITS, col(Message.topic) == notice.topic)
        blocked = set() if news else set(session.scalars(held))
        places = [place for place in range(self._places) if place not in blocked]
        session.add_all(
            Message(
                topic=notice.topic,
                place=place,
                level=notice.level,
                title=notice.title,
                body=notice.body,
                made_at=now,
                send_at=now,
            )
            for place in places
        )
        return len(places)

    def _make_digest(self, *, now: datetime, policy: Policy) -> int:
        health = self._registry.health(now=now, policy=policy)
        with self._database.writing() as session:
            if not digest.is_due(_last_at(session, Topic.DIGEST), now=now):
                return 0  # another keeper made it just now
            session.execute(sa.delete(Message).where(col(Message.made_at) < now - KEPT, ~_WAITS))
            week = _week(session, now=now, policy=policy)
            notice = digest.of_week(
                week, health, now=now, tick=self._tick, policy=policy, host=self._host
            )
            return self._put(session, notice, now=now, news=True)


def _waiting(session: Session, *, now: datetime) -> dict[AlertKind, Waiting]:
    """Return what the next message about each kind is to hold, where anything waits."""
    open_, new = col(Alert.ended_at).is_(None), col(Alert.sent_at).is_(None)
    is_due = col(Alert.send_at) <= now

    def count(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
        return func.count().filter(condition)

    found = session.execute(
        select(
            col(Alert.kind),
            func.min(col(Alert.send_at)).filter(is_due),
            func.max(col(Alert.send_at)).filter(is_due),
            count(is_due & new),
            count(is_due & open_ & ~new),
            count(is_due & ~open_ & ~new),
            count(open_),
        )
        .where(col(Alert.send_at).is_not(None))
        .group_by(col(Alert.kind))
    )
    return {
        kind: Waiting(
            oldest=oldest,
            newest=newest,
            news=news,
            repeats=repeats,
            ends=ends,
            holding=holding,
            last_at=_last_at(session, Topic(kind)),
        )
        for kind, oldest, newest, news, repeats, ends, holding in found
        if oldest is not None
    }


def _items(session: Session, kind: AlertKind, policy: Policy) -> Sequence[Item]:
    """Return the alerts of a kind that a message is to hold, the most urgent first."""
    of_alert = (Alert.model, Alert.level, Alert.cause, Alert.since, Alert.ended_at, Alert.sent_at)
    of_voice = (Voice.name, Voice.voice_id, Voice.anchored_at)
    found = session.execute(
        select(*(col(column) for column in (*of_alert, *of_voice)))
        .select_from(Alert)
        .join(Voice, col(Voice.id) == col(Alert.voice_pk), isouter=True)
        .where(col(Alert.send_at).is_not(None), col(Alert.kind) == kind)
        .order_by(col(Voice.anchored_at), col(Alert.id))
    )
    return [
        Item(
            subject=name or model,
            level=level,
            # What one fault did to many voices has one cause, whichever voice it names.
            cause=cause.replace(voice_id, "this voice") if voice_id else cause,
            since=since,
            is_new=sent_at is None,
            ended_at=ended_at,
            deadline_at=deadline(anchored_at, policy) if kind is AlertKind.RISK else None,
        )
        for model, level, cause, since, ended_at, sent_at, name, voice_id, anchored_at in found
    ]


def _mark(session: Session, kind: AlertKind, *, now: datetime) -> None:
    """Note that a message holds all alerts of a kind that are to be sent."""
    these = (col(Alert.kind) == kind) & col(Alert.send_at).is_not(None)
    if kind is AlertKind.ENROLLMENT:
        session.execute(sa.delete(Alert).where(these))
        return
    open_ = col(Alert.ended_at).is_(None)
    again = now + alerting.AGAIN
    mark = sa.update(Alert)
    session.execute(mark.where(these, ~open_).values(send_at=None, sent_at=now))
    session.execute(mark.where(these, open_).values(send_at=again, sent_at=now))


def _last_at(session: Session, topic: Topic) -> datetime | None:
    """Return when the last message about a topic was made."""
    return session.scalar(select(func.max(col(Message.made_at))).where(col(Message.topic) == topic))


def _notice(message: Message) -> Notice:
    return Notice(message.topic, message.level, message.title, message.body)  # type: ignore[arg-type]  # a CHECK holds it


def _week(session: Session, *, now: datetime, policy: Policy) -> Week:
    urgent = session.execute(
        select(col(Voice.name), col(Voice.anchored_at))
        .where(claims.IS_KEPT, col(Voice.voice_id).is_not(None))
        .order_by(col(Voice.anchored_at))
        .limit(_SHOWN_DEADLINES)
    )
    lost = session.scalars(
        select(col(Voice.name))
        .join(Alert, col(Alert.voice_pk) == col(Voice.id))
        .where(col(Alert.kind) == AlertKind.LOST, col(Alert.since) > now - digest.WEEK)
        .order_by(col(Voice.name))
        .distinct()
    )
    return Week(
        spent=ledger.since(session, costs.utc_day(now) - timedelta(days=6)),
        lost=list(lost),
        deadlines=[(name, deadline(anchored_at, policy)) for name, anchored_at in urgent],
    )
