"""The installer: from nothing, an upgrade with the first release's registry, a bad one, and away.

One machine lives through all of it in order, as a machine does; the tests look at each step.
"""

import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.daemon_support import until
from tests.systemd import service as installed
from tests.systemd.conftest import TREE
from tests.systemd.machine import Done, Machine
from tests.systemd.service import DATABASE, STATE, Service, run_installer

OLDEST_REGISTRY = (installed.ROOT / "tests" / "registry_0004.sql").read_text()
BACKUPS = (installed.ROOT / "docs" / "backup.md").read_text()
MOVE = BACKUPS.partition("## Move to another host")[2].partition("```sh\n")[2].partition("```")[0]
MINE = "# mine\n"
LOCK = "/run/voicekeeper-install.lock"
MANUAL = "/usr/local/share/man/man1/voicekeeper.1"
TITLE = ".TH VOICEKEEPER 1 "
_PUT_BACK = (
    "the new version does not start, so the old one runs again: "
    "'journalctl -u voicekeeper' tells why"
)

_PROGRAM = """
import os, socket, sys, time

def main():
    if sys.argv[1:] == ["--version"]:
        print("voicekeeper 99")
        return
    if sys.argv[1:2] != ["run"]:
        sys.exit("it does not know that")
    if "{does}" == "works":
        line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        line.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
    if "{does}" != "fails":
        time.sleep(600)
    sys.exit("it does not work")
"""


@dataclass
class Story:
    """How each step ended, and what was there after it."""

    ended: dict[str, Done] = field(default_factory=dict)
    found: dict[str, str] = field(default_factory=dict)


def put_versions(machine: Machine, directory: Path) -> None:
    """Put wheels of a voicekeeper that starts as a service, fails, or hangs, on a machine."""
    for does in ("works", "fails", "hangs"):
        machine.put(_a_version(directory, does).parent, f"/srv/{does}")


def version(does: str) -> tuple[str, str]:
    """Return the installer's options for one of `put_versions`."""
    return "--from", f"/srv/{does}/voicekeeper-99-py3-none-any.whl"


def _a_version(directory: Path, does: str) -> Path:
    wheel = directory / does / "voicekeeper-99-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as files:
        files.writestr("imposter.py", _PROGRAM.format(does=does))
        about = "voicekeeper-99.dist-info"
        files.writestr(
            f"{about}/METADATA", "Metadata-Version: 2.1\nName: voicekeeper\nVersion: 99\n"
        )
        files.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        scripts = "[console_scripts]\nvoicekeeper = imposter:main\n"
        files.writestr(f"{about}/entry_points.txt", scripts)
        files.writestr(f"{about}/RECORD", "")
    return wheel


