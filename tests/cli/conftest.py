"""An empty registry, and the commands on it."""

from pathlib import Path

import pytest

from tests.command import CommandLine


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path / "voicekeeper.db").ready()
