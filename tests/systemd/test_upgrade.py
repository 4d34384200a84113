"""What an installer could leave a service down by, or have root run, tried on a running service."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon_support import until
from tests.systemd import service as installed
from tests.systemd.conftest import TREE
from tests.systemd.machine import Done, Machine
from tests.systemd.service import INSTALLER, KEY, PIP, Service, run_installer
from tests.systemd.test_install import put_versions, version

KEY_FILE = "/etc/voicekeeper/apixo-api-key"
UNITS = "/etc/systemd/system"
OTHER_KEY = "sk-another-0123456789"
RESTARTED = "installed: voicekeeper 99\nrestarted: voicekeeper.service\n"

_TERMINAL = """
import os, pty, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
shown, typed = b"", False
while True:
    try:
        shown += os.read(terminal, 1024)
    except OSError:
        break
    if not typed and shown.endswith(b"not shown): "):
        typed = os.write(terminal, sys.stdin.buffer.readline())
print(shown.decode())
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
"""Runs a command on a terminal, and types a line when it is asked for something unseen."""


@pytest.fixture(scope="module")
def machine(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with Machine(TREE) as machine:
        put_versions(machine, tmp_path_factory.mktemp("versions"))
        machine.put(wheels, "/srv/wheels")
        machine.put(installed.ROOT, "/srv/voicekeeper", *installed.SOURCES)
        run_installer(machine, *version("works"), "--key", "-", stdin=KEY)
        yield machine


@pytest.fixture
def service(machine: Machine) -> Service:
    """A service that runs, of a version that does nothing."""
    service = Service(machine)
    service.stop()
    service.give_key()
    machine.sh(
        f"rm -rf {UNITS}/voicekeeper*; cd /srv/voicekeeper/systemd; cp *.service *.timer {UNITS};"
        "systemctl daemon-reload; systemctl reset-failed; systemctl enable --now voicekeeper"
    )
    return service


def install(service: Service, *options: str, stdin: str = "") -> Done:
    return run_installer(service.machine, *options, stdin=stdin, check=False)


def state(service: Service) -> str:
    """Return all that an installation changes, and the process that runs."""
    return service.machine.sh(
        f"cat {KEY_FILE}; cd /; readlink opt/voicekeeper/venv; ls -A opt/voicekeeper/releases;"
        f"sha256sum etc/voicekeeper/config.toml {UNITS}/voicekeeper*.*"
    )


@pytest.mark.parametrize("where", ["-", "/root/key"])
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        (" \n\n", "is empty"),
        (f"{KEY}\n{KEY}\n", "holds white space or other characters that no API key has"),
        ("sk-ключ", "holds white space or other characters that no API key has"),
        ("k" * 5000, "is too long to be an API key"),
    ],
    ids=["nothing", "blanks", "two", "other letters", "too long"],
)
def test_what_is_no_key_is_refused_before_anything_changes(
    service: Service, where: str, text: str, reason: str
) -> None:
    service.machine.write("/root/key", text)
    before, pid = state(service), service.shown("MainPID")
    ended = install(service, *version("works"), "--key", where, stdin=text)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == f"install.sh: the API key {reason}; nothing was changed\n"
    assert (state(service), service.shown("MainPID")) == (before, pid)
    assert service.shown("ActiveState") == "active"


def test_a_key_is_asked_for_on_a_terminal_and_not_shown(service: Service) -> None:
    line = ("sh", INSTALLER, *version("works"), "--key", "-")
    typed = service.machine.run(
        "python3", "-c", _TERMINAL, *line, stdin=f" {OTHER_KEY} \n", check=True, **PIP
    )
    assert "API key (it is not shown): " in typed.stdout
    assert "restarted: voicekeeper.service" in typed.stdout
    assert OTHER_KEY not in typed.stdout
    assert service.machine.sh(f"cat {KEY_FILE}; stat -c '%a %U' {KEY_FILE}") == (
        f"{OTHER_KEY}\n600 root\n"
    )


def test_with_a_version_that_does_not_start_the_old_key_comes_back_too(service: Service) -> None:
    service.machine.sh(f"rm {UNITS}/voicekeeper-once.timer")
    before = state(service)
    ended = install(service, *version("fails"), "--key", "-", stdin=OTHER_KEY)
    assert ended.stderr.startswith("install.sh: the new version does not start, so the old one")
    assert (ended.returncode, state(service)) == (1, before)
    assert service.shown("ActiveState") == "active"


