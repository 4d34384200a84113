"""The keepers' side: who gets what, in which order, and what an answer or a crash leaves."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlmodel import col

from tests.support import (
    CLONE,
    DAY,
    HOUR,
    MINUTE,
    NOW,
    SECOND,
    Life,
    driver_of,
    imported,
    policy,
    wanted,
)
from voicekeeper.core import transitions
from voicekeeper.core.models import (
    Active,
    Breaker,
    HistoryEntry,
    Kind,
    Origin,
    Removal,
    Status,
    Task,
    TaskState,
    Voice,
)
from voicekeeper.core.outcome import Accepted, Culprit, Fault, Report
from voicekeeper.core.requests import CONTROL_VOICE, FLASH
from voicekeeper.errors import Withdrawn
from voicekeeper.store.jobs import Answer, Claims, Job, Rule

pytestmark = pytest.mark.usefixtures("each_database")

LONGEST_CALL = policy().longest_call


def claim(
    life: Life,
    now: datetime = NOW,
    *,
    calls: int = 100,
    polls: int = 100,
    under_way: Sequence[Job] = (),
) -> Claims:
    return life.worklist.claim(
        now=now,
        policy=life.policy,
        calls=calls,
        polls=polls,
        busy=[job.voice_pk for job in under_way if job.voice_pk is not None],
        in_flight=[job.task_pk for job in under_way if job.task_pk is not None],
    )


def names(claims: Claims) -> list[str]:
    return [job.name for job in claims.calls]


def only(claims: Claims) -> Job:
    (job,) = claims.calls
    return job


def begun(life: Life, now: datetime = NOW) -> Job:
    """Bring the only enrollment that is due to its turn: its intent is written."""
    return life.worklist.intend(only(claim(life, now)), now=now, policy=life.policy)


def record(life: Life, job: Job, decide: Rule, now: datetime = NOW) -> list[str]:
    """Record an answer; return the events that are to be logged."""
    (lines,) = life.worklist.record([Answer(job, decide, now, life.policy)])
    return [line.event for line in lines]


def accepted(life: Life, task_id: str = "task_1", now: datetime = NOW) -> Rule:
    given: dict[str, Any] = {"cost_micros": 60, "now": now, "policy": life.policy}
    return lambda voice, task: transitions.submitted(voice, task, Accepted(task_id), **given)


def reported(life: Life, report: Report, now: datetime = NOW) -> Rule:
    return lambda voice, task: transitions.reported(
        voice, task, report, now=now, policy=life.policy
    )


def refused(life: Life, fault: Fault, now: datetime = NOW) -> Rule:
    return lambda voice, task: transitions.refused(voice, task, fault, now=now, policy=life.policy)


def take_over(life: Life, now: datetime) -> None:
    life.worklist.leave(keeper="1@here")  # as it died long ago
    life.worklist.take_over(keeper="2@here", version="1", now=now, policy=life.policy)


SUCCESS = Report("success")
TROUBLE = Fault(Culprit.UPSTREAM, "500", "server error")
NO_MONEY = Fault(Culprit.ACCOUNT, "402", "insufficient balance")
BLAMED = Fault(Culprit.VOICE, "VALIDATION_ERROR", "the voice_id is invalid")


# claims


def test_those_that_can_be_saved_come_first_by_deadline_and_those_past_it_last(life: Life) -> None:
    ages = {"dead": 200, "dying": 167, "old": 150, "deader": 400, "young": 80, "on-time": 168}
    life.register(*(imported(n, last_used_at=NOW - age * HOUR) for n, age in ages.items()))
    assert names(claim(life)) == ["dying", "old", "young", "deader", "dead", "on-time"]


def test_among_many_that_are_due_the_order_is_the_same_as_among_few(life: Life) -> None:
    ages = [80 + (number * 37) % 300 for number in range(300)]  # hours; 168 are a window
    life.register(*(imported(f"v{age}", last_used_at=NOW - age * HOUR) for age in ages))
    savable = [f"v{age}" for age in range(167, 79, -1)]
    past = [f"v{age}" for age in range(379, 167, -1)]
    few = claim(life, calls=100)
    for job in few.calls:
        life.edit(job.name, next_at=NOW + DAY)
    rest = claim(life, calls=150)  # of 200, which are few
    assert names(few) + names(rest) == (savable + past)[:250]


def test_a_claim_takes_the_most_urgent_and_says_whether_there_is_more(life: Life) -> None:
    life.register(*(imported(f"v{n}", last_used_at=NOW - (100 + n) * HOUR) for n in range(5)))
    first = claim(life, calls=2)
    assert names(first) == ["v4", "v3"]
    assert first.more_calls
    second = claim(life, calls=4, under_way=first.calls)
    assert names(second) == ["v2", "v1", "v0"]
    assert not second.more_calls


def test_a_call_under_way_keeps_its_voice_from_another_and_moves_no_due_time(life: Life) -> None:
    life.register(imported("anna"))
    job = only(claim(life))
    assert (job.kind, job.spoken, job.recipe, job.task_id) == (
        Kind.KEEPALIVE,
        "id-anna",
        None,
        None,
    )
    assert life.voice("anna").next_at == NOW
    for later in (NOW, NOW + LONGEST_CALL + MINUTE):
        assert claim(life, later, under_way=[job]).calls == []
    assert [task.state for task in life.tasks("anna")] == [TaskState.INTENT]


def test_a_call_that_nobody_makes_is_settled_once_none_can_take_so_long(life: Life) -> None:
    life.register(imported("anna"))
    only(claim(life))
    claim(life, NOW + LONGEST_CALL - SECOND, calls=0)
    assert [task.state for task in life.tasks("anna")] == [TaskState.INTENT]
    assert names(claim(life, NOW + LONGEST_CALL)) == ["anna"]
    assert [task.state for task in life.tasks("anna")] == [TaskState.UNKNOWN, TaskState.INTENT]


def test_a_claim_without_room_takes_nothing(life: Life) -> None:
    life.register(imported("anna"))
    claims = claim(life, calls=0, polls=0)
    assert (claims.calls, claims.polls) == ([], [])
    assert (claims.more_calls, claims.more_polls) == (True, True)  # it may be: ask when there is
    assert life.voice("anna").next_at == NOW


def test_what_is_not_due_is_not_claimed(life: Life) -> None:
    life.register(
        imported("later", last_used_at=NOW), imported("paused", paused=True), imported("lost")
    )
    life.edit("lost", status=Status.LOST, next_at=None)
    assert claim(life).calls == []


@pytest.mark.parametrize("origin", [Origin.CLONE, Origin.DESIGN])
def test_an_enrollment_is_begun_once_and_never_again(life: Life, origin: Origin) -> None:
    life.register(wanted("anna", origin))
    job = begun(life)
    assert job.kind == origin.value
    assert job.recipe == life.voice("anna").recipe
    assert job.spoken is None
    assert life.voice("anna").next_at is None
    (task,) = life.tasks("anna")
    assert (task.id, task.state, task.sent_at) == (job.task_pk, TaskState.INTENT, NOW)
    for later in (timedelta(0), LONGEST_CALL, 30 * DAY):
        assert claim(life, NOW + later).calls == []


@pytest.mark.parametrize("answered", [False, True])
def test_not_even_a_wrong_due_time_enrolls_a_voice_twice(life: Life, *, answered: bool) -> None:
    life.register(wanted("anna"))
    job = begun(life)
    if answered:
        record(life, job, accepted(life))
    life.edit("anna", next_at=NOW, status=Status.NEW)
    assert claim(life, polls=0).calls == []


def test_an_enrollment_whose_turn_never_came_is_claimed_again(life: Life) -> None:
    life.register(wanted("anna"))
    job = only(claim(life))
    assert life.tasks("anna") == []
    assert claim(life, NOW + LONGEST_CALL, under_way=[job]).calls == []
    assert names(claim(life, NOW + LONGEST_CALL)) == ["anna"]
    assert life.worklist.intend(job, now=NOW + LONGEST_CALL, policy=life.policy).task_pk is not None


def test_of_two_turns_of_one_enrollment_the_second_is_withdrawn(life: Life) -> None:
    life.register(wanted("anna"))
    jobs = [only(claim(life, NOW)), only(claim(life, NOW + LONGEST_CALL))]
    life.worklist.intend(jobs[0], now=NOW, policy=life.policy)
    with pytest.raises(Withdrawn, match="the enrollment of anna is not wanted any more"):
        life.worklist.intend(jobs[1], now=NOW, policy=life.policy)
    assert len(life.tasks("anna")) == 1


@pytest.mark.parametrize("how", ["pause", "remove", "make known"])
def test_an_enrollment_that_is_not_wanted_any_more_is_withdrawn(life: Life, how: str) -> None:
    life.register(wanted("anna"))
    job = only(claim(life))
    if how == "pause":
        life.registry.pause("anna", now=NOW)
    elif how == "remove":
        life.registry.remove("anna", now=NOW)
    else:
        life.edit("anna", status=Status.UNKNOWN)
    with pytest.raises(Withdrawn):
        life.worklist.intend(job, now=NOW, policy=life.policy)
    assert life.rows(Task) == []


@pytest.mark.parametrize("status", [Status.UNKNOWN, Status.FAILED, Status.DEPLOYING])
def test_only_a_new_voice_is_enrolled(life: Life, status: Status) -> None:
    life.register(wanted("anna"))
    life.edit("anna", status=status)
    assert claim(life).calls == []


# polls


def running(life: Life, name: str, now: datetime = NOW) -> Job:
    """Bring a due voice's call to where it is polled."""
    life.register(imported(name))
    job = only(claim(life, now, polls=0))
    record(life, job, accepted(life, f"task-{name}", now), now)
    return job


