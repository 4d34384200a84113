"""The keeper at work: whole lives in virtual time, on the real store."""

import asyncio
import gc
import random
import sqlite3
import warnings
from collections.abc import Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
import sqlalchemy as sa
from sqlmodel import col

from tests.support import (
    DAY,
    HOUR,
    MINUTE,
    NOW,
    SECOND,
    TICK,
    Call,
    Life,
    Trouble,
    eventually,
    imported,
    wanted,
)
from voicekeeper.core.costs import Spent
from voicekeeper.core.models import Balance, Breaker, Kind, Status, Task, TaskState, Voice
from voicekeeper.core.outcome import Accepted
from voicekeeper.core.requests import CONTROL_VOICE
from voicekeeper.daemon import keeper as module
from voicekeeper.errors import CallFailed, DatabaseHeld
from voicekeeper.sandbox import Answer, Gateway
from voicekeeper.store import sqlite as store_sqlite
from voicekeeper.store.registry import NewVoice

pytestmark = pytest.mark.anyio

TURNS = 10_000
"""So many turns of the loop are more than any test's work needs."""


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


def fleet(count: int) -> list[str]:
    return [f"v{n}" for n in range(count)]


def failing(code: int | None, *, first: int = TURNS, subject: str | None = None) -> Trouble:
    """Return the trouble that so many POSTs fail and were certainly not done."""
    left = [first]

    def trouble(call: Call) -> Exception | None:
        if call.kind != "submit" or subject not in (None, call.subject) or left[0] == 0:
            return None
        left[0] -= 1
        return CallFailed(f"the gateway says {code}", code=code)

    return trouble


# a fleet's ordinary life


def test_thirty_days_of_twenty_voices(life: Life) -> None:
    life.register(*map(imported, fleet(20)))
    life.live(30 * DAY)
    books = life.books()
    assert all(book.alive for book in books.voices.values())
    for book in books.voices.values():
        assert 30 / 3 <= book.uses <= 30 / 2.5 + 1
    assert books.speech == sum(book.uses for book in books.voices.values())
    assert {voice.status for voice in life.registry.all()} == {Status.OK}
    assert [line for line in life.log.lines if line[0] > 20] == []


def test_a_keepalive_needs_at_most_two_polls_on_average(life: Life) -> None:
    """Of tasks that take 5 to 30 s, at the default settings and a pass each 10 s."""
    life.register(*map(imported, fleet(200)))
    life.live(5 * MINUTE)
    books = life.books()
    assert books.speech == 200
    assert sum(book.uses for book in books.voices.values()) == 200
    mean = books.polls / books.speech
    print(f"polls for a keepalive: {mean:.2f}")  # noqa: T201 - a figure for the docs
    assert 1 <= mean <= 2


async def test_one_pass_empties_the_list_however_short_the_lanes(tmp_path: Path) -> None:
    life = Life(tmp_path, max_in_flight=2)
    life.register(*map(imported, fleet(20)))
    assert await life.one_pass()
    assert life.books().speech == 20
    assert not await life.one_pass()


async def test_no_more_calls_are_under_way_than_the_setting_allows(tmp_path: Path) -> None:
    life = Life(tmp_path, max_in_flight=4)
    life.register(*map(imported, fleet(20)))
    life.upstream.hanging = lambda _: True
    for _ in range(5):
        await life.keeper.sweep()
        await eventually(lambda: len(life.upstream.calls) == 2)
    assert await life.keeper.stop(0) == 2


def test_enrollments_of_every_ending(life: Life) -> None:
    life.register(
        wanted("fine"),
        wanted("rejected", prefix="reject1"),
        wanted("slow", prefix="slow1"),
        wanted("broken", prefix="fail1"),
    )
    life.live(HOUR)
    found = {voice.name: voice.status for voice in life.registry.all()}
    assert found == {
        "fine": Status.OK,
        "rejected": Status.UNDEPLOYED,
        "slow": Status.OK,
        "broken": Status.FAILED,
    }
    assert life.books().clone == 4
    life.live(30 * DAY)
    assert life.books().clone == 4
    assert {life.voice("fine").voice_id, life.voice("slow").voice_id} <= life.alive()
    assert life.voice("rejected").next_at is None
    assert "review failed" in (life.voice("rejected").last_error or "")
    rejected = life.voice("rejected").voice_id or ""
    assert life.upstream.submitted(rejected) == []
    assert life.rows(Breaker, col(Breaker.opened_at).is_not(None)) == []


