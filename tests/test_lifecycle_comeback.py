"""A comeback's rule: which lost voices are made again, as what, and which are left to a person."""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import DAY, HOUR, MINUTE, NOW, POLICY, SECOND, new_voice, spans, voice
from voicekeeper import likeness
from voicekeeper.events import Event
from voicekeeper.lifecycle import Change, Telling, comeback
from voicekeeper.models import Origin, Status, Voice

CLONE = {"prefix": "demo01", "audio_url": "https://example.com/a.wav"}
DESIGN = {"prefix": "demo02", "prompt": "Warm.", "preview_text": "Hello."}

CLONES = replace(POLICY, recreate=frozenset({Origin.CLONE}))
DESIGNS = replace(POLICY, recreate=frozenset({Origin.DESIGN}))
ALL = replace(POLICY, recreate=frozenset(Origin))

MADE = NOW - 20 * DAY
"""When the enrollment that made `lost` was begun."""

GONE = "400: no such voice"
NO_NOTES = "no notes tell whether it was made again already"
MADE_ALREADY = "this registry is an older copy, and it was made again already"
PUT_BACK = "this registry may be an older copy, and it has not spoken since"


def lost(**columns: Any) -> Voice:  # noqa: ANN401 - any column
    """Return a clone that spoke three days ago, and that the gateway no longer knows."""
    return voice(**{"status": Status.LOST, "recipe": CLONE, "last_error": GONE} | columns)


def designed(**columns: Any) -> Voice:  # noqa: ANN401
    return lost(**{"origin": Origin.DESIGN, "recipe": DESIGN} | columns)


def again(
    row: Voice,
    *,
    noted: Collection[datetime] | None = (MADE,),
    known: Collection[datetime] = (MADE,),
    now: datetime = NOW,
) -> Change:
    return comeback.again(row, noted=noted, known=known, now=now)


def left(doubt: str, why: str = GONE) -> str:
    """Return what is said of a voice that is left to a person."""
    return f"{why}; not made again by itself: {doubt}; 'voicekeeper retry' does"


# which are wanted


@pytest.mark.parametrize(
    ("row", "policies"),
    [
        (lost(), [CLONES, ALL]),
        (designed(), [DESIGNS, ALL]),
        (lost(origin=Origin.IMPORTED), [ALL]),
    ],
    ids=["clone", "design", "imported"],
)
def test_a_lost_voice_with_all_it_needs_is_wanted_by_the_settings_that_name_its_origin(
    row: Voice, policies: list[Any]
) -> None:
    settings = [POLICY, CLONES, DESIGNS, ALL]
    assert [policy for policy in settings if comeback.is_wanted(row, policy)] == policies


@pytest.mark.parametrize(
    "other",
    [
        *({"status": status} for status in Status if status is not Status.LOST),
        {"paused": True},
        {"recipe": None},
        {"last_used_at": None},
    ],
    ids=str,
)
def test_a_voice_that_lacks_any_of_it_is_not_wanted(other: dict[str, Any]) -> None:
    assert not comeback.is_wanted(lost(**other), ALL)


def test_a_voice_that_was_made_again_and_never_spoke_is_not_wanted_once_more() -> None:
    """Once per loss: what the gateway takes away at once is not paid for again and again."""
    row = lost()
    for column, value in comeback.afresh(row, now=NOW).items():
        setattr(row, column, value)
    row.status, row.voice_id, row.enrolled_at = Status.LOST, "another", NOW
    assert not comeback.is_wanted(row, ALL)
    row.last_used_at = NOW + DAY
    assert comeback.is_wanted(row, ALL)


# as what


def test_a_voice_that_is_made_again_is_as_though_it_were_new() -> None:
    row = lost(
        failures=7,
        suspected_at=NOW - HOUR,
        controlled_at=NOW - MINUTE,
        held_at=NOW - 9 * DAY,
        restored_at=NOW - 8 * DAY,
        remade_at=NOW - 10 * DAY,
    )
    assert comeback.afresh(row, now=NOW) == {
        "status": Status.NEW,
        "voice_id": None,
        "next_at": NOW,
        "anchored_at": NOW,
        "enrolled_at": None,
        "last_used_at": None,
        "failures": 0,
        "last_error": None,
        "suspected_at": None,
        "controlled_at": None,
        "held_at": None,
        "restored_at": None,
        "remade_at": NOW,
    }


def test_a_paused_voice_that_a_person_has_made_again_waits_for_its_resumption() -> None:
    assert comeback.afresh(lost(paused=True), now=NOW)["next_at"] is None


@pytest.mark.parametrize(
    ("row", "remade_at"),
    [
        (lost(), NOW),
        (lost(remade_at=NOW - DAY), NOW),
        (new_voice(status=Status.FAILED), None),  # there was none before: it is the first
        (new_voice(status=Status.FAILED, remade_at=NOW - DAY), NOW - DAY),
    ],
    ids=["had a voice", "had two", "had none", "had one, and then none"],
)
def test_a_voice_is_another_one_from_when_it_lost_its_first(
    row: Voice, remade_at: datetime | None
) -> None:
    assert comeback.afresh(row, now=NOW)["remade_at"] == remade_at


@pytest.mark.parametrize(
    ("row", "another"),
    [
        (designed(remade_at=NOW), True),
        (designed(), False),
        (lost(remade_at=NOW), False),
        (lost(origin=Origin.IMPORTED, remade_at=NOW), False),
    ],
    ids=["design, again", "design", "clone, again", "imported, again"],
)
def test_only_a_design_that_was_made_again_sounds_otherwise(row: Voice, *, another: bool) -> None:
    assert likeness.is_another_voice(row) is another