def test_a_running_task_is_asked_for_at_its_time(life: Life) -> None:
    running(life, "anna")
    first = life.policy.speech_first
    assert claim(life, NOW + first - SECOND).polls == []
    (poll,) = claim(life, NOW + first).polls
    assert (poll.task_id, poll.name, poll.kind) == ("task-anna", "anna", Kind.KEEPALIVE)
    assert claim(life, NOW + first, under_way=[poll]).polls == []
    assert claim(life, NOW + first).polls[0].task_id == "task-anna"


def test_a_poll_that_only_a_wrong_clock_can_have_set_is_made_now(life: Life) -> None:
    job = running(life, "anna")
    with life.database.writing() as session:
        task = session.get_one(Task, job.task_pk)
        task.next_poll_at = NOW + 30 * DAY
    assert [poll.name for poll in claim(life).polls] == ["anna"]


def test_a_voice_is_asked_for_first_and_spoken_with_later(life: Life) -> None:
    job = running(life, "anna")
    later = NOW + 2 * DAY
    life.edit("anna", next_at=later)
    claims = claim(life, later)
    assert [poll.task_pk for poll in claims.polls] == [job.task_pk]
    assert claims.calls == []
    assert claim(life, later, polls=0).calls == []  # nor as long as the answer is not there
    record(life, claims.polls[0], reported(life, Report("processing"), later), later)


