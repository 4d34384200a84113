"""The systemd units: that systemd understands every line, and how much they lock away."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

UNITS = Path(__file__).parent.parent / "systemd"
SERVICES = ("voicekeeper.service", "voicekeeper@work.service", "voicekeeper-once.service")

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """Copies of the units whose program exists, with an instance of the template."""
    for unit in UNITS.glob("voicekeeper*"):
        text = unit.read_text()
        (tmp_path / unit.name).write_text(
            re.sub(
                r"^(Exec\w+)=/opt/voicekeeper/venv/bin/voicekeeper\b",
                r"\1=/bin/true",
                text,
                flags=re.MULTILINE,
            )
        )
    shutil.copy(tmp_path / "voicekeeper@.service", tmp_path / "voicekeeper@work.service")
    return tmp_path


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, check=False, timeout=60
    )


@needs_systemd
@pytest.mark.parametrize("unit", [*SERVICES, "voicekeeper@.service", "voicekeeper-once.timer"])
def test_systemd_has_nothing_to_say_of_a_unit(installed: Path, unit: str) -> None:
    # an unknown key is only a warning and exits 0, so any output is a failure
    done = analyze("verify", str(installed / unit))
    assert (done.stdout + done.stderr, done.returncode) == ("", 0)


@needs_systemd
def test_systemd_does_complain_of_a_mistyped_key(installed: Path) -> None:
    unit = installed / "voicekeeper.service"
    unit.write_text(unit.read_text().replace("PrivateTmp=", "PrivateTemp="))
    assert "PrivateTemp" in analyze("verify", str(unit)).stderr


@needs_systemd
@pytest.mark.parametrize("unit", SERVICES)
def test_a_service_is_exposed_by_at_most_1_2_of_10(installed: Path, unit: str) -> None:
    done = analyze("security", "--offline=true", "--threshold=12", str(installed / unit))
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="no systemd-sysusers here")
def test_the_user_of_the_units_is_made_with_its_own_group(tmp_path: Path) -> None:
    where = tmp_path / "etc" / "sysusers.d"
    where.mkdir(parents=True)
    shutil.copy(UNITS / "voicekeeper.sysusers", where / "voicekeeper.conf")
    subprocess.run(
        ["systemd-sysusers", f"--root={tmp_path}"], capture_output=True, check=True, timeout=60
    )
    user = (tmp_path / "etc" / "passwd").read_text().split(":")
    assert user[0] == "voicekeeper"
    assert user[5:] == ["/var/lib/voicekeeper", "/usr/sbin/nologin\n"]
    assert (tmp_path / "etc" / "group").read_text().startswith("voicekeeper:")


def lines_of(unit: str) -> set[str]:
    text = (UNITS / unit).read_text()
    return {line for line in text.splitlines() if line and not line.startswith("#")}


def test_the_services_differ_only_in_what_makes_them_different() -> None:
    daemon, template, once = (lines_of(f"voicekeeper{kind}.service") for kind in ("", "@", "-once"))
    assert {re.split("=| ", line)[0] for line in daemon ^ template} == {
        "Description",
        "StateDirectory",
        "RuntimeDirectory",
        "WorkingDirectory",
        "Environment",
        "LoadCredential",
        "InaccessiblePaths",
        "NoExecPaths",
        "SyslogIdentifier",
    }
    assert once - daemon == {
        "Description=One pass over the custom voices on the APIXO gateway",
        "Type=oneshot",
        "ExecStart=/opt/voicekeeper/venv/bin/voicekeeper run --once",
        "SuccessExitStatus=75",
        "TimeoutStartSec=2h",
    }


def test_the_daemon_is_started_again_unless_a_person_must_act() -> None:
    for unit in ("voicekeeper.service", "voicekeeper@.service"):
        assert {
            "Type=notify",
            "Restart=always",
            "RestartPreventExitStatus=77 78",
            "StartLimitIntervalSec=0",
            "WatchdogSec=120",
        } <= lines_of(unit)


@pytest.mark.parametrize("unit", SERVICES)
def test_no_service_leaves_an_image_of_its_memory_which_holds_the_key(unit: str) -> None:
    assert "\nLimitCORE=0\n" in (UNITS / unit.replace("work", "")).read_text()


def test_every_unit_tells_how_to_install_it() -> None:
    for unit in UNITS.glob("voicekeeper*"):
        head, *_ = unit.read_text().partition("\n[")
        assert re.search(r"as root|README.md|install lines stand there", head), unit.name