def test_whatever_fails_on_the_way_all_is_as_it_was(service: Service) -> None:
    before, pid = state(service), service.shown("MainPID")
    closed = "mount --bind /usr/local/bin /usr/local/bin && mount -o remount,ro,bind /usr/local/bin"
    service.machine.sh(closed)
    ended = install(service, *version("works"), "--key", "-", stdin=OTHER_KEY)
    service.machine.sh("umount /usr/local/bin")
    assert ended.stderr.startswith("install.sh: cannot make /usr/local/bin/voicekeeper: ")
    assert (ended.returncode, state(service)) == (1, before)
    assert (service.shown("ActiveState"), service.shown("MainPID")) == ("active", pid)


def test_ctrl_c_in_the_middle_brings_the_old_version_back(service: Service) -> None:
    before = state(service)
    line = " ".join(("exec sh", INSTALLER, *version("hangs"), "--key /root/other"))
    service.machine.write("/root/other", OTHER_KEY)
    variables = " ".join(f"{name}={value}" for name, value in PIP.items())
    with service.machine.start("setsid", "sh", "-c", f"echo $$; export {variables}; {line}") as run:
        assert run.stdout is not None
        group = run.stdout.readline().strip()
        until(lambda: service.shown("ActiveState") == "activating", "the new version hangs")
        service.machine.run("kill", "-INT", "--", f"-{group}")
        assert run.wait(60) == 130
    assert state(service) == before
    service.await_shown("ActiveState", "active")


def test_two_installers_at_once_do_not_mix(service: Service) -> None:
    before = state(service)
    with service.machine.start("flock", "/run/voicekeeper-install.lock", "cat") as other:
        until(
            lambda: "cat" in service.machine.sh("ps -e -o comm="),
            "the other one is at work",
        )
        ended = install(service, *version("works"))
        other.communicate()
    assert (ended.returncode, ended.stdout) == (75, "")
    assert ended.stderr.startswith("install.sh: another install.sh is at work; run it again")
    assert state(service) == before


def test_an_upgrade_starts_what_has_failed_and_leaves_what_was_stopped(service: Service) -> None:
    service.drop_in("[Service]\nRestart=no\n")
    service.systemctl("kill", "--signal=KILL")
    service.await_shown("ActiveState", "failed")
    ended = install(service, *version("works"))
    assert ended.stdout == "installed: voicekeeper 99\nstarted: voicekeeper.service\n"
    assert service.shown("ActiveState") == "active"
    service.systemctl("kill", "--signal=KILL")
    service.await_shown("ActiveState", "failed")
    service.systemctl("disable", "--now")  # on purpose; it stays failed for that
    assert install(service, *version("works")).stdout == "installed: voicekeeper 99\n"
    service.systemctl("enable", "--now")
    service.systemctl("stop")
    ended = install(service, *version("works"), "--key", "-", stdin=OTHER_KEY)
    assert ended.stdout == "installed: voicekeeper 99\n"
    assert service.shown("ActiveState") == "inactive"


def test_a_version_that_mends_nothing_says_so_and_stays(service: Service) -> None:
    service.drop_in("[Service]\nRestart=no\nExecStartPre=/usr/bin/python3 -c 1/0\n")
    service.systemctl("restart", check=False)
    ended = install(service, *version("works"))
    assert (ended.returncode, ended.stdout) == (1, "installed: voicekeeper 99\n")
    assert ended.stderr.startswith("install.sh: voicekeeper.service does not start ('journalctl")


def test_an_upgrade_restarts_every_account_and_the_timer(service: Service) -> None:
    service.machine.write("/etc/voicekeeper/work.apixo-api-key", KEY, mode="600")
    others = ("voicekeeper@work.service", "voicekeeper-once.timer")
    service.machine.run("systemctl", "start", *others)
    ended = install(service, *version("works"))
    service.machine.run("systemctl", "stop", *others)
    restarted = ended.stdout.splitlines()[1].removeprefix("restarted: ").split()
    assert sorted(restarted) == sorted(("voicekeeper.service", *others))


