"""A gateway, and a machine with the program on it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon_support import Host, fast_gateway
from voicekeeper.sandbox import SandboxServer


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    with SandboxServer(fast_gateway()) as server:
        yield server


@pytest.fixture
def host(tmp_path: Path, server: SandboxServer) -> Host:
    return Host(tmp_path, server.base_url)
