"""The registry as a command line and a keeper find it; copies do not wait for the disk."""

from pathlib import Path

import pytest

from tests.command import CommandLine
from voicekeeper.store import backup, restore


@pytest.fixture(autouse=True)
def no_wait_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test pulls the plug."""
    for module in (backup, restore):
        monkeypatch.setattr(module, "sync", lambda _: None)


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path / "voicekeeper.db")
