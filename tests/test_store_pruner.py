"""What is older than the history is kept goes; what a rule, or a sum, still needs stays."""

import asyncio
import threading
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlmodel import SQLModel

from tests.support import DAY, HOUR, MINUTE, NOW, SECOND, Life, imported, policy, wanted
from voicekeeper.core.costs import Spent
from voicekeeper.core.models import (
    Alert,
    AlertKind,
    HistoryEntry,
    Kind,
    Origin,
    Past,
    Status,
    Task,
    TaskState,
    Voice,
)
from voicekeeper.core.requests import FLASH
from voicekeeper.errors import DatabaseFull
from voicekeeper.store import pruner
from voicekeeper.store.pruner import Pruned
from voicekeeper.store.worklist import Worklist

pytestmark = pytest.mark.usefixtures("each_database")

MONTH = 30 * DAY
OLD = NOW - MONTH - SECOND
"""Just older than what is kept, where a voice is used now."""
TINY = timedelta(microseconds=1)


@pytest.fixture
def life(tmp_path: Path) -> Life:
    """A life of which a month is kept, with a voice whose beginning is long gone."""
    life = Life(tmp_path, keep_history=MONTH)
    life.register(imported("anna", last_used_at=NOW))
    with life.database.writing() as session:
        session.execute(sa.delete(HistoryEntry))
    return life


def add(life: Life, *rows: SQLModel) -> None:
    with life.database.writing() as session:
        session.add_all(rows)


def edit(life: Life, name: str, **columns: object) -> None:
    with life.database.writing() as session:
        session.execute(sa.update(Voice).where(Voice.name == name).values(**columns))  # type: ignore[arg-type]


def event(at: datetime, voice_pk: int = 1, **columns: Any) -> HistoryEntry:  # noqa: ANN401
    return HistoryEntry(
        voice_pk=voice_pk, at=at, event="keepalive.succeeded", level="info", **columns
    )


def call(sent_at: datetime, **columns: Any) -> Task:  # noqa: ANN401 - any column
    usual: dict[str, Any] = {
        "voice_pk": 1,
        "kind": Kind.KEEPALIVE,
        "state": TaskState.SUCCESS,
        "model": FLASH,
    }
    return Task(sent_at=sent_at, **(usual | columns))


def alert(since: datetime, **columns: Any) -> Alert:  # noqa: ANN401 - any column
    usual: dict[str, Any] = {
        "voice_pk": 1,
        "kind": AlertKind.LOST,
        "model": FLASH,
        "level": "error",
        "cause": ".",
    }
    return Alert(since=since, **(usual | {"ended_at": since} | columns))


def prune(life: Life, now: datetime = NOW, worklist: Worklist | None = None) -> Pruned:
    """Delete all that is to go; return how much it was."""
    pruned = Pruned(more=True)
    while pruned.more:
        pruned += (worklist or life.worklist).prune(now=now, policy=life.policy)
    return pruned


def times(life: Life, table: type[HistoryEntry] | type[Task]) -> list[datetime]:
    column = "at" if table is HistoryEntry else "sent_at"
    return [getattr(row, column) for row in life.rows(table)]


def kept(life: Life, table: type[SQLModel]) -> int:
    return len(life.rows(table))


# what goes


def test_a_life_of_months_keeps_its_last_one(life: Life) -> None:
    life.live(100 * DAY)
    last = life.voice("anna").last_used_at
    assert last is not None
    late = life.policy.prunes_every + life.policy.interval
    assert min(times(life, HistoryEntry)) >= last - MONTH - late
    assert min(times(life, Task)) >= last - MONTH - late
    assert 8 <= kept(life, Task) <= 14
    told = life.log.of("history.pruned")
    assert sum(line["calls"] for line in told) + kept(life, Task) == life.books().speech
    assert life.alive() == {"id-anna"}


def test_what_is_just_as_old_as_is_kept_stays(life: Life) -> None:
    add(life, *(event(NOW - MONTH + by) for by in (-TINY, TINY * 0, TINY)))
    add(life, *(call(NOW - MONTH + by) for by in (-TINY, TINY * 0, TINY)))
    assert prune(life) == Pruned(events=1, calls=1)
    assert times(life, HistoryEntry) == [NOW - MONTH, NOW - MONTH + TINY]
    assert times(life, Task) == [NOW - MONTH, NOW - MONTH + TINY]