# one voice's trouble is nobody else's


async def test_a_call_that_hangs_delays_no_other_voice(life: Life) -> None:
    life.register(*map(imported, fleet(30)))
    life.upstream.hanging = lambda call: call.subject == "id-v0"
    others = [f"id-v{n}" for n in range(1, 30)]
    await life.keeper.sweep()
    await eventually(lambda: all(life.upstream.submitted(spoken) for spoken in others))
    life.clock.advance(MINUTE)
    await life.keeper.sweep()
    await eventually(lambda: len(life.rows(Voice, col(Voice.status) == Status.OK)) == 29)
    assert life.voice("v0").status is Status.NEW
    life.upstream.release.set()
    await life.keeper.settle()
    await life.anew(2 * MINUTE)
    assert life.voice("v0").status is Status.OK
    assert len(life.upstream.submitted("id-v0")) == 1


async def test_polls_that_hang_keep_no_voice_from_being_used(life: Life) -> None:
    life.register(*map(imported, fleet(8)))
    life.upstream.hanging = lambda call: call.kind == "status"
    await life.one_pass()
    life.clock.advance(20 * SECOND)
    await life.keeper.sweep()
    life.register(*(imported(f"late{n}") for n in range(8)))
    await life.keeper.sweep()
    await eventually(lambda: all(life.upstream.submitted(f"id-late{n}") for n in range(8)))
    assert await life.keeper.stop(0) == 4


@pytest.mark.parametrize("voice", [imported("anna"), wanted("made")])
def test_a_call_whose_turn_comes_while_the_keeper_stops_is_not_made(
    life: Life, voice: NewVoice
) -> None:
    life.register(voice)

    async def story() -> None:
        await life.keeper.take_over()
        await life.keeper.sweep()
        assert await life.keeper.stop(30) == 0

    asyncio.run(story())
    assert life.upstream.calls == []
    life.live(HOUR)
    assert life.voice(voice.name).status is Status.OK
    assert (life.books().speech, life.books().clone) in {(1, 0), (0, 1)}


def test_an_error_in_one_voices_work_stops_no_other(life: Life) -> None:
    life.register(*map(imported, fleet(10)))

    def bug(call: Call) -> Exception | None:
        return ZeroDivisionError("a bug") if call.subject == "id-v3" else None

    life.upstream.trouble = bug
    life.live(2 * MINUTE)
    spoken = {v.name for v in life.registry.all() if v.status is Status.OK}
    assert spoken == set(fleet(10)) - {"v3"}
    told = life.log.of("pass.failed")
    assert {(line["name"], line["error"]) for line in told} == {("v3", "a bug")}
    life.upstream.trouble = lambda _: None
    life.live(10 * MINUTE)  # its backoff is as after any other failure
    assert life.voice("v3").status is Status.OK


def test_an_error_of_ours_in_an_enrollment_leaves_it_to_a_person(life: Life) -> None:
    life.register(wanted("guide"))
    life.upstream.trouble = lambda _: ZeroDivisionError("a bug")
    life.live(2 * HOUR)
    assert life.voice("guide").status is Status.UNKNOWN
    assert len(life.upstream.calls) == 1


async def test_an_error_of_ours_before_an_enrollments_turn_is_tried_again(life: Life) -> None:
    life.register(wanted("guide"))
    submit, failures = life.upstream.submit, [ZeroDivisionError("a bug")]

    async def fails_at_first(*args: Any, **options: Any) -> Accepted:  # noqa: ANN401
        if failures:
            raise failures.pop()
        return await submit(*args, **options)

    life.upstream.submit = fails_at_first  # type: ignore[method-assign]
    await life.anew(MINUTE)
    assert life.voice("guide").status is Status.NEW
    await life.anew(2 * HOUR)
    assert life.voice("guide").status is Status.OK
    assert life.books().clone == 1


