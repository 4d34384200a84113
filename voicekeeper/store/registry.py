"""The people's side of the registry: register, read, and change what is kept.

Each deed is one transaction, its history row included, and is refused with a sentence when the
voice's status does not allow it. What a deed tells is left unlogged; the keeper logs it.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    SQLColumnExpression,
    case,
    delete,
    select,
)
from sqlmodel import col

from voicekeeper.core import schedule
from voicekeeper.core.costs import Hold, Spent, Totals
from voicekeeper.core.enums import LIVING
from voicekeeper.core.events import Event
from voicekeeper.core.facts import spellings
from voicekeeper.core.health import NAMED, Health, Keeping
from voicekeeper.core.models import (
    Breaker,
    HistoryEntry,
    Origin,
    Status,
    Voice,
)
from voicekeeper.core.schedule import Policy
from voicekeeper.core.transitions import Entry
from voicekeeper.core.transitions.enrollment import afresh
from voicekeeper.errors import DatabaseUnusable, NotAllowed, NotFound, quoted
from voicekeeper.store import breakers, health, holds, ledger, new_voices, unreadable
from voicekeeper.store.chronicle import farewell, tell
from voicekeeper.store.claims import IS_KEPT, is_enrolling, is_speaking
from voicekeeper.store.database import Database
from voicekeeper.store.new_voices import NewVoice
from voicekeeper.store.rows import assign
from voicekeeper.store.session import Session

_BATCH = 500
_ENROLLING = [
    str(event) for event in Event if event.startswith("enrollment.") or event is Event.VOICE_RETRIED
]


class Registry:
    """The voices as people see them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def register(
        self,
        voices: Sequence[NewVoice],
        *,
        now: datetime,
        policy: Policy,
        progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Register all of these voices, or none.

        Args:
            voices: any number; their values follow the rules already.
            now: of this command.
            policy: the settings.
            progress: told how many voices each step has dealt with.

        Raises:
            Taken: names or voice ids are in the registry, or twice among these.
        """
        with self._database.writing() as session:
            new_voices.add(session, voices, now=now, policy=policy, progress=progress)

    def get(self, name: str) -> Voice:
        """Return a voice.

        Raises:
            NotFound: no voice has this name.
        """
        with self._database.reading() as session:
            voice = _named(session, name)
            session.expunge(voice)
            return voice

    def all(self) -> Iterator[Voice]:
        """Yield every voice by name, without holding them all."""
        yield from self._every(col(Voice.name))

    def by_urgency(self, *, now: datetime, policy: Policy) -> Iterator[Voice]:
        """Yield every voice: the kept by their deadlines, then those that need a person."""
        over, anchor = now - policy.window, col(Voice.anchored_at)
        yield from self._every(
            IS_KEPT.desc(),
            case((IS_KEPT, anchor <= over)),
            case((IS_KEPT, anchor)),
            *(col(Voice.status) != status for status in NAMED),
            col(Voice.name),
        )

    def blocked(self) -> Sequence[Breaker]:
        """Return the breakers that are open."""
        with self._database.reading() as session:
            return breakers.opened(session)

    def _every(self, *order: SQLColumnExpression[Any]) -> Iterator[Voice]:
        with self._database.reading() as session:
            query = select(Voice).order_by(*order).execution_options(yield_per=_BATCH)
            try:
                yield from session.scalars(query)
            except unreadable.UNREADABLE:
                _tell_unreadable(session)
                raise

    def history(self, name: str) -> Sequence[HistoryEntry]:
        """Return a voice's events, oldest first.

        Raises:
            NotFound: no voice has this name.
        """
        with self._database.reading() as session:
            voice = _named(session, name)
            query = (
                select(HistoryEntry)
                .where(col(HistoryEntry.voice_pk) == voice.id)
                .order_by(col(HistoryEntry.id))
            )
            entries = session.scalars(query).all()
            session.expunge_all()
            return entries

    def spent(self, voice: Voice) -> Spent:
        """Return what a voice's tasks should have cost."""
        with self._database.reading() as session:
            return ledger.of_voice(session, voice)

    def preview_url(self, voice: Voice) -> str | None:
        """Return where the gateway has the preview of a voice, for 24 hours after its enrollment.

        None where its last enrollment made no voice, told no preview, or is forgotten by now.
        """
        query = (
            select(col(HistoryEntry.detail))
            .where(col(HistoryEntry.voice_pk) == voice.id, col(HistoryEntry.event).in_(_ENROLLING))
            .order_by(col(HistoryEntry.id).desc())
            .limit(1)
        )
        with self._database.reading() as session:
            return (session.scalar(query) or {}).get("preview_url")

    def totals(self, *, now: datetime) -> Totals:
        """Return what all tasks, those of removed voices too, should have cost."""
        with self._database.reading() as session:
            return ledger.totals(session, now)

    def hold(self, voice: Voice, *, now: datetime, policy: Policy) -> Hold | None:
        """Return why a voice's enrollment would not begin now; None when it would."""
        with self._database.reading() as session:
            return holds.of_voice(session, voice, now=now, policy=policy)

    def keeping(self) -> Keeping:
        """Return who keeps the voices, if anybody does."""
        with self._database.reading() as session:
            return health.keeping(session, self._database)

    def is_in_time(self, *, now: datetime, tick: timedelta, policy: Policy) -> bool:
        """Tell whether a keeper has made a pass lately, and nothing is overdue."""
        with self._database.reading() as session:
            if health.keeping(session, self._database).is_missing(now=now, tick=tick):
                return False
            return not health.is_any_overdue(session, now=now, policy=policy)

    def health(self, *, now: datetime, policy: Policy) -> Health:
        """Return what there is to say about the fleet as a whole."""
        with self._database.reading() as session:
            return health.of_fleet(session, self._database, now=now, policy=policy)

    def keep(self, name: str, *, now: datetime) -> None:
        """Make a voice due now, even one that was given up.

        Raises:
            NotFound: no voice has this name.
            NotAllowed: it is paused, or has no voice_id to speak with.
        """
        with self._changing(name) as (session, voice):
            _refuse_without_id(voice)
            if voice.paused:
                raise NotAllowed(f"{name} is paused; run 'voicekeeper resume {name}' first")
            if is_speaking(session, voice):
                raise NotAllowed(f"{name} is being used right now; a keepalive is under way")
            voice.next_at = now
            tell(session, voice, Entry(Event.VOICE_HASTENED), now=now, logged=False)

    def touch(self, name: str, at: datetime, *, now: datetime, policy: Policy) -> None:
        """Record a use that was made elsewhere.

        Raises:
            NotFound: no voice has this name.
            NotAllowed: it has no voice_id, or was used later than that already.
        """
        with self._changing(name) as (session, voice):
            _refuse_without_id(voice)
            if voice.last_used_at is not None and at <= voice.last_used_at <= now:
                raise NotAllowed(f"{name} is known to have been used later than that already")
            voice.last_used_at = voice.anchored_at = at
            if not voice.paused and voice.status in LIVING:
                voice.next_at = max(now, schedule.due(at, voice.name, policy))
            telling = Entry(Event.VOICE_TOUCHED, {"used_at": at})
            tell(session, voice, telling, now=now, logged=False)

    def pause(self, name: str, *, now: datetime) -> None:
        """Stop keeping a voice; the gateway's window goes on.

        Raises:
            NotFound: no voice has this name.
            NotAllowed: it is paused already.
        """
        with self._changing(name) as (session, voice):
            if voice.paused:
                raise NotAllowed(f"{name} is paused already")
            voice.paused, voice.next_at = True, None
            tell(session, voice, Entry(Event.VOICE_PAUSED), now=now, logged=False)

    def resume(self, name: str, *, now: datetime, policy: Policy) -> None:
        """Keep a paused voice again, at once if it fell due meanwhile.

        Raises:
            NotFound: no voice has this name.
            NotAllowed: it is not paused.
        """
        with self._changing(name) as (session, voice):
            if not voice.paused:
                raise NotAllowed(f"{name} is not paused")
            voice.paused = False
            if voice.status in LIVING and not is_enrolling(session, voice):
                due = schedule.due(voice.anchored_at, voice.name, policy)
                voice.next_at = now if voice.voice_id is None else max(now, due)
                if is_speaking(session, voice):  # its keepalive goes on: wait for that one
                    voice.next_at = max(voice.next_at, now + policy.longest_call)
            tell(session, voice, Entry(Event.VOICE_RESUMED), now=now, logged=False)

    def retry(self, name: str, *, now: datetime) -> None:
        """Repeat an enrollment, on the user's word: it is paid for again.

        Raises:
            NotFound: no voice has this name.
            NotAllowed: it has no recipe, lives, or is being enrolled.
        """
        with self._changing(name) as (session, voice):
            if voice.recipe is None:
                raise NotAllowed(f"{name} was not made here: there is nothing to repeat")
            if voice.status is Status.OK:
                raise NotAllowed(f"{name} is OK; there is nothing to repeat")
            if voice.status is Status.NEW or is_enrolling(session, voice):
                raise NotAllowed(f"{name} is {voice.status}: its enrollment has not ended yet")
            before, old_id = voice.status, voice.voice_id
            assign(session, voice, afresh(voice, now=now))
            told = {"from": before, "old_voice_id": old_id}
            tell(session, voice, Entry(Event.VOICE_RETRIED, told), now=now, logged=False)

    def remove(self, name: str, *, now: datetime) -> Voice:
        """Forget a voice and its history; return what it was.

        Raises:
            NotFound: no voice has this name.
        """
        try:
            with self._changing(name) as (session, voice):
                session.delete(voice)
                session.add(farewell(voice, now=now))
        except DatabaseUnusable:
            return self._remove_unreadable(name, now=now)
        return voice

    def _remove_unreadable(self, name: str, *, now: datetime) -> Voice:
        """Forget a voice whose row cannot be read whole."""
        with self._database.writing() as session:
            name = _known(session, name)
            known = select(col(Voice.model), col(Voice.voice_id)).where(col(Voice.name) == name)
            model, voice_id = session.execute(known).one()
            voice = Voice(
                name=name,
                model=model,
                voice_id=voice_id,
                origin=Origin.IMPORTED,
                status=Status.UNKNOWN,
                created_at=now,
                anchored_at=now,
            )
            session.execute(delete(Voice).where(col(Voice.name) == name))
            session.add(farewell(voice, now=now))
        return voice

    @contextmanager
    def _changing(self, name: str) -> Iterator[tuple[Session, Voice]]:
        with self._database.writing() as session:
            yield session, _named(session, name)


def _named(session: Session, name: str) -> Voice:
    query = select(Voice).where(col(Voice.name) == _known(session, name))
    try:
        voice = session.scalars(query).one_or_none()
    except unreadable.UNREADABLE as error:
        raise DatabaseUnusable(unreadable.sentence(name, str(error))) from error
    if voice is None:
        raise _not_found(name)
    return voice


def _known(session: Session, name: str) -> str:
    """Return a name in the spelling that its row has, first as it is written."""
    spelled = spellings(name)
    if len(spelled) == 1:
        return name
    known = session.scalars(select(col(Voice.name)).where(col(Voice.name).in_(spelled))).all()
    return next((spelling for spelling in spelled if spelling in known), name)


def _not_found(name: str) -> NotFound:
    return NotFound(f"no voice is named {quoted(name)}; 'voicekeeper list' shows those there are")


def _tell_unreadable(session: Session) -> None:
    """Name the first voice whose row cannot be read."""
    keys = session.scalars(select(col(Voice.id)).order_by(col(Voice.name))).all()
    for key, why in unreadable.by_key(session, Voice, keys)[1].items():
        raise DatabaseUnusable(unreadable.sentence(unreadable.names(session, [key])[key], why))


def _refuse_without_id(voice: Voice) -> None:
    if voice.voice_id is None:
        raise NotAllowed(f"{voice.name} is {voice.status} and has no voice_id yet")
