"""The real daemon killed in the middle of a call: no voice is lost, and nothing paid for twice.

Where the kill must fall between the gateway's work and its answer, the answer is held back on
the wire; so nothing depends on being quick.
"""

import signal
import time
from collections.abc import Callable, Iterator
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


@pytest.fixture
def host(tmp_path: Path, wire: Wire) -> Host:
    return host_behind(wire, tmp_path)


def host_behind(wire: Wire, directory: Path, **settings: str) -> Host:
    return Host(directory, f"http://127.0.0.1:{wire.port}/api/v1", **settings)


def before_the_work(host: Host, server: SandboxServer, _: Wire) -> None:
    """Kill the daemon when the call has left, and before the gateway has done a thing."""
    server.set_faults(["hang@submit"])
    with host.run() as daemon:
        until(lambda: server.struck().get("hang@submit"), "the call hangs")
        daemon.kill()
    server.set_faults([])


def after_the_work(host: Host, server: SandboxServer, wire: Wire) -> None:
    """Kill the daemon when the gateway has done the work, and before its answer is there."""
    wire.hold_back()
    with host.run() as daemon:
        until(lambda: server.books().cost_micros, "the call is charged")
        daemon.kill()
    wire.let_go()


Kill = Callable[[Host, SandboxServer, Wire], None]
kills = pytest.mark.parametrize("kill", [before_the_work, after_the_work])


@kills
def test_a_keepalive_cut_off_by_a_kill_is_repeated_at_the_next_start(
    host: Host, server: SandboxServer, wire: Wire, kill: Kill
) -> None:
    host.register_existing(server, "anna")
    kill(host, server, wire)
    assert [task.state for task in host.tasks("anna")] == [TaskState.INTENT]
    with host.run() as daemon:
        daemon.await_event("keepalive.succeeded", name="anna")
        assert daemon.end(signal.SIGTERM) == 0
    first, second = host.tasks("anna")[:2]
    assert (first.state, second.state) == (TaskState.UNKNOWN, TaskState.SUCCESS)
    assert host.voice("anna").status is Status.OK
    assert server.books().voices["id-anna"].alive


@kills
def test_an_enrollment_cut_off_by_a_kill_is_repeated_only_on_the_users_word(
    host: Host, server: SandboxServer, wire: Wire, kill: Kill
) -> None:
    host.register(wanted("anna"))
    kill(host, server, wire)
    charged = server.books().clone
    assert charged == (1 if kill is after_the_work else 0)
    with host.run() as daemon:
        daemon.await_event("enrollment.failed", name="anna", code="interrupted")
        host.await_passes(5)
        anna = host.voice("anna")
        assert (anna.status, anna.next_at) == (Status.UNKNOWN, None)
        assert server.books().clone == charged
        assert host.command("retry", "anna") == 0
        daemon.await_event("enrollment.succeeded", name="anna")
        assert daemon.end(signal.SIGTERM) == 0
    assert host.voice("anna").status is Status.OK
    assert server.books().clone == charged + 1


def test_a_voice_that_deploys_while_the_daemon_dies_is_followed_to_its_end(
    host: Host, server: SandboxServer
) -> None:
    host.register(wanted("anna"))
    with host.run(VOICEKEEPER_POLLING__ENROLLMENT_FIRST="20s") as daemon:  # no poll before the kill
        daemon.await_event("enrollment.submitted", name="anna")
        daemon.kill()
    assert host.voice("anna").status is Status.DEPLOYING
    with host.run() as daemon:
        daemon.await_event("enrollment.succeeded", name="anna")
        assert daemon.end(signal.SIGTERM) == 0
    assert host.voice("anna").status is Status.OK
    assert server.books().clone == 1


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
