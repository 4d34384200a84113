"""A host that boots in 1970 and is set right by the network, seen from the real process."""

import signal
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.daemon_support import Host, fast_gateway, until
from voicekeeper.sandbox import SandboxServer

LIBRARIES = Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")
LIBRARY = next(LIBRARIES, None)
pytestmark = [
    pytest.mark.host,
    pytest.mark.skipif(LIBRARY is None, reason="no libfaketime: apt install faketime"),
]


def blind(directory: Path) -> str:
    """Return a PYTHONPATH that blinds the watch of the clocks: the scheduler wakes first."""
    code = "from voicekeeper.daemon import jobs\njobs._JUMP_S = float('inf')\n"
    (directory / "sitecustomize.py").write_text(code)
    return str(directory)


@pytest.mark.parametrize(("seen", "leaps"), [(False, 1), (True, 3)], ids=["scheduler", "watch"])
def test_a_clock_that_leaps_costs_neither_a_keepalive_nor_memory(
    tmp_path: Path,
    seen: bool,  # noqa: FBT001 - an example
    leaps: int,
) -> None:
    """Whichever wakes first: the scheduler for its next pass, or the watch of the clocks."""
    offset, in_1970 = tmp_path / "offset", f"-{time.time():.0f}\n"
    offset.write_text(in_1970)
    given: dict[str, Any] = {
        "LD_PRELOAD": str(LIBRARY),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_FORCE_MONOTONIC_FIX": "0",  # else threads that wait for each other spin
        "PYTHONPATH": None if seen else blind(tmp_path),
    }
    with SandboxServer(fast_gateway(window=timedelta(minutes=10))) as server:
        host = Host(tmp_path, server.base_url)
        names = [f"voice-{number}" for number in range(10)]
        host.register_existing(server, *names)

        def await_keepalives() -> None:
            wanted = server.books().speech + len(names)
            until(lambda: server.books().speech >= wanted, "keepalives")

        with host.run(**given) as daemon:
            assert daemon.await_event("daemon.ready")["timestamp"].startswith("1970-01-01T00:")
            daemon.await_event("keepalive.succeeded", count=10)
            before = daemon.memory_mib()
            for there in (["+0\n", in_1970] * leaps)[:leaps]:
                offset.write_text(there)
                await_keepalives()
                assert daemon.memory_mib() - before < 30
            assert len(daemon.told("clock.jumped")) == (leaps if seen else 0)
            assert daemon.end(signal.SIGTERM) == 0
            assert daemon.told("pass.failed") == []
        assert all(voice.alive for voice in server.books().voices.values())
