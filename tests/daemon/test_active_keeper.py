"""The keeper that is deposed, or whose outcome cannot be recorded: what it calls, and serves."""

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

from tests.postgres import Cluster
from tests.support import (
    DAY,
    MINUTE,
    NOW,
    FakeClock,
    Life,
    SandboxUpstream,
    Told,
    imported,
    offload,
    policy,
    wanted,
)
from tests.web_support import get
from voicekeeper.core.models import Status, Task, TaskState
from voicekeeper.core.outcome import Accepted
from voicekeeper.daemon.keeper import Keeper
from voicekeeper.errors import NotActive
from voicekeeper.sandbox import Gateway
from voicekeeper.store.postgres import PostgresDatabase
from voicekeeper.store.registry import Registry
from voicekeeper.store.worklist import Worklist


def depose(life: Life) -> None:
    """Let another keeper take over."""
    Worklist(life.database).take_over(keeper="2@there", version="1", now=NOW, policy=life.policy)


def test_a_call_that_waits_for_its_turn_when_another_keeper_takes_over_is_not_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = Life(tmp_path)
    life.register(imported("anna"), wanted("bert"))
    submit = life.upstream.submit

    async def story() -> None:
        turn = asyncio.Event()

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

    asyncio.run(story())
    assert life.upstream.calls == []
    assert life.tasks("bert") == []
    assert [task.code for task in life.tasks("anna")] == ["interrupted"]
    assert life.log.of("pass.failed") == []


def test_a_call_under_way_when_another_keeper_takes_over_is_recorded(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.register(wanted("bert"))
    life.upstream.hanging = lambda call: call.kind == "submit"

    async def story() -> None:
        await life.keeper.sweep()
        while not life.upstream.calls:  # noqa: ASYNC110 - of a stand-in
            await asyncio.sleep(0)
        depose(life)  # on a file it settles at once what nobody waits for
        assert life.voice("bert").status is Status.UNKNOWN
        life.upstream.release.set()
        await life.keeper.settle()

    asyncio.run(story())
    assert life.voice("bert").status is Status.DEPLOYING
    (task,) = life.tasks("bert")
    assert (task.state, task.code, task.finished_at) == (TaskState.RUNNING, None, None)
    told = [entry for entry in life.registry.history("bert") if entry.event.endswith("changed")]
    assert [(entry.detail or {})["to"] for entry in told] == ["UNKNOWN", "NEW", "DEPLOYING"]


def test_an_outcome_that_cannot_be_recorded_is_not_asked_for_again_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = Life(tmp_path)
    life.register(imported("anna"))

    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    async def story() -> None:
        monkeypatch.setattr(life.worklist, "record", broken)
        await life.one_pass()
        assert len(life.upstream.calls) == 1
        for _ in range(3):
            life.clock.advance(MINUTE)
            await life.one_pass()
        assert len(life.upstream.calls) == 1

    asyncio.run(story())
    assert life.log.of("pass.failed")


def test_a_keeper_that_stands_by_serves_its_health_alone(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.register(imported("anna", last_used_at=NOW))

    async def story() -> None:
        await life.keeper.sweep()
        depose(life)
        with pytest.raises(NotActive):
            await life.keeper.sweep()

    asyncio.run(story())
    alive, page, metrics = get(life, "/healthz", "/", "/metrics")
    assert (alive.status_code, alive.text) == (200, "ok\n")
    assert [page.status_code, metrics.status_code] == [503, 503]
    assert page.text == "this keeper stands by; ask the active one\n"


@pytest.fixture
def server() -> Iterator[Cluster]:
    """A server that a test may stop."""
    with Cluster() as server:
        yield server


@pytest.mark.postgres
def test_the_answer_to_a_clone_is_recorded_though_the_database_is_restarted_meanwhile(
    server: Cluster,
) -> None:
    clock, rules = FakeClock(), policy()
    database = PostgresDatabase(server.empty())
    registry = Registry(database)
    registry.register([wanted("anna")], now=NOW, policy=rules)
    upstream = SandboxUpstream(Gateway(random.Random(1)), clock)
    upstream.hanging = lambda call: call.kind == "submit"
    log = Told()
    keeper = Keeper(
        worklist=Worklist(database),
        upstream=upstream,
        clock=clock,
        policy=rules,
        name="1@here",
        log=log,
        offload=offload,
    )

    async def story() -> None:
        await keeper.sweep()
        while not upstream.calls:  # noqa: ASYNC110 - of a stand-in
            await asyncio.sleep(0)
        server.stop()
        upstream.release.set()
        await asyncio.sleep(1)  # it is tried, in vain
        server.start()
        await keeper.settle()

    asyncio.run(story())
    assert registry.get("anna").status is Status.DEPLOYING
    with database.reading() as session:
        task = session.scalars(select(Task)).one()
        assert (task.state, task.polls) == (TaskState.RUNNING, 0)
    assert len(upstream.submitted("demo01")) == 1
    clock.advance(DAY)
    asyncio.run(keeper.sweep())
    assert len(upstream.submitted("demo01")) == 1
    database.close()
