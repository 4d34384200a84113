"""The people's side: register, read, change; each deed whole or not at all."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import SQLModel, col

from tests.support import (
    CLONE,
    DAY,
    HOUR,
    MINUTE,
    NOW,
    Life,
    imported,
    wanted,
)
from voicekeeper.core import schedule
from voicekeeper.core.costs import Spent
from voicekeeper.core.models import (
    Breaker,
    HistoryEntry,
    Kind,
    Origin,
    Status,
    Task,
    TaskState,
    Voice,
)
from voicekeeper.core.requests import FLASH
from voicekeeper.errors import NotAllowed, NotFound, Taken
from voicekeeper.store.new_voices import NewVoice

pytestmark = pytest.mark.usefixtures("each_database")


@pytest.fixture
def life(tmp_path: Path) -> Life:
    return Life(tmp_path)


def put(life: Life, *rows: SQLModel) -> None:
    """Write rows as something else might have left them."""
    with life.database.writing() as session:
        session.add_all(rows)


def change(life: Life, name: str, **fields: object) -> None:
    with life.database.writing() as session:
        voice = session.get(Voice, life.voice(name).id)
        assert voice is not None
        for column, value in fields.items():
            setattr(voice, column, value)


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


def test_an_imported_voice_counts_from_its_last_use(life: Life) -> None:
    used_at = NOW - DAY
    life.register(imported("anna", last_used_at=used_at))
    anna = life.voice("anna")
    assert anna.status is Status.NEW
    assert (anna.last_used_at, anna.anchored_at) == (used_at, used_at)
    assert anna.next_at == schedule.due(used_at, "anna", life.policy)


def test_an_imported_voice_of_which_nothing_is_known_is_due_at_once(life: Life) -> None:
    life.register(imported("anna"))
    anna = life.voice("anna")
    assert anna.last_used_at is None
    assert anna.next_at == NOW
    assert anna.anchored_at == NOW - life.policy.interval


def test_a_voice_to_be_made_is_due_at_once_unless_it_is_paused(life: Life) -> None:
    life.register(wanted("anna"), imported("berta", paused=True))
    assert life.voice("anna").next_at == NOW
    assert life.voice("anna").recipe == CLONE
    assert life.voice("berta").next_at is None


def test_voices_are_registered_with_their_history(life: Life) -> None:
    life.register(*(imported(f"voice-{n}") for n in range(1203)))
    assert len(list(life.registry.all())) == 1203
    for name in ("voice-0", "voice-1202"):
        (entry,) = life.registry.history(name)
        assert (entry.event, entry.level, entry.at) == ("voice.registered", "info", NOW)
        assert entry.voice_pk == life.voice(name).id
        assert entry.detail == {"origin": "imported", "model": FLASH}


def test_registering_tells_its_progress(life: Life) -> None:
    steps: list[int] = []
    voices = [imported(f"voice-{n}") for n in range(1203)]
    life.registry.register(voices, now=NOW, policy=life.policy, progress=steps.append)
    assert sum(steps) == 1203
    assert len(steps) > 1


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
    ]
    with pytest.raises(Taken) as refused:
        life.registry.register(voices, now=NOW, policy=life.policy)
    assert refused.value.conflicts == (
        (1, "the name 'anna' is taken"),
        (2, "id-berta is registered as 'berta' already"),
        (3, "the name 'clara' occurs twice"),
        (4, "the voice_id id-clara occurs twice"),
    )
    assert [voice.name for voice in life.registry.all()] == ["anna", "berta"]
    assert len(life.rows(HistoryEntry)) == 2


def test_conflicts_are_found_across_batches(life: Life) -> None:
    voices = [imported(f"voice-{n}") for n in range(600)]
    with pytest.raises(Taken) as refused:
        life.registry.register([*voices, voices[0]], now=NOW, policy=life.policy)
    assert refused.value.conflicts == ((600, "the name 'voice-0' occurs twice"),)


def test_one_voice_id_may_be_a_voice_of_two_models(life: Life) -> None:
    voices = [imported("anna"), imported("anna-plus", voice_id="id-anna", model="plus")]
    life.registry.register(voices, now=NOW, policy=life.policy)
    assert life.voice("anna").voice_id == life.voice("anna-plus").voice_id


def test_the_voices_come_by_name_and_outlive_the_reading(life: Life) -> None:
    life.register(imported("berta"), imported("anna"))
    assert [(v.name, v.voice_id) for v in list(life.registry.all())] == [
        ("anna", "id-anna"),
        ("berta", "id-berta"),
    ]


DEEDS: list[Callable[[Life], object]] = [
    lambda life: life.registry.get("nobody"),
    lambda life: life.registry.history("nobody"),
    lambda life: life.registry.keep("nobody", now=NOW),
    lambda life: life.registry.touch("nobody", NOW, now=NOW, policy=life.policy),
    lambda life: life.registry.pause("nobody", now=NOW),
    lambda life: life.registry.resume("nobody", now=NOW, policy=life.policy),
    lambda life: life.registry.retry("nobody", now=NOW),
    lambda life: life.registry.remove("nobody", now=NOW),
]


@pytest.mark.parametrize("deed", DEEDS)
def test_no_deed_finds_a_voice_that_is_not_there(
    life: Life, deed: Callable[[Life], object]
) -> None:
    with pytest.raises(NotFound, match="no voice is named 'nobody'"):
        deed(life)


@pytest.mark.parametrize("status", [Status.OK, Status.LOST, Status.UNDEPLOYED, Status.NEW])
def test_keep_makes_a_voice_due_now_even_one_given_up(life: Life, status: Status) -> None:
    life.register(imported("anna", last_used_at=NOW))
    change(life, "anna", status=status, next_at=None)
    life.registry.keep("anna", now=NOW + HOUR)
    assert life.voice("anna").next_at == NOW + HOUR
    assert life.events("anna")[-1] == "voice.hastened"


def test_keep_is_refused_for_a_paused_voice_and_for_one_that_cannot_speak(life: Life) -> None:
    life.register(imported("anna", paused=True), wanted("berta"))
    with pytest.raises(NotAllowed, match="anna is paused; run 'voicekeeper resume anna' first"):
        life.registry.keep("anna", now=NOW)
    with pytest.raises(NotAllowed, match="berta is NEW and has no voice_id yet"):
        life.registry.keep("berta", now=NOW)
    assert life.events("anna") == ["voice.registered"]


def test_touch_records_a_use_made_elsewhere(life: Life) -> None:
    life.register(imported("anna", last_used_at=NOW - 2 * DAY))
    life.registry.touch("anna", NOW - HOUR, now=NOW, policy=life.policy)
    anna = life.voice("anna")
    assert (anna.last_used_at, anna.anchored_at) == (NOW - HOUR, NOW - HOUR)
    assert anna.next_at == schedule.due(NOW - HOUR, "anna", life.policy)
    assert life.registry.history("anna")[-1].detail == {"used_at": "2026-05-01T11:00:00Z"}


@pytest.mark.parametrize("at", [NOW - 2 * DAY, NOW - 3 * DAY])
def test_touch_is_refused_where_a_later_use_is_known(life: Life, at: datetime) -> None:
    life.register(imported("anna", last_used_at=NOW - 2 * DAY))
    with pytest.raises(NotAllowed, match="known to have been used later than that already"):
        life.registry.touch("anna", at, now=NOW, policy=life.policy)


def test_touch_does_not_wake_a_paused_or_a_lost_voice(life: Life) -> None:
    life.register(imported("anna", paused=True), imported("berta"), wanted("clara"))
    change(life, "berta", status=Status.LOST, next_at=None)
    for name in ("anna", "berta"):
        life.registry.touch(name, NOW, now=NOW, policy=life.policy)
        assert life.voice(name).next_at is None
    with pytest.raises(NotAllowed, match="clara is NEW and has no voice_id yet"):
        life.registry.touch("clara", NOW, now=NOW, policy=life.policy)


def test_pause_and_resume_each_happen_once(life: Life) -> None:
    life.register(imported("anna", last_used_at=NOW - HOUR))
    with pytest.raises(NotAllowed, match="anna is not paused"):
        life.registry.resume("anna", now=NOW, policy=life.policy)
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
    put(life, task(life, "anna", Kind.CLONE, TaskState.RUNNING))
    life.registry.pause("anna", now=NOW)
    life.registry.resume("anna", now=NOW, policy=life.policy)
    assert life.voice("anna").next_at is None


@pytest.mark.parametrize("status", [Status.LOST, Status.UNDEPLOYED, Status.FAILED])
def test_resume_does_not_revive_what_was_given_up(life: Life, status: Status) -> None:
    life.register(imported("anna", paused=True))
    change(life, "anna", status=status)
    life.registry.resume("anna", now=NOW, policy=life.policy)
    assert life.voice("anna").next_at is None


@pytest.mark.parametrize("status", [Status.UNKNOWN, Status.FAILED, Status.UNDEPLOYED, Status.LOST])
def test_retry_makes_a_voice_new_on_the_users_word(life: Life, status: Status) -> None:
    life.register(wanted("anna"))
    fields = {"voice_id": "old", "last_used_at": NOW, "suspected_at": NOW, "controlled_at": NOW}
    change(life, "anna", status=status, failures=3, last_error="gone", next_at=None, **fields)
    later = NOW + HOUR
    life.registry.retry("anna", now=later)
    anna = life.voice("anna")
    assert (anna.status, anna.voice_id, anna.next_at) == (Status.NEW, None, later)
    assert (anna.failures, anna.last_error, anna.anchored_at) == (0, None, later)
    assert (anna.last_used_at, anna.suspected_at, anna.controlled_at) == (None, None, None)
    entry = life.registry.history("anna")[-1]
    assert entry.event == "voice.retried"
    assert entry.detail == {"from": status, "old_voice_id": "old"}


def test_retry_is_refused_where_it_would_pay_twice_or_for_nothing(life: Life) -> None:
    life.register(imported("anna"), wanted("berta"), wanted("clara"), wanted("dora"))
    change(life, "berta", status=Status.OK, voice_id="id-berta")
    change(life, "clara", status=Status.DEPLOYING)
    put(life, task(life, "clara", Kind.CLONE, TaskState.RUNNING))
    for name, sentence in (
        ("anna", "anna was not made here: there is nothing to repeat"),
        ("berta", "berta is OK; there is nothing to repeat"),
        ("clara", "clara is DEPLOYING: its enrollment has not ended yet"),
        ("dora", "dora is NEW: its enrollment has not ended yet"),
    ):
        with pytest.raises(NotAllowed, match=sentence):
            life.registry.retry(name, now=NOW)


def test_a_paused_voice_waits_with_its_retry_until_it_is_resumed(life: Life) -> None:
    life.register(wanted("anna"))
    change(life, "anna", status=Status.FAILED, paused=True, next_at=None)
    life.registry.retry("anna", now=NOW)
    assert life.voice("anna").next_at is None
    life.registry.resume("anna", now=NOW + HOUR, policy=life.policy)
    assert life.voice("anna").next_at == NOW + HOUR


def test_remove_forgets_a_voice_with_its_tasks_and_history(life: Life) -> None:
    life.register(imported("anna"), imported("berta"))
    put(life, task(life, "anna", Kind.KEEPALIVE, TaskState.RUNNING))
    gone = life.registry.remove("anna", now=NOW)
    assert (gone.name, gone.voice_id) == ("anna", "id-anna")
    assert [voice.name for voice in life.registry.all()] == ["berta"]
    assert life.rows(Task) == []
    assert [entry.voice_pk for entry in life.rows(HistoryEntry)] == [life.voice("berta").id]


def test_the_key_of_a_removed_voice_is_never_used_again(life: Life) -> None:
    life.register(imported("anna"))
    gone = life.registry.remove("anna", now=NOW)
    life.register(NewVoice("anna", FLASH, "id-2", Origin.IMPORTED))
    assert gone.id is not None
    assert (life.voice("anna").id or 0) > gone.id


def test_the_cost_of_a_voice_is_that_of_its_tasks(life: Life) -> None:
    life.register(imported("anna"), imported("berta"))
    put(
        life,
        task(life, "anna", Kind.KEEPALIVE, TaskState.SUCCESS, cost_micros=60),
        task(life, "anna", Kind.KEEPALIVE, TaskState.REFUSED, cost_micros=None),
        task(life, "anna", Kind.KEEPALIVE, TaskState.FAILED, cost_micros=60),
    )
    assert life.registry.spent(life.voice("anna")) == Spent(120)
    assert life.registry.spent(life.voice("berta")) == Spent()


def test_health_of_an_empty_registry(life: Life) -> None:
    health = life.registry.health(now=NOW, policy=life.policy)
    assert (health.by_status, health.paused, health.overdue, health.at_risk) == ({}, 0, 0, 0)
    assert (health.last_pass_at, health.next_at) == (None, None)
    assert list(health.blocked) == []
    assert life.registry.keeping().last_pass_at is None


@pytest.mark.parametrize("retries", [1, 9])
@pytest.mark.parametrize(
    ("state", "failures"),
    [(TaskState.REFUSED, 9), (TaskState.FAILED, 9), (TaskState.UNKNOWN, 9), (TaskState.RUNNING, 0)],
)
def test_a_voice_is_overdue_from_when_it_first_fell_due(
    life: Life, state: TaskState, failures: int, retries: int
) -> None:
    life.register(imported("anna", last_used_at=NOW - 3 * DAY))
    change(life, "anna", next_at=NOW + HOUR, failures=failures, status=Status.OK)
    fell_due = NOW - 4 * HOUR
    put(
        life,
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
    change(life, "anna", next_at=NOW + HOUR, failures=1, status=Status.OK)
    put(
        life,
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
    change(life, "paused", paused=True, next_at=None)
    change(life, "lost", status=Status.LOST, next_at=None)
    change(life, "broken", status=Status.FAILED, next_at=None)
    order = [voice.name for voice in life.registry.by_urgency(now=NOW, policy=life.policy)]
    assert order == ["risky", "fine", "over", "lost", "broken", "paused"]
    put(life, Breaker(model="plus", opened_at=NOW, cause="402"), Breaker(model=FLASH, run=2))
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
    change(life, "late", next_at=NOW - 4 * HOUR, status=Status.OK)
    change(life, "lost", next_at=None, status=Status.LOST)
    put(
        life,
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


def test_instants_come_back_aware_and_exact(life: Life) -> None:
    instant = NOW + timedelta(microseconds=123456)
    life.register(imported("anna", last_used_at=instant))
    assert life.voice("anna").last_used_at == instant
    assert life.rows(Voice, col(Voice.last_used_at) == instant)
