"""The registry's commands: register, read, and change the voices that are kept.

Each change is one transaction, its history row included, and is refused with a sentence when the
voice's status does not allow it. What it tells is left unlogged; the keeper logs it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import SQLColumnExpression, case, delete, insert, select
from sqlmodel import col

from voicekeeper.core import schedule
from voicekeeper.core.costs import Hold, Spent, Totals
from voicekeeper.core.enums import spellings
from voicekeeper.core.events import Event
from voicekeeper.core.health import NAMED, Health, Keeping
from voicekeeper.core.models import Breaker, HistoryEntry, Origin, Status, Voice
from voicekeeper.core.schedule import Policy
from voicekeeper.core.transitions import Transition, command
from voicekeeper.errors import DatabaseUnusable, NotFound, Taken, quoted
from voicekeeper.store import breakers, fleet, holds, ledger, unreadable
from voicekeeper.store.claims import IS_KEPT, is_enrolling, is_speaking
from voicekeeper.store.database import Database
from voicekeeper.store.history import add_entry, removal_of
from voicekeeper.store.session import Session

_BATCH = 500
_ENROLLING = [
    str(event) for event in Event if event.startswith("enrollment.") or event is Event.VOICE_RETRIED
]


@dataclass(frozen=True, slots=True)
class NewVoice:
    """A voice to be registered.

    Attributes:
        voice_id: the gateway's; None for one that an enrollment is to make.
        last_used_at: its last use, if somebody knows it.
        recipe: what an enrollment of it needs or needed.
        paused: whether it is not to be kept for now.
    """

    name: str
    model: str
    voice_id: str | None
    origin: Origin
    last_used_at: datetime | None = None
    recipe: dict[str, str] | None = None
    paused: bool = False


class Registry:
    """The voices as people see them.

    A method that takes a voice's name raises `NotFound` where no voice has it, and one that
    changes the voice `NotAllowed` where the voice's status does not allow the change.
    """

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
            progress: is called with the number of voices of each batch.

        Raises:
            Taken: names or voice ids are in the registry, or twice among these.
        """
        with self._database.writing() as session:
            if conflicts := _conflicts(session, voices):
                raise Taken(conflicts)
            for batch in _batches(voices):
                rows = [_row(voice, now=now, policy=policy) for voice in batch]
                query = insert(Voice).returning(col(Voice.id), sort_by_parameter_order=True)
                keys = session.scalars(query, rows).all()
                entries = [
                    _registered(key, voice, now=now) for key, voice in zip(keys, batch, strict=True)
                ]
                session.execute(insert(HistoryEntry), entries)
                progress(len(batch))

    def get(self, name: str) -> Voice:
        """Return a voice."""
        with self._database.reading() as session:
            return _named(session, name)

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

    def _every(self, *order: SQLColumnExpression[Any]) -> Iterator[Voice]:
        with self._database.reading() as session:
            query = select(Voice).order_by(*order).execution_options(yield_per=_BATCH)
            try:
                yield from session.scalars(query)
            except unreadable.UNREADABLE:
                _raise_unreadable(session)
                raise

    def history(self, name: str) -> Sequence[HistoryEntry]:
        """Return a voice's events, oldest first."""
        with self._database.reading() as session:
            voice = _named(session, name)
            query = (
                select(HistoryEntry)
                .where(col(HistoryEntry.voice_pk) == voice.id)
                .order_by(col(HistoryEntry.id))
            )
            return session.scalars(query).all()

    def preview_url(self, voice: Voice) -> str | None:
        """Return where the gateway has the preview of a voice, for 24 hours after its enrollment.

        None where its last enrollment made no voice, showed no preview, or is forgotten by now.
        """
        query = (
            select(col(HistoryEntry.detail))
            .where(col(HistoryEntry.voice_pk) == voice.id, col(HistoryEntry.event).in_(_ENROLLING))
            .order_by(col(HistoryEntry.id).desc())
            .limit(1)
        )
        with self._database.reading() as session:
            return (session.scalar(query) or {}).get("preview_url")

    def spent(self, voice: Voice) -> Spent:
        """Return what a voice's tasks should have cost."""
        with self._database.reading() as session:
            return ledger.of_voice(session, voice)

    def totals(self, *, now: datetime) -> Totals:
        """Return what all tasks, those of removed voices too, should have cost."""
        with self._database.reading() as session:
            return ledger.totals(session, now)

    def hold(self, voice: Voice, *, now: datetime, policy: Policy) -> Hold | None:
        """Return why a voice's enrollment would not begin now; None when it would."""
        with self._database.reading() as session:
            return holds.of_voice(session, voice, now=now, policy=policy)

    def blocked(self) -> Sequence[Breaker]:
        """Return the breakers that are open."""
        with self._database.reading() as session:
            return breakers.opened(session)

    def keeping(self) -> Keeping:
        """Return who keeps the voices, if anybody does."""
        with self._database.reading() as session:
            return fleet.keeping(session, self._database)

    def is_in_time(self, *, now: datetime, tick: timedelta, policy: Policy) -> bool:
        """Tell whether a keeper has made a pass lately, and nothing is overdue."""
        with self._database.reading() as session:
            if fleet.keeping(session, self._database).is_missing(now=now, tick=tick):
                return False
            return not fleet.is_any_overdue(session, now=now, policy=policy)

    def health(self, *, now: datetime, policy: Policy) -> Health:
        """Return what there is to say about the fleet as a whole."""
        with self._database.reading() as session:
            return fleet.read_health(session, self._database, now=now, policy=policy)

    def keep(self, name: str, *, now: datetime) -> None:
        """Make a voice due now, even one that was given up."""

        def kept(session: Session, voice: Voice) -> Transition:
            return command.kept(voice, is_speaking=is_speaking(session, voice), now=now)

        self._change(name, kept, now)

    def touch(self, name: str, at: datetime, *, now: datetime, policy: Policy) -> None:
        """Record a use that was made elsewhere, unless a later one is known."""

        def touched(session: Session, voice: Voice) -> Transition:
            speaks = is_speaking(session, voice)
            return command.touched(voice, at, is_speaking=speaks, now=now, policy=policy)

        self._change(name, touched, now)

    def pause(self, name: str, *, now: datetime) -> None:
        """Stop keeping a voice; the gateway's window goes on."""
        self._change(name, lambda _, voice: command.paused(voice), now)

    def resume(self, name: str, *, now: datetime, policy: Policy) -> None:
        """Keep a paused voice again, at once if it fell due meanwhile."""

        def resumed(session: Session, voice: Voice) -> Transition:
            return command.resumed(
                voice,
                is_speaking=is_speaking(session, voice),
                is_enrolling=is_enrolling(session, voice),
                now=now,
                policy=policy,
            )

        self._change(name, resumed, now)

    def retry(self, name: str, *, now: datetime) -> None:
        """Repeat an enrollment, on the user's word: it is paid for again."""

        def retried(session: Session, voice: Voice) -> Transition:
            return command.retried(voice, is_enrolling=is_enrolling(session, voice), now=now)

        self._change(name, retried, now)

    def remove(self, name: str, *, now: datetime) -> Voice:
        """Forget a voice and its history; return what it was, as far as that can be read."""
        with self._database.writing() as session:
            try:
                voice = _named(session, name)
            except DatabaseUnusable:
                voice = _legible(session, name, now=now)
            session.run(delete(Voice).where(col(Voice.name) == voice.name))
            session.add(removal_of(voice, now=now))
        return voice

    def _change(
        self, name: str, rule: Callable[[Session, Voice], Transition], now: datetime
    ) -> None:
        """Change a voice as a rule says."""
        with self._database.writing() as session:
            voice = _named(session, name)
            change = rule(session, voice)
            session.change(voice, change.voice)
            for entry in change.entries:
                add_entry(session, voice, entry, now=now, logged=False)