async def test_an_enrollment_paused_before_its_turn_is_not_made(life: Life) -> None:
    life.register(wanted("anna"))
    await life.keeper.sweep()
    life.registry.pause("anna", now=NOW)
    await life.keeper.settle()
    assert life.upstream.calls == []
    assert life.log.of("pass.failed") == []
    life.registry.resume("anna", now=NOW, policy=life.policy)
    await life.anew(10 * MINUTE)
    assert life.voice("anna").status is Status.OK


# nothing is paid for twice


def lost_answer(call: Call) -> Exception | None:
    if call.kind == "submit":
        return CallFailed("the connection closed", ambiguous=True)
    return None


def test_an_enrollment_whose_answer_was_lost_is_never_repeated_unasked(life: Life) -> None:
    life.register(wanted("anna"))
    life.upstream.trouble = lost_answer
    life.live(MINUTE)
    life.upstream.trouble = lambda _: None
    life.live(30 * DAY)
    anna = life.voice("anna")
    assert (anna.status, anna.next_at) == (Status.UNKNOWN, None)
    assert (life.books().clone, life.books().cost_micros) == (1, 2000)
    life.registry.retry("anna", now=life.clock.now())
    life.live(10 * MINUTE)
    assert life.voice("anna").status is Status.OK
    assert life.books().clone == 2


@pytest.mark.parametrize("code", [429, 408, None])
def test_an_enrollment_that_was_certainly_not_made_is_tried_again(
    life: Life, code: int | None
) -> None:
    life.register(wanted("anna"))
    life.upstream.trouble = failing(code, first=3)
    life.live(HOUR)
    assert life.voice("anna").status is Status.OK
    assert len(life.upstream.submitted("demo01")) == 4
    assert life.books().clone == 1


@pytest.mark.parametrize("code", [301, 403, 404, 451])
def test_an_enrollment_that_is_refused_for_its_own_sake_is_tried_three_times_and_pauses_nothing(
    life: Life, code: int
) -> None:
    life.register(wanted("anna"), imported("ben", last_used_at=NOW - 3 * DAY))
    answers = iter([429, None, code, 402, 401])  # which wait, all but one

    def refused(call: Call) -> Exception | None:
        if call.subject != "demo01":
            return None
        answer = next(answers, code)
        return CallFailed(f"the gateway says {answer}", code=answer)

    life.upstream.trouble = refused
    life.live(DAY)
    anna = life.voice("anna")
    assert (anna.status, anna.next_at) == (Status.FAILED, None)
    assert anna.last_error == f"the gateway says {code}"
    assert len(life.upstream.submitted("demo01")) == 4 + 3
    assert life.log.of("upstream.blocked") == []
    assert life.voice("ben").status is Status.OK
    life.registry.retry("anna", now=life.clock.now())
    life.live(DAY)
    assert len(life.upstream.submitted("demo01")) == 4 + 3 + 3
    assert life.books().clone == 0


def test_an_enrollment_waits_for_the_account_as_long_as_it_takes(life: Life) -> None:
    life.register(wanted("anna"))
    life.upstream.trouble = failing(401)
    life.live(DAY)
    assert life.voice("anna").status is Status.NEW
    assert life.log.of("upstream.blocked") == []
    health = life.registry.health(now=life.clock.now(), policy=life.policy)
    assert (health.refused, health.waiting) == (1, ["anna (the gateway says 401)"])
    life.upstream.trouble = lambda _: None
    life.live(2 * HOUR)
    assert life.voice("anna").status is Status.OK
    assert life.books().clone == 1


def test_a_recipe_that_breaks_the_pages_rules_is_refused_without_a_call(life: Life) -> None:
    life.register(wanted("anna", prefix="too long for a prefix"))
    life.live(MINUTE)
    assert life.voice("anna").status is Status.FAILED
    assert "prefix must be 1 to 10 letters" in (life.voice("anna").last_error or "")
    assert life.upstream.calls == []


