"""The API key stands in its file and nowhere else, after all has happened that tells of it."""

import pytest

from tests.systemd.service import KEY, STATE, Service

TRACES = "/srv/traces"
PAGES = """
import sys, urllib.request
for path in ("/", "/metrics", "/readyz"):
    print(urllib.request.urlopen("http://127.0.0.1:9464" + path).read().decode())
"""
COMMANDS = ("list", "show narrator", "history narrator", "history late", "status", "export")


@pytest.fixture(scope="module")
def ran(service: Service) -> Service:
    """The service after a full run; what that left and told lies in a directory."""
    machine = service.machine
    service.fresh("narrator", web={"listen": "127.0.0.1:9464"}, log={"level": "debug"})
    service.await_told("keepalive.succeeded", name="narrator")
    recording = ("--audio-url", "https://example.com/a.wav")
    service.voicekeeper("clone", "made", "--prefix", "made01", *recording, "--wait")
    service.faults("401@submit")
    service.add("late")
    service.await_told("upstream.blocked")
    machine.run("install", "-d", TRACES)
    machine.sh(f"cp /proc/{service.shown('MainPID')}/cmdline {TRACES}/cmdline")
    machine.sh(f"cp /proc/{service.shown('MainPID')}/environ {TRACES}/environ")
    machine.write(f"{TRACES}/pages", machine.run("python3", "-c", PAGES).stdout)
    told = [machine.sh(f"voicekeeper {words} 2>&1; true") for words in COMMANDS]
    told += [machine.sh(f"voicekeeper {words} --json 2>&1; true") for words in COMMANDS]
    told.append(machine.sh("voicekeeper check 2>&1; true"))
    machine.write(f"{TRACES}/commands", "\n".join(told))
    service.faults()
    service.await_told("upstream.recovered")
    service.voicekeeper("backup", f"{TRACES}/copy.db")
    machine.sh(
        f"systemctl show voicekeeper >{TRACES}/unit; systemctl cat voicekeeper >>{TRACES}/unit"
    )
    service.systemctl("kill", "--signal=ABRT")
    service.await_shown("ActiveState", "activating")  # it is to be started again, in a while
    machine.sh(f"journalctl --since {service.since} -o export >{TRACES}/journal")
    machine.sh(f"cp -R {STATE} {TRACES}/state; cp -R /run/voicekeeper {TRACES}/run 2>&1; true")
    return service


@pytest.mark.parametrize(
    ("place", "held"),
    [
        ("journal", "upstream.blocked"),
        ("journal", "Fatal Python error: Aborted"),
        ("cmdline", "/opt/voicekeeper/venv/bin/voicekeeper"),
        ("environ", "CREDENTIALS_DIRECTORY="),
        ("commands", "narrator"),
        ("pages", "voicekeeper_breaker_open"),
        ("unit", "LoadCredential="),
        ("copy.db", "narrator"),
        ("state/voicekeeper.db", "narrator"),
        ("state/voicekeeper.db.backups", "CREATE TABLE"),
    ],
)
def test_what_is_searched_for_the_key_holds_what_it_should(
    ran: Service, place: str, held: str
) -> None:
    assert ran.machine.sh(f"grep -raFl '{held}' {TRACES}/{place}; true") != ""


def test_the_key_stands_nowhere_but_in_its_file(ran: Service) -> None:
    found = ran.machine.sh(f"grep -raFl {KEY} {TRACES} {STATE} /etc/voicekeeper; true").split()
    assert "/etc/voicekeeper/apixo-api-key" in found
    # Another instance, of another test on this machine, may have been given the same.
    assert [path for path in found if not path.endswith("apixo-api-key")] == []