def test_as_it_comes_a_year_is_kept(life: Life) -> None:
    life.policy = policy()
    add(life, event(NOW - 365 * DAY - TINY), event(NOW - 365 * DAY))
    assert prune(life).events == 1


def test_for_ever_means_for_ever(life: Life) -> None:
    life.policy = policy(keep_history=None)
    add(life, event(NOW - 9_000 * DAY), call(NOW - 9_000 * DAY), call(NOW))
    life.live(DAY)
    assert (kept(life, Task), life.log.of("history.pruned")) == (2, [])


def test_control_calls_and_what_ended_long_ago_go_too(life: Life) -> None:
    add(life, call(OLD, voice_pk=None, kind=Kind.CONTROL, state=TaskState.UNKNOWN))
    add(life, alert(OLD), alert(OLD, voice_pk=None, kind=AlertKind.BLOCKED))
    assert prune(life) == Pruned(calls=1, alerts=2)


# what stays


def test_what_a_voice_has_cost_stays_when_its_calls_go(life: Life) -> None:
    lost = {"state": TaskState.UNKNOWN, "possible_cost_micros": 60}
    add(life, call(OLD, cost_micros=60), call(OLD, cost_micros=60), call(OLD, **lost), call(NOW))
    before = life.registry.spent(life.voice("anna"))
    assert prune(life).calls == 3
    assert before == life.registry.spent(life.voice("anna")) == Spent(120, 60)
    add(life, call(NOW + DAY, cost_micros=60), call(NOW + 2 * DAY))
    edit(life, "anna", last_used_at=NOW + 99 * DAY)
    assert prune(life, NOW + 99 * DAY).calls == 2  # with a second sum beside the first
    assert life.registry.spent(life.voice("anna")) == Spent(180, 60)


def test_months_of_pruning_change_no_sum(life: Life) -> None:
    life.register(wanted("berta", Origin.DESIGN))
    life.live(100 * DAY)
    books = life.books()
    now = life.clock.now()
    each = [life.registry.spent(life.voice(name)).certain for name in ("anna", "berta")]
    assert sum(each) == life.registry.totals(now=now).ever.certain == books.cost_micros
    assert kept(life, Task) < books.speech


def test_a_past_goes_with_its_voice(life: Life) -> None:
    add(life, call(OLD, cost_micros=60), call(NOW))
    prune(life)
    assert kept(life, Past) == 1
    life.registry.remove("anna", now=NOW)
    assert kept(life, Past) == 0


def test_clones_and_designs_stay_or_a_registry_put_back_could_not_tell_what_was_paid(
    life: Life,
) -> None:
    add(life, *(call(OLD, kind=kind) for kind in (Kind.CLONE, Kind.DESIGN)), call(NOW))
    assert prune(life).calls == 0


def test_the_newest_keepalive_of_a_voice_stays(life: Life) -> None:
    life.register(imported("berta", last_used_at=OLD, paused=True))
    add(life, call(OLD), call(OLD))
    add(life, call(OLD - DAY, voice_pk=2), call(OLD, voice_pk=2, state=TaskState.FAILED))
    add(life, call(NOW))
    assert prune(life).calls == 3
    assert [task.sent_at for task in life.tasks("berta")] == [OLD]


@pytest.mark.parametrize("state", [TaskState.INTENT, TaskState.RUNNING])
def test_an_open_call_stays_and_so_does_the_newer_one_that_has_the_say(
    life: Life, state: TaskState
) -> None:
    polled = {"task_id": "t", "next_poll_at": NOW} if state is TaskState.RUNNING else {}
    add(life, call(OLD, state=state, **polled), call(OLD))
    assert prune(life).calls == 0


def test_what_the_log_was_not_told_stays(life: Life) -> None:
    add(life, event(OLD, logged=False))
    assert prune(life).events == 0


