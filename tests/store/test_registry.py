"""Commands on the registry: register, read, change; each is done as a whole or not at all."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.support import (
    DAY,
    HOUR,
    MINUTE,
    NOW,
    Life,
    imported,
    policy,
    wanted,
)
from voicekeeper.core import schedule
from voicekeeper.core.models import (
    Breaker,
    HistoryEntry,
    Kind,
    Status,
    Task,
    TaskState,
)
from voicekeeper.core.requests import FLASH
from voicekeeper.errors import NotAllowed, NotFound, Taken
from voicekeeper.store.registry import NewVoice

pytestmark = pytest.mark.usefixtures("each_database")

GIVEN_UP = (Status.LOST, Status.UNDEPLOYED, Status.FAILED)
USED_AT = NOW - DAY + timedelta(microseconds=123456)
DUE = schedule.due(USED_AT, "anna", policy())


def task(life: Life, name: str, kind: Kind, state: TaskState, **fields: object) -> Task:
    """Return a task of a voice, not yet written."""
    voice = life.voice(name)
    running: dict[str, Any] = {}
    if state is TaskState.RUNNING:
        running = {"task_id": "task_1", "next_poll_at": NOW}
    return Task(
        voice_pk=voice.id,
        model=voice.model,
        kind=kind,
        state=state,
        spoken=voice.voice_id,
        **{"sent_at": NOW} | running | fields,
    )


@pytest.mark.parametrize(
    ("voice", "used_at", "anchored_at", "next_at"),
    [
        (imported("anna", last_used_at=USED_AT), USED_AT, USED_AT, DUE),
        (imported("anna"), None, NOW - policy().interval, NOW),
        (wanted("anna"), None, NOW, NOW),
        (imported("anna", last_used_at=USED_AT, paused=True), USED_AT, USED_AT, None),
    ],
    ids=["counts from its last use", "unknown: due now", "to be made: due now", "paused: never"],
)
def test_a_voice_is_due_from_what_is_known_of_it(
    life: Life,
    voice: NewVoice,
    used_at: datetime | None,
    anchored_at: datetime,
    next_at: datetime | None,
) -> None:
    life.register(voice)
    anna = life.voice("anna")
    assert (anna.status, anna.recipe, anna.paused) == (Status.NEW, voice.recipe, voice.paused)
    assert (anna.last_used_at, anna.anchored_at, anna.next_at) == (used_at, anchored_at, next_at)


def test_voices_are_registered_with_their_history_and_come_by_name(life: Life) -> None:
    steps: list[int] = []
    voices = [imported(f"voice-{n:04}") for n in range(1202, -1, -1)]
    life.registry.register(voices, now=NOW, policy=life.policy, progress=steps.append)
    assert (sum(steps), len(steps)) == (1203, 3)
    found = list(life.registry.all())
    assert [voice.name for voice in found] == [f"voice-{n:04}" for n in range(1203)]
    for voice in (found[0], found[-1]):
        (entry,) = life.registry.history(voice.name)
        assert (entry.event, entry.level, entry.at) == ("voice.registered", "info", NOW)
        assert entry.voice_pk == voice.id
        assert entry.detail == {"origin": "imported", "model": FLASH}


def test_all_are_registered_or_none_and_every_conflict_is_named(life: Life) -> None:
    life.register(imported("anna"), imported("berta"))
    voices = [
        imported("clara"),
        imported("anna", voice_id="other"),
        imported("dora", voice_id="id-berta"),
        imported("clara", voice_id="third"),
        imported("emma", voice_id="id-clara"),
        imported("fine", voice_id="id-berta", model="cosyvoice-3-plus"),
        wanted("made-1"),
        wanted("made-2"),
        *(imported(f"voice-{n}") for n in range(600)),
        imported("voice-0", voice_id="fourth"),
    ]
    with pytest.raises(Taken) as refused:
        life.registry.register(voices, now=NOW, policy=life.policy)
    assert refused.value.conflicts == (
        (1, "the name 'anna' is taken"),
        (2, "id-berta is registered as 'berta' already"),
        (3, "the name 'clara' occurs twice"),
        (4, "the voice_id id-clara occurs twice"),
        (608, "the name 'voice-0' occurs twice"),
    )
    assert [voice.name for voice in life.registry.all()] == ["anna", "berta"]
    assert len(life.rows(HistoryEntry)) == 2


def test_no_command_finds_a_voice_that_is_not_there(life: Life) -> None:
    with pytest.raises(NotFound, match="no voice is named 'nobody'"):
        life.registry.keep("nobody", now=NOW)


def test_keep_makes_a_voice_due_now_even_one_given_up(life: Life) -> None:
    life.register(*(imported(status, last_used_at=NOW) for status in GIVEN_UP))
    for status in GIVEN_UP:
        life.edit(status, status=status, next_at=None)
        life.registry.keep(status, now=NOW + HOUR)
        assert life.voice(status).next_at == NOW + HOUR
        assert life.events(status)[-1] == "voice.hastened"


def test_touch_records_a_use_made_elsewhere(life: Life) -> None:
    life.register(imported("anna", last_used_at=NOW - 2 * DAY))
    life.registry.touch("anna", NOW - HOUR, now=NOW, policy=life.policy)
    anna = life.voice("anna")
    assert (anna.last_used_at, anna.anchored_at) == (NOW - HOUR, NOW - HOUR)
    assert anna.next_at == schedule.due(NOW - HOUR, "anna", life.policy)
    assert life.registry.history("anna")[-1].detail == {"used_at": "2026-05-01T11:00:00Z"}


def test_neither_touch_nor_resume_wakes_a_voice_that_is_paused_or_given_up(life: Life) -> None:
    life.register(imported("anna", paused=True), *(imported(name) for name in GIVEN_UP))
    life.registry.touch("anna", NOW, now=NOW, policy=life.policy)
    assert life.voice("anna").next_at is None
    for status in GIVEN_UP:
        life.edit(status, status=status, next_at=None, paused=True, anchored_at=NOW - 14 * DAY)
        life.registry.resume(status, now=NOW, policy=life.policy)
        life.registry.touch(status, NOW, now=NOW, policy=life.policy)
        assert life.voice(status).next_at is None


def test_resume_goes_on_with_the_tries_of_a_lost_voice(life: Life) -> None:
    life.register(imported("anna", last_used_at=NOW - 13 * DAY))
    life.edit("anna", status=Status.LOST)
    life.registry.pause("anna", now=NOW)
    life.registry.resume("anna", now=NOW, policy=life.policy)
    assert life.voice("anna").next_at == NOW


def test_pause_and_resume_each_happen_once(life: Life) -> None:
    life.register(imported("anna", last_used_at=NOW - HOUR))
    life.registry.pause("anna", now=NOW)
    assert (life.voice("anna").paused, life.voice("anna").next_at) == (True, None)
    with pytest.raises(NotAllowed, match="anna is paused already"):
        life.registry.pause("anna", now=NOW)
    life.registry.resume("anna", now=NOW, policy=life.policy)
    anna = life.voice("anna")
    assert anna.paused is False
    assert anna.next_at == schedule.due(NOW - HOUR, "anna", life.policy)
    assert life.events("anna") == ["voice.registered", "voice.paused", "voice.resumed"]


def test_a_voice_that_fell_due_while_paused_is_due_when_it_is_resumed(life: Life) -> None:
    life.register(imported("anna", last_used_at=NOW, paused=True), wanted("berta"))
    life.registry.pause("berta", now=NOW)
    later = NOW + 5 * DAY
    for name in ("anna", "berta"):
        life.registry.resume(name, now=later, policy=life.policy)
        assert life.voice(name).next_at == later


def test_a_voice_resumed_in_the_middle_of_its_enrollment_is_not_enrolled_again(life: Life) -> None:
    life.register(wanted("anna"))
    life.put(task(life, "anna", Kind.CLONE, TaskState.RUNNING))
    life.registry.pause("anna", now=NOW)
    life.registry.resume("anna", now=NOW, policy=life.policy)
    assert life.voice("anna").next_at is None


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize("status", [Status.UNKNOWN, Status.FAILED, Status.UNDEPLOYED, Status.LOST])
def test_retry_makes_a_voice_new_on_the_users_word_due_once_it_is_not_paused(
    life: Life, status: Status, *, paused: bool
) -> None:
    life.register(wanted("anna"))
    fields = {"voice_id": "old", "last_used_at": NOW, "suspected_at": NOW, "controlled_at": NOW}
    fields |= {"failures": 3, "last_error": "gone", "next_at": None}
    life.edit("anna", status=status, paused=paused, **fields)
    later = NOW + HOUR
    life.registry.retry("anna", now=later)
    anna = life.voice("anna")
    assert (anna.status, anna.voice_id) == (Status.NEW, None)
    assert anna.next_at == (None if paused else later)
    assert (anna.failures, anna.last_error, anna.anchored_at) == (0, None, later)
    assert (anna.last_used_at, anna.suspected_at, anna.controlled_at) == (None, None, None)
    entry = life.registry.history("anna")[-1]
    assert entry.event == "voice.retried"
    assert entry.detail == {"from": status, "old_voice_id": "old"}
    if paused:
        life.registry.resume("anna", now=later, policy=life.policy)
        assert life.voice("anna").next_at == later


def test_commands_are_refused_where_the_status_does_not_allow_them(life: Life) -> None:
    life.register(imported("anna", last_used_at=NOW), wanted("berta"), wanted("clara"))
    life.register(wanted("dora"), imported("emma", paused=True))
    life.edit("berta", status=Status.OK, voice_id="id-berta")
    life.edit("clara", status=Status.DEPLOYING)
    life.put(task(life, "clara", Kind.CLONE, TaskState.RUNNING))
    life.put(task(life, "berta", Kind.KEEPALIVE, TaskState.INTENT))
    registry, rules = life.registry, life.policy
    refused: list[tuple[Callable[[], object], str]] = [
        (lambda: registry.retry("anna", now=NOW), "anna was not made here: there is nothing to"),
        (lambda: registry.retry("berta", now=NOW), "berta is OK; there is nothing to repeat"),
        (lambda: registry.retry("clara", now=NOW), "clara is DEPLOYING: its enrollment has not"),
        (lambda: registry.retry("dora", now=NOW), "dora is NEW: its enrollment has not ended"),
        (lambda: registry.keep("emma", now=NOW), "emma is paused; run 'voicekeeper resume emma'"),
        (lambda: registry.keep("dora", now=NOW), "dora is NEW and has no voice_id yet"),
        (lambda: registry.keep("berta", now=NOW), "berta is being used right now"),
        (lambda: registry.resume("anna", now=NOW, policy=rules), "anna is not paused"),
        (lambda: registry.touch("dora", NOW, now=NOW, policy=rules), "dora is NEW and has no"),
        (lambda: registry.touch("anna", NOW, now=NOW, policy=rules), "used later than that alread"),
    ]
    for command, sentence in refused:
        with pytest.raises(NotAllowed, match=sentence):
            command()
    assert life.events("anna") == life.events("dora") == ["voice.registered"]


def test_remove_forgets_a_voice_with_its_tasks_and_history_and_never_reuses_its_key(
    life: Life,
) -> None:
    life.register(imported("anna"), imported("berta"))
    life.put(task(life, "anna", Kind.KEEPALIVE, TaskState.RUNNING))
    gone = life.registry.remove("anna", now=NOW)
    assert (gone.name, gone.voice_id) == ("anna", "id-anna")
    assert [voice.name for voice in life.registry.all()] == ["berta"]
    assert life.rows(Task) == []
    assert [entry.voice_pk for entry in life.rows(HistoryEntry)] == [life.voice("berta").id]
    life.register(imported("anna", voice_id="id-2"))
    assert (life.voice("anna").id or 0) > (gone.id or 0)


@pytest.mark.parametrize("retries", [1, 9])
@pytest.mark.parametrize(("state", "failures"), [(TaskState.REFUSED, 9), (TaskState.RUNNING, 0)])
def test_a_voice_is_overdue_from_when_it_first_fell_due(
    life: Life, state: TaskState, failures: int, retries: int
) -> None:
    life.register(imported("anna", last_used_at=NOW - 3 * DAY))
    life.edit("anna", next_at=NOW + HOUR, failures=failures, status=Status.OK)
    fell_due = NOW - 4 * HOUR
    life.put(
        task(life, "anna", Kind.KEEPALIVE, TaskState.FAILED, sent_at=NOW - 4 * DAY),
        task(life, "anna", Kind.KEEPALIVE, TaskState.SUCCESS, sent_at=NOW - 3 * DAY),
        *(
            task(life, "anna", Kind.KEEPALIVE, state, sent_at=fell_due + n * MINUTE)
            for n in range(retries)
        ),
    )
    for ago, overdue in ((HOUR, 0), (timedelta(0), 1)):
        health = life.registry.health(now=NOW - ago, policy=life.policy)
        assert health.overdue == overdue
    life.registry.touch("anna", NOW - HOUR, now=NOW, policy=life.policy)
    assert life.registry.health(now=NOW, policy=life.policy).overdue == 0


def test_what_failed_before_the_last_success_makes_no_voice_overdue(life: Life) -> None:
    # The gateway's clock is behind the host's, so that the use looks older than the failure.
    life.register(imported("anna", last_used_at=NOW - DAY - HOUR))
    life.edit("anna", next_at=NOW + HOUR, failures=1, status=Status.OK)
    life.put(
        task(life, "anna", Kind.KEEPALIVE, TaskState.FAILED, sent_at=NOW - DAY - MINUTE),
        task(life, "anna", Kind.KEEPALIVE, TaskState.SUCCESS, sent_at=NOW - DAY),
        task(life, "anna", Kind.KEEPALIVE, TaskState.FAILED, sent_at=NOW - MINUTE),
    )
    assert life.registry.health(now=NOW, policy=life.policy).overdue == 0


def test_voices_by_urgency_are_the_kept_by_their_deadlines_then_who_needs_a_person(
    life: Life,
) -> None:
    ages = {"fine": 1, "over": 9, "risky": 6, "paused": 6, "lost": 9, "broken": 0}
    life.register(*(imported(name, last_used_at=NOW - days * DAY) for name, days in ages.items()))
    life.edit("paused", paused=True, next_at=None)
    life.edit("lost", status=Status.LOST, next_at=None)
    life.edit("broken", status=Status.FAILED, next_at=None)
    order = [voice.name for voice in life.registry.by_urgency(now=NOW, policy=life.policy)]
    assert order == ["risky", "fine", "over", "lost", "broken", "paused"]
    life.put(Breaker(model="plus", opened_at=NOW, cause="402"), Breaker(model=FLASH, run=2))
    assert [breaker.model for breaker in life.registry.blocked()] == ["plus"]


def test_health_counts_what_a_person_must_know(life: Life) -> None:
    life.register(
        imported("fine", last_used_at=NOW),
        imported("risky", last_used_at=NOW - 6 * DAY),
        imported("late", last_used_at=NOW),
        imported("paused", last_used_at=NOW - 6 * DAY, paused=True),
        imported("lost", last_used_at=NOW - 9 * DAY),
        wanted("made"),
    )
    life.edit("late", next_at=NOW - 4 * HOUR, status=Status.OK)
    life.edit("lost", next_at=None, status=Status.LOST)
    life.put(
        Breaker(model="plus", opened_at=NOW, cause="402"),
        Breaker(model=FLASH, run=2),
    )
    life.worklist.claim(now=NOW, policy=life.policy, calls=0, polls=0)
    health = life.registry.health(now=NOW, policy=life.policy)
    assert health.by_status == {Status.NEW: 4, Status.OK: 1, Status.LOST: 1}
    assert (health.paused, health.overdue, health.at_risk) == (1, 1, 1)
    assert (health.keeper, health.last_pass_at) == ("1@here", NOW)
    assert [(b.model, b.cause) for b in health.blocked] == [("plus", "402")]
    assert health.next_at == NOW - 4 * HOUR
    assert life.registry.keeping().last_pass_at == NOW
