"""The rules of a comeback: a voice that has none any more is made again under its name.

A person asks for it (`retry`), or the settings do, of a voice that is LOST. By itself it happens
once per loss: only a voice that has spoken since it was made comes back, so that one which the
gateway takes away at once is not paid for again and again. And it happens only where nobody may
have done it already: not on an older copy of the registry that was put back, until the voice has
spoken there.
"""

from collections.abc import Collection
from datetime import datetime

from voicekeeper import likeness
from voicekeeper.events import Event
from voicekeeper.lifecycle.change import Change, Telling, VoiceFields, status_told, unless_paused
from voicekeeper.models import Voice
from voicekeeper.schedule import Policy
from voicekeeper.terms import Origin, Status

_LEFT = "; not made again by itself: "


def afresh(voice: Voice, *, now: datetime) -> VoiceFields:
    """Return the columns of a voice that is to be made again, as though it were new."""
    return {
        "status": Status.NEW,
        "voice_id": None,
        "next_at": unless_paused(voice, now),
        "anchored_at": now,
        "enrolled_at": None,
        "last_used_at": None,
        "failures": 0,
        "last_error": None,
        "suspected_at": None,
        "controlled_at": None,
        "held_at": None,
        "restored_at": None,
        "remade_at": voice.remade_at if voice.voice_id is None else now,
    }


def is_wanted(voice: Voice, policy: Policy) -> bool:
    """Tell whether the settings want a voice to be made again."""
    return (
        voice.status is Status.LOST
        and not voice.paused
        and voice.origin in policy.recreate
        and voice.recipe is not None
        and voice.last_used_at is not None
    )


def again(
    voice: Voice, *, noted: Collection[datetime] | None, known: Collection[datetime], now: datetime
) -> Change:
    """A lost voice is made again, as the settings want, unless that may have been done already.

    Args:
        voice: its row; `is_wanted`.
        noted: when enrollments of this name were begun by the notes beside the registry; None
            where there are no notes.
        known: when they were by the registry.
        now: of this pass.
    """
    doubt = _doubt(voice, noted, known)
    if doubt is not None:
        why = (voice.last_error or "it is lost").partition(_LEFT)[0]  # each start says it anew
        left: VoiceFields = {"last_error": f"{why}{_LEFT}{doubt}; 'voicekeeper retry' does"}
        if noted is None:  # from now on there are notes, which know nothing of what was before
            left["restored_at"] = now
        return Change(left)
    fields = afresh(voice, now=now)
    told: dict[str, object] = {"old_voice_id": voice.voice_id}
    if voice.origin is Origin.DESIGN:
        told["note"] = likeness.ANOTHER_VOICE
    tellings = (Telling(Event.VOICE_RECREATED, told), *status_told(voice, fields))
    return Change(fields, tellings=tellings)


def _doubt(
    voice: Voice, noted: Collection[datetime] | None, known: Collection[datetime]
) -> str | None:
    if noted is None:
        return "no notes tell whether it was made again already"
    if any(at >= voice.created_at for at in set(noted).difference(known)):
        return "this registry is an older copy, and it was made again already"
    restored_at, last_used_at = voice.restored_at, voice.last_used_at
    if restored_at is not None and (last_used_at is None or last_used_at <= restored_at):
        return "this registry may be an older copy, and it has not spoken since"
    return None