def test_a_voice_whose_task_does_not_end_is_used_once_more(life: Life) -> None:
    running(life, "anna")
    patience = life.voice("anna").next_at
    assert patience is not None
    assert patience - NOW == HOUR
    now = NOW
    while not (claims := claim(life, now)).calls and now < patience + HOUR:
        for poll in claims.polls:
            record(life, poll, reported(life, Report("processing"), now), now)
        now += MINUTE
    assert names(claims) == ["anna"]
    assert patience <= now < patience + 5 * MINUTE


def test_the_most_urgent_voices_tasks_are_asked_for_first(life: Life) -> None:
    for n, name in enumerate(("young", "old", "middle")):
        running(life, name)
        life.edit(name, anchored_at=NOW - [1, 3, 2][n] * DAY)
    claims = claim(life, NOW + MINUTE, calls=0, polls=2)
    assert [poll.name for poll in claims.polls] == ["old", "middle"]
    assert claims.more_polls


def test_tasks_of_voices_past_saving_are_asked_for_last(life: Life) -> None:
    for name, used in (("late", 8 * DAY), ("urgent", 6 * DAY)):
        running(life, name)
        life.edit(name, anchored_at=NOW - used)
    claims = claim(life, NOW + MINUTE, calls=0, polls=1)
    assert [poll.name for poll in claims.polls] == ["urgent"]


def test_the_next_poll_is_told_and_none_when_nothing_runs(life: Life) -> None:
    ask = partial(life.worklist.next_poll_in, policy=life.policy)
    assert ask(now=NOW) is None
    running(life, "anna")
    assert ask(now=NOW) == life.policy.speech_first
    assert ask(now=NOW + DAY) == timedelta(milliseconds=50)
    life.put(Breaker(model=FLASH, opened_at=NOW, probe_at=NOW))
    assert ask(now=NOW) is None


def test_the_outlook_counts_what_is_kept(life: Life) -> None:
    life.register(imported("a", last_used_at=NOW), imported("b"), imported("c", paused=True))
    life.edit("b", status=Status.LOST, next_at=None)
    outlook = life.worklist.outlook()
    assert (outlook.kept, outlook.next_at) == (1, life.voice("a").next_at)


# the breaker


