"""Retention: rows older than is kept are deleted, and those a rule or a sum needs stay."""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

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
    Task,
    TaskState,
)
from voicekeeper.core.requests import FLASH
from voicekeeper.errors import DatabaseFull
from voicekeeper.store import retention
from voicekeeper.store.worklist import Worklist

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("each_database")]

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


def prune(life: Life, now: datetime = NOW, worklist: Worklist | None = None) -> Counter[str]:
    """Delete all that is to go; return how much it was."""
    pruned = Counter[str]()
    after: retention.Place | None = retention.BEGINNING
    while after is not None:
        deleted, after = (worklist or life.worklist).prune(after, now=now, policy=life.policy)
        pruned += deleted
    return pruned


def times(life: Life, table: type[HistoryEntry] | type[Task]) -> list[datetime]:
    column = "at" if table is HistoryEntry else "sent_at"
    return [getattr(row, column) for row in life.rows(table)]


def kept(life: Life, table: type[SQLModel]) -> int:
    return len(life.rows(table))


def test_a_life_of_months_keeps_its_last_one_and_changes_no_sum(life: Life) -> None:
    life.register(wanted("berta", Origin.DESIGN))
    life.live(100 * DAY)
    last, now = life.voice("anna").last_used_at, life.clock.now()
    assert last is not None
    late = life.policy.prunes_every + life.policy.interval
    assert min(times(life, HistoryEntry)) >= last - MONTH - late
    assert min(sent_at for sent_at in times(life, Task) if sent_at > NOW + DAY) >= (
        last - MONTH - late
    )
    told = life.log.of("history.pruned")
    books = life.books()
    assert sum(line["calls"] for line in told) + kept(life, Task) == books.speech + 1
    each = [life.registry.spent(life.voice(name)).certain for name in ("anna", "berta")]
    assert sum(each) == life.registry.totals(now=now).ever.certain == books.cost_micros
    assert len(life.alive()) == 2


@pytest.mark.parametrize(
    ("settings", "keeps"),
    [({"keep_history": MONTH}, MONTH), ({}, 365 * DAY)],
    ids=["month", "year"],
)
def test_rows_just_as_old_as_is_kept_stay(
    life: Life, settings: dict[str, timedelta], keeps: timedelta
) -> None:
    life.policy = policy(**settings)
    life.put(*(event(NOW - keeps + by) for by in (-TINY, TINY * 0, TINY)))
    life.put(*(call(NOW - keeps + by) for by in (-TINY, TINY * 0, TINY)))
    assert prune(life) == Counter(events=1, calls=1)
    assert times(life, HistoryEntry) == [NOW - keeps, NOW - keeps + TINY]
    assert times(life, Task) == [NOW - keeps, NOW - keeps + TINY]


OPEN = {"task_id": "t", "next_poll_at": NOW, "state": TaskState.RUNNING}


@pytest.mark.parametrize(
    ("rows", "gone"),
    [
        ([event(OLD, logged=False)], Counter()),
        ([call(OLD, kind=kind) for kind in (Kind.CLONE, Kind.DESIGN)] + [call(NOW)], Counter()),
        ([call(OLD), call(OLD - DAY), call(OLD, kind=Kind.CLONE)], Counter(calls=1)),
        ([call(OLD, state=TaskState.INTENT), call(OLD)], Counter()),
        ([call(OLD, **OPEN), call(OLD)], Counter()),
        ([call(OLD, voice_pk=None, kind=Kind.CONTROL, state=TaskState.UNKNOWN)], Counter(calls=1)),
        ([alert(OLD), alert(OLD, voice_pk=None, kind=AlertKind.BLOCKED)], Counter(alerts=2)),
        ([alert(OLD, ended_at=None, tell_at=NOW)], Counter()),
        ([alert(OLD, tell_at=NOW), alert(OLD, ended_at=NOW)], Counter()),
        ([alert(OLD, send_at=NOW)], Counter(alerts=1)),
        ([event(OLD), event(NOW), event(NOW + 9_000 * DAY), event(OLD)], Counter(events=1)),
    ],
    ids=(
        *("not logged yet", "enrollments", "the newest keepalive", "an intent", "a running call"),
        *("control calls go", "ended alerts go", "an open alert", "alerts to be told"),
        "one whose message is given up",
        "what follows a young row",
    ),
)
def test_rows_that_a_rule_needs_stay_however_old(
    life: Life, rows: list[SQLModel], gone: Counter[str]
) -> None:
    life.put(*(type(row)(**row.model_dump()) for row in rows))
    assert prune(life) == gone


def test_for_ever_means_for_ever(life: Life) -> None:
    life.policy = policy(keep_history=None)
    life.put(event(NOW - 9_000 * DAY), call(NOW - 9_000 * DAY), call(NOW))
    assert prune(life) == Counter()


def test_rows_that_were_left_behind_go_with_the_next_run(life: Life) -> None:
    life.put(call(OLD), event(OLD, logged=False), *(event(NOW - DAY) for _ in range(3)))
    assert prune(life) == Counter()
    life.put(call(NOW))
    life.edit("anna", last_used_at=NOW + 40 * DAY)
    assert prune(life, NOW + 40 * DAY) == Counter(events=3, calls=1)