@pytest.mark.parametrize("kind", [Kind.KEEPALIVE, Kind.CLONE])
def test_a_stop_in_the_middle_of_a_call_pays_for_no_enrollment_twice(
    life: Life, kind: Kind
) -> None:
    life.register(imported("anna") if kind is Kind.KEEPALIVE else wanted("anna"))
    life.upstream.hanging = lambda _: True

    async def stopped() -> None:
        await life.keeper.take_over()
        await life.keeper.sweep()
        await eventually(lambda: bool(life.upstream.calls))
        assert await life.keeper.stop(0) == 1
        assert not await life.keeper.sweep()

    asyncio.run(stopped())
    assert [task.state for task in life.tasks("anna")] == [TaskState.INTENT]
    life.upstream.hanging = lambda _: False
    life.live(DAY)
    calls = [call for call in life.upstream.calls if call.kind == "submit"]
    if kind is Kind.KEEPALIVE:
        assert life.voice("anna").status is Status.OK
        assert len(calls) == 2
    else:
        assert life.voice("anna").status is Status.UNKNOWN
        assert len(calls) == 1


def test_a_stop_waits_for_the_calls_under_way(life: Life) -> None:
    life.register(imported("anna"))

    async def stopped() -> None:
        await life.keeper.sweep()
        await eventually(lambda: bool(life.upstream.calls))
        assert await life.keeper.stop(30) == 0

    asyncio.run(stopped())
    assert [task.state for task in life.tasks("anna")] == [TaskState.RUNNING]


def test_a_restart_asks_for_the_task_that_was_accepted(life: Life) -> None:
    life.register(wanted("anna"), imported("berta"))
    life.live(SECOND)
    life.clock.advance(3 * MINUTE)
    life.live(MINUTE)
    assert {v.status for v in life.registry.all()} == {Status.OK}
    assert (life.books().clone, life.books().speech) == (1, 1)


async def test_answers_are_written_down_later_when_the_database_is_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_sqlite, "_BUSY_TIMEOUT_S", 0.01)
    monkeypatch.setattr("voicekeeper.daemon.recorder._AGAIN_S", (0.001,))
    life = Life(tmp_path)
    life.register(imported("anna"))
    life.upstream.hanging = lambda _: True
    other = sqlite3.connect(life.database.path, isolation_level=None)
    await life.keeper.sweep()
    await eventually(lambda: life.upstream.calls)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(DatabaseHeld, match="busy with another command"):
        await life.keeper.sweep()
    life.upstream.release.set()
    await eventually(lambda: life.log.of("pass.failed"))
    await asyncio.sleep(0.05)  # some tries more, which are not told
    assert life.tasks("anna")[0].state is TaskState.INTENT
    other.execute("ROLLBACK")
    await life.keeper.settle()
    other.close()
    (told,) = life.log.of("pass.failed")
    assert told["name"] == "anna"
    assert life.tasks("anna")[0].state is TaskState.RUNNING
    assert life.books().speech == 1
    await life.anew(MINUTE)
    assert life.voice("anna").status is Status.OK
    assert life.books().speech == 1


def test_a_gateway_that_answers_no_polls_is_not_paid_again_at_once(life: Life) -> None:
    life.register(imported("anna", last_used_at=NOW - 3 * DAY))

    def no_polls(call: Call) -> Exception | None:
        return CallFailed("server error", code=500) if call.kind == "status" else None

    life.upstream.trouble = no_polls
    life.live(30 * MINUTE)
    assert life.books().speech == 1
    life.upstream.trouble = lambda _: None
    life.live(HOUR)
    assert life.voice("anna").status is Status.OK
    assert life.books().speech == 1


# whose fault is it?


@pytest.mark.parametrize("how", ["task", "http"])
def test_a_voice_is_lost_only_after_a_control_call_and_a_repeat(
    tmp_path: Path, how: Literal["task", "http"]
) -> None:
    life = Life(tmp_path, gateway=Gateway(random.Random(1), unknown_voice=how))
    life.registry.register([imported("anna")], now=NOW, policy=life.policy)  # the gateway has none
    life.live(10 * MINUTE)
    spoken = [call.subject for call in life.upstream.calls if call.kind == "submit"]
    assert spoken[0] == spoken[-1] == "id-anna"
    assert CONTROL_VOICE in spoken
    assert spoken.count(CONTROL_VOICE) == 1
    assert life.voice("anna").status is Status.LOST
    succeeded_at = next(t.finished_at for t in life.rows(Task) if t.kind is Kind.CONTROL)
    assert life.tasks("anna")[-1].sent_at >= succeeded_at
    assert [level for level, event, _ in life.log.lines if event == "voice.lost"] == [40]
    assert life.events("anna")[-2:] == ["voice.status_changed", "voice.lost"]
    life.live(5 * DAY)  # it is tried on until its deadline, once an hour
    tries = len(life.upstream.submitted("id-anna"))
    assert 80 <= tries <= 110
    life.live(30 * DAY)  # and for one more window once a day
    assert 5 <= len(life.upstream.submitted("id-anna")) - tries <= 9
    assert life.voice("anna").next_at is None
    assert life.events("anna").count("voice.lost") == 1