def test_a_unit_that_was_changed_or_masked_stays_so(service: Service) -> None:
    service.machine.sh(
        f"echo '# mine' >>{UNITS}/voicekeeper@.service;"
        f"ln -sf /dev/null {UNITS}/voicekeeper-once.timer"
    )
    before = state(service)
    ended = install(service, *version("works"))
    assert ended.returncode == 0
    assert ended.stdout.count("left as you changed it: ") == 2
    assert f"{UNITS}/voicekeeper@.service; the new one is /opt/voicekeeper/venv/units/" in (
        ended.stdout
    )
    assert state(service).splitlines()[-4:] == before.splitlines()[-4:]


def test_nothing_that_another_user_left_in_the_way_is_run_by_root(service: Service) -> None:
    modules = ("ensurepip", "venv", "pip", "json", "getpass", "sitecustomize", "usercustomize")
    programs = ("install", "awk", "systemctl", "dirname", "python3", "sed", "env")
    service.machine.sh(
        "mkdir -p /home/mallory/systemd; cd /home/mallory;"
        f'for name in {" ".join(modules)}; do echo \'open("/root/owned", "w")\' >$name.py; done;'
        f"for name in {' '.join(programs)}; do"
        "  printf '#!/bin/sh\\necho >/root/owned\\n' >$name; chmod 755 $name; done;"
        "cp awk systemd/install.sh; chown -R nobody /home/mallory"
    )
    surroundings = dict.fromkeys(("PYTHONPATH", "CDPATH", "HOME", "TMPDIR"), "/home/mallory")
    ended = service.machine.run(
        *("sh", "-c", f'cd /home/mallory && exec sh {INSTALLER} "$@"', "sh"),
        *(*version("works"), "--key", "-"),
        stdin=KEY,
        check=True,
        **PIP,
        **surroundings,
        PATH=".:/home/mallory:/usr/bin:/bin",
        PYTHONUSERBASE="/home/mallory",
    )
    assert ended.stdout == RESTARTED
    assert service.machine.sh("ls /root/owned 2>&-", check=False) == ""


def test_what_another_user_could_change_later_is_no_place_for_the_program(
    service: Service,
) -> None:
    service.machine.run("chown", "nobody", "/opt/voicekeeper")
    ended = install(service, *version("works"))
    service.machine.run("chown", "root", "/opt/voicekeeper")
    assert ended.returncode == 1
    assert ended.stderr.startswith("install.sh: /opt/voicekeeper belongs to another user, who")


# what sends messages


def test_an_upgrade_keeps_what_sends_messages_and_no_voice_depends_on_it(
    wheels: Path,
) -> None:
    with Machine(TREE) as machine:
        service = Service(machine)
        service.since = "@0"
        machine.put(wheels, "/srv/wheels")
        machine.put(installed.ROOT, "/srv/voicekeeper", *installed.SOURCES)
        there = "cd /srv/voicekeeper && exec sh systemd/install.sh --from '.[alerts]' --key -"
        machine.run("sh", "-c", there, stdin=KEY, check=True, **PIP)
        installed.start_gateway(machine)
        service.configure(alerts={"urls": ["json://127.0.0.1:1/hook-0123456789"]})
        service.systemctl("restart")
        service.add("narrator")
        service.await_told("keepalive.succeeded", name="narrator")
        ended = run_installer(machine)
        assert "restarted: voicekeeper.service" in ended.stdout
        assert service.told("message.failed", topic=None) == []
        packages = "/opt/voicekeeper/venv/lib/python3*/site-packages/apprise*"
        machine.sh(f"ls -d {packages} && rm -r {packages}")
        service.systemctl("restart")
        service.await_told("message.failed", topic=None)
        assert service.shown("ActiveState") == "active"
        (reason,) = [line["error"] for line in service.told("message.failed", topic=None)]
        assert reason in machine.run("voicekeeper", "status", check=False).stdout
        _, _, mend = reason.partition(" is missing; install it, then restart the daemon: ")
        again = f"umask 077; {mend}; systemctl restart voicekeeper"
        machine.run("sh", "-c", again, stdin=None, check=True, **PIP)
        service.await_told("daemon.ready", count=5)
        assert machine.run("voicekeeper", "status").stdout.startswith("OK: 1 voice kept")
        assert len(service.told("message.failed", topic=None)) == 1
