"""The keeper that is deposed, or whose outcome cannot be recorded: what it calls, and serves."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests import support
from tests.postgres import Cluster
from tests.support import (
    DAY,
    MINUTE,
    NOW,
    Life,
    eventually,
    imported,
    wanted,
)
from tests.web_support import get
from voicekeeper.core.models import Status, TaskState
from voicekeeper.core.outcome import Accepted
from voicekeeper.errors import NotActive
from voicekeeper.store.postgres import PostgresDatabase
from voicekeeper.store.worklist import Worklist

pytestmark = pytest.mark.anyio


def depose(life: Life) -> None:
    """Let another keeper take over."""
    Worklist(life.database).take_over(keeper="2@there", version="1", now=NOW, policy=life.policy)


async def test_a_call_that_waits_for_its_turn_when_another_keeper_takes_over_is_not_sent(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    life.register(imported("anna"), wanted("bert"))
    submit, turn = life.upstream.submit, asyncio.Event()

    async def queued(*given: Any, **more: Any) -> Accepted:  # noqa: ANN401 - all it takes
        await turn.wait()
        return await submit(*given, **more)

    monkeypatch.setattr(life.upstream, "submit", queued)
    await life.keeper.sweep()
    depose(life)
    with pytest.raises(NotActive, match="2@there is the active keeper"):
        await life.keeper.sweep()
    assert life.keeper.stands_by
    turn.set()
    await life.keeper.settle()
    assert life.upstream.calls == []
    assert life.tasks("bert") == []
    assert [task.code for task in life.tasks("anna")] == ["interrupted"]
    assert life.log.of("pass.failed") == []


async def test_a_call_under_way_when_another_keeper_takes_over_is_recorded(life: Life) -> None:
    life.register(wanted("bert"))
    life.upstream.hanging = lambda call: call.kind == "submit"
    await life.keeper.sweep()
    await eventually(lambda: life.upstream.calls)
    depose(life)  # on a file it settles at once what nobody waits for
    assert life.voice("bert").status is Status.UNKNOWN
    life.upstream.release.set()
    await life.keeper.settle()
    assert life.voice("bert").status is Status.DEPLOYING
    (task,) = life.tasks("bert")
    assert (task.state, task.code, task.finished_at) == (TaskState.RUNNING, None, None)
    told = [entry for entry in life.registry.history("bert") if entry.event.endswith("changed")]
    assert [(entry.detail or {})["to"] for entry in told] == ["UNKNOWN", "NEW", "DEPLOYING"]


async def test_an_outcome_that_cannot_be_recorded_is_not_asked_for_again_at_once(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    life.register(imported("anna"))

    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(life.worklist, "record", broken)
    await life.one_pass()
    assert len(life.upstream.calls) == 1
    for _ in range(3):
        life.clock.advance(MINUTE)
        await life.one_pass()
    assert len(life.upstream.calls) == 1
    assert life.log.of("pass.failed")


def test_a_keeper_that_stands_by_serves_its_health_alone(life: Life) -> None:
    life.register(imported("anna", last_used_at=NOW))
    asyncio.run(life.keeper.sweep())
    depose(life)
    with pytest.raises(NotActive):
        asyncio.run(life.keeper.sweep())
    alive, page, metrics = get(life, "/healthz", "/", "/metrics")
    assert (alive.status_code, alive.text) == (200, "ok\n")
    assert [page.status_code, metrics.status_code] == [503, 503]
    assert page.text == "this keeper stands by; ask the active one\n"


@pytest.mark.postgres
async def test_the_answer_to_a_clone_is_recorded_though_the_database_is_restarted_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, restartable: Cluster
) -> None:
    database = PostgresDatabase(restartable.empty())
    monkeypatch.setattr(support, "database", lambda _: database)
    life = Life(tmp_path)
    life.register(wanted("anna"))
    life.upstream.hanging = lambda call: call.kind == "submit"
    await life.keeper.sweep()
    await eventually(lambda: life.upstream.calls)
    restartable.stop()
    life.upstream.release.set()
    await asyncio.sleep(1)  # it is tried, in vain
    restartable.start()
    await life.keeper.settle()
    assert life.voice("anna").status is Status.DEPLOYING
    (task,) = life.tasks("anna")
    assert (task.state, task.polls) == (TaskState.RUNNING, 0)
    life.clock.advance(DAY)
    await life.one_pass()
    assert len(life.upstream.submitted("demo01")) == 1
    database.close()
