"""The day's budget at work: what it holds, until when, what it never holds, and under a race."""

from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from tests.support import DAY, HOUR, MINUTE, NOW, SECOND, Life, at_once, imported, wanted
from voicekeeper.core.costs import Spent
from voicekeeper.core.models import Kind, Origin, Status, Task, TaskState
from voicekeeper.errors import CallFailed, Withdrawn
from voicekeeper.store.jobs import Job

pytestmark = pytest.mark.usefixtures("each_database")

MIDNIGHT = datetime(2026, 5, 2, tzinfo=UTC)
LOST = CallFailed("no answer", ambiguous=True)


def clones(life: Life, count: int) -> None:
    """Register so many voices that are to be cloned, for 2,000 micros each."""
    life.register(*(wanted(f"clone-{n}", prefix=f"clone{n}") for n in range(count)))


def statuses(life: Life) -> list[Status]:
    return [voice.status for voice in life.registry.all()]


def claimed(life: Life) -> list[Job]:
    claims = life.worklist.claim(now=life.clock.now(), policy=life.policy, calls=100, polls=0)
    return list(claims.calls)


def begin(life: Life, job: Job) -> Job:
    return life.worklist.intend(job, now=life.clock.now(), policy=life.policy)


def test_what_the_day_allows_is_made_and_the_rest_the_day_after(tmp_path: Path) -> None:
    life = Life(tmp_path, enrollments_per_day=5_000)
    clones(life, 5)
    life.live(HOUR)
    assert statuses(life) == [Status.OK, Status.OK, Status.NEW, Status.NEW, Status.NEW]
    life.live(DAY)
    assert statuses(life) == [Status.OK] * 4 + [Status.NEW]
    life.live(DAY)
    assert statuses(life) == [Status.OK] * 5
    assert (life.books().clone, life.books().refused) == (5, {})


def test_a_held_voice_says_why_until_when_and_what_to_set(tmp_path: Path) -> None:
    life = Life(tmp_path, enrollments_per_day=2_000)
    clones(life, 2)
    life.live(HOUR)
    held = life.voice("clone-1")
    assert (held.status, held.next_at, held.failures) == (Status.NEW, MIDNIGHT, 0)
    assert "held until 2026-05-02T00:00:00Z: $0.002 of the day's budget" in (held.last_error or "")
    life.live(12 * HOUR)
    made = life.voice("clone-1")
    assert (made.status, made.held_at, made.last_error) == (Status.OK, None, None)


def test_a_hold_is_told_once_however_long_it_lasts_and_however_often_it_is_looked_at(
    tmp_path: Path,
) -> None:
    life = Life(tmp_path, enrollments_per_day=0, interval=HOUR, jitter=0 * HOUR)
    clones(life, 3)
    life.live(2 * DAY)
    life.live(2 * DAY)
    assert sorted(line["name"] for line in life.log.of("enrollment.held")) == [
        "clone-0",
        "clone-1",
        "clone-2",
    ]
    assert life.events("clone-0") == ["voice.registered", "enrollment.held"]
    assert {level for level, event, _ in life.log.lines if event == "enrollment.held"} == {30}
    assert life.upstream.calls == []


def test_keepalives_go_on_while_enrollments_are_held(tmp_path: Path) -> None:
    life = Life(tmp_path, enrollments_per_day=0)
    life.register(imported("anna", last_used_at=NOW - 3 * DAY))
    clones(life, 30)
    life.live(10 * DAY)
    assert life.voice("anna").status is Status.OK
    assert life.books().voices["id-anna"].uses == 4
    assert life.books().clone == 0


def test_an_enrollment_with_an_unknown_end_counts_as_spent(tmp_path: Path) -> None:
    life = Life(tmp_path, enrollments_per_day=3_000)
    clones(life, 2)
    life.upstream.trouble = lambda call: LOST if call.subject == "clone0" else None
    life.live(HOUR)
    assert statuses(life) == [Status.UNKNOWN, Status.NEW]
    assert life.registry.totals(now=life.clock.now()).today == Spent(0, 2_000)


def test_an_enrollment_that_was_refused_leaves_its_part_of_the_budget(tmp_path: Path) -> None:
    life = Life(tmp_path, enrollments_per_day=2_000)
    clones(life, 2)
    life.upstream.trouble = lambda call: (
        CallFailed("bad", code=400) if call.subject == "clone0" else None
    )
    life.live(HOUR)
    assert statuses(life) == [Status.FAILED, Status.OK]


def test_a_retry_obeys_the_budget(tmp_path: Path) -> None:
    life = Life(tmp_path, enrollments_per_day=2_000)
    clones(life, 1)
    life.upstream.trouble = lambda _: LOST
    life.live(HOUR)
    life.registry.retry("clone-0", now=life.clock.now())
    life.upstream.trouble = lambda _: None
    life.live(HOUR)
    assert life.voice("clone-0").status is Status.NEW
    assert life.voice("clone-0").held_at is not None
    life.live(DAY)
    assert life.voice("clone-0").status is Status.OK
    assert life.books().clone == 2


def test_to_remove_a_voice_gives_nothing_of_the_budget_back(tmp_path: Path) -> None:
    life = Life(tmp_path, enrollments_per_day=2_000)
    clones(life, 1)
    life.live(MINUTE)
    life.registry.remove("clone-0", now=life.clock.now())
    life.register(wanted("again", prefix="again"))
    life.live(HOUR)
    assert life.voice("again").held_at is not None


