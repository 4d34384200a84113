"""Making lost voices again, where the settings want it: at the loss, or at the keeper's start."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlmodel import col

from voicekeeper.lifecycle import comeback
from voicekeeper.models import Kind, Status, Task, Voice
from voicekeeper.schedule import Policy
from voicekeeper.store import unreadable
from voicekeeper.store.chronicle import LogLine, tell
from voicekeeper.store.claims import is_enrolling
from voicekeeper.store.rows import assign
from voicekeeper.store.session import Session
from voicekeeper.store.witness import Begun, Witness


def take(
    session: Session, voice: Voice, witness: Witness, *, now: datetime, policy: Policy
) -> list[LogLine]:
    """Make a voice again if it was lost just now and is to come back; return what to log."""
    if not comeback.is_wanted(voice, policy):
        return []
    return _again(session, voice, witness.begun(), now=now, logged=True)


def take_all(
    session: Session, begun: Sequence[Begun] | None, *, now: datetime, policy: Policy
) -> None:
    """Make every voice again that was lost earlier and is to come back; a pass tells the log."""
    lost = (
        select(col(Voice.id))
        .where(col(Voice.status) == Status.LOST, col(Voice.origin).in_(policy.recreate))
        .with_for_update()
    )
    keys = session.scalars(lost).all() if policy.recreate else []
    voices, _ = unreadable.by_key(session, Voice, keys)
    for voice in voices.values():
        if comeback.is_wanted(voice, policy):
            _again(session, voice, begun, now=now, logged=False)


def _again(
    session: Session, voice: Voice, begun: Sequence[Begun] | None, *, now: datetime, logged: bool
) -> list[LogLine]:
    if is_enrolling(session, voice):
        return []
    known = session.scalars(
        select(col(Task.sent_at)).where(
            col(Task.voice_pk) == voice.id, col(Task.kind).in_((Kind.CLONE, Kind.DESIGN))
        )
    ).all()
    noted = None if begun is None else [b.begun_at for b in begun if b.name == voice.name]
    change = comeback.again(voice, noted=noted, known=known, now=now)
    assign(session, voice, change.voice)
    return [tell(session, voice, telling, now=now, logged=logged) for telling in change.tellings]