@pytest.mark.parametrize(
    "columns",
    [
        {"ended_at": None, "tell_at": NOW},
        {"tell_at": NOW},
        {"send_at": NOW},
        {"ended_at": NOW},
    ],
)
def test_an_alert_that_goes_on_or_is_to_be_told_stays(
    life: Life, columns: dict[str, object]
) -> None:
    add(life, alert(OLD, **columns))
    assert prune(life).alerts == 0


def test_the_losses_of_the_week_stay_for_the_digest_however_little_is_kept(life: Life) -> None:
    life.policy = policy(window=MINUTE, interval=20 * SECOND, keep_history=MINUTE)
    add(life, alert(NOW - HOUR), alert(NOW - 8 * DAY), alert(NOW - HOUR, kind=AlertKind.RISK))
    assert prune(life).alerts == 2


# clocks that are wrong


def test_a_clock_that_is_years_ahead_makes_nothing_old(life: Life) -> None:
    life.live(20 * DAY)
    before = kept(life, HistoryEntry)
    life.clock.wrong_by = 3_000 * DAY
    life.live(5 * DAY)
    life.clock.wrong_by = timedelta(0)
    life.live(DAY)
    assert life.log.of("history.pruned") == []
    assert kept(life, HistoryEntry) > before


def test_what_a_wrong_clock_dated_ahead_is_passed_over(life: Life) -> None:
    ahead = [event(NOW + 9_000 * DAY) for _ in range(pruner.MOST * 2)]
    add(life, *ahead, event(OLD))
    life.live(MINUTE)
    assert life.log.of("history.pruned") == [{"events": 1, "calls": 0, "alerts": 0}]
    assert kept(life, HistoryEntry) >= len(ahead)


# in short steps


def test_a_step_looks_at_few_rows_and_between_two_a_pass_has_its_turn(life: Life) -> None:
    add(life, *(event(OLD) for _ in range(pruner.MOST * 12)))
    edit(life, "anna", last_used_at=NOW + DAY)
    life.clock.advance(2 * DAY)
    now = life.clock.now()
    assert life.worklist.prune(now=now, policy=life.policy).events <= pruner.MOST
    turns = []

    async def offload(function: partial[Any]) -> object:
        await asyncio.sleep(0)
        turns.append(function.func.__name__)
        return function()

    async def beside() -> None:
        await life.keeper.take_over()
        life.keeper._offload = offload  # type: ignore[assignment]  # noqa: SLF001 - the thread's place
        await asyncio.gather(life.keeper.prune(), life.keeper.sweep())

    asyncio.run(beside())
    assert turns.index("claim") <= 2
    assert turns.count("prune") >= 11


