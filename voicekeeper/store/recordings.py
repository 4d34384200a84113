"""The audio that is kept of voices: what is to be fetched, and what came of it.

A row stands before anything is fetched, so no crash forgets it; `archive` does the fetching, apart
from the passes.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import exists, select, update
from sqlmodel import col

from voicekeeper.events import Event
from voicekeeper.lifecycle import Telling
from voicekeeper.models import Audio, AudioKind, Origin, Voice
from voicekeeper.schedule import Policy
from voicekeeper.store import rows
from voicekeeper.store.chronicle import LogLine, tell
from voicekeeper.store.database import Database
from voicekeeper.store.session import Session

LIFE: Final = timedelta(hours=24)
"""For so long the gateway's URLs lead somewhere; a recording is tried for as long."""

_WAITS: Final = (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=30))
"""Before the second try, the third and the fourth; then an hour each."""
_LONGEST: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A piece of audio to fetch.

    Attributes:
        key: of its row.
        name: of the voice.
        kind: what it is.
        url: where it is.
    """

    key: int
    name: str
    kind: AudioKind
    url: str


def want(
    session: Session, voice: Voice, preview_url: str | None, *, now: datetime, policy: Policy
) -> None:
    """Note what is to be kept of a voice that was just made."""
    if preview_url is not None and not _leads_nowhere(preview_url):
        _want(session, voice, AudioKind.PREVIEW, preview_url, now)
    if policy.archive_sources and voice.origin is Origin.CLONE and voice.recipe:
        _want(session, voice, AudioKind.SOURCE, voice.recipe["audio_url"], now)


class Recordings:
    """The rows of the audio that is kept."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, *, now: datetime, policy: Policy) -> None:
        """Note the recordings of clones that were made before they were to be kept."""
        if not policy.archive_sources:
            return
        kept = exists().where(
            col(Audio.voice_pk) == col(Voice.id), col(Audio.kind) == AudioKind.SOURCE
        )
        clones = select(Voice).where(
            col(Voice.origin) == Origin.CLONE,
            col(Voice.voice_id).is_not(None),
            col(Voice.recipe).is_not(None),
            ~kept,
        )
        with self._database.writing() as session:
            for voice in session.scalars(clones).all():
                want(session, voice, None, now=now, policy=policy)

    def due(self, *, now: datetime, most: int) -> Sequence[Wanted]:
        """Return what is to be fetched now, the oldest first; a wrong clock puts nothing off."""
        query = (
            select(col(Audio.id), col(Voice.name), col(Audio.kind), col(Audio.url))
            .join(Voice, col(Voice.id) == col(Audio.voice_pk))
            .where(
                col(Audio.next_at).is_not(None),
                (col(Audio.next_at) <= now) | (col(Audio.next_at) > now + _LONGEST),
            )
            .order_by(col(Audio.ends_at))
            .limit(most)
        )
        with self._database.reading() as session:
            return [Wanted(*row) for row in session.execute(query)]

    def fetched(self, wanted: Wanted, file: str, *, now: datetime) -> Sequence[LogLine]:
        """Note that it is kept; return what to log, nothing where its voice was removed."""
        with self._database.writing() as session:
            audio, voice = _pair(session, wanted)
            if audio is None or voice is None:
                return []
            rows.assign(session, audio, {"file": file, "next_at": None, "error": None})
            told = Telling(Event.AUDIO_ARCHIVED, {"kind": wanted.kind, "file": file})
            return [tell(session, voice, told, now=now)]

    def failed(
        self, wanted: Wanted, error: str, *, permanent: bool, now: datetime
    ) -> Sequence[LogLine]:
        """Note that it failed; return what to log, once it is given up."""
        with self._database.writing() as session:
            audio, voice = _pair(session, wanted)
            if audio is None or voice is None:
                return []
            wait = (*_WAITS, _LONGEST)[min(audio.failures, len(_WAITS))]
            given_up = permanent or now + wait >= audio.ends_at
            fields: dict[str, object] = {"failures": audio.failures + 1, "error": error}
            fields["next_at"] = None if given_up else now + wait
            rows.assign(session, audio, fields)
            if not given_up:
                return []
            told = Telling(Event.AUDIO_FAILED, {"kind": wanted.kind, "error": error})
            return [tell(session, voice, told, now=now)]


def of_voice(session: Session, voice: Voice) -> Sequence[Audio]:
    """Return what is kept, or is to be kept, of a voice; the oldest first."""
    query = select(Audio).where(col(Audio.voice_pk) == voice.id).order_by(col(Audio.id))
    return session.scalars(query).all()


def _leads_nowhere(url: str) -> bool:
    """Tell whether a URL is the sandbox's: no name under ``.invalid`` is anybody's (RFC 2606)."""
    return bool(re.match(r"https?://[^/?#]*\.invalid(:\d+)?([/?#]|$)", url))


def _want(session: Session, voice: Voice, kind: AudioKind, url: str, now: datetime) -> None:
    session.execute(  # what an older voice of this name had is told no more
        update(Audio)
        .where(
            col(Audio.voice_pk) == voice.id,
            col(Audio.kind) == kind,
            col(Audio.next_at).is_not(None),
        )
        .values(next_at=None)
    )
    rows.insert(
        session,
        Audio,
        voice_pk=voice.id,
        kind=kind,
        voice_id=voice.voice_id,
        url=url,
        ends_at=now + LIFE,
        next_at=now,
        failures=0,
    )


def _pair(session: Session, wanted: Wanted) -> tuple[Audio | None, Voice | None]:
    audio = session.get(Audio, wanted.key)
    return audio, None if audio is None else session.get(Voice, audio.voice_pk)
