"""Notes on stderr, after a command is done: what keeps a voice from being used as one expects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from voicekeeper.cli import prose
from voicekeeper.cli.session import Session
from voicekeeper.core import health, registration, schedule
from voicekeeper.core.duration import words
from voicekeeper.core.facts import BreakerFacts

if TYPE_CHECKING:
    from voicekeeper.core.models import Voice
    from voicekeeper.store.registry import NewVoice, Registry


def of_windows(session: Session, voices: Sequence[NewVoice]) -> None:
    """Say of which of these voices the window is over already."""
    policy = session.policy
    over = [
        voice.name
        for voice in voices
        if voice.last_used_at is not None
        and schedule.deadline(voice.last_used_at, policy) <= session.now
        and not voice.paused
    ]
    if over:
        prose.say(
            f"note: the last use of {health.few(over)} is longer ago than the window of "
            f"{words(policy.window)}: probably deleted by the gateway, and tried at once all the "
            "same."
        )


def of_models(voices: Sequence[NewVoice]) -> None:
    """Say which of these voices have the id of another model."""
    found = [
        (voice, other)
        for voice in voices
        if (other := registration.other_model(voice.voice_id or "", voice.model))
    ]
    for voice, other in found[: health.SHOWN_NAMES]:
        prose.say(
            f"note: the voice_id of {voice.name} names the model {other}, but it is registered "
            f"for {voice.model}, so calls would fail; where the model is wrong, remove "
            f"{voice.name} and register it for {other}."
        )
    if len(found) > health.SHOWN_NAMES:
        prose.say(f"note: so do the voice_ids of {len(found) - health.SHOWN_NAMES} more.")


def of_pauses(session: Session, registry: Registry, model: str) -> bool:
    """Say until when at least the calls of a model are paused; return whether they are."""
    blocked = [breaker for breaker in registry.blocked() if breaker.model == model]
    say_pauses(session, blocked)
    return bool(blocked)


def say_pauses(session: Session, blocked: Iterable[BreakerFacts]) -> None:
    """Say which calls are paused, why, and when they are tried next."""
    for breaker in blocked:
        prose.say(f"note: {health.pause(breaker, session.now)}.")


def of_request(session: Session, registry: Registry, voice: Voice) -> None:
    """Say what keeps an enrollment from being made: the day's budget, a pause, or no daemon."""
    hold = registry.hold(voice, now=session.now, policy=session.policy)
    if hold is not None:
        prose.say(f"note: {voice.name} is {hold.sentence}.")
    of_pauses(session, registry, voice.model)
    of_keeping(session, registry)


def of_keeping(session: Session, registry: Registry) -> bool:
    """Say that no daemon is at work, and how to start one; return whether none is."""
    keeping = registry.keeping()
    if not session.is_unkept(keeping):
        return False
    when = "yet" if keeping.last_pass_at is None else "now"
    prose.say(f"note: nothing is kept {when}: {keeping.sentence}.")
    return True
