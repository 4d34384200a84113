"""Writing answers down: alone at once, together under load, and again while the disk says no."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.support import NOW, Life, eventually, imported
from voicekeeper.core import transitions
from voicekeeper.core.models import Kind, Status, Task, TaskState, Voice
from voicekeeper.core.outcome import Accepted, Report
from voicekeeper.daemon.recorder import Recorder
from voicekeeper.errors import DatabaseHeld, VoicekeeperError
from voicekeeper.store.history import LogLine
from voicekeeper.store.jobs import Answer, Job, Rule

pytestmark = pytest.mark.anyio


def answer(name: str) -> Answer:
    job = Job(1, 1, Kind.KEEPALIVE, "m", name, f"id-{name}", None, None)
    return Answer(job, lambda *_: transitions.Transition(), NOW, None)  # type: ignore[arg-type]


class Disk:
    """A store that can be held up, and that says no to some.

    Attributes:
        groups: the names that each transaction held.
        flows: cleared, a transaction waits.
        refuses: raises for a group it does not take.
    """

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.flows = asyncio.Event()
        self.flows.set()
        self.refuses: Callable[[list[str]], Exception | None] = lambda _: None

    async def write(self, answers: Sequence[Answer]) -> Sequence[Sequence[LogLine]]:
        names = [one.job.name for one in answers]
        self.groups.append(names)
        await self.flows.wait()
        error = self.refuses(names)
        if error is not None:
            raise error
        return [[LogLine(name, "info", {})] for name in names]


class Scene:
    """A recorder on such a disk, and those who have something to write."""

    def __init__(self) -> None:
        self.disk = Disk()
        self.recorder = Recorder(self.disk.write)
        self.failures: list[str] = []

    def begin(self, *names: str) -> list[asyncio.Task[Sequence[LogLine]]]:
        return [asyncio.create_task(self.write(name)) for name in names]

    async def write(self, name: str) -> Sequence[LogLine]:
        def failed(error: VoicekeeperError) -> None:
            self.failures.append(f"{name}: {error}")

        return await self.recorder.record(answer(name), failed=failed)

    async def hold_up(self, *names: str) -> list[asyncio.Task[Sequence[LogLine]]]:
        """Let the first be at the disk, and the others come meanwhile."""
        self.disk.flows.clear()
        tasks = self.begin(*names)
        await eventually(lambda: self.disk.groups)
        await asyncio.sleep(0)
        return tasks


async def test_those_that_come_meanwhile_share_a_transaction_in_their_order() -> None:
    scene = Scene()
    tasks = await scene.hold_up("anna", "bert", "cleo", "dora")
    scene.disk.flows.set()
    told = await asyncio.gather(*tasks)
    assert [lines[0].event for lines in told] == ["anna", "bert", "cleo", "dora"]
    assert scene.disk.groups == [["anna"], ["bert", "cleo", "dora"]]


async def test_a_transaction_holds_so_many_at_the_most() -> None:
    scene = Scene()
    tasks = await scene.hold_up(*(f"v{number}" for number in range(130)))
    scene.disk.flows.set()
    await asyncio.gather(*tasks)
    assert [len(group) for group in scene.disk.groups] == [1, 64, 64, 1]


async def test_while_the_database_is_busy_each_is_tried_again_and_told_of_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("voicekeeper.daemon.recorder._AGAIN_S", (0.0,))
    scene = Scene()
    noes = iter([DatabaseHeld("busy")] * 4)
    scene.disk.refuses = lambda _: next(noes, None)
    tasks = await scene.hold_up("anna", "bert", "cleo")
    scene.disk.flows.set()
    told = await asyncio.gather(*tasks)
    assert [lines[0].event for lines in told] == ["anna", "bert", "cleo"]
    assert sorted(scene.failures) == ["anna: busy", "bert: busy", "cleo: busy"]
    assert len(scene.disk.groups) < 12  # they stayed together


async def test_an_answer_that_cannot_be_written_spoils_no_other() -> None:
    scene = Scene()
    bad = ValueError("no such day")
    scene.disk.refuses = lambda names: bad if "cleo" in names else None
    tasks = await scene.hold_up("anna", "bert", "cleo", "dora")
    scene.disk.flows.set()
    told = await asyncio.gather(*tasks, return_exceptions=True)
    assert told[2] is bad
    assert [lines[0].event for n, lines in enumerate(told) if n != 2] == [  # type: ignore[index]
        "anna",
        "bert",
        "dora",
    ]
    assert scene.failures == []


async def test_one_who_is_cut_short_leaves_the_others_to_be_written() -> None:
    scene = Scene()
    tasks = await scene.hold_up("anna", "bert", "cleo")
    tasks[0].cancel()
    tasks[1].cancel()
    await asyncio.sleep(0)
    scene.disk.flows.set()
    told = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(one) for one in told[:2]] == [asyncio.CancelledError] * 2
    assert told[2][0].event == "cleo"  # type: ignore[index]
    assert (await scene.write("dora"))[0].event == "dora"


async def test_to_settle_is_to_wait_for_those_that_came_before() -> None:
    scene = Scene()
    await scene.recorder.settle()
    tasks = await scene.hold_up("anna", "bert", "cleo")
    settled = asyncio.create_task(scene.recorder.settle())
    await asyncio.sleep(0)
    assert not settled.done()
    scene.disk.flows.set()
    await settled
    assert scene.disk.groups == [["anna"], ["bert", "cleo"]]
    await asyncio.gather(*tasks)


def test_a_group_changes_all_of_its_voices_or_none(life: Life) -> None:
    life.register(imported("anna"), imported("bert"))
    jobs = life.worklist.claim(now=NOW, policy=life.policy, calls=9, polls=9).calls

    def accepted(voice: Voice | None, task: Task) -> transitions.Transition:
        given: dict[str, Any] = {"cost_micros": 60, "now": NOW, "policy": life.policy}
        return transitions.submitted(voice, task, Accepted(f"task-{task.id}"), **given)

    def broken(*_: object) -> transitions.Transition:
        raise NotImplementedError

    def record(*rules: Rule) -> list[str]:
        answers = [
            Answer(job, rule, NOW, life.policy) for job, rule in zip(jobs, rules, strict=True)
        ]
        return [lines[0].fields["name"] for lines in life.worklist.record(answers)]

    with pytest.raises(NotImplementedError):
        record(accepted, broken)
    assert {task.state for task in life.rows(Task)} == {TaskState.INTENT}
    assert record(accepted, accepted) == [job.name for job in jobs]
    assert {task.state for task in life.rows(Task)} == {TaskState.RUNNING}


def test_one_answer_of_a_group_sees_what_another_changed(life: Life) -> None:
    """Two answers to one task: the first settles it, and the second finds it settled."""
    life.register(imported("anna"))
    (job,) = life.worklist.claim(now=NOW, policy=life.policy, calls=9, polls=9).calls

    def success(voice: Voice | None, task: Task) -> transitions.Transition:
        return transitions.reported(voice, task, Report("success"), now=NOW, policy=life.policy)

    again = Answer(job, success, NOW, life.policy)
    first, second = life.worklist.record([again, again])
    assert [line.event for line in first][:1] == ["keepalive.succeeded"]
    assert list(second) == []
    assert life.voice("anna").status is Status.OK
