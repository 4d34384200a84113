"""The real daemon frozen in the middle of a call: no voice is lost, and nothing paid for twice.

The gateway's answer is held back on the wire; so nothing depends on being quick.
"""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon_support import Host, Wire, until
from tests.support import wanted
from voicekeeper.core.models import Status, TaskState
from voicekeeper.sandbox import SandboxServer

pytestmark = pytest.mark.host


@pytest.fixture
def wire(server: SandboxServer) -> Iterator[Wire]:
    with Wire(int(server.url.rpartition(":")[2])) as wire:
        yield wire


def host_behind(wire: Wire, directory: Path, **settings: str) -> Host:
    return Host(directory, f"http://127.0.0.1:{wire.port}/api/v1", **settings)


@pytest.mark.parametrize("kind", ["clone", "speech"])
def test_a_daemon_frozen_during_a_call_for_longer_than_an_interval_makes_it_once(
    tmp_path: Path, server: SandboxServer, wire: Wire, kind: str
) -> None:
    host = host_behind(
        wire,
        tmp_path,
        KEEPALIVE__INTERVAL="1s",
        KEEPALIVE__JITTER="0s",
        UPSTREAM__TIMEOUT="30s",
    )
    if kind == "clone":
        host.register(wanted("anna"))
    else:
        host.register_existing(server, "anna")
    wire.hold_back()
    with host.run() as daemon:
        until(lambda: server.books().cost_micros, "the call is charged")
        daemon.send(signal.SIGSTOP)
        wire.let_go()
        time.sleep(1.5)  # this is the frozen time itself
        daemon.send(signal.SIGCONT)
        daemon.await_event("keepalive.succeeded", name="anna")
        daemon.kill()
    first, *later = host.tasks("anna")
    assert first.state is TaskState.SUCCESS
    assert all(task.sent_at > (first.finished_at or task.sent_at) for task in later)
    assert host.voice("anna").status is Status.OK
    assert server.books().clone == (kind == "clone")


def test_a_daemon_frozen_beyond_its_patience_does_not_know_and_pays_once(
    tmp_path: Path, server: SandboxServer, wire: Wire
) -> None:
    host = host_behind(wire, tmp_path, UPSTREAM__TIMEOUT="1s")
    host.register(wanted("anna"))
    wire.hold_back()
    with host.run() as daemon:
        until(lambda: server.books().clone, "the enrollment is charged")
        daemon.send(signal.SIGSTOP)
        time.sleep(2.5)
        daemon.send(signal.SIGCONT)
        daemon.await_event("enrollment.failed", name="anna")
        wire.let_go()
        host.await_passes(5)
        assert daemon.end(signal.SIGTERM) == 0
    assert host.voice("anna").status is Status.UNKNOWN
    assert server.books().clone == 1
