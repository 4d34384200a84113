"""``run --once``: all that is due is done and followed to its end."""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.store.test_unreadable import write
from tests.support import HOUR, LIMIT_S, NOW, Call, Life, eventually, imported, wanted
from voicekeeper.core.models import Kind, Status, Task, TaskState
from voicekeeper.core.requests import FLASH
from voicekeeper.daemon import service
from voicekeeper.errors import CallFailed
from voicekeeper.sandbox import Gateway

POLLS = ("speech_first", "speech_interval", "enrollment_first", "enrollment_interval")
QUICKLY: dict[str, Any] = dict.fromkeys(POLLS, timedelta(milliseconds=50))


def quick_life(directory: Path, **overrides: Any) -> Life:  # noqa: ANN401 - any of a policy's fields
    """Return a life whose tasks take parts of a second."""
    short = (timedelta(seconds=0.1), timedelta(seconds=0.2))
    gateway = Gateway(speech_time=short, enrollment_time=short)
    return Life(directory, gateway=gateway, **QUICKLY, **overrides)


def do_once(
    life: Life,
    *,
    beside: Callable[[], Coroutine[Any, Any, None]] | None = None,
    limit_stop: Callable[[], object] = lambda: None,
) -> bool:
    """Run a new keeper once, while time passes; return whether anything due succeeded."""
    life.keeper = life.new_keeper()

    async def time_goes_on() -> None:
        while True:
            life.clock.advance(timedelta(milliseconds=10))
            await asyncio.sleep(0.01)

    async def run() -> bool:
        async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as group:
            passing = group.create_task(time_goes_on())
            if beside is not None:
                group.create_task(beside())
            done = await service.run_once(life.keeper, limit_stop=limit_stop)
            passing.cancel()
        return done

    return asyncio.run(run())


def test_once_does_all_that_is_due_and_follows_it_to_its_end(tmp_path: Path) -> None:
    life = quick_life(tmp_path)
    names = [f"v{n}" for n in range(30)]
    life.register(*map(imported, names), wanted("made"), imported("later", last_used_at=NOW))
    assert do_once(life)
    statuses = {voice.name: voice.status for voice in life.registry.all()}
    assert statuses.pop("later") is Status.NEW
    assert set(statuses.values()) == {Status.OK}
    assert (life.books().speech, life.books().clone) == (30, 1)


def test_once_waits_for_no_task_whose_row_cannot_be_read(tmp_path: Path) -> None:
    life = quick_life(tmp_path)
    life.register(imported("anna"))
    accepted = Task(
        voice_pk=life.voice("anna").id,
        model=FLASH,
        kind=Kind.KEEPALIVE,
        state=TaskState.RUNNING,
        task_id="task_1",
        sent_at=NOW,
        next_poll_at=NOW,
    )
    with life.database.writing() as session:
        session.add(accepted)
    write(life, "UPDATE task SET created_at = 'then'")
    assert do_once(life)
    assert life.books().speech == 1


def test_once_leaves_what_failed_to_the_next_run(tmp_path: Path) -> None:
    life = quick_life(tmp_path)
    life.register(*map(imported, ("anna", "berta")))

    def broken(call: Call) -> Exception | None:
        anna = call.kind == "submit" and call.subject == "id-anna"
        return CallFailed("server error", code=500, ambiguous=True) if anna else None

    life.upstream.trouble = broken
    assert do_once(life)  # berta spoke
    assert (life.voice("anna").status, life.voice("anna").failures) == (Status.NEW, 1)
    assert life.voice("berta").status is Status.OK
    life.upstream.trouble = lambda _: None
    life.clock.advance(HOUR)
    do_once(life)
    assert life.voice("anna").status is Status.OK


@pytest.mark.parametrize("code", [401, 402, 403])
def test_once_ends_when_the_account_is_refused(tmp_path: Path, code: int) -> None:
    life = quick_life(tmp_path)
    life.register(*(imported(f"v{n}") for n in range(30)))
    life.upstream.trouble = lambda _: CallFailed("refused", code=code)
    assert not do_once(life)
    assert len(life.upstream.calls) <= life.policy.max_in_flight
    assert len(life.log.of("upstream.blocked")) == 1
    assert life.keeper.key_refused is (code == 401)
    assert not do_once(life)  # calls are paused, and voices wait
    life.upstream.trouble = lambda _: None
    life.clock.advance(HOUR)
    assert do_once(life)
    assert {voice.status for voice in life.registry.all()} == {Status.OK}


def test_once_has_failed_where_something_was_due_and_nothing_succeeded(tmp_path: Path) -> None:
    life = quick_life(tmp_path)
    life.register(imported("anna"), wanted("made"))
    life.upstream.trouble = lambda _: CallFailed("slow down", code=429)
    assert not do_once(life)
    assert do_once(life)  # nothing is due until the retries are


def test_once_has_failed_where_a_task_was_accepted_and_ended_without_success(
    tmp_path: Path,
) -> None:
    life = quick_life(tmp_path)
    life.register(imported("gone"))
    life.gateway.delete_voice("id-gone", life.clock.now())
    assert not do_once(life)


@pytest.mark.parametrize("why", ["nothing", "paused", "held", "later"])
def test_once_has_not_failed_where_nothing_was_due(tmp_path: Path, why: str) -> None:
    life = quick_life(tmp_path, enrollments_per_day=0)
    voices = {
        "paused": [imported("anna", paused=True)],
        "held": [wanted("anna")],
        "later": [imported("anna", last_used_at=NOW)],
    }
    life.register(*voices.get(why, []))
    assert do_once(life)


def test_once_is_stopped_by_a_signal_while_a_call_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "STOP_WITHIN_S", 0.1)
    life, limits = quick_life(tmp_path), list[str]()
    life.register(imported("anna"))
    life.upstream.hanging = lambda _: True

    async def stop() -> None:
        await eventually(lambda: life.upstream.calls)
        os.kill(os.getpid(), signal.SIGTERM)

    do_once(life, beside=stop, limit_stop=lambda: limits.append("begun"))
    assert [task.state for task in life.tasks("anna")] == [TaskState.INTENT]
    assert limits == ["begun"]  # should anything else hang
