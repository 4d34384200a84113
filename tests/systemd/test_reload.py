"""``systemctl reload``: the new settings are in force, or it fails and says why."""

import re

import pytest

from tests.daemon_support import until
from tests.systemd.machine import Done, Machine
from tests.systemd.service import ROOT, Service

QUICK = {"interval": "1s"}


@pytest.fixture(scope="module", params=["by command", "natively"])
def kept(request: pytest.FixtureRequest, service: Service, machine: Machine) -> Service:
    """The service with a voice, on 252 and, by the documented drop-in, on 253 and later."""
    version = int(machine.sh("systemctl --version | awk 'NR == 1 { print $2 }'"))
    native = request.param == "natively"
    if native and version < 253:
        pytest.skip(f"Type=notify-reload needs systemd 253, and this is {version}")
    service.fresh("anna")
    if native:
        operations = (ROOT / "docs" / "operations.md").read_text()
        text = re.search(r"^\[Service\]\nType=notify-reload\n", operations, re.MULTILINE)
        assert text is not None
        service.drop_in(text[0])
        service.systemctl("restart")
    service.await_told("keepalive.succeeded", name="anna")
    return service


@pytest.fixture(autouse=True)
def _as_it_began(kept: Service) -> None:
    """Let each test begin with the settings that the service began with."""
    kept.configure()
    if kept.shown("ActiveState") == "active":
        kept.systemctl("reload")
    kept.since = kept.machine.sh("date +@%s.%N").strip()


def reload(service: Service) -> Done:
    """Reload, long before the command would stop waiting for an answer."""
    return service.machine.run("timeout", "10", "systemctl", "reload", service.unit, check=False)


def test_reload_returns_when_the_new_settings_are_in_force(kept: Service) -> None:
    pid, before = kept.shown("MainPID"), kept.uses("anna")
    kept.configure(keepalive=QUICK, log={"level": "debug"})
    assert reload(kept).returncode == 0
    reloaded = [line["changed"] for line in kept.told("settings.reloaded")]
    assert ["keepalive.interval", "log.level"] in reloaded
    until(lambda: kept.uses("anna") >= before + 3, "anna is used every second")
    assert kept.told("task.polled")
    assert kept.shown("MainPID") == pid


def test_reload_fails_with_the_reason_when_the_settings_are_wrong(kept: Service) -> None:
    pid = kept.shown("MainPID")
    kept.configure(keepalive={"interval": "9d"})
    assert reload(kept).returncode == 1
    assert (kept.shown("ActiveState"), kept.shown("MainPID")) == ("active", pid)
    words = "\n".join(entry["MESSAGE"] for entry in kept.journal())
    assert "the old settings stay in force: 1 problem in /etc/voicekeeper/config.toml:" in words
    assert "keepalive.interval: must be shorter than the window (7d), not 9d" in words
    assert kept.told("settings.refused", level="warning")
    assert kept.told("settings.reloaded") == []
    kept.configure()  # for the command; the daemon goes on by the old ones as it did
    kept.add("berta")
    kept.await_told("keepalive.succeeded", name="berta")


def test_reload_says_what_cannot_change_while_it_runs(kept: Service) -> None:
    kept.configure(
        database={"url": "sqlite:////var/lib/voicekeeper/other.db"}, keepalive={"interval": "2d"}
    )
    assert reload(kept).returncode == 1
    words = "\n".join(entry["MESSAGE"] for entry in kept.journal())
    assert "database.url: cannot change while the daemon runs; restart it" in words
    assert kept.told("settings.reloaded") == []  # nor was the interval taken on


def test_reload_neither_repeats_nor_loses_a_call_that_is_paid_for(kept: Service) -> None:
    clones, speeches = kept.books()["clone"], kept.books()["speech"]
    names = [f"v{n}" for n in range(3)]
    for name in names:
        kept.add(name)
    kept.configure(keepalive=QUICK)
    kept.systemctl("reload")
    made = kept.machine.sh("date +made-%N").strip()
    kept.voicekeeper("clone", made, "--prefix", "made", "--audio-url", "https://example.com/a.wav")
    for rate in (20, 40, 30, 50):
        kept.configure(keepalive=QUICK, upstream={"requests_per_second": rate})
        kept.systemctl("reload")
    kept.await_told("enrollment.succeeded", name=made)
    kept.configure()
    kept.systemctl("reload")
    running = "SELECT count(*) FROM task WHERE state IN ('intent', 'running')"
    until(lambda: kept.query(running) == [[0]], "every call has come to its end")
    assert kept.books()["clone"] == clones + 1

    def is_told_of_each() -> bool:
        told = kept.told("keepalive.submitted") + kept.told("control.submitted")
        return bool(kept.books()["speech"] - speeches == len(told))

    until(is_told_of_each, "the log tells of as many calls as the gateway took")
    assert kept.told("keepalive.failed") == []


def test_a_reload_that_nobody_can_answer_says_so(kept: Service) -> None:
    done = kept.machine.run("voicekeeper", "reload", check=False, RUNTIME_DIRECTORY="/run/nobody")
    assert done.returncode == 1
    assert done.stderr.startswith("voicekeeper: no daemon answers at /run/nobody/reload")
