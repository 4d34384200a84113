"""A person's commands as tables: what each changes in a voice's row, and when it is refused."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

import pytest

from tests.examples import DAY, HOUR, NOW, POLICY, SECOND, new_voice, voice
from voicekeeper.core import schedule
from voicekeeper.core.events import Event
from voicekeeper.core.models import Status, Voice
from voicekeeper.core.transitions import Entry, Transition, command
from voicekeeper.core.transitions.enrollment import afresh
from voicekeeper.errors import NotAllowed

PLAIN = replace(POLICY, jitter=0 * SECOND)
CALL_ENDS = NOW + PLAIN.longest_call
LOST = voice(status=Status.LOST, recipe={"prefix": "anna"}, paused=True, next_at=None)

Rule = Callable[[Voice], Transition]
keep: Rule = partial(command.kept, is_speaking=False, now=NOW)
touch: Rule = partial(command.touched, at=NOW - HOUR, is_speaking=False, now=NOW, policy=PLAIN)
resume: Rule = partial(
    command.resumed, is_speaking=False, is_enrolling=False, now=NOW, policy=PLAIN
)
retry: Rule = partial(command.retried, is_enrolling=False, now=NOW)


@pytest.mark.parametrize(
    ("row", "rule", "sentence"),
    [
        (new_voice(), keep, "anna is NEW and has no voice_id yet"),
        (new_voice(), touch, "anna is NEW and has no voice_id yet"),
        (
            voice(paused=True),
            keep,
            "anna is paused; run 'voicekeeper resume anna' first",
        ),
        (
            voice(),
            partial(command.kept, is_speaking=True, now=NOW),
            "anna is being used right now; a keepalive is under way",
        ),
        (
            voice(last_used_at=NOW - HOUR),
            touch,
            "anna is known to have been used later than that already",
        ),
        (
            voice(last_used_at=NOW),
            touch,
            "anna is known to have been used later than that already",
        ),
        (voice(paused=True), command.paused, "anna is paused already"),
        (voice(), resume, "anna is not paused"),
        (voice(status=Status.LOST), retry, "anna was not made here: there is nothing to repeat"),
        (voice(recipe={}), retry, "anna is OK; there is nothing to repeat"),
        (new_voice(recipe={}), retry, "anna is NEW: its enrollment has not ended yet"),
        (
            voice(recipe={}, status=Status.DEPLOYING),
            partial(command.retried, is_enrolling=True, now=NOW),
            "anna is DEPLOYING: its enrollment has not ended yet",
        ),
    ],
)
def test_a_command_is_refused_with_a_sentence(row: Voice, rule: Rule, sentence: str) -> None:
    with pytest.raises(NotAllowed) as refused:
        rule(row)
    assert str(refused.value) == sentence


@pytest.mark.parametrize("status", [Status.OK, Status.LOST, Status.UNDEPLOYED])
def test_keep_makes_a_voice_due_now_whatever_its_status(status: Status) -> None:
    hastened = Transition({"next_at": NOW}, entries=(Entry(Event.VOICE_HASTENED),))
    assert keep(voice(status=status, next_at=None)) == hastened


@pytest.mark.parametrize(
    ("row", "next_at"),
    [
        (voice(), NOW - HOUR + 3 * DAY),
        (voice(last_used_at=None), NOW - HOUR + 3 * DAY),
        (voice(last_used_at=NOW + SECOND), NOW - HOUR + 3 * DAY),  # by a clock that was ahead
        (voice(paused=True), None),
        (voice(status=Status.LOST), None),
    ],
)
def test_a_use_made_elsewhere_counts_and_moves_the_next_keepalive_of_what_is_kept(
    row: Voice, next_at: datetime | None
) -> None:
    at = NOW - HOUR
    change = touch(row)
    assert change.entries == (Entry(Event.VOICE_TOUCHED, {"used_at": at}),)
    planned = {} if next_at is None else {"next_at": next_at}
    assert change.voice == {"last_used_at": at, "anchored_at": at} | planned


@pytest.mark.parametrize(
    ("ago", "is_speaking", "next_at"),
    [
        (5 * DAY, False, NOW),
        (5 * DAY, True, CALL_ENDS),  # none is paid for beside it
        (HOUR, True, NOW - HOUR + 3 * DAY),
    ],
)
def test_a_keepalive_after_a_use_made_elsewhere_is_never_in_the_past_nor_beside_another(
    ago: timedelta, next_at: datetime, *, is_speaking: bool
) -> None:
    row = voice(last_used_at=NOW - 6 * DAY)
    change = command.touched(row, NOW - ago, is_speaking=is_speaking, now=NOW, policy=PLAIN)
    assert change.voice["next_at"] == next_at


def test_a_paused_voice_is_never_due() -> None:
    paused = Transition({"paused": True, "next_at": None}, entries=(Entry(Event.VOICE_PAUSED),))
    assert command.paused(voice()) == paused


@pytest.mark.parametrize(
    ("row", "rule", "next_at"),
    [
        (voice(paused=True, anchored_at=NOW - DAY), resume, NOW + 2 * DAY),
        (voice(paused=True, anchored_at=NOW - 5 * DAY), resume, NOW),
        (new_voice(paused=True), resume, NOW),
        (
            new_voice(paused=True),
            partial(command.resumed, is_speaking=False, is_enrolling=True, now=NOW, policy=PLAIN),
            None,
        ),
        (
            voice(paused=True, next_at=None, anchored_at=NOW - 5 * DAY),
            partial(command.resumed, is_speaking=True, is_enrolling=False, now=NOW, policy=PLAIN),
            CALL_ENDS,
        ),
        (LOST.model_copy(update={"anchored_at": NOW - 14 * DAY + SECOND}), resume, NOW),
        (LOST.model_copy(update={"anchored_at": NOW - 14 * DAY}), resume, None),
        (voice(status=Status.UNDEPLOYED, paused=True, next_at=None), resume, None),
    ],
)
def test_a_voice_goes_on_where_it_was_paused(
    row: Voice, rule: Rule, next_at: datetime | None
) -> None:
    resumed = Transition(
        {"paused": False, "next_at": next_at}, entries=(Entry(Event.VOICE_RESUMED),)
    )
    assert rule(row) == resumed


def test_an_enrollment_is_repeated_as_though_it_were_new() -> None:
    before = {"from": Status.LOST, "old_voice_id": "cosyvoice-v3-flash-anna"}
    assert retry(LOST) == Transition(
        afresh(LOST, now=NOW), entries=(Entry(Event.VOICE_RETRIED, before),)
    )


def test_the_name_spreads_what_a_command_plans() -> None:
    at = NOW - DAY
    row = voice(paused=True, anchored_at=at)
    resumed = command.resumed(row, is_speaking=False, is_enrolling=False, now=NOW, policy=POLICY)
    touched = command.touched(voice(), at, is_speaking=False, now=NOW, policy=POLICY)
    due = schedule.due(at, "anna", POLICY)
    assert (resumed.voice["next_at"], touched.voice["next_at"]) == (due, due)
