"""``voicekeeper run`` as a process of its own, against the sandbox over real HTTP."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete

from tests.command import CommandLine
from tests.daemon_support import LIMIT_S, POLICY, Host, until
from tests.support import FakeClock, imported, wanted
from voicekeeper.core.clock import SystemClock
from voicekeeper.core.models import HistoryEntry, Status
from voicekeeper.daemon.keeper import STOP_WITHIN_S
from voicekeeper.sandbox import SandboxServer

RECIPE = ["--prefix", "demo01", "--audio-url", "https://example.com/a.wav"]


# what it does


def test_it_makes_a_voice_and_keeps_it_and_tells_so_in_json(
    tmp_path: Path, server: SandboxServer
) -> None:
    host = Host(tmp_path, server.base_url, KEEPALIVE__INTERVAL="1.5s", KEEPALIVE__JITTER="0s")
    host.register(wanted("anna"))
    with host.run() as daemon:
        daemon.await_event("keepalive.succeeded", name="anna", count=2)
        assert daemon.end(signal.SIGTERM) == 0
    lines = [json.loads(line) for line in daemon.lines]
    assert all(list(line)[:3] == ["timestamp", "level", "event"] for line in lines)
    assert all(line["timestamp"].endswith("Z") for line in lines)
    assert [line["event"] for line in lines if line.get("name") == "anna"][:5] == [
        "voice.registered",
        "enrollment.submitted",
        "voice.status_changed",
        "enrollment.succeeded",
        "voice.status_changed",
    ]
    assert lines[-1]["event"] == "daemon.stopped"
    assert daemon.words == []
    (voice,) = server.books().voices.values()
    assert (voice.alive, voice.made_by, server.books().clone) == (True, "clone", 1)
    assert voice.uses >= 2


def test_once_does_all_that_is_due_and_ends(host: Host, server: SandboxServer) -> None:
    host.register_existing(server, "anna", "berta")
    host.register(wanted("clara"))
    with host.run("--once") as run:
        assert run.end() == 0, run.words
    assert {voice.status for voice in host.registry.all()} == {Status.OK}
    assert (server.books().clone, server.books().speech) == (1, 2)


def test_keeping_goes_on_when_a_gateway_that_hung_for_long_heals(
    tmp_path: Path, server: SandboxServer
) -> None:
    names = [f"v{number}" for number in range(9)]
    host = Host(tmp_path, server.base_url, UPSTREAM__TIMEOUT="0.5s", UPSTREAM__MAX_IN_FLIGHT="3")
    server.set_faults(["hang"])
    host.register_existing(server, *names)
    with host.run() as daemon:
        daemon.await_event("keepalive.failed", count=4)  # more of them waited than may go at once
        server.set_faults([])
        for name in names:
            daemon.await_event("keepalive.succeeded", name=name)
        assert daemon.end(signal.SIGTERM) == 0


# how it ends


@pytest.mark.parametrize("options", [("--once",), ()])
def test_it_deletes_what_is_older_than_a_year(
    host: Host, server: SandboxServer, options: tuple[str, ...]
) -> None:
    host.register_existing(server, "anna")
    host.registry.touch("anna", SystemClock().now(), now=SystemClock().now(), policy=POLICY)
    day = timedelta(days=1)
    old, young = (SystemClock().now() - days * day for days in (366, 364))
    with host.database.writing() as session:
        session.execute(delete(HistoryEntry))
        session.add_all(
            HistoryEntry(voice_pk=1, at=at, event="keepalive.succeeded", level="info")
            for at in (old, old, young)
        )
    with host.run(*options) as daemon:
        told = daemon.await_event("history.pruned")
        assert daemon.end(None if options else signal.SIGTERM) == 0
    assert (told["level"], told["events"], told["calls"], told["alerts"]) == ("info", 2, 0, 0)
    assert host.registry.history("anna")[0].at == young


def test_a_signal_ends_it_long_before_a_call_that_hangs_does(
    tmp_path: Path, server: SandboxServer
) -> None:
    """Within 10 s on a machine that is not busy; the call would take up to a minute."""
    assert STOP_WITHIN_S < 10
    server.set_faults(["hang@submit"])
    hosts = []
    for number in (signal.SIGTERM, signal.SIGINT):
        directory = tmp_path / number.name
        directory.mkdir()
        hosts.append(Host(directory, server.base_url))
        hosts[-1].register(imported("anna"), wanted("berta"))
    with hosts[0].run() as first, hosts[1].run() as second:
        until(lambda: server.struck().get("hang@submit", 0) == 4, "all four calls hang")
        began = time.monotonic()
        first.send(signal.SIGTERM)
        second.send(signal.SIGINT)
        assert (first.end(), second.end()) == (0, 0)
        assert time.monotonic() - began < 20
        for daemon in (first, second):
            assert daemon.told("daemon.stopped", calls_left=2)
            assert daemon.words == []


# one daemon a registry


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_a_daemon_that_ended_is_missed_at_once(
    host: Host, server: SandboxServer, end: signal.Signals
) -> None:
    host.register_existing(server, "anna")
    cli = CommandLine(host.path, FakeClock(SystemClock().now()))
    with host.run() as daemon:
        daemon.await_event("keepalive.succeeded", name="anna")
        assert cli("status").code == 0
        daemon.end(end)
    for status in (cli("status"), cli("status", "--json")):
        assert status.code == 2
        assert "no daemon runs, and none has made a pass since" in status.out
    kept = cli("keep", "anna")
    assert kept.code == 0
    note = "note: nothing is kept now: no daemon runs, and none has made a pass since "
    assert kept.err.startswith(f"anna is due now; the daemon uses it once it runs.\n{note}")
    for command in (["add", "id-new", "--name", "new"], ["clone", "made", *RECIPE]):
        assert note in cli(*command).err


def test_between_two_runs_of_a_timer_no_daemon_is_missed(host: Host, server: SandboxServer) -> None:
    host.register_existing(server, "anna")
    with host.run("--once") as run:
        assert run.end() == 0, run.words
    cli = CommandLine(host.path, FakeClock(SystemClock().now()))
    assert cli("status").code == 0
    assert cli("keep", "anna").err == "anna is due now; the daemon uses it on its next pass.\n"


def test_a_second_daemon_ends_with_75_and_names_the_first(host: Host) -> None:
    with host.run() as first:
        first.await_event("daemon.ready")
        with host.run() as second:
            assert second.end() == 75
        (sentence,) = second.words
        assert f"pid {first.pid} on {socket.gethostname()}" in sentence
        assert second.lines == []
        assert first.end(signal.SIGTERM) == 0


@pytest.mark.host
def test_no_file_of_its_own_takes_the_place_of_a_closed_stdin_stdout_or_stderr(
    host: Host, server: SandboxServer
) -> None:
    host.register_existing(server, "anna")
    closed = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable]
    with subprocess.Popen([*closed, "-m", "voicekeeper", "run"], env=host.environ()) as daemon:
        try:
            host.await_passes(1)
            standard = [Path(f"/proc/{daemon.pid}/fd/{number}").readlink() for number in range(3)]
        finally:
            daemon.terminate()
    assert standard == [Path(os.devnull)] * 3
    assert daemon.returncode == 0


# what keeps it from starting


def test_without_a_key_it_ends_with_78_and_one_sentence(host: Host) -> None:
    with host.run(VOICEKEEPER_UPSTREAM__API_KEY_FILE=None) as daemon:
        assert daemon.end() == 78
    assert "there is no API key" in daemon.words[-1]
    assert len(daemon.words) == 2
    assert daemon.lines == []


# a key that is refused, a gateway that is away


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        ("401", 77, "the gateway refused the API key"),
        ("404", 1, "something was due, and nothing succeeded"),
    ],
)
def test_a_run_once_in_which_nothing_succeeds_says_why(
    host: Host, server: SandboxServer, fault: str, code: int, words: str
) -> None:
    host.register_existing(server, "anna")
    server.set_faults([fault])
    with host.run("--once") as run:
        assert run.end() == code
    assert words in " ".join(run.words)


def test_a_daemon_whose_key_is_refused_stays_says_so_once_and_recovers(
    host: Host, server: SandboxServer
) -> None:
    server.set_faults(["401"])
    host.register_existing(server, "anna", "berta", "clara")
    with host.run() as daemon:
        daemon.await_event("control.failed", count=2)
        server.set_faults([])
        daemon.await_event("upstream.recovered")
        for name in ("anna", "berta", "clara"):
            daemon.await_event("keepalive.succeeded", name=name)
        assert daemon.end(signal.SIGTERM) == 0
    (blocked,) = daemon.told("upstream.blocked")
    assert (blocked["level"], blocked["code"]) == ("error", "401")
    assert all(voice.alive for voice in server.books().voices.values())


def test_a_daemon_outlives_a_gateway_that_is_away(host: Host, server: SandboxServer) -> None:
    host.register_existing(server, "anna")
    host.register(wanted("berta"))
    server.stop()
    with host.run() as daemon:
        refused = daemon.await_event("enrollment.failed", name="berta")
        assert "could not reach the gateway at 127.0.0.1: connection refused" in refused["error"]
        daemon.await_event("keepalive.failed", name="anna")
        server.start()
        daemon.await_event("enrollment.succeeded", name="berta")
        daemon.await_event("keepalive.succeeded", name="anna")
        assert daemon.end(signal.SIGTERM) == 0
    assert server.books().clone == 1


# what it tells the service manager


def test_systemd_is_told_of_the_start_of_each_pass_and_of_the_end(
    host: Host, server: SandboxServer, tmp_path: Path
) -> None:
    host.register_existing(server, "anna")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        address = str(tmp_path / "notify")
        line.bind(address)
        line.settimeout(LIMIT_S)
        told: list[str] = []

        def hear(word: str, count: int) -> None:
            while len([said for said in told if said.startswith(word)]) < count:
                told.append(line.recv(4096).decode())

        with host.run(NOTIFY_SOCKET=address, WATCHDOG_USEC="30000000") as daemon:
            hear("READY=1\nSTATUS=1 voice kept", 1)
            hear("WATCHDOG=1", 3)
            hear("STATUS=1 voice kept, next due in ", 2)
            daemon.send(signal.SIGTERM)
            hear("STOPPING=1", 1)
            assert daemon.end() == 0
    assert told[0] == "WATCHDOG=1"
    assert told[-1] == "STOPPING=1"
