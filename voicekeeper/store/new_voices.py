"""Add voices to the registry: all of them or none."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert, select
from sqlmodel import col

from voicekeeper.core import schedule
from voicekeeper.core.events import MEANINGS, Event
from voicekeeper.core.facts import spellings
from voicekeeper.core.models import HistoryEntry, Origin, Status, Voice
from voicekeeper.core.schedule import Policy
from voicekeeper.errors import Taken
from voicekeeper.store.session import Session

_BATCH = 500


@dataclass(frozen=True, slots=True)
class NewVoice:
    """A voice to be registered.

    Attributes:
        name, model: of the voice.
        voice_id: the gateway's; None for one that an enrollment is to make.
        origin: how it comes or came to be.
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


def add(
    session: Session,
    voices: Sequence[NewVoice],
    *,
    now: datetime,
    policy: Policy,
    progress: Callable[[int], None],
) -> None:
    """Add the rows of new voices, and the history's first of each.

    Args:
        session: a writing one.
        voices: any number; their values follow the rules already.
        now: of this command.
        policy: the settings.
        progress: told how many voices each step has dealt with.

    Raises:
        Taken: names or voice ids are in the registry, or twice among these.
    """
    conflicts = _conflicts(session, voices)
    if conflicts:
        raise Taken(conflicts)
    for start in range(0, len(voices), _BATCH):
        batch = voices[start : start + _BATCH]
        rows = [_row(voice, now=now, policy=policy) for voice in batch]
        keys = session.scalars(
            insert(Voice).returning(col(Voice.id), sort_by_parameter_order=True), rows
        ).all()
        told = [_registered(key, voice, now=now) for key, voice in zip(keys, batch, strict=True)]
        session.execute(insert(HistoryEntry), told)
        progress(len(batch))


def _row(voice: NewVoice, *, now: datetime, policy: Policy) -> dict[str, object]:
    enrolls = voice.voice_id is None
    anchor = voice.last_used_at or (now if enrolls else schedule.assumed_anchor(now, policy))
    due = now if enrolls else max(now, schedule.due(anchor, voice.name, policy))
    return {
        "name": voice.name,
        "model": voice.model,
        "voice_id": voice.voice_id,
        "origin": voice.origin,
        "status": Status.NEW,
        "paused": voice.paused,
        "recipe": voice.recipe,
        "created_at": now,
        "last_used_at": voice.last_used_at,
        "anchored_at": anchor,
        "next_at": None if voice.paused else due,
        "failures": 0,
    }


def _registered(key: int | None, voice: NewVoice, *, now: datetime) -> dict[str, object]:
    return {
        "voice_pk": key,
        "at": now,
        "event": Event.VOICE_REGISTERED,
        "level": MEANINGS[Event.VOICE_REGISTERED].level,
        "detail": {"origin": voice.origin, "model": voice.model},
        "logged": False,
    }


def _conflicts(session: Session, voices: Sequence[NewVoice]) -> list[tuple[int, str]]:
    """Return each voice, by place, whose name or voice_id is taken, here or earlier on."""
    conflicts = []
    names: dict[str, int] = {}
    ids: dict[tuple[str, str], str] = {}
    for start in range(0, len(voices), _BATCH):
        batch = voices[start : start + _BATCH]
        known_names = set(
            session.scalars(
                select(col(Voice.name)).where(
                    col(Voice.name).in_([each for v in batch for each in spellings(v.name)])
                )
            )
        )
        batch_ids = [v.voice_id for v in batch if v.voice_id]
        query = select(col(Voice.model), col(Voice.voice_id), col(Voice.name))
        known_ids = {
            (model, voice_id): name
            for model, voice_id, name in session.execute(
                query.where(col(Voice.voice_id).in_(batch_ids))
            )
        }
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
            names[voice.name] = place
            ids[key] = voice.name
    return conflicts
