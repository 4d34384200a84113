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
from typing import Any

import pytest
from sqlalchemy import delete

from tests.command import CommandLine
from tests.daemon_support import LIMIT_S, POLICY, Daemon, Host, fast_gateway, until
from tests.support import FakeClock, imported, policy, wanted
from voicekeeper.core.clock import SystemClock
from voicekeeper.core.health import Severity
from voicekeeper.core.models import HistoryEntry, Status
from voicekeeper.core.requests import FLASH
from voicekeeper.daemon.keeper import STOP_WITHIN_S
from voicekeeper.sandbox import Answer, Gateway, SandboxServer

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


@pytest.mark.host
def test_settings_that_are_shorter_at_the_next_start_cost_no_voice(tmp_path: Path) -> None:
    """Their due times lie within the new interval, and after the deadline by the new window."""
    names, file = [f"v{number}" for number in range(10)], tmp_path / "settings.toml"
    now = SystemClock().now()
    used_at = now - timedelta(minutes=57)
    gateway = fast_gateway(window=timedelta(hours=1))
    for name in names:
        gateway.import_voice(f"id-{name}", FLASH, now, last_used_at=used_at)
    with SandboxServer(gateway) as server:
        host = Host(tmp_path, server.base_url)
        keys = ("WINDOW", "INTERVAL", "JITTER")
        given = dict.fromkeys([f"VOICEKEEPER_KEEPALIVE__{key}" for key in keys])
        environ = host.environ(VOICEKEEPER_CONFIG=str(file), **given)
        host.registry.register(
            [imported(name, last_used_at=used_at) for name in names],
            now=now,
            policy=policy(interval=timedelta(minutes=100), jitter=timedelta(0)),
        )
        for window, interval in (("3h", "100m"), ("1h", "55m")):
            keepalive = f'window = "{window}"\ninterval = "{interval}"\njitter = "0s"'
            file.write_text(f"[keepalive]\n{keepalive}\n")
            with Daemon(["run"], environ) as daemon:
                daemon.await_event("daemon.ready")
                if window == "1h":
                    daemon.await_event("keepalive.succeeded", count=10)
                assert daemon.end(signal.SIGTERM) == 0
                assert daemon.told("keepalive.submitted") == [] or window == "1h"
        assert all(voice.alive and voice.uses == 1 for voice in server.books().voices.values())


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


def test_an_idle_daemon_ends_at_once(host: Host, server: SandboxServer) -> None:
    host.register_existing(server, "anna")
    with host.run() as daemon:
        daemon.await_event("keepalive.succeeded")
        began = time.monotonic()
        assert daemon.end(signal.SIGINT) == 0
        assert time.monotonic() - began < STOP_WITHIN_S
        assert daemon.told("daemon.stopped", calls_left=0)


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


@pytest.mark.host
@pytest.mark.parametrize("count", [1, 6])
def test_a_gateway_that_answers_404_to_every_call_is_seen_at_once(
    tmp_path: Path, count: int
) -> None:
    names = [f"v{number}" for number in range(count)]
    is_blocked = count > 1
    wants = Severity.CRITICAL if is_blocked else Severity.WARNING
    with SandboxServer(fast_gateway(window=timedelta(minutes=2)), faults=["404"]) as server:
        host = Host(tmp_path, server.base_url, KEEPALIVE__WINDOW="2m")
        host.register_existing(server, *names)
        with host.run() as daemon:
            if is_blocked:
                blocked = daemon.await_event("upstream.blocked")
                assert "the gateway answered 404: no such address or task" in blocked["error"]

            def is_seen() -> bool:
                with host.run_command("status", "--json") as status:
                    code = status.end()
                told = json.loads("".join(status.lines))
                return code == wants and told["blocked" if is_blocked else "overdue"] == 1

            until(is_seen)
            server.set_faults([])
            for name in names:
                daemon.await_event("keepalive.succeeded", name=name)
            assert daemon.end(signal.SIGTERM) == 0
        assert len(daemon.told("upstream.blocked")) == is_blocked
        assert all(voice.alive for voice in server.books().voices.values())


class _Strict(Gateway):
    """A gateway whose policy a clone violates."""

    def generate(self, model: str, body: Any, *given: Any, **more: Any) -> Answer:  # noqa: ANN401
        if body["input"]["mode"] == "clone":
            return Answer(403, "content violates policy")
        return super().generate(model, body, *given, **more)


@pytest.mark.host
def test_an_enrollment_that_the_gateway_s_policy_refuses_pauses_nothing_and_fails(
    tmp_path: Path,
) -> None:
    with SandboxServer(fast_gateway(make=_Strict)) as server:
        host = Host(tmp_path, server.base_url)
        host.register(wanted("berta"))
        host.register_existing(server, "anna")
        with host.run() as daemon:
            failed = daemon.await_event("voice.status_changed", name="berta", to="FAILED")
            daemon.await_event("keepalive.succeeded", name="anna")
            with host.run_command("status") as status:
                assert status.end() == Severity.WARNING
            assert daemon.end(signal.SIGTERM) == 0
    assert failed["from"] == "NEW"
    assert len(daemon.told("enrollment.failed")) == 3
    assert daemon.told("upstream.blocked") == []
    (sentence,) = (line for line in status.lines if "FAILED" in line)
    assert "1 voice FAILED: berta (the gateway answered 403" in sentence
    assert '("content violates policy"))' in " ".join(status.lines)


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


@pytest.mark.parametrize("is_journal", [True, False])
def test_lines_carry_their_priority_when_stdout_is_the_journal(
    host: Host, server: SandboxServer, *, is_journal: bool
) -> None:
    host.register_existing(server, "anna")
    server.set_faults(["402"])
    pipe = os.pipe()
    status = os.fstat(pipe[1])
    stream = f"{status.st_dev}:{status.st_ino}" if is_journal else "1:1"
    with host.run(pipe=pipe, JOURNAL_STREAM=stream) as daemon:
        until(lambda: any("upstream.blocked" in line for line in daemon.lines))
        assert daemon.end(signal.SIGTERM) == 0
    numbers = {"info": "<6>", "warning": "<4>", "error": "<3>"}
    told = [line.partition("{") for line in daemon.lines]
    levels = [json.loads(start + rest)["level"] for _, start, rest in told]
    assert [prefix for prefix, _, _ in told] == [numbers[e] if is_journal else "" for e in levels]
    assert set(levels) == set(numbers)
