"""The ledger: what the tasks cost, whatever became of them, beside the gateway's own books."""

import asyncio
import random
from pathlib import Path

import pytest
from sqlmodel import col

from tests.support import DAY, HOUR, MINUTE, NOW, Call, Life, imported, wanted
from voicekeeper.core.costs import Spent, Totals
from voicekeeper.core.models import Kind, LedgerEntry, Origin, Status, Task
from voicekeeper.errors import CallFailed

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("each_database")]

LOST = CallFailed("no answer", ambiguous=True)
BUSY = CallFailed("busy", code=429)


def ever(life: Life) -> Spent:
    return life.registry.totals(now=life.clock.now()).ever


def rows(life: Life) -> Spent:
    """Return what the rows of the tasks add up to."""
    tasks = life.rows(Task)
    return Spent(
        sum(task.cost_micros or 0 for task in tasks),
        sum(task.possible_cost_micros or 0 for task in tasks),
    )


def test_an_accepted_task_costs_its_price_for_certain_though_its_voice_is_removed(
    life: Life,
) -> None:
    life.register(imported("anna"), wanted("bert"), wanted("carl", Origin.DESIGN, prefix="demo03"))
    life.live(MINUTE)
    assert life.registry.spent(life.voice("bert")) == Spent(2_000)
    for name in ("anna", "bert", "carl"):
        life.registry.remove(name, now=life.clock.now())
    assert life.rows(Task) == []
    assert ever(life) == Spent(60 + 2_000 + 30_000)


@pytest.mark.parametrize(
    ("trouble", "status", "spent"),
    [(LOST, Status.UNKNOWN, Spent(0, 2_000)), (BUSY, Status.NEW, Spent())],
    ids=["the answer was lost: possibly", "it was refused: nothing"],
)
def test_a_call_that_failed_costs_what_may_have_been_charged(
    life: Life, trouble: CallFailed, status: Status, spent: Spent
) -> None:
    life.register(wanted("anna"))
    life.upstream.trouble = lambda _: trouble
    life.live(HOUR)
    assert life.voice("anna").status is status
    assert ever(life) == rows(life) == spent
    told = life.registry.history("anna")[1]
    assert (told.detail or {}).get("possible_cost_micros", 0) == spent.possible


async def test_a_task_is_booked_on_its_day_from_its_call_on(life: Life) -> None:
    life.clock.advance(12 * HOUR - 2 * MINUTE)
    life.register(wanted("anna"))
    life.upstream.hanging = lambda _: True

    await life.keeper.sweep()
    for _ in range(5):
        await asyncio.sleep(0)
    assert ever(life) == Spent(0, 2_000)
    life.upstream.release.set()
    await life.keeper.settle()
    await life.anew(10 * MINUTE)
    assert next((e.day.isoformat(), e.kind, e.cost_micros) for e in life.rows(LedgerEntry)) == (
        ("2026-05-01", Kind.CLONE, 2_000)
    )


def test_the_totals_are_of_this_utc_day_of_thirty_and_of_all(life: Life) -> None:
    days = {NOW: 1, NOW - 12 * HOUR: 2, NOW - 13 * HOUR: 4, NOW - 29 * DAY: 8, NOW - 30 * DAY: 16}
    with life.database.writing() as session:
        for at, micros in days.items():
            key = (at.date(), Kind.KEEPALIVE)
            entry = session.get(LedgerEntry, key) or LedgerEntry(day=key[0], kind=key[1])
            entry.cost_micros += micros
            entry.possible_cost_micros += 100 * micros
            session.add(entry)
            session.flush()
    assert life.registry.totals(now=NOW) == Totals(Spent(3, 300), Spent(15, 1500), Spent(31, 3100))


@pytest.mark.parametrize("seed", range(3))
def test_through_any_trouble_the_ledger_is_the_tasks_and_brackets_the_gateways_books(
    tmp_path: Path, seed: int
) -> None:
    life, chance = Life(tmp_path, seed=seed), random.Random(seed)

    def trouble(call: Call) -> Exception | None:
        odd = chance.random()
        if odd > 0.5:
            return None
        if call.kind == "status" or odd < 0.2:
            return BUSY
        return LOST if odd < 0.4 else RuntimeError("a bug in the middle of the call")

    life.upstream.trouble = trouble
    for number in range(3):
        life.register(
            imported(f"voice-{number}", last_used_at=NOW - number * DAY),
            wanted(f"clone-{number}", prefix=f"clone{number}"),
            wanted(f"design-{number}", Origin.DESIGN, prefix=f"design{number}"),
        )
    for _ in range(3):
        life.live(DAY)
        assert ever(life) == rows(life)
        assert ever(life).certain <= life.books().cost_micros <= ever(life).at_most
        voices = [life.registry.spent(voice) for voice in life.registry.all()]
        controls = life.rows(Task, col(Task.voice_pk).is_(None))
        certain = sum(spent.certain for spent in voices)
        assert certain + sum(task.cost_micros or 0 for task in controls) == ever(life).certain