def test_an_account_fault_stops_all_claims_of_its_model_but_a_control_call(life: Life) -> None:
    life.register(imported("anna"), imported("berta"))
    life.registry.register(
        [imported("plus", model="cosyvoice-3-plus")], now=NOW, policy=life.policy
    )
    anna, *_ = claim(life, calls=1).calls
    assert record(life, anna, refused(life, NO_MONEY)) == ["keepalive.failed", "upstream.blocked"]
    plus = only(claim(life))
    assert plus.name == "plus"
    (breaker,) = life.rows(Breaker, col(Breaker.model) == FLASH)
    assert (breaker.opened_at, breaker.cause) == (NOW, "insufficient balance")
    assert 22 * SECOND <= breaker.probe_at - NOW <= 40 * SECOND
    probe = only(claim(life, breaker.probe_at, under_way=[plus]))
    assert (probe.kind, probe.spoken, probe.name) == (Kind.CONTROL, CONTROL_VOICE, FLASH)
    assert claim(life, breaker.probe_at, under_way=[plus]).calls == []


def test_an_open_breaker_makes_no_control_call_when_nothing_waits(life: Life) -> None:
    life.register(imported("anna", last_used_at=NOW))
    life.put(Breaker(model=FLASH, opened_at=NOW, probe_at=NOW))
    assert claim(life, NOW + HOUR).calls == []
    assert life.rows(Task) == []
    later = NOW + 3 * DAY
    assert [job.kind for job in claim(life, later).calls] == [Kind.CONTROL]


def test_a_control_call_that_succeeds_lets_calls_flow_again(life: Life) -> None:
    life.register(imported("anna"))
    life.put(Breaker(model=FLASH, opened_at=NOW - HOUR, probe_at=NOW, cause="402"))
    probe = only(claim(life))
    assert record(life, probe, accepted(life)) == ["control.submitted"]
    (poll,) = claim(life, NOW + 20 * SECOND).polls
    assert record(life, poll, reported(life, SUCCESS)) == [
        "control.succeeded",
        "upstream.recovered",
    ]
    (breaker,) = life.rows(Breaker)
    assert (breaker.opened_at, breaker.run, breaker.probe_at) == (None, 0, None)
    assert names(claim(life)) == ["anna"]


def test_while_calls_pause_no_task_is_asked_for_but_the_probes(life: Life) -> None:
    running(life, "anna")
    life.put(Breaker(model=FLASH, opened_at=NOW, probe_at=NOW + DAY))
    assert claim(life, NOW + MINUTE).polls == []


def test_a_control_call_that_never_ended_makes_way_for_the_next(life: Life) -> None:
    life.register(imported("anna"))
    life.put(Breaker(model=FLASH, opened_at=NOW - HOUR, probe_at=NOW))
    first = only(claim(life))
    record(life, first, accepted(life))
    (breaker,) = life.rows(Breaker)
    second = only(claim(life, breaker.probe_at, polls=0))
    states = {task.id: task.state for task in life.rows(Task)}
    assert states == {first.task_pk: TaskState.UNKNOWN, second.task_pk: TaskState.INTENT}
    assert record(life, first, reported(life, SUCCESS)) == []


def test_a_run_of_faults_of_different_voices_opens_the_breaker(life: Life) -> None:
    life.register(*(imported(f"v{n}") for n in range(6)))
    jobs = claim(life).calls
    for job in jobs[:4]:
        assert record(life, job, refused(life, TROUBLE)) == ["keepalive.failed"]
    assert record(life, jobs[4], refused(life, TROUBLE)) == ["keepalive.failed", "upstream.blocked"]
    assert record(life, jobs[5], refused(life, TROUBLE)) == ["keepalive.failed"]


def test_a_suspects_history_and_log_tell_of_the_control_call_that_worked(life: Life) -> None:
    life.register(imported("anna"), imported("berta", last_used_at=NOW))
    record(life, only(claim(life)), refused(life, BLAMED))
    test = only(claim(life))
    record(life, test, accepted(life))
    (poll,) = claim(life, NOW + 20 * SECOND).polls
    (lines,) = life.worklist.record([Answer(poll, reported(life, SUCCESS), NOW, life.policy)])
    assert [(line.event, line.fields.get("name")) for line in lines] == [
        ("control.succeeded", None),
        ("control.succeeded", "anna"),
    ]
    entry = life.registry.history("anna")[-1]
    assert (entry.event, entry.level, entry.logged) == ("control.succeeded", "info", True)
    assert entry.detail == {"task_id": poll.task_id, "spoken": "id-berta"}
    assert "control.succeeded" not in life.events("berta")