def test_a_comeback_is_told_with_the_old_id_and_the_way_of_the_status() -> None:
    row = lost()
    change = again(row)
    assert change == Change(
        comeback.afresh(row, now=NOW),
        tellings=(
            Telling(Event.VOICE_RECREATED, {"old_voice_id": "cosyvoice-v3-flash-anna"}),
            Telling(Event.VOICE_STATUS_CHANGED, {"from": Status.LOST, "to": Status.NEW}),
        ),
    )


def test_a_design_that_comes_back_is_told_as_another_voice() -> None:
    told, _ = again(designed()).tellings
    assert told == Telling(
        Event.VOICE_RECREATED,
        {"old_voice_id": "cosyvoice-v3-flash-anna", "note": "not the same voice"},
    )


# on a doubt


@pytest.mark.parametrize(
    ("noted", "known", "doubt"),
    [
        ([MADE], [MADE], None),
        ([], [MADE], None),  # notes that are younger than the voice
        ([], [], None),  # an import
        (None, [MADE], NO_NOTES),
        (None, [], NO_NOTES),
        ([MADE, NOW - HOUR], [MADE], MADE_ALREADY),
        ([NOW - HOUR], [], MADE_ALREADY),
        ([MADE, NOW - HOUR], [MADE, NOW - HOUR], None),
        ([MADE, NOW - 40 * DAY], [MADE], None),  # of an earlier voice of this name
        ([NOW - 30 * DAY], [], MADE_ALREADY),  # at the very moment it was registered
        ([NOW - 30 * DAY - SECOND], [], None),
    ],
)
def test_a_voice_that_may_have_been_made_again_already_is_left_to_a_person(
    noted: list[datetime] | None, known: list[datetime], doubt: str | None
) -> None:
    change = again(lost(created_at=NOW - 30 * DAY), noted=noted, known=known)
    if doubt is None:
        assert change.voice["status"] is Status.NEW
    else:
        assert change.voice["last_error"] == left(doubt)
        assert change == Change(change.voice)
        assert set(change.voice) <= {"last_error", "restored_at"}


@pytest.mark.parametrize(
    ("spoke_at", "doubted"),
    [
        (NOW - 2 * DAY, True),
        (NOW - DAY, True),  # before it, as far as anybody knows
        (NOW - DAY + SECOND, False),
        (None, True),
    ],
)
def test_on_a_registry_that_was_put_back_a_voice_has_to_speak_first(
    spoke_at: datetime | None, *, doubted: bool
) -> None:
    change = again(lost(restored_at=NOW - DAY, last_used_at=spoke_at))
    if doubted:
        assert change == Change({"last_error": left(PUT_BACK)})
    else:
        assert change.voice["status"] is Status.NEW


def test_a_doubt_for_want_of_notes_does_not_end_when_there_are_some() -> None:
    """They are begun at the next start, and know nothing of what was before."""
    row = lost()
    first = again(row, noted=None)
    assert first.voice == {"last_error": left(NO_NOTES), "restored_at": NOW}
    row.last_error, row.restored_at = first.voice["last_error"], first.voice["restored_at"]
    later = again(row, noted=[], now=NOW + DAY)
    assert later == Change({"last_error": left(PUT_BACK)})
    row.last_used_at = NOW + HOUR  # what it was lost after is a new loss
    assert again(row, noted=[], now=NOW + DAY).voice["status"] is Status.NEW


def test_notes_that_are_missing_are_a_doubt_of_their_own_after_an_older_one_is_settled() -> None:
    row = lost(restored_at=NOW - 10 * DAY)
    assert again(row).voice["status"] is Status.NEW
    assert again(row, noted=None).voice["restored_at"] == NOW


@pytest.mark.parametrize("doubt", [NO_NOTES, MADE_ALREADY, PUT_BACK])
def test_what_is_said_of_a_doubt_is_said_once_however_often_the_keeper_starts(doubt: str) -> None:
    row = lost(last_error=left(doubt))
    for _ in range(3):
        row.last_error = again(row, noted=[MADE, NOW - HOUR]).voice["last_error"]
    assert row.last_error == left(MADE_ALREADY)


def test_a_doubt_can_be_told_of_a_loss_without_words() -> None:
    change = again(lost(last_error=None), noted=None)
    assert change.voice["last_error"] == left(NO_NOTES, "it is lost")


MOMENTS = spans(-40 * DAY, 0 * SECOND).map(lambda span: NOW + span)


@given(
    st.none() | st.frozensets(MOMENTS, max_size=4),
    st.frozensets(MOMENTS, max_size=4),
    st.none() | MOMENTS,
    spans(SECOND, 30 * DAY),
)
def test_what_is_left_to_a_person_stays_so_until_it_speaks_whatever_the_notes_become(
    noted: frozenset[datetime] | None,
    known: frozenset[datetime],
    restored_at: datetime | None,
    later: timedelta,
) -> None:
    row = lost(restored_at=restored_at)
    change = again(row, noted=noted, known=known)
    if change.tellings:
        assert change.voice["status"] is Status.NEW
        return
    for column, value in change.voice.items():
        setattr(row, column, value)
    assert comeback.is_wanted(row, CLONES)  # so each start asks again
    assert not again(row, noted=noted or (), known=known, now=NOW + later).tellings
