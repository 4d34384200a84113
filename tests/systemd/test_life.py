"""How the service begins and ends."""

import re
from datetime import UTC, datetime

import pytest

from tests.daemon_support import until
from tests.systemd.machine import Machine
from tests.systemd.service import GATEWAY, KEY, Service


def test_it_is_ready_only_after_its_first_pass(service: Service) -> None:
    service.fresh("anna")
    ready = datetime.strptime(
        service.shown("ActiveEnterTimestamp"), "%a %Y-%m-%d %H:%M:%S.%f UTC"
    ).replace(tzinfo=UTC)
    (claimed,) = service.query("SELECT min(sent_at) FROM task")
    first_call = datetime.fromisoformat(claimed[0]).replace(tzinfo=UTC)
    assert first_call < ready


def test_stop_ends_it_long_before_calls_that_hang_do(service: Service) -> None:
    service.fresh(upstream={"timeout": "1m"})
    service.faults("hang@submit")
    lines = "\n".join(f'{{"voice_id": "id-{n}", "name": "v{n}"}}' for n in range(4))
    service.machine.run("voicekeeper", "import", "-", stdin=lines)
    begun = "SELECT count(*) FROM task WHERE state = 'intent'"
    until(lambda: service.query(begun) == [[4]], "four calls hang")
    done = service.machine.run("timeout", "30", "systemctl", "stop", service.unit, check=False)
    assert (done.returncode, service.shown("Result")) == (0, "success")
    (stopped,) = service.told("daemon.stopped")
    assert stopped["calls_left"] in range(5)


def test_the_watchdog_restarts_a_daemon_that_hangs_and_leaves_a_traceback(
    service: Service,
) -> None:
    service.fresh("anna")
    service.drop_in("[Service]\nWatchdogSec=1\nRestartSec=100ms\n")
    service.systemctl("restart")
    with service.registry_locked():
        until(
            lambda: [e for e in service.journal() if "Fatal Python error: Aborted" in e["MESSAGE"]],
            "a traceback",
        )
    until(lambda: int(service.shown("NRestarts")) >= 1, "it is started again")
    service.await_shown("ActiveState", "active")
    text = "\n".join(entry["MESSAGE"] for entry in service.journal())
    assert re.search(r'File ".*/voicekeeper/store/\w+\.py", line \d+ in ', text)
    assert "Watchdog timeout" in text


@pytest.mark.parametrize("signal", ["KILL", "TERM", "USR1"])
def test_a_daemon_that_somebody_ends_is_started_again(service: Service, signal: str) -> None:
    service.fresh("anna")
    service.drop_in("[Service]\nRestartSec=100ms\n")
    service.systemctl("kill", "-s", signal)
    until(lambda: service.shown("NRestarts") == "1", "it is started again")
    service.await_shown("ActiveState", "active")


def test_settings_that_are_wrong_end_it_with_78_and_no_loop(service: Service) -> None:
    service.fresh()
    service.stop()
    service.drop_in("[Service]\nRestartSec=100ms\n")
    service.configure(keepalive={"interval": "9d"})
    assert service.systemctl("start", check=False).returncode != 0
    assert_ended_for_good(service, 78)
    (told,) = [e["MESSAGE"] for e in service.journal() if "keepalive.interval:" in e["MESSAGE"]]
    assert "must be shorter than the window" in told


def test_a_key_that_is_refused_ends_a_run_with_77_and_no_loop(service: Service) -> None:
    service.fresh("anna")
    service.stop()
    service.give_key("sk-another")
    service.drop_in(
        "[Service]\nRestartSec=100ms\nExecStart=\n"
        "ExecStart=/opt/voicekeeper/venv/bin/voicekeeper run --once\n"
    )
    assert service.systemctl("start", check=False).returncode != 0
    assert_ended_for_good(service, 77)


def assert_ended_for_good(service: Service, code: int) -> None:
    assert service.shown("ExecMainStatus") == str(code)
    assert (service.shown("ActiveState"), service.shown("SubState")) == ("failed", "failed")
    assert service.shown("NRestarts") == "0"


def test_without_its_credential_it_does_not_start(service: Service) -> None:
    service.fresh()
    service.stop()
    service.machine.run("rm", "/etc/voicekeeper/apixo-api-key")
    service.since = service.machine.sh("date +@%s.%N").strip()
    assert service.systemctl("start", check=False).returncode != 0
    assert service.lines() == []
    assert service.shown("ExecMainStatus") == "243"  # EXIT_CREDENTIALS (systemd.exec)


def test_an_instance_keeps_another_account_with_state_and_key_of_its_own(
    service: Service, machine: Machine
) -> None:
    service.fresh("anna")
    work = Service(machine, "voicekeeper@work.service")
    text = machine.run("cat", "/etc/voicekeeper/config.toml").stdout
    url = "sqlite:////var/lib/voicekeeper-work/voicekeeper.db"
    machine.write("/etc/voicekeeper/work.apixo-api-key", KEY, mode="600")
    machine.write("/etc/voicekeeper/work.toml", text)  # whose registry is the first account's
    try:
        assert work.systemctl("start", check=False).returncode != 0
        assert work.shown("ExecMainStatus") == "78"
        told = machine.run("journalctl", "-u", work.unit, "-o", "cat").stdout
        assert "is on a file system that is read-only here" in told
        assert "each account needs a database.url of its own" in told
        work.systemctl("reset-failed")
        machine.write("/etc/voicekeeper/work.toml", f'{text}[database]\nurl = "{url}"\n')
        work.systemctl("start")
        (registry,) = machine.sh(
            "stat -c '%U %a' /var/lib/voicekeeper-work/voicekeeper.db"
        ).splitlines()
        assert registry == "voicekeeper 600"
        assert service.shown("ActiveState") == "active"
        checked = machine.sh(
            "for account in config work; do voicekeeper --config /etc/voicekeeper/$account.toml"
            " check >/srv/told; echo ok $?; grep -E '^.{9}(key|gateway) ' /srv/told; done"
        )
        assert [line.split(";")[0] for line in checked.splitlines()] == [
            "ok 0",
            "ok       key       read from /etc/voicekeeper/apixo-api-key",
            f"ok       gateway   {GATEWAY}/api/v1 takes the key",
            "ok 0",
            "ok       key       read from /etc/voicekeeper/work.apixo-api-key",
            f"ok       gateway   {GATEWAY}/api/v1 takes the key",
        ]
        work.systemctl("reload")
    finally:
        work.stop()


def test_the_timer_runs_one_pass_where_nobody_wants_a_daemon(service: Service) -> None:
    service.fresh("anna")
    service.stop()
    service.add("clara")
    once = Service(service.machine, "voicekeeper-once.service")
    once.systemctl("start")
    assert once.shown("Result") == "success"
    assert service.uses("clara") == 1
    service.machine.run("systemctl", "start", "voicekeeper-once.timer")
    shown = Service(service.machine, "voicekeeper-once.timer").shown("NextElapseUSecRealtime")
    service.machine.run("systemctl", "stop", "voicekeeper-once.timer")
    assert shown