def test_where_a_model_has_no_built_in_voice_another_that_is_ok_is_the_control(
    life: Life,
) -> None:
    model = "cosyvoice-3-plus"
    fleet = [imported(n, model=model) for n in ("anna", "berta", "clara")]
    life.registry.register(fleet, now=NOW, policy=life.policy)
    life.edit("berta", status=Status.OK, next_at=NOW + DAY)
    life.edit("clara", next_at=NOW + DAY)
    record(life, only(claim(life)), refused(life, BLAMED))
    test = only(claim(life))
    assert (test.kind, test.model, test.spoken) == (Kind.CONTROL, model, "id-berta")


def test_where_no_voice_can_be_the_control_nothing_else_changes(life: Life) -> None:
    model = "cosyvoice-3-plus"
    life.registry.register([imported("anna", model=model)], now=NOW, policy=life.policy)
    record(life, only(claim(life)), refused(life, BLAMED))
    assert claim(life).calls == []
    assert [breaker.run for breaker in life.rows(Breaker)] in ([], [0])
    assert life.voice("anna").controlled_at is None


# what an answer changes


@pytest.mark.parametrize("again", [False, True])
def test_an_answer_for_a_removed_voice_changes_nothing(life: Life, *, again: bool) -> None:
    life.register(imported("anna"))
    job = only(claim(life))
    life.registry.remove("anna", now=NOW)
    if again:
        voices = [imported("anna")]
        life.registry.register(voices, now=NOW, policy=life.policy)
        claim(life)
    before = (life.rows(Voice), life.rows(Task), life.rows(HistoryEntry))
    assert record(life, job, reported(life, SUCCESS)) == []
    assert (life.rows(Voice), life.rows(Task), life.rows(HistoryEntry)) == before


def test_a_voice_paused_while_its_call_is_under_way_stays_paused(life: Life) -> None:
    life.register(imported("anna"))
    job = only(claim(life))
    life.registry.pause("anna", now=NOW)
    record(life, job, accepted(life))
    assert life.voice("anna").next_at is None
    (poll,) = claim(life, NOW + MINUTE).polls
    record(life, poll, reported(life, SUCCESS))
    anna = life.voice("anna")
    assert (anna.status, anna.next_at, anna.paused) == (Status.OK, None, True)


def test_the_old_voices_late_answer_says_nothing_of_the_new_one(life: Life) -> None:
    life.register(wanted("anna"))
    life.edit("anna", status=Status.LOST, voice_id="old")
    life.registry.keep("anna", now=NOW)
    job = only(claim(life))
    life.registry.retry("anna", now=NOW)
    record(life, job, reported(life, SUCCESS))
    anna = life.voice("anna")
    assert (anna.status, anna.voice_id, anna.last_used_at) == (Status.NEW, None, None)


@pytest.mark.parametrize("voice_status", ["OK", "DEPLOYING"])
def test_a_voice_id_that_another_voice_has_is_not_taken_and_stops_nothing(
    life: Life, voice_status: str
) -> None:
    life.register(wanted("anna"), imported("berta", last_used_at=NOW))
    job = begun(life)
    report = Report("success", voice_id="id-berta", voice_status=voice_status)
    record(life, job, reported(life, report))
    anna = life.voice("anna")
    assert (anna.status, anna.voice_id, anna.next_at) == (Status.FAILED, None, None)
    assert "which another voice has" in (anna.last_error or "")
    *_, failed, changed = life.registry.history("anna")
    assert failed.event == "enrollment.failed"
    assert changed.detail == {"from": "NEW", "to": "FAILED"}


def test_what_a_command_wrote_is_logged_once(life: Life) -> None:
    life.register(imported("anna", last_used_at=NOW), imported("berta", last_used_at=NOW))
    life.registry.pause("berta", now=NOW + SECOND)
    lines = claim(life).lines
    assert [(line.event, line.level, line.fields["name"]) for line in lines] == [
        ("voice.registered", "info", "anna"),
        ("voice.registered", "info", "berta"),
        ("voice.paused", "info", "berta"),
    ]
    assert lines[2].fields == {
        "name": "berta",
        "voice_id": "id-berta",
        "at": "2026-05-01T12:00:01Z",
    }
    assert claim(life).lines == []