@pytest.fixture(scope="module")
def story(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Story:
    told = Story()
    with Machine(TREE) as machine:
        put_versions(machine, tmp_path_factory.mktemp("versions"))
        machine.put(wheels, "/srv/wheels")
        machine.put(installed.ROOT, "/srv/voicekeeper", *installed.SOURCES)
        _live(machine, told)
    return told


def _live(machine: Machine, told: Story) -> None:
    def step(name: str, run: Callable[[], Done]) -> None:
        told.ended[name] = run()

    def look(name: str, script: str) -> None:
        told.found[name] = machine.sh(script, check=False).strip()

    def install(*options: str, stdin: str = "") -> Done:
        return run_installer(machine, *options, stdin=stdin, check=False)

    everything = (
        "ls -d /opt/voicekeeper/releases/* /etc/voicekeeper/* /etc/systemd/system/voice* 2>&-"
    )

    step(
        "no root",
        lambda: machine.run(
            "runuser",
            "-u",
            "nobody",
            "--",
            "sh",
            "/srv/voicekeeper/systemd/install.sh",
            check=False,
        ),
    )
    step("bad option", lambda: install("--colour"))
    step("no key", lambda: install("--key", "/nowhere"))
    step("empty key", lambda: install("--key", "-"))
    step("no package", lambda: install("--from", "no-such-package"))
    look("after no package", everything)

    step("first", lambda: install(*version("works")))
    look("modes", f"cd /etc/voicekeeper && stat -c '%n %a %U:%G' . * {LOCK}")
    look("state at first", "systemctl is-enabled voicekeeper; systemctl is-active voicekeeper")

    service = Service(machine)
    service.since = "@0"
    service.configure()
    machine.sh(f"echo '{MINE}' >>/etc/voicekeeper/config.toml")
    machine.write("/srv/voicekeeper/build/lib/voicekeeper/stale.py", "")  # of an earlier build
    step("upgrade", install)
    look("manual", f"head -1 {MANUAL}; stat -Lc %a {MANUAL}; readlink -f {MANUAL}")
    look("stale", "find /opt/voicekeeper -name stale.py")
    look("settings", "cat /etc/voicekeeper/config.toml")
    step("add", lambda: machine.run("voicekeeper", "add", "id-1", "--name", "early", check=False))
    look("owners", f"find {STATE} ! -user voicekeeper")

    machine.sh(f"rm {STATE}/*")
    restore = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).executescript(sys.stdin.read())"
    machine.run(
        *("runuser", "-u", "voicekeeper", "--", "python3", "-c", restore, DATABASE),
        stdin=OLDEST_REGISTRY,
    )
    installed.start_gateway(machine)
    voice = {"voice_id": "id-narrator", "model": "cosyvoice-3-flash"}
    service.ask_gateway("POST", "/voices", voice)
    service.give_key()
    service.systemctl("enable", "--now")
    service.await_told("keepalive.succeeded", name="narrator")
    look("voices", "voicekeeper list; voicekeeper history narrator")

    machine.sh(
        "mkdir /root/move && voicekeeper backup /root/move/move.db &&"
        "cp /etc/voicekeeper/config.toml /etc/voicekeeper/apixo-api-key"
        " /root/move/; sed -i '1i# as it was' /opt/voicekeeper/venv/units/voicekeeper.service"
        " /etc/systemd/system/voicekeeper.service"  # as an older version has it
    )
    step("bad version", lambda: install(*version("fails")))
    until(lambda: service.shown("ActiveState") == "active", "the old version runs again")
    look("version after the bad one", "voicekeeper --version; voicekeeper list")
    look("files after the bad one", f"head -qn1 /etc/systemd/system/voicekeeper.service {MANUAL}")
    step("good version", lambda: install(*version("works")))
    look("version after the good one", "voicekeeper --version; systemctl is-active voicekeeper")
    look("releases", "ls /opt/voicekeeper/releases | wc -l")

    step("uninstall", lambda: install("--uninstall"))
    look(
        "after uninstall",
        f"{everything}; ls -d /opt/voicekeeper /usr/local/bin/voicekeeper {MANUAL} 2>&-",
    )
    look("state after uninstall", f"cd {STATE} && ls")
    look("unit after uninstall", "systemctl is-active voicekeeper; pgrep -u voicekeeper")
    step("again", lambda: install("--uninstall"))
    _move(service, told)


def _move(service: Service, told: Story) -> None:
    """Have the same machine be another host, to which the registry is carried."""
    machine = service.machine
    machine.sh(f"userdel voicekeeper; rm -rf /etc/voicekeeper {STATE}")
    run_installer(machine)
    told.found["state on the new host"] = service.shown("ActiveState")
    told.ended["move"] = machine.run("sh", "-ec", f"cd /root/move\n{MOVE}", check=False)
    until(lambda: service.shown("ActiveState") == "active", "it runs on the new host")
    told.found["voices on the new host"] = machine.sh("voicekeeper list")
    told.found["owners on the new host"] = machine.sh(f"find {STATE} ! -user voicekeeper")


@pytest.mark.parametrize(
    ("step", "sentence", "code"),
    [
        ("no root", "it must run as root", 1),
        ("bad option", "there is no option --colour; see --help", 2),
        ("no key", "there is no key in /nowhere", 1),
        ("empty key", "the API key is empty; nothing was changed", 1),
        ("no package", "pip cannot install no-such-package: ERROR: No matching distribution", 1),
    ],
    ids=["without root", "an option that is none", "no such key", "no key", "no such package"],
)
def test_a_failure_is_one_sentence(story: Story, step: str, sentence: str, code: int) -> None:
    ended = story.ended[step]
    assert ended.stderr.startswith(f"install.sh: {sentence}")
    assert (ended.stderr.count("\n"), ended.stdout, ended.returncode) == (1, "", code)
    assert story.found["after no package"] == ""