@pytest.mark.parametrize("before", [0, 2_000])
def test_a_raised_budget_holds_from_the_next_start_on(tmp_path: Path, before: int) -> None:
    life = Life(tmp_path, enrollments_per_day=before)
    clones(life, 2)
    life.live(HOUR)
    assert statuses(life)[1] is Status.NEW
    life.policy = Life(tmp_path, enrollments_per_day=4_000).policy
    life.live(MINUTE * 5)
    assert statuses(life) == [Status.OK, Status.OK]


def test_a_paused_voice_is_held_again_when_it_is_resumed(tmp_path: Path) -> None:
    life = Life(tmp_path, enrollments_per_day=0)
    clones(life, 1)
    life.live(MINUTE)
    life.registry.pause("clone-0", now=life.clock.now())
    life.registry.resume("clone-0", now=life.clock.now(), policy=life.policy)
    life.live(MINUTE)
    assert life.voice("clone-0").next_at is None
    assert len(life.log.of("enrollment.held")) == 1


def test_those_held_take_no_room_from_those_that_are_due(tmp_path: Path) -> None:
    life = Life(tmp_path, enrollments_per_day=0)
    clones(life, 10)
    life.register(imported("late", last_used_at=NOW - 8 * DAY))
    claims = life.worklist.claim(now=NOW, policy=life.policy, calls=1, polls=0)
    assert [job.name for job in claims.calls] == ["late"]
    assert [line.event for line in claims.lines].count("enrollment.held") == 10


def test_one_that_was_claimed_while_there_was_money_is_held_at_its_turn(tmp_path: Path) -> None:
    life = Life(tmp_path, enrollments_per_day=2_000)
    clones(life, 2)
    first, second = claimed(life)
    begin(life, first)
    with pytest.raises(Withdrawn, match="the enrollment of clone-1 is held until 2026-05-02"):
        begin(life, second)
    assert life.voice("clone-1").held_at == NOW
    assert [task.state for task in life.rows(Task)] == [TaskState.INTENT]
    life.clock.advance(SECOND)
    lines = life.worklist.claim(now=life.clock.now(), policy=life.policy, calls=0, polls=0).lines
    assert [line.event for line in lines if line.fields["name"] == "clone-1"] == ["enrollment.held"]


def test_of_many_at_once_no_more_pass_than_the_budget_allows(tmp_path: Path) -> None:
    life = Life(tmp_path, enrollments_per_day=3 * 2_000 + 1_999)
    clones(life, 8)
    errors = at_once(*(partial(begin, life, job) for job in claimed(life)))
    assert [type(error) for error in errors] == [Withdrawn] * 5
    assert len(life.rows(Task)) == 3
    assert sum(voice.held_at is not None for voice in life.registry.all()) == 5


def test_a_day_ends_at_midnight_utc_and_its_call_counts_on_the_day_it_was_sent(
    tmp_path: Path,
) -> None:
    life = Life(tmp_path, enrollments_per_day=2_000)
    life.clock.advance(12 * HOUR - 10 * SECOND)
    clones(life, 2)
    life.live(HOUR)
    assert [task.sent_at for task in life.rows(Task) if task.kind is Kind.CLONE] == [
        MIDNIGHT - 10 * SECOND,
        MIDNIGHT,
    ]


def test_health_counts_the_held_and_those_that_no_day_allows(tmp_path: Path) -> None:
    life = Life(tmp_path, enrollments_per_day=2_000)
    clones(life, 3)
    life.register(wanted("anna", Origin.DESIGN))
    life.live(HOUR)
    health = life.registry.health(now=life.clock.now(), policy=life.policy)
    assert (health.held, health.held_for_good, health.overdue) == (2, 1, 0)
    life.registry.pause("clone-2", now=life.clock.now())
    health = life.registry.health(now=life.clock.now(), policy=life.policy)
    assert (health.held, health.held_for_good) == (1, 1)


def test_a_design_dearer_than_the_whole_budget_is_never_begun_but_a_clone_is(
    tmp_path: Path,
) -> None:
    life = Life(tmp_path, enrollments_per_day=20_000)
    life.register(wanted("anna", Origin.DESIGN), wanted("bert"))
    life.live(5 * DAY)
    anna = life.voice("anna")
    assert (anna.status, anna.next_at) == (Status.NEW, None)
    assert (anna.last_error or "").startswith("never begun: a design costs $0.03")
    assert life.voice("bert").status is Status.OK
    assert life.books().design == 0


@pytest.mark.parametrize("deed", ["pause", "remove"])
def test_a_voice_that_is_held_can_be_paused_and_removed(tmp_path: Path, deed: str) -> None:
    life = Life(tmp_path, enrollments_per_day=0)
    clones(life, 1)
    life.live(MINUTE)
    if deed == "pause":
        life.registry.pause("clone-0", now=life.clock.now())
    else:
        life.registry.remove("clone-0", now=life.clock.now())
    life.live(2 * DAY)
    assert life.upstream.calls == []
    assert [voice.next_at for voice in life.registry.all()] == ([None] if deed == "pause" else [])