def test_what_a_command_forgot_is_logged_once_and_leaves_nothing_behind(life: Life) -> None:
    life.register(imported("anna"), wanted("berta"))
    claim(life)
    life.registry.remove("anna", now=NOW)
    life.registry.register([imported("anna")], now=NOW + SECOND, policy=life.policy)
    removed, registered = claim(life, NOW + MINUTE).lines
    assert (removed.event, removed.level) == ("voice.removed", "info")
    assert removed.fields == {
        "name": "anna",
        "voice_id": "id-anna",
        "at": "2026-05-01T12:00:00Z",
        "status": "NEW",
    }
    assert (registered.event, registered.fields["name"]) == ("voice.registered", "anna")
    assert claim(life, NOW + 2 * MINUTE).lines == []
    assert life.rows(Removal) == []


def test_a_great_import_is_logged_over_some_passes_and_each_voice_once(life: Life) -> None:
    life.registry.register(
        [imported(f"v{n}", last_used_at=NOW) for n in range(2500)], now=NOW, policy=life.policy
    )
    told: list[str] = []
    while lines := claim(life).lines:
        told += [line.fields["name"] for line in lines]
    assert sorted(told) == sorted(f"v{n}" for n in range(2500))


# after a crash


@pytest.mark.sqlite_only
def test_a_keepalive_that_may_have_been_sent_is_due_again(life: Life) -> None:
    life.register(imported("anna"))
    job = only(claim(life))
    later = NOW + SECOND
    take_over(life, later)
    (task,) = life.tasks("anna")
    assert (task.state, task.code) == (TaskState.UNKNOWN, "interrupted")
    assert life.voice("anna").next_at == later
    assert names(claim(life, later)) == ["anna"]
    record(life, job, refused(life, TROUBLE), later)
    assert life.voice("anna").failures == 0  # the newer call has the say


@pytest.mark.sqlite_only
def test_an_enrollment_that_may_have_been_sent_waits_for_the_users_word(life: Life) -> None:
    life.register(wanted("anna"))
    begun(life)
    take_over(life, NOW + SECOND)
    anna = life.voice("anna")
    assert (anna.status, anna.next_at) == (Status.UNKNOWN, None)
    claims = claim(life, NOW + 30 * DAY)
    assert claims.calls == []
    assert [(line.event, line.level) for line in claims.lines] == [
        ("enrollment.failed", "warning"),
        ("voice.status_changed", "warning"),
    ]
    assert life.events("anna")[-2:] == ["enrollment.failed", "voice.status_changed"]
    life.registry.retry("anna", now=NOW + DAY)
    assert only(claim(life, NOW + DAY)).recipe == CLONE


def test_a_young_task_keeps_the_pages_pace_over_a_restart(life: Life) -> None:
    running(life, "anna")
    take_over(life, NOW + SECOND)
    (task,) = life.tasks("anna")
    assert task.next_poll_at == NOW + life.policy.speech_first


@pytest.mark.sqlite_only
def test_a_control_call_that_may_have_been_sent_is_settled(life: Life) -> None:
    life.register(imported("anna"))
    life.put(Breaker(model=FLASH, opened_at=NOW - HOUR, probe_at=NOW))
    claim(life)
    take_over(life, NOW + SECOND)
    assert [task.state for task in life.rows(Task)] == [TaskState.UNKNOWN]


@pytest.mark.sqlite_only
def test_a_start_takes_the_place_of_the_keeper_before_it(life: Life) -> None:
    claim(life)
    take_over(life, NOW + HOUR)
    (active,) = life.rows(Active)
    assert (active.keeper, active.started_at, active.last_pass_at, active.epoch) == (
        "2@here",
        NOW + HOUR,
        None,
        2,
    )


def plans_of_a_keepalive(life: Life) -> set[str]:
    """Return what SQLite does for each statement of the passes and answers of one keepalive."""
    life.register(imported("anna"))
    statements: list[str] = []
    with life.database.writing() as session:
        driver_of(session).set_trace_callback(statements.append)
    job = only(claim(life))
    record(life, job, accepted(life))
    (poll,) = claim(life, NOW + MINUTE).polls
    record(life, poll, reported(life, Report("success"), NOW + MINUTE), NOW + MINUTE)
    with life.database.writing() as session:
        driver_of(session).set_trace_callback(None)
        words = ("SELECT", "UPDATE", "WITH")
        return {
            row[3]
            for statement in statements
            if statement.startswith(words)
            for row in driver_of(session).execute(f"EXPLAIN QUERY PLAN {statement}")
        }