@pytest.mark.parametrize("wrong_for", [3 * MINUTE, DAY])
def test_a_gateway_that_blames_every_voice_for_a_while_loses_none(
    life: Life, wrong_for: timedelta
) -> None:
    life.register(*map(imported, fleet(6)))
    life.live(2 * DAY)

    def blame(call: Call) -> Exception | None:
        wrong = call.kind == "submit" and call.subject != CONTROL_VOICE
        return CallFailed("no such voice", code=400) if wrong else None

    life.upstream.trouble = blame
    life.live(DAY + wrong_for)
    life.upstream.trouble = lambda _: None
    life.live(8 * DAY)

    assert len(life.alive()) == 6
    assert {voice.status for voice in life.registry.all()} == {Status.OK}


def test_a_built_in_voice_that_was_retired_keeps_no_route_closed(life: Life) -> None:
    life.register(*map(imported, fleet(6)))
    life.live(HOUR)

    def empty(call: Call) -> Exception | None:
        return CallFailed("no balance", code=402) if call.kind == "submit" else None

    def retired(call: Call) -> Exception | None:
        return CallFailed("no such voice", code=400) if call.subject == CONTROL_VOICE else None

    life.upstream.trouble = empty
    life.live(4 * DAY)
    life.upstream.trouble = retired
    life.live(8 * DAY)

    assert len(life.alive()) == 6
    assert len(life.log.of("upstream.recovered")) == 1


def test_slow_tasks_do_not_make_control_calls_pile_up(tmp_path: Path) -> None:
    slow = (2 * MINUTE, 2 * MINUTE)
    life = Life(tmp_path, gateway=Gateway(random.Random(1), speech_time=slow))
    life.register(*map(imported, fleet(6)))

    def empty(call: Call) -> Exception | None:
        return CallFailed("no balance", code=402) if call.kind == "submit" else None

    life.upstream.trouble = empty
    life.live(10 * MINUTE)
    life.upstream.trouble = lambda _: None
    life.live(HOUR)

    assert {voice.status for voice in life.registry.all()} == {Status.OK}
    paid = [t for t in life.rows(Task) if t.kind is Kind.CONTROL and t.cost_micros]
    assert len(paid) <= 4


def test_a_voice_is_not_lost_while_no_control_call_succeeds(life: Life) -> None:
    life.registry.register([imported("anna")], now=NOW, policy=life.policy)  # the gateway has none
    life.upstream.trouble = failing(500, subject=CONTROL_VOICE)
    life.live(2 * HOUR)
    assert len(life.upstream.submitted("id-anna")) >= 2
    assert life.voice("anna").status is Status.NEW
    life.upstream.trouble = lambda _: None
    life.live(3 * HOUR)
    assert life.voice("anna").status is Status.LOST


def test_blame_under_another_accounts_key_counts_for_nothing_under_the_right_one(
    life: Life,
) -> None:
    life.register(*map(imported, fleet(5)))
    life.upstream.trouble = failing(400)
    life.live(6 * HOUR)
    assert {voice.status for voice in life.registry.all()} == {Status.NEW}
    life.upstream.trouble = failing(400, first=1, subject="id-v4")
    life.live(2 * HOUR)
    assert len(life.log.of("upstream.recovered")) == 1
    assert life.log.of("voice.lost") == []
    assert {voice.status for voice in life.registry.all()} == {Status.OK}


def test_voices_that_are_gone_are_found_out_after_the_key_is_right_again(life: Life) -> None:
    life.register(*map(imported, fleet(5)))
    life.upstream.trouble = failing(400)
    life.live(6 * HOUR)
    gone = {"v1", "v2", "v3", "v4"}
    blamed = [failing(400, subject=f"id-{name}") for name in gone]
    life.upstream.trouble = lambda call: next(filter(None, (t(call) for t in blamed)), None)
    life.live(6 * HOUR)
    lost = {voice.name for voice in life.registry.all() if voice.status is Status.LOST}
    assert (lost, life.voice("v0").status) == (gone, Status.OK)