@pytest.mark.parametrize("keeps", [MONTH, 365 * DAY])
def test_what_was_left_behind_is_found_within_a_day(life: Life, keeps: timedelta) -> None:
    life.policy, old = policy(keep_history=keeps), NOW - keeps - SECOND
    life.register(imported("berta", last_used_at=old, paused=True))
    add(life, call(old, voice_pk=2), call(NOW))
    assert prune(life).calls == 0  # it is the newest of its voice
    add(life, call(NOW, voice_pk=2))
    every = life.policy.prunes_every
    found = next(n for n in range(1, 99) if prune(life, NOW + n * every).calls)
    assert found == min(24, DAY // every)


def test_a_walk_stops_before_a_young_row_whatever_follows(life: Life) -> None:
    add(life, event(OLD), event(NOW), event(NOW + 9_000 * DAY), event(OLD))
    assert prune(life).events == 1
    later = NOW + 40 * DAY
    edit(life, "anna", last_used_at=later)
    assert prune(life, later).events == 2


def test_a_process_killed_between_two_steps_leaves_the_rest_to_the_next(life: Life) -> None:
    calls = [call(OLD, cost_micros=60) for _ in range(pruner.MOST * 3)]
    add(life, *calls, call(NOW))
    life.worklist.prune(now=NOW, policy=life.policy)
    assert len(calls) > kept(life, Task) > 1
    prune(life, worklist=Worklist(life.database))
    assert kept(life, Task) == 1
    assert life.registry.spent(life.voice("anna")) == Spent(60 * len(calls))


class FullDisk(Worklist):
    """A worklist whose disk has room for all but pruning."""

    def prune(self, **_: object) -> Pruned:
        raise DatabaseFull("the disk is full")


def test_a_disk_too_full_to_prune_stops_no_keepalive(life: Life) -> None:
    add(life, call(OLD), call(NOW - 10 * DAY))
    life.worklist = FullDisk(life.database)
    life.registry.keep("anna", now=NOW)
    life.live(MINUTE)
    assert life.books().speech == 1
    assert life.log.of("pass.failed") == [{"error": "the disk is full"}]  # and not at each pass
    life.worklist.leave(keeper="1@here")
    life.worklist = Worklist(life.database)
    life.live(MINUTE)
    assert life.log.of("history.pruned") == [{"events": 0, "calls": 1, "alerts": 0}]


def test_a_step_that_is_not_committed_leaves_the_walk_where_it_was(life: Life) -> None:
    add(life, call(OLD, cost_micros=-60), call(NOW))
    with pytest.raises(Exception, match="past_signs"):
        life.worklist.prune(now=NOW, policy=life.policy)
    assert kept(life, Task) == 2
    with life.database.writing() as session:
        session.execute(sa.update(Task).values(cost_micros=60))
    assert prune(life).calls == 1


def test_a_reload_that_keeps_less_is_heeded(life: Life) -> None:
    add(life, event(NOW - 20 * DAY))

    async def story() -> list[list[dict[str, Any]]]:
        told = []
        await life.keeper.take_over()
        for days in (30, 10):
            await life.keeper.adopt(policy(keep_history=days * DAY))
            await life.keeper.prune()
            told.append(life.log.of("history.pruned"))
        return told

    assert asyncio.run(story()) == [[], [{"events": 1, "calls": 0, "alerts": 0}]]


def test_a_run_once_prunes_to_the_end_however_much_there_is(life: Life) -> None:
    add(life, event(NOW), *(event(OLD) for _ in range(pruner.MOST * 12)))
    edit(life, "anna", last_used_at=NOW + DAY)
    now = NOW + 2 * DAY
    life.clock.advance(2 * DAY)

    async def once() -> None:
        await life.keeper.take_over(once=True)
        await life.one_pass()
        await life.keeper.prune()

    asyncio.run(once())
    assert all(at >= now - MONTH - 3 * DAY for at in times(life, HistoryEntry))


# several at once


def together(threads: Iterable[threading.Thread]) -> None:
    started = list(threads)
    for thread in started:
        thread.start()
    for thread in started:
        thread.join(60)
        assert not thread.is_alive()


def test_several_keepers_prune_each_call_once(life: Life) -> None:
    calls = [call(OLD, cost_micros=60) for _ in range(pruner.MOST * 4)]
    add(life, *calls, call(NOW))
    gone: list[int] = []

    def work() -> None:
        gone.append(prune(life, worklist=Worklist(life.database)).calls)

    together(threading.Thread(target=work) for _ in range(4))
    assert sum(gone) == len(calls)
    assert life.registry.spent(life.voice("anna")) == Spent(60 * len(calls))


def test_a_voice_can_be_removed_while_its_past_is_pruned(life: Life) -> None:
    names = [f"voice-{number}" for number in range(8)]
    life.register(*(imported(name, last_used_at=NOW) for name in names))
    for turn in range(pruner.MOST):
        pks = range(2, 10)
        add(life, *(call(OLD, voice_pk=pk, cost_micros=60) for pk in pks))
        add(life, *(event(OLD, voice_pk=pk) for pk in pks))
        if turn == 0:
            assert life.voice(names[0]).id == 2
    failed: list[Exception] = []

    def guarded(work: Any, *args: Any) -> None:  # noqa: ANN401 - any work
        try:
            work(*args)
        except Exception as error:  # noqa: BLE001 - told below
            failed.append(error)

    def remove() -> None:
        for name in names:
            life.registry.remove(name, now=NOW)

    together(
        [
            threading.Thread(target=guarded, args=(remove,)),
            *(
                threading.Thread(target=guarded, args=(prune, life, NOW, Worklist(life.database)))
                for _ in range(2)
            ),
        ]
    )
    assert failed == []
    assert [voice.name for voice in life.registry.all()] == ["anna"]
    assert (kept(life, Task), kept(life, Past)) == (0, 0)
    assert life.voice("anna").status is Status.NEW
