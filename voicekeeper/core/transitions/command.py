"""The rules of a person's commands: what they change in the row of a voice, or why they may not."""

from datetime import datetime

from voicekeeper.core import schedule
from voicekeeper.core.enums import LIVING, Status
from voicekeeper.core.events import Event
from voicekeeper.core.models import Voice
from voicekeeper.core.schedule import Policy
from voicekeeper.core.transitions.enrollment import afresh
from voicekeeper.core.transitions.shared import Entry, Transition, VoiceFields
from voicekeeper.errors import NotAllowed


def kept(voice: Voice, *, is_speaking: bool, now: datetime) -> Transition:
    """Make a voice due now, even one that was given up.

    Raises:
        NotAllowed: it has no voice_id, is paused, or has a keepalive under way.
    """
    _refuse_without_id(voice)
    if voice.paused:
        raise NotAllowed(f"{voice.name} is paused; run 'voicekeeper resume {voice.name}' first")
    if is_speaking:
        raise NotAllowed(f"{voice.name} is being used right now; a keepalive is under way")
    return Transition({"next_at": now}, entries=(Entry(Event.VOICE_HASTENED),))


def touched(
    voice: Voice, at: datetime, *, is_speaking: bool, now: datetime, policy: Policy
) -> Transition:
    """Record a use that was made elsewhere.

    Raises:
        NotAllowed: it has no voice_id, or a later use is known.
    """
    _refuse_without_id(voice)
    if voice.last_used_at is not None and at <= voice.last_used_at <= now:
        raise NotAllowed(f"{voice.name} is known to have been used later than that already")
    fields: VoiceFields = {"last_used_at": at, "anchored_at": at}
    if not voice.paused and voice.status in LIVING:
        due = max(now, schedule.due(at, voice.name, policy))
        fields["next_at"] = _after_call(due, is_speaking=is_speaking, now=now, policy=policy)
    return Transition(fields, entries=(Entry(Event.VOICE_TOUCHED, {"used_at": at}),))


def paused(voice: Voice) -> Transition:
    """Stop keeping a voice; the gateway's window goes on.

    Raises:
        NotAllowed: it is paused already.
    """
    if voice.paused:
        raise NotAllowed(f"{voice.name} is paused already")
    return Transition({"paused": True, "next_at": None}, entries=(Entry(Event.VOICE_PAUSED),))


def resumed(
    voice: Voice, *, is_speaking: bool, is_enrolling: bool, now: datetime, policy: Policy
) -> Transition:
    """Keep a paused voice again, at once if it fell due meanwhile.

    Raises:
        NotAllowed: it is not paused.
    """
    if not voice.paused:
        raise NotAllowed(f"{voice.name} is not paused")
    next_at: datetime | None = None
    if voice.status is Status.LOST:
        is_tried = now < schedule.lost_retries_end(voice.anchored_at, policy)
        next_at = now if is_tried else None
    elif voice.status in LIVING and not is_enrolling:
        due = schedule.due(voice.anchored_at, voice.name, policy)
        next_at = now if voice.voice_id is None else max(now, due)
    if next_at is not None:
        next_at = _after_call(next_at, is_speaking=is_speaking, now=now, policy=policy)
    return Transition({"paused": False, "next_at": next_at}, entries=(Entry(Event.VOICE_RESUMED),))


def retried(voice: Voice, *, is_enrolling: bool, now: datetime) -> Transition:
    """Repeat an enrollment, on the user's word: it is paid for again.

    Raises:
        NotAllowed: it was not made here, is OK, or its enrollment has not ended yet.
    """
    if voice.recipe is None:
        raise NotAllowed(f"{voice.name} was not made here: there is nothing to repeat")
    if voice.status is Status.OK:
        raise NotAllowed(f"{voice.name} is OK; there is nothing to repeat")
    if voice.status is Status.NEW or is_enrolling:
        raise NotAllowed(f"{voice.name} is {voice.status}: its enrollment has not ended yet")
    before = {"from": voice.status, "old_voice_id": voice.voice_id}
    return Transition(afresh(voice, now=now), entries=(Entry(Event.VOICE_RETRIED, before),))


def _after_call(due: datetime, *, is_speaking: bool, now: datetime, policy: Policy) -> datetime:
    """Wait for a keepalive that is under way, so that none is paid for beside it."""
    return max(due, now + policy.longest_call) if is_speaking else due


def _refuse_without_id(voice: Voice) -> None:
    if voice.voice_id is None:
        raise NotAllowed(f"{voice.name} is {voice.status} and has no voice_id yet")
