"""The machine that all tests here share."""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from tests.systemd import service as installed
from tests.systemd.machine import Machine, why_not
from tests.systemd.service import Service
from voicekeeper.core.extras import ALERTS

TREE = Path(os.environ.get("VOICEKEEPER_TEST_ROOT", "/"))
"""The root that machines are laid over: of another Debian, there is another systemd in it."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what stands here; without a machine, skip it and say why."""
    here = Path(__file__).parent
    ours = [item for item in items if here in item.path.parents]
    reason = why_not() if ours else None
    for item in ours:
        item.add_marker(pytest.mark.systemd)
        item.add_marker(pytest.mark.timeout(600))  # the first to need a machine waits for pip
        if reason is not None:
            item.add_marker(pytest.mark.skip(reason=reason))


def pytest_xdist_make_scheduler(
    config: pytest.Config, log: Producer
) -> LoadScopeScheduling:  # in place of groups, which xdist 3.8 loses under pytest 9.2
    """Give what shares a machine to one worker, and the installer's own machine to another."""

    class ByMachine(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
        def _split_scope(self, nodeid: str) -> str:
            installer = ("test_install.py", "test_upgrade.py")
            return "installer" if any(name in nodeid for name in installer) else "service"

    return ByMachine(config, log)


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Voicekeeper and every package it needs, for the Python of the machine; built once."""
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent
    with (shared / "wheels.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wheels = shared / "wheels"
        if not wheels.exists():
            clean = shared / "source"  # setuptools also packs what an earlier build left behind
            shutil.copytree(installed.ROOT / "voicekeeper", clean / "voicekeeper")
            for name in ("pyproject.toml", "README.md", "LICENSE"):
                shutil.copy(installed.ROOT / name, clean)
            _pip("wheel", "--no-deps", "--wheel-dir", wheels, clean)
            tell = "import sys; print('%d.%d' % sys.version_info[:2])"
            version = subprocess.run(
                ["chroot", TREE, "/usr/bin/python3", "-c", tell],
                capture_output=True,
                text=True,
                check=True,
            ).stdout.strip()
            fitting = ("--python-version", version, "--only-binary", ":all:")
            needed = (ALERTS.requirement, "setuptools")
            _pip("download", *fitting, "--dest", wheels, *wheels.iterdir(), *needed)
        return wheels


def _pip(command: str, *arguments: str | Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pip", command, "--quiet", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def machine(wheels: Path) -> Iterator[Machine]:
    """A machine with the service as the installer leaves it, and the sandbox for its gateway."""
    with Machine(TREE) as machine:
        installed.install(machine, wheels)
        installed.start_gateway(machine)
        yield machine


@pytest.fixture(scope="session")
def service(machine: Machine) -> Service:
    return Service(machine)
