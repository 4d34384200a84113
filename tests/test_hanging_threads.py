"""A thread that hangs, and that nothing can end, holds up no stop."""

import signal
from pathlib import Path

import pytest

from tests.daemon_support import Host
from tests.support import imported

SLOW_NAMES = """
import socket, sys, time
look_up = socket.getaddrinfo
def getaddrinfo(host, *args, **options):
    if b"example" in (host if isinstance(host, bytes) else host.encode()):
        print("looked up", file=sys.stderr, flush=True)
        time.sleep(100)
    return look_up(host, *args, **options)
socket.getaddrinfo = getaddrinfo
"""


@pytest.mark.host
def test_a_name_server_that_does_not_answer_holds_up_no_stop(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(SLOW_NAMES)
    host = Host(tmp_path, "https://gateway.example.com/api/v1", UPSTREAM__TIMEOUT="0.3s")
    host.register(imported("anna"))
    with host.run(PYTHONPATH=f"{tmp_path}:{Path(__file__).parent.parent}") as daemon:
        daemon.await_event("keepalive.failed", name="anna")
        assert "looked up" in daemon.words
        assert daemon.end(signal.SIGTERM) == 0  # long before the look-up ends
        assert daemon.told("daemon.stopped")