WAYS_TO_FAIL: dict[str, tuple[str, Exception]] = {
    "a redirect": ("submit", CallFailed("moved", code=301)),
    "not found": ("submit", CallFailed("not found", code=404)),
    "a code of a body": ("submit", CallFailed("what?", code=7, ambiguous=True)),
    "a page": ("submit", CallFailed("not its JSON", ambiguous=True)),
    "the voice": ("submit", CallFailed("no such voice", code=400)),
    "a bug of ours": ("submit", RuntimeError("a bug")),
    "no such task": ("status", CallFailed("not found", code=404)),
    "no reports": ("status", CallFailed("not its JSON")),
}


@pytest.mark.parametrize("voices", [1, 6])
@pytest.mark.parametrize("way", [*WAYS_TO_FAIL, "unknown fail code", "never ends"])
def test_whatever_fails_all_calls_is_seen_within_hours(
    tmp_path: Path, way: str, voices: int
) -> None:
    takes = 9 * DAY if way == "never ends" else SECOND
    life = Life(tmp_path, gateway=_Doomed(speech_time=(takes, takes)))
    life.register(*(imported(name, last_used_at=NOW - 3 * DAY) for name in fleet(voices)))
    kind, error = WAYS_TO_FAIL.get(way, ("", RuntimeError()))
    life.upstream.trouble = lambda call: error if call.kind == kind else None
    life.live(4 * HOUR)
    asyncio.run(life.one_pass())
    now = life.clock.now()
    assert life.registry.health(now=now, policy=life.policy).overdue == voices
    assert not life.registry.is_in_time(now=now, tick=TICK, policy=life.policy)


class _Doomed(Gateway):
    """A gateway whose tasks fail with a code that nobody knows."""

    def generate(self, *given: Any, **more: Any) -> Answer:  # noqa: ANN401 - the gateway's
        return super().generate(*given, **more, doom="X_UNHEARD_OF")


@pytest.mark.parametrize("code", [401, 402, 403, 301, 404])
def test_what_fails_every_call_pauses_them_is_told_once_and_blamed_on_no_voice(
    life: Life, code: int
) -> None:
    life.register(*(imported(name, last_used_at=NOW - 3 * DAY) for name in fleet(50)))
    life.upstream.trouble = failing(code)
    life.live(12 * HOUR)
    assert {voice.status for voice in life.registry.all()} == {Status.NEW}
    (blocked,) = life.log.of("upstream.blocked")
    assert blocked["error"] == f"the gateway says {code}"
    assert len(life.rows(Breaker, col(Breaker.opened_at).is_not(None))) == 1
    kinds = [task.kind for task in life.rows(Task)]
    assert kinds.count(Kind.KEEPALIVE) <= life.policy.max_in_flight
    assert 12 <= kinds.count(Kind.CONTROL) <= 30
    assert life.keeper.key_refused is (code == 401)
    life.upstream.trouble = lambda _: None
    life.live(3 * HOUR)
    assert {voice.status for voice in life.registry.all()} == {Status.OK}
    assert len(life.log.of("upstream.recovered")) == 1
    assert life.log.of("voice.lost") == []
    assert len(life.alive()) == 50


def test_an_outage_of_the_gateway_costs_no_voice(life: Life) -> None:
    life.register(*map(imported, fleet(6)))
    life.live(DAY)
    life.upstream.trouble = failing(None)
    life.live(4 * DAY)
    since = {line["since"] for line in life.log.of("upstream.blocked")}
    assert len(since) == 1
    life.upstream.trouble = lambda _: None
    life.live(2 * DAY)
    assert len(life.alive()) == 6
    assert {voice.status for voice in life.registry.all()} == {Status.OK}


# clocks


