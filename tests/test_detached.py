"""Threads that nobody waits for: their results come, and one that hangs holds up no end."""

import asyncio
import signal
import threading
import time
from pathlib import Path

import pytest

from tests.daemon_support import LIMIT_S, Host
from tests.support import imported
from voicekeeper import detached


def test_what_is_called_in_a_thread_returns_or_raises_to_who_waits() -> None:
    def fail() -> None:
        raise KeyError("gone")

    async def main() -> tuple[int, str]:
        with pytest.raises(KeyError, match="gone"):
            await asyncio.to_thread(fail)
        return await asyncio.to_thread(lambda: (6, threading.current_thread().name))

    assert detached.run(main()) == (6, "detached")


def test_some_that_hang_keep_no_other_from_its_turn_nor_the_loop_from_its_end() -> None:
    over = threading.Event()

    async def main() -> int:
        for _ in range(detached.MOST - 1):
            asyncio.get_running_loop().run_in_executor(None, over.wait)
        return await asyncio.to_thread(lambda: 6)

    try:
        assert detached.run(main()) == 6
    finally:
        over.set()


def test_what_finds_no_room_is_called_when_there_is_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detached, "MOST", 2)
    over, called = threading.Event(), list[int]()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        hanging = [loop.run_in_executor(None, over.wait) for _ in range(2)]
        late = [loop.run_in_executor(None, called.append, number) for number in range(3)]
        late[1].cancel()
        await asyncio.sleep(0.05)
        assert called == []
        over.set()
        await asyncio.gather(*hanging, late[0], late[2])

    detached.run(main())
    assert called == [0, 2]


def test_a_host_that_has_no_thread_left_fails_those_calls_and_no_later_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    called = list[int]()

    def fail(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def main() -> None:
        with monkeypatch.context() as scarce:
            scarce.setattr(threading.Thread, "start", fail)
            for number in range(detached.MOST):
                with pytest.raises(BlockingIOError):
                    await asyncio.to_thread(called.append, number)
        await asyncio.wait_for(asyncio.to_thread(called.append, 100), LIMIT_S)

    detached.run(main())
    assert called == [100]


SLOW_NAMES = """
import socket, time
_real = socket.getaddrinfo
def getaddrinfo(host, *args, **options):
    if b"example" in (host if isinstance(host, bytes) else host.encode()):
        print("looked up", flush=True, file=__import__("sys").stderr)
        time.sleep(100)
    return _real(host, *args, **options)
socket.getaddrinfo = getaddrinfo
"""


def test_a_name_server_that_does_not_answer_holds_up_no_stop(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(SLOW_NAMES)
    host = Host(tmp_path, "https://gateway.example.com/api/v1", UPSTREAM__TIMEOUT="0.3s")
    host.register(imported("anna"))
    with host.run(PYTHONPATH=f"{tmp_path}:{Path(__file__).parent.parent}") as daemon:
        daemon.await_event("keepalive.failed", name="anna")
        assert "looked up" in daemon.words
        began = time.monotonic()
        assert daemon.end(signal.SIGTERM) == 0  # in less than its limit
        assert time.monotonic() - began < 10


def test_check_waits_no_longer_for_a_name_than_for_the_call(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(SLOW_NAMES)
    host = Host(tmp_path, "https://gateway.example.com/api/v1", UPSTREAM__TIMEOUT="0.3s")
    variables = {"PYTHONPATH": f"{tmp_path}:{Path(__file__).parent.parent}"}
    with host.run_command("check", **variables) as command:
        assert command.end() == 1
        told = "\n".join(command.lines)
    assert "could not reach the gateway at gateway.example.com" in told