def _named(session: Session, name: str) -> Voice:
    query = select(Voice).where(col(Voice.name) == _stored_spelling(session, name))
    try:
        voice = session.scalars(query).one_or_none()
    except unreadable.UNREADABLE as error:
        raise DatabaseUnusable(unreadable.sentence(name, str(error))) from error
    if voice is None:
        raise NotFound(
            f"no voice is named {quoted(name)}; 'voicekeeper list' shows those there are"
        )
    return voice


def _legible(session: Session, name: str, *, now: datetime) -> Voice:
    """Return what a voice is known by whose row cannot be read whole."""
    known = select(col(Voice.name), col(Voice.model), col(Voice.voice_id))
    found = session.execute(known.where(col(Voice.name) == _stored_spelling(session, name)))
    name, model, voice_id = found.one()
    return Voice(
        name=name,
        model=model,
        voice_id=voice_id,
        origin=Origin.IMPORTED,
        status=Status.UNKNOWN,
        created_at=now,
        anchored_at=now,
    )


def _stored_spelling(session: Session, name: str) -> str:
    """Return a name in the spelling that its row has, first as it is written."""
    spelled = spellings(name)
    if len(spelled) == 1:
        return name
    known = session.scalars(select(col(Voice.name)).where(col(Voice.name).in_(spelled))).all()
    return next((spelling for spelling in spelled if spelling in known), name)