@pytest.mark.parametrize("wrong_by", [30 * DAY, -30 * DAY, 5 * HOUR, -5 * HOUR])
def test_a_clock_that_was_wrong_for_an_hour_costs_no_voice(life: Life, wrong_by: timedelta) -> None:
    life.register(*map(imported, fleet(3)))
    life.live(DAY)
    life.clock.wrong_by = wrong_by
    life.live(HOUR)
    life.clock.wrong_by = timedelta(0)
    life.live(9 * DAY)
    books = life.books()
    assert all(book.alive for book in books.voices.values())
    assert max(book.uses for book in books.voices.values()) <= 10 / 2.5 + 3


@pytest.mark.parametrize("wrong_by", [400 * DAY, -400 * DAY])
def test_a_clock_that_is_wrong_for_good_keeps_every_voice_at_the_usual_price(
    life: Life, wrong_by: timedelta
) -> None:
    life.clock.wrong_by = wrong_by
    life.register(*map(imported, fleet(3)))
    life.live(15 * DAY)
    books = life.books()
    assert all(book.alive for book in books.voices.values())
    assert 5 <= max(book.uses for book in books.voices.values()) <= 15 / 2.5 + 2


def test_the_balance_is_noted_and_the_last_one_counts(tmp_path: Path) -> None:
    life = Life(tmp_path, gateway=Gateway(balance_micros=5_000_000))
    life.register(imported("anna"))
    asyncio.run(life.keeper.upkeep.note_balance())
    life.live(MINUTE)
    asyncio.run(life.keeper.upkeep.note_balance())
    (balance,) = life.rows(Balance)
    assert (balance.micros, balance.told_at) == (5_000_000 - 60, life.clock.now())
    assert life.log.of("balance.asked") == [
        {"balance_micros": 5_000_000},
        {"balance_micros": 5_000_000 - 60},
    ]


@pytest.mark.parametrize(
    "trouble", [CallFailed("no answer"), CallFailed("refused", code=401), RuntimeError("a bug")]
)
def test_a_balance_that_is_not_told_harms_nothing_and_is_told_at_debug_level(
    life: Life, trouble: Exception
) -> None:
    life.register(imported("anna"))
    life.upstream.trouble = lambda call: trouble if call.kind == "balance" else None
    for _ in range(10):
        asyncio.run(life.keeper.upkeep.note_balance())
    assert {(level, event) for level, event, _ in life.log.lines} == {(10, "balance.asked")}
    assert not life.keeper.key_refused
    life.live(MINUTE)
    assert life.voice("anna").status is Status.OK
    assert life.rows(Balance) == []
    assert life.rows(Breaker, col(Breaker.opened_at).is_not(None)) == []


# a process that was frozen


def test_a_call_that_is_cancelled_before_it_began_leaves_no_warning_behind(life: Life) -> None:
    life.register(imported("anna"))

    async def cut_short() -> None:
        await life.keeper.take_over()
        others = asyncio.all_tasks()
        await life.keeper.sweep()
        for call in asyncio.all_tasks() - others:
            call.cancel()  # before its first turn

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        asyncio.run(cut_short())
        gc.collect()

    assert warned == []
    assert life.upstream.calls == []


