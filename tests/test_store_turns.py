"""Threads of one process and one database: who came first goes first, and none is kept waiting."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests import support
from tests.support import NOW, imported, policy
from voicekeeper.store.database import Database
from voicekeeper.store.registry import Registry
from voicekeeper.store.turns import Turns
from voicekeeper.store.worklist import Worklist

LIMIT_S = 30.0


def until(condition: Callable[[], object]) -> None:
    limit = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.001)


@contextmanager
def threads(*works: Callable[[], object]) -> Iterator[list[threading.Thread]]:
    """Run each of these in a thread of its own, and wait for their ends."""
    running = [threading.Thread(target=work, daemon=True) for work in works]
    for thread in running:
        thread.start()
    yield running
    for thread in running:
        thread.join(LIMIT_S)
        assert not thread.is_alive()


def waiting(turns: Turns) -> int:
    return len(turns._waiting)  # noqa: SLF001 - that somebody waits shows nowhere else


def test_turns_are_handed_on_in_the_order_in_which_they_were_asked_for() -> None:
    turns, order = Turns(), list[int]()

    def work(number: int) -> None:
        turns.take()
        order.append(number)
        turns.give()

    turns.take()
    with threads() as started:
        for number in range(5):
            thread = threading.Thread(target=work, args=(number,), daemon=True)
            started.append(thread)
            thread.start()
            until(lambda: waiting(turns) == len(started))
        turns.give()
    assert order == [0, 1, 2, 3, 4]


def test_who_is_back_at_once_stands_behind_who_waits() -> None:
    turns, mine, others = Turns(), 0, list[int]()
    stop = threading.Event()

    def again_and_again() -> None:
        nonlocal mine
        while not stop.is_set():
            turns.take()
            mine += 1
            turns.give()

    def seldom() -> None:
        for _ in range(200):
            before = mine
            turns.take()
            others.append(mine - before)
            turns.give()
        stop.set()

    with threads(again_and_again, seldom):
        pass
    assert max(others) < 200_000  # a thread may be stopped between the look and its question
    assert sorted(others)[100] <= 2


def test_a_turn_within_a_turn_is_a_part_of_it() -> None:
    turns, came = Turns(), threading.Event()

    def other() -> None:
        turns.take()
        came.set()
        turns.give()

    turns.take()
    turns.take()
    with threads(other):
        until(lambda: waiting(turns) == 1)
        turns.give()
        assert not came.wait(0.05)
        turns.give()
    assert came.is_set()


@pytest.mark.parametrize("woken", [False, True])
def test_who_is_interrupted_while_waiting_leaves_the_queue(
    monkeypatch: pytest.MonkeyPatch, *, woken: bool
) -> None:
    turns, came = Turns(), threading.Event()

    class Gate:
        """A lock whose second wait is interrupted, before it was woken or just after."""

        taken = False

        def acquire(self) -> None:
            if not self.taken:
                self.taken = True
                return
            if woken:
                turns.give()
            raise KeyboardInterrupt

        def release(self) -> None:
            """Wake it."""

    turns.take()
    holder = turns._whose  # noqa: SLF001
    turns._whose = holder + 1  # noqa: SLF001 - another thread's turn
    with monkeypatch.context() as patch:
        patch.setattr(threading, "Lock", Gate)
        with pytest.raises(KeyboardInterrupt):
            turns.take()
    if not woken:
        turns.give()

    def other() -> None:
        turns.take()
        came.set()
        turns.give()

    with threads(other):
        assert came.wait(LIMIT_S)


def test_no_thread_that_writes_on_and_on_keeps_a_pass_from_the_database(tmp_path: Path) -> None:
    database = support.database(tmp_path / "voicekeeper.db")
    worklist, settings = Worklist(database), policy()
    Registry(database).register([imported("anna")], now=NOW, policy=settings)
    worklist.take_over(keeper="1@here", version="0", now=NOW, policy=settings)
    stop, mine, others = threading.Event(), 0, list[int]()

    def write_on_and_on() -> None:
        nonlocal mine
        while not stop.is_set():
            with database.writing():
                mine += 1
                time.sleep(0.001)

    def make_passes() -> None:
        for _ in range(30):
            before = mine
            worklist.claim(now=NOW, policy=settings, calls=1, polls=1)
            others.append(mine - before)
        stop.set()

    with threads(write_on_and_on, make_passes, *[lambda: read_on_and_on(database, stop)] * 2):
        pass
    assert len(others) == 30
    assert sorted(others)[15] <= 2
    database.close()


def read_on_and_on(database: Database, stop: threading.Event) -> None:
    while not stop.is_set():
        Registry(database).keeping()


def test_a_transaction_that_fails_hands_its_turn_on(tmp_path: Path) -> None:
    database = support.database(tmp_path / "voicekeeper.db")
    for _ in range(3):
        with suppress(ZeroDivisionError), database.writing():
            _ = 1 / 0
    with threads(lambda: Registry(database).keeping()):
        pass
    database.close()