@pytest.mark.sqlite_only
def test_no_statement_of_a_pass_or_of_an_answer_reads_a_whole_table_or_all_of_a_voice(
    life: Life,
) -> None:
    """So that a voice costs the same in a fleet of a million, and after years."""
    plans = plans_of_a_keepalive(life)
    assert any("INDEX task_open_of_voice (voice_pk=?)" in plan for plan in plans)
    assert not any("INDEX task_by_voice (voice_pk=?)" in plan for plan in plans)
    assert any("INDEX voice_by_next_at" in plan for plan in plans)
    scans = {plan for plan in plans if plan.startswith("SCAN") and "INDEX" not in plan}
    assert not scans & {"SCAN voice", "SCAN task", "SCAN history", "SCAN alert"}


def test_a_lost_voice_that_speaks_again_has_the_others_looked_for_at_once(life: Life) -> None:
    """What was wrong when one was blamed, was wrong when the others were."""
    life.register(*map(imported, ("anna", "berta", "carla", "dora")))
    life.edit("anna", status=Status.LOST, next_at=NOW)
    life.edit("berta", status=Status.LOST, next_at=NOW + DAY)
    life.edit("carla", status=Status.LOST, next_at=None)  # given up
    life.edit("dora", status=Status.OK, next_at=NOW + DAY)
    record(life, only(claim(life)), accepted(life))
    (poll,) = claim(life, NOW + MINUTE).polls
    record(life, poll, reported(life, SUCCESS, NOW + MINUTE), NOW + MINUTE)
    due = {name: life.voice(name).next_at for name in ("berta", "carla", "dora")}
    assert due == {"berta": NOW + MINUTE, "carla": None, "dora": NOW + DAY}


@pytest.mark.parametrize(("fleet", "cleared"), [(("anna", "berta"), False), (("anna",), True)])
def test_a_built_in_probe_bears_witness_only_where_no_voice_of_ours_can(
    life: Life,
    fleet: tuple[str, ...],
    cleared: bool,  # noqa: FBT001 - a column of the table
) -> None:
    """A key of another account knows the built-in voices too."""
    life.register(*map(imported, fleet))
    for name in fleet:
        life.edit(name, status=Status.OK, anchored_at=NOW - DAY, suspected_at=NOW - MINUTE)
    life.put(Breaker(model=FLASH, opened_at=NOW - HOUR, probe_at=NOW))
    probe = only(claim(life))
    assert probe.spoken == CONTROL_VOICE
    record(life, probe, accepted(life))
    (poll,) = claim(life, NOW + 20 * SECOND).polls
    record(life, poll, reported(life, SUCCESS))
    assert all((life.voice(name).controlled_at is not None) is cleared for name in fleet)
    (breaker,) = life.rows(Breaker)
    assert breaker.opened_at is None  # the route works, whosever it is


@pytest.mark.sqlite_only
def test_a_clock_that_was_set_back_makes_every_task_due_also_one_that_a_start_hurries(
    tmp_path: Path,
) -> None:
    life = Life(tmp_path, give_up=2 * HOUR)
    late = NOW + 65 * MINUTE
    life.register(imported("anna"))
    take_over(life, late)
    job = only(claim(life, late))
    record(life, job, accepted(life, now=late), late)
    with life.database.writing() as session:
        session.execute(sa.update(Task).values(next_poll_at=late + 20 * MINUTE))
        session.execute(sa.update(Active).values(last_pass_at=late))
    take_over(life, NOW)
    assert [job.task_id for job in claim(life, NOW).polls] == ["task_1"]


@pytest.mark.sqlite_only
@pytest.mark.parametrize(
    "answer",
    [
        lambda life: reported(life, SUCCESS),
        lambda life: refused(life, BLAMED),
        accepted,
    ],
)
def test_a_change_and_its_history_commit_together_or_not_at_all(
    life: Life, answer: Callable[[Life], Rule]
) -> None:
    life.register(imported("anna"))
    job = only(claim(life))
    with life.database.writing() as session:
        session.execute(
            sa.text(
                "CREATE TRIGGER broken BEFORE INSERT ON history"
                " BEGIN SELECT RAISE(ABORT, 'no room for history'); END"
            )
        )
    before = (life.voice("anna"), life.tasks("anna"))
    with pytest.raises(IntegrityError, match="no room for history"):
        record(life, job, answer(life))
    assert (life.voice("anna"), life.tasks("anna")) == before
    with life.database.writing() as session:
        session.execute(sa.text("DROP TRIGGER broken"))
    assert record(life, job, answer(life)) != []
    assert (life.voice("anna"), life.tasks("anna")) != before