def test_the_cost_of_deleted_calls_stays_as_long_as_their_voice(life: Life) -> None:
    lost = {"state": TaskState.UNKNOWN, "possible_cost_micros": 60}
    life.put(call(OLD, cost_micros=60), call(OLD, cost_micros=60), call(OLD, **lost), call(NOW))
    before = life.registry.spent(life.voice("anna"))
    assert prune(life)["calls"] == 3
    assert before == life.registry.spent(life.voice("anna")) == Spent(120, 60)
    life.put(call(NOW + DAY, cost_micros=60), call(NOW + 2 * DAY))
    life.edit("anna", last_used_at=NOW + 99 * DAY)
    assert prune(life, NOW + 99 * DAY)["calls"] == 2  # with a second sum beside the first
    assert life.registry.spent(life.voice("anna")) == Spent(180, 60)
    life.registry.remove("anna", now=NOW)
    assert kept(life, Past) == 0


def test_the_losses_of_the_week_stay_for_the_digest_however_little_is_kept(life: Life) -> None:
    life.policy = policy(window=MINUTE, interval=20 * SECOND, keep_history=MINUTE)
    life.put(alert(NOW - HOUR), alert(NOW - 8 * DAY), alert(NOW - HOUR, kind=AlertKind.RISK))
    assert prune(life)["alerts"] == 2


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


def test_rows_that_a_wrong_clock_dated_ahead_are_passed_over(life: Life) -> None:
    ahead = [event(NOW + 9_000 * DAY) for _ in range(retention.MOST * 2)]
    life.put(*ahead, event(OLD))
    assert prune(life) == Counter(events=1)
    assert kept(life, HistoryEntry) == len(ahead)


def test_a_last_use_that_cannot_be_read_makes_nothing_old(life: Life) -> None:
    if life.database.is_shared:
        pytest.skip("a server stores no such value")
    life.put(event(OLD))
    with life.database.writing() as session:
        session.execute(sa.text("UPDATE voice SET last_used_at = 'then'"))
    assert prune(life) == Counter()


# in short steps


async def test_a_step_reads_few_rows_and_a_pass_has_its_turn_between_two(life: Life) -> None:
    life.put(*(event(OLD) for _ in range(retention.MOST * 12)))
    deleted, _ = life.worklist.prune(retention.BEGINNING, now=NOW, policy=life.policy)
    assert deleted["events"] <= retention.MOST
    turns = []

    async def offload(function: partial[Any]) -> object:
        await asyncio.sleep(0)
        turns.append(function.func.__name__)
        return function()

    await life.keeper.take_over()
    life.context.offload = offload  # type: ignore[assignment]
    await asyncio.gather(life.keeper.upkeep.prune(), life.keeper.sweep())
    assert turns.index("claim") <= 2
    assert turns.count("prune") >= 11
    assert OLD not in times(life, HistoryEntry)


class FullDisk(Worklist):
    """A worklist whose disk has room for all but pruning."""

    def prune(self, *_: object, **__: object) -> NoReturn:
        raise DatabaseFull("the disk is full")


def test_a_disk_too_full_to_prune_stops_no_keepalive(life: Life) -> None:
    life.put(call(OLD), call(NOW - 10 * DAY))
    life.worklist = FullDisk(life.database)
    life.registry.keep("anna", now=NOW)
    life.live(MINUTE)
    assert life.books().speech == 1
    assert life.log.of("pass.failed") == [{"error": "the disk is full"}]  # and not at each pass
    life.worklist.leave(keeper="1@here")
    life.worklist = Worklist(life.database)
    life.live(MINUTE)
    assert life.log.of("history.pruned") == [{"events": 0, "calls": 1, "alerts": 0}]


def test_a_step_that_is_not_committed_is_repeated(life: Life) -> None:
    life.put(call(OLD, cost_micros=-60), call(NOW))
    with pytest.raises(Exception, match="past_signs"):
        life.worklist.prune(retention.BEGINNING, now=NOW, policy=life.policy)
    assert kept(life, Task) == 2
    with life.database.writing() as session:
        session.execute(sa.update(Task).values(cost_micros=60))
    assert prune(life)["calls"] == 1


async def test_a_reload_that_keeps_less_is_heeded(life: Life) -> None:
    life.put(event(NOW - 20 * DAY))
    await life.keeper.take_over()
    for days, told in ((30, []), (10, [{"events": 1, "calls": 0, "alerts": 0}])):
        await life.keeper.adopt(policy(keep_history=days * DAY))
        await life.keeper.upkeep.prune()
        assert life.log.of("history.pruned") == told


def test_several_keepers_prune_each_call_once_while_voices_are_removed(life: Life) -> None:
    names = [f"voice-{number}" for number in range(8)]
    life.register(*(imported(name, last_used_at=NOW) for name in names))
    calls = [call(OLD, cost_micros=60) for _ in range(retention.MOST * 2)]
    life.put(*calls, call(NOW), *(call(OLD, voice_pk=pk) for pk in (*range(2, 10),) * 30))
    gone: list[int] = []
    failed: list[Exception] = []

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - told below
            failed.append(error)

    def remove() -> None:
        for name in names:
            life.registry.remove(name, now=NOW)

    def work() -> None:
        gone.append(prune(life, worklist=Worklist(life.database))["calls"])

    threads = [threading.Thread(target=guarded, args=[each]) for each in (remove, work, work, work)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert failed == []
    assert sum(gone) >= len(calls)
    assert (kept(life, Task), kept(life, Past)) == (1, 1)
    assert life.registry.spent(life.voice("anna")) == Spent(60 * len(calls))