def test_a_large_fleet_is_counted_anew_after_minutes_or_when_a_command_changed_it(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LARGE", 1)

    def kept() -> int:
        return asyncio.run(life.keeper.outlook()).kept

    life.register(imported("anna", last_used_at=NOW))
    asyncio.run(life.keeper.sweep())  # which tells that she is registered
    assert kept() == 1
    life.register(imported("bert", last_used_at=NOW))
    assert kept() == 1
    asyncio.run(life.keeper.sweep())
    assert kept() == 2
    with life.database.writing() as session:
        session.execute(sa.update(Voice).values(paused=True))
    assert kept() == 2
    life.clock.advance(5 * MINUTE)
    assert kept() == 0


def test_a_small_fleet_is_counted_each_time(life: Life) -> None:
    for number in range(3):
        assert asyncio.run(life.keeper.outlook()).kept == number
        life.register(imported(f"v{number}", last_used_at=NOW))


def test_a_call_that_outlives_its_lease_is_not_made_again_beside_itself(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.register(imported("anna"))
    life.upstream.hanging = lambda _: True

    async def frozen() -> None:
        await life.keeper.take_over()
        await life.keeper.sweep()
        await asyncio.sleep(0.01)
        life.clock.advance(2 * MINUTE)  # a lease is shorter
        await life.keeper.sweep()
        life.upstream.release.set()
        await life.keeper.settle()

    asyncio.run(frozen())
    assert len(life.upstream.submitted("id-anna")) == 1
    life.upstream.hanging = lambda _: False
    life.live(MINUTE)
    assert life.books().speech == 1


def test_a_deployment_that_timed_out_is_tried_with_speech_until_it_speaks(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.register(wanted("anna", prefix="slow1"))
    life.live(4 * MINUTE)
    anna = life.voice("anna")
    assert anna.status is Status.DEPLOYING
    assert anna.voice_id is not None
    assert "enrollment.failed" in life.events("anna")
    life.live(HOUR)
    assert life.voice("anna").status is Status.OK
    assert life.books().clone == 1
    assert life.rows(Breaker, col(Breaker.opened_at).is_not(None)) == []


def test_a_gateway_that_loses_every_third_call_keeps_every_voice(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.register(*map(imported, fleet(5)))
    dice = random.Random(7)

    def flaky(_: Call) -> Exception | None:
        return CallFailed("lost", ambiguous=True) if dice.random() < 1 / 3 else None

    life.upstream.trouble = flaky
    life.live(8 * DAY)
    assert len(life.alive()) == 5
    assert life.log.of("voice.lost") == []


def test_a_voice_blamed_once_by_mistake_is_kept(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.register(imported("anna"))
    life.upstream.trouble = failing(400, first=1)
    life.live(HOUR)
    anna = life.voice("anna")
    assert (anna.status, anna.failures, anna.suspected_at) == (Status.OK, 0, None)


def test_a_voice_removed_while_its_call_is_under_way_is_forgotten_quietly(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.register(imported("anna"))
    life.upstream.hanging = lambda _: True

    async def passes() -> None:
        await life.keeper.sweep()
        await eventually(lambda: bool(life.upstream.calls))
        life.registry.remove("anna", now=NOW)
        life.upstream.release.set()
        await life.keeper.settle()

    run(passes())
    assert life.rows(Task) == []
    assert life.log.of("pass.failed") == []


def test_an_account_that_is_empty_is_filled_before_the_deadline(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.register(*(imported(name, last_used_at=NOW - 5 * DAY) for name in fleet(10)))
    life.upstream.trouble = failing(402)
    life.live(2 * DAY - 10 * MINUTE)
    life.upstream.trouble = lambda _: None
    life.live(DAY)
    assert len(life.alive()) == 10


def test_the_registry_counts_as_the_gateway_does(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.register(*map(imported, fleet(5)))
    life.live(7 * DAY)
    books = life.books()
    for voice in life.registry.all():
        book = books.voices[voice.voice_id or ""]
        assert voice.last_used_at is not None
        assert timedelta(0) <= book.last_used_at - voice.last_used_at < SECOND
        spoken = [e for e in life.events(voice.name) if e == "keepalive.succeeded"]
        assert len(spoken) == book.uses
    assert life.registry.totals(now=life.clock.now()).ever == Spent(books.cost_micros)


def test_voices_are_kept_while_no_task_can_be_asked_for(tmp_path: Path) -> None:
    gateway = Gateway(random.Random(1), window=DAY)
    life = Life(
        tmp_path,
        gateway=gateway,
        window=DAY,
        interval=10 * HOUR,
        jitter=HOUR,
        speech_interval=5 * MINUTE,
    )
    life.register(*map(imported, fleet(2)))
    life.live(HOUR)

    def silent(call: Call) -> Exception | None:
        return CallFailed("it failed", code=500) if call.kind == "status" else None

    life.upstream.trouble = silent
    life.live(30 * HOUR)

    assert len(life.alive()) == 2
    assert life.log.of("upstream.blocked") == []


def test_where_the_built_in_voice_is_refused_too_no_voice_is_lost(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.register(*map(imported, fleet(5)))
    life.upstream.trouble = failing(400)
    life.live(6 * HOUR)
    assert {voice.status for voice in life.registry.all()} == {Status.NEW}
    life.upstream.trouble = lambda _: None
    life.live(2 * HOUR)
    assert {voice.status for voice in life.registry.all()} == {Status.OK}