def test_a_voice_given_up_speaks_again_when_a_person_asks(life: Life) -> None:
    life.register(imported("anna"))
    life.edit("anna", status=Status.LOST, next_at=None)
    life.registry.keep("anna", now=NOW)
    job = only(claim(life))
    record(life, job, reported(life, SUCCESS))
    assert life.voice("anna").status is Status.OK


def test_a_voice_whose_task_waits_for_room_to_be_asked_for_waits_too(life: Life) -> None:
    running(life, "anna")
    later = NOW + 2 * DAY
    life.edit("anna", next_at=later)
    claims = claim(life, later, polls=0)
    assert (claims.calls, claims.polls) == ([], [])


def test_an_accepted_enrollment_is_asked_for_and_never_repeated(life: Life) -> None:
    life.register(wanted("anna"))
    record(life, begun(life), accepted(life))
    take_over(life, NOW + DAY)
    claims = claim(life, NOW + DAY)
    assert [poll.task_id for poll in claims.polls] == ["task_1"]
    assert claims.calls == []


def test_an_answer_for_a_settled_task_changes_nothing(life: Life) -> None:
    life.register(imported("anna"))
    job = only(claim(life))
    record(life, job, reported(life, SUCCESS))
    before = life.voice("anna")
    assert record(life, job, refused(life, BLAMED, NOW + HOUR), NOW + HOUR) == []
    assert life.voice("anna") == before
    assert life.events("anna").count("keepalive.failed") == 0


@pytest.mark.sqlite_only
def test_an_enrollment_claimed_and_never_begun_is_due_after_a_crash(life: Life) -> None:
    life.register(wanted("anna"))
    claim(life)
    take_over(life, NOW + SECOND)
    assert life.voice("anna").status is Status.NEW
    assert names(claim(life, NOW + SECOND)) == ["anna"]


def test_every_voice_alive_after_a_long_outage_is_saved(life: Life) -> None:
    """A 25th of 10,000 voices after 156 h, at a 25th of 10 calls a minute."""
    fleet, outage = 400, timedelta(hours=156)
    voices = [
        imported(f"v{n}", last_used_at=NOW - outage - n * 3 * DAY / fleet) for n in range(fleet)
    ]
    life.registry.register(voices, now=NOW, policy=life.policy)
    ends = {v.name: v.last_used_at + life.policy.window for v in voices if v.last_used_at}
    alive = {name for name, end in ends.items() if end > NOW}
    assert 60 < len(alive) < 80
    now = NOW
    for _ in range(len(alive)):
        job = only(claim(life, now, calls=1))
        assert now < ends[job.name]
        alive.remove(job.name)
        record(life, job, reported(life, SUCCESS, now), now)
        now += 2.5 * MINUTE
    assert alive == set()


def test_faults_between_calls_that_are_accepted_are_no_run_though_none_has_ended(
    life: Life,
) -> None:
    life.register(*(imported(f"v{n:02}") for n in range(30)))
    jobs = claim(life, calls=30).calls
    assert len(jobs) == 30
    for place, job in enumerate(jobs[:20]):
        answer = accepted(life, f"task_{place}") if place % 3 == 0 else refused(life, TROUBLE)
        assert "upstream.blocked" not in record(life, job, answer)
    told = [record(life, job, refused(life, TROUBLE)) for job in jobs[20:]]
    assert [lines[1:] for lines in told].index(["upstream.blocked"]) <= 3  # now it takes none


def test_tasks_that_the_gateway_accepts_and_fails_are_a_run(life: Life) -> None:
    life.register(*(imported(f"v{n}") for n in range(6)))
    jobs = claim(life, calls=6).calls
    for place, job in enumerate(jobs):
        record(life, job, accepted(life, f"task_{place}"))
    later = NOW + 20 * SECOND
    failure = Report("failed", fail_code="GENERATION_FAILED")
    told = [
        record(life, poll, reported(life, failure, later), later)
        for poll in claim(life, later).polls
    ]
    assert ["upstream.blocked" in lines for lines in told] == [False] * 4 + [True, False]


def test_the_intent_of_a_call_is_written_before_it_is_handed_out(life: Life) -> None:
    life.register(imported("anna"))
    job = only(claim(life))
    (task,) = life.tasks("anna")
    assert (task.id, task.state, task.sent_at, task.spoken) == (
        job.task_pk,
        TaskState.INTENT,
        NOW,
        "id-anna",
    )
