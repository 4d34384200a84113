"""Telling systemd: what arrives on its socket, and that nothing breaks without one."""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from voicekeeper.daemon import sdnotify
from voicekeeper.daemon.sdnotify import ServiceManager


@contextmanager
def manager(address: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(address)
        line.settimeout(5)
        yield line


def test_each_word_arrives_as_one_datagram(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with manager(address) as line:
        told = ServiceManager({"NOTIFY_SOCKET": address})
        told.ready("3 voices, all well")
        told.status("1 voice at risk")
        told.watchdog()
        told.stopping()
        assert [line.recv(4096) for _ in range(4)] == [
            b"READY=1\nSTATUS=3 voices, all well",
            b"STATUS=1 voice at risk",
            b"WATCHDOG=1",
            b"STOPPING=1",
        ]


def test_an_abstract_socket_is_reached_by_its_at_sign() -> None:
    name = f"voicekeeper-test-{os.getpid()}"
    with manager(f"\0{name}") as line:
        ServiceManager({"NOTIFY_SOCKET": f"@{name}"}).watchdog()
        assert line.recv(4096) == b"WATCHDOG=1"


def test_a_status_cannot_smuggle_in_another_assignment(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with manager(address) as line:
        ServiceManager({"NOTIFY_SOCKET": address}).status("well\nMAINPID=1\r\nSTOPPING=1 \udce9")
        assert line.recv(4096) == b"STATUS=well MAINPID=1 STOPPING=1 ?"
        ServiceManager({"NOTIFY_SOCKET": address}).status("\x1b]0;t\x07 \u202e")
        assert line.recv(4096) == b"STATUS=\\x1b]0;t\\x07 \\u202e"


def test_a_long_status_is_cut_rather_than_lost(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with manager(address) as line:
        ServiceManager({"NOTIFY_SOCKET": address}).ready("a" * 1_000_000)
        assert line.recv(4096) == b"READY=1\nSTATUS=" + b"a" * 200


@pytest.mark.parametrize(
    "address", ["", "vsock:2:1234", "relative", "/nonexistent/notify", "/" + "a" * 300, "/a\0b"]
)
def test_without_a_usable_socket_nothing_happens(address: str) -> None:
    for environ in ({}, {"NOTIFY_SOCKET": address}):
        told = ServiceManager(environ)
        told.ready("well")
        told.watchdog()
        told.stopping()


def test_a_manager_that_does_not_read_costs_a_message_and_no_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sdnotify, "_TIMEOUT_S", 600)  # else the test ends by its limit
    address = str(tmp_path / "notify")
    with manager(address) as line, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.settimeout(0)
        other.connect(address)
        waiting = until_blocked(lambda: other.send(b"x"))
        told = ServiceManager({"NOTIFY_SOCKET": address})
        told.watchdog()
        told.status("12 voices kept")
        told.stopping()
        line.settimeout(0)
        assert until_blocked(lambda: line.recv(16)) == waiting


def until_blocked(step: Callable[[], object]) -> int:
    """Repeat a step until the socket would block; return how often it worked."""
    for count in range(100_000):
        try:
            step()
        except BlockingIOError:
            return count
    raise AssertionError("the socket never blocks")


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "120000000"}, 120.0),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": str(os.getpid())}, 0.5),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "x"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": ""}, None),
    ],
)
def test_the_watchdog_interval_is_for_this_process_in_seconds(
    environ: dict[str, str], seconds: float | None
) -> None:
    assert ServiceManager(environ).watchdog_interval == seconds
