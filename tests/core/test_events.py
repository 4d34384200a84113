"""The catalogue of the log."""

import re

from voicekeeper.core.events import Event, level_of_change
from voicekeeper.core.models import Status


def test_an_event_is_a_noun_and_a_past_participle_and_its_meaning_one_sentence() -> None:
    for event in Event:
        assert re.fullmatch(r"[a-z]+\.([a-z_]+ed|held|lost|sent|at_risk|ready|standby)", event)
        assert re.fullmatch(r"[A-Z][^.]*\.", event.meaning)


def test_a_person_is_woken_by_these_events_and_no_others() -> None:
    assert {event for event in Event if event.level == "error"} == {
        Event.VOICE_LOST,
        Event.UPSTREAM_BLOCKED,
        Event.PASS_FAILED,
    }


def test_a_change_to_a_status_that_does_not_speak_is_a_warning() -> None:
    speaking = {status for status in Status if level_of_change(status) == "info"}
    assert speaking == {Status.NEW, Status.DEPLOYING, Status.OK}
    assert {level_of_change(status) for status in set(Status) - speaking} == {"warning"}