def test_without_a_key_it_installs_and_says_what_to_do_next(story: Story) -> None:
    ended = story.ended["first"]
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines()[1:] == [
        "next, the key, and with it the service: /srv/voicekeeper/systemd/install.sh --key -"
    ]
    assert story.found["state at first"].split() == ["disabled", "inactive"]


def test_nobody_else_reads_the_settings_or_holds_the_installers_lock(story: Story) -> None:
    assert story.found["modes"].splitlines() == [
        ". 755 root:root",
        "config.toml 640 root:voicekeeper",
        f"{LOCK} 600 root:root",
    ]


def test_voices_can_be_registered_before_the_service_first_starts(story: Story) -> None:
    assert story.ended["add"].returncode == 0, story.ended["add"].stderr
    assert story.found["owners"] == ""


def test_an_upgrade_leaves_the_settings_alone(story: Story) -> None:
    assert (story.ended["upgrade"].returncode, story.ended["upgrade"].stderr) == (0, "")
    assert MINE.strip() in story.found["settings"]


def test_an_upgrade_brings_nothing_that_an_earlier_build_left_behind(story: Story) -> None:
    assert story.found["stale"] == ""


def test_the_manual_page_is_that_of_the_version_that_runs(story: Story) -> None:
    title, mode, place = story.found["manual"].splitlines()
    assert (title.startswith(TITLE), mode) == (True, "644")
    assert place.startswith("/opt/voicekeeper/releases/")
    assert story.found["files after the bad one"].splitlines()[1] == title


def test_a_new_version_goes_on_with_the_oldest_registry_that_it_upgrades(story: Story) -> None:
    rows = [line.split("\t")[:3] for line in story.found["voices"].splitlines()]
    assert ["narrator", "id-narrator", "OK"] in rows
    assert ["guide", "", "FAILED"] in rows
    assert "2026-05-01" in story.found["voices"]  # its history, too


def test_a_version_that_does_not_start_makes_room_for_the_old_one(story: Story) -> None:
    ended = story.ended["bad version"]
    assert (ended.returncode, ended.stderr) == (
        1,
        f"install.sh: {_PUT_BACK}\n",
    )
    assert "voicekeeper 0." in story.found["version after the bad one"]
    assert "narrator" in story.found["version after the bad one"]
    assert story.found["files after the bad one"].splitlines()[0] == "# as it was"


def test_a_version_that_starts_takes_the_place_of_what_runs(story: Story) -> None:
    ended = story.ended["good version"]
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == "installed: voicekeeper 99\nrestarted: voicekeeper.service\n"
    assert story.found["version after the good one"] == "voicekeeper 99\nactive"
    assert story.found["releases"] == "2"  # it, and the one before


def test_uninstalling_removes_the_program_and_nothing_else(story: Story) -> None:
    assert story.ended["uninstall"].returncode == 0, story.ended["uninstall"].stderr
    assert story.found["after uninstall"].split() == [
        "/etc/voicekeeper/apixo-api-key",
        "/etc/voicekeeper/config.toml",
    ]
    assert "voicekeeper.db" in story.found["state after uninstall"].split()
    assert story.found["unit after uninstall"] == "inactive"


def test_uninstalling_twice_is_no_failure(story: Story) -> None:
    assert (story.ended["again"].returncode, story.ended["again"].stderr) == (0, "")


def test_a_move_to_another_host_goes_as_the_docs_tell(story: Story) -> None:
    assert story.found["state on the new host"] == "inactive"
    assert story.ended["move"].returncode == 0, story.ended["move"].stderr
    assert "systemctl enable" in MOVE
    rows = [line.split("\t")[:2] for line in story.found["voices on the new host"].splitlines()]
    assert ["narrator", "id-narrator"] in rows
    assert story.found["owners on the new host"] == ""


def test_its_help_tells_every_option() -> None:
    script = (installed.ROOT / "systemd" / "install.sh").read_text()
    usage = script.partition("cat <<END\n")[2].partition("\nEND\n")[0]
    for option in ("--from", "--key", "--uninstall"):
        assert option in usage
    assert max(map(len, usage.splitlines())) <= 80