def _raise_unreadable(session: Session) -> None:
    """Name the first voice whose row cannot be read."""
    _, bad = unreadable.load(session, select(Voice).order_by(col(Voice.name)))
    for key, why in bad.items():
        raise DatabaseUnusable(unreadable.sentence(unreadable.names(session, [key])[key], why))


def _batches(voices: Sequence[NewVoice]) -> Iterator[Sequence[NewVoice]]:
    return (voices[start : start + _BATCH] for start in range(0, len(voices), _BATCH))


def _row(voice: NewVoice, *, now: datetime, policy: Policy) -> dict[str, object]:
    enrolls = voice.voice_id is None
    anchor = voice.last_used_at or (now if enrolls else schedule.assumed_anchor(now, policy))
    due = now if enrolls else max(now, schedule.due(anchor, voice.name, policy))
    return asdict(voice) | {
        "status": Status.NEW,
        "created_at": now,
        "anchored_at": anchor,
        "next_at": None if voice.paused else due,
        "failures": 0,
    }


def _registered(key: int | None, voice: NewVoice, *, now: datetime) -> dict[str, object]:
    return {
        "voice_pk": key,
        "at": now,
        "event": Event.VOICE_REGISTERED,
        "level": Event.VOICE_REGISTERED.level,
        "detail": {"origin": voice.origin, "model": voice.model},
        "logged": False,
    }


def _conflicts(session: Session, voices: Sequence[NewVoice]) -> list[tuple[int, str]]:
    """Return each voice, by place, whose name or voice_id is taken, here or earlier on."""
    conflicts = []
    names: set[str] = set()
    ids: set[tuple[str, str]] = set()
    for start in range(0, len(voices), _BATCH):
        batch = voices[start : start + _BATCH]
        known_names, known_ids = _taken(session, batch)
        for place, voice in enumerate(batch, start):
            key = (voice.model, voice.voice_id or "")
            if not known_names.isdisjoint(spellings(voice.name)):
                conflicts.append((place, f"the name {voice.name!r} is taken"))
            elif voice.name in names:
                conflicts.append((place, f"the name {voice.name!r} occurs twice"))
            elif key in known_ids:
                holder = known_ids[key]
                conflicts.append((place, f"{voice.voice_id} is registered as {holder!r} already"))
            elif voice.voice_id and key in ids:
                conflicts.append((place, f"the voice_id {voice.voice_id} occurs twice"))
            names.add(voice.name)
            ids.add(key)
    return conflicts


def _taken(
    session: Session, voices: Sequence[NewVoice]
) -> tuple[set[str], dict[tuple[str, str | None], str]]:
    """Return the names that are registered already, and the holder of each model's voice_id."""
    names = [spelling for voice in voices for spelling in spellings(voice.name)]
    ids = [voice.voice_id for voice in voices if voice.voice_id]
    name, model, voice_id = col(Voice.name), col(Voice.model), col(Voice.voice_id)
    by_id = session.execute(select(model, voice_id, name).where(voice_id.in_(ids)))
    return (
        set(session.scalars(select(name).where(name.in_(names)))),
        {(model, voice_id): name for model, voice_id, name in by_id},
    )
