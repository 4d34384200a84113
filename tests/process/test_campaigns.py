"""Longer campaigns on the real process, for before a release: ``pytest -m campaign -n 0``.

They take some nine minutes, one at a time on a machine that does nothing else: a window of 20
seconds and a process that is killed every two leave a start-up of half a second, not of five.
"""

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from tests.daemon_support import KEY, Host, fast_gateway
from tests.support import imported, wanted
from voicekeeper.core.models import Origin, Status
from voicekeeper.sandbox import SandboxServer

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(900)]

DESIGNED_IN = (timedelta(seconds=5), timedelta(seconds=15))


def _at(began: float, seconds: float) -> None:
    time.sleep(max(0.0, began + seconds - time.monotonic()))


def test_eight_voices_live_for_three_windows_on_few_calls(tmp_path: Path) -> None:
    names = [f"voice-{number}" for number in range(8)]
    with SandboxServer(fast_gateway()) as server:
        host = Host(tmp_path, server.base_url, DAEMON__TICK="0.5s")
        host.register_existing(server, *names)
        with host.run() as daemon:
            time.sleep(60)
            books = server.books()
            assert daemon.end(signal.SIGTERM) == 0

    assert all(book.alive for book in books.voices.values())
    assert all(6 <= book.uses <= 16 for book in books.voices.values())


@pytest.mark.parametrize("seed", [1, 2])
def test_forty_kills_in_75_s_lose_nothing_and_pay_for_nothing_twice(
    tmp_path: Path, seed: int
) -> None:
    dice = random.Random(seed)
    names = [f"voice-{number}" for number in range(8)]
    with SandboxServer(fast_gateway(enrollment_time=DESIGNED_IN)) as server:
        host = Host(tmp_path, server.base_url, DAEMON__TICK="0.5s")
        host.register_existing(server, *names)
        host.register(wanted("cloned"), wanted("designed", Origin.DESIGN))
        began, daemon = time.monotonic(), host.run()
        for moment in sorted(dice.uniform(0, 75) for _ in range(40)):
            _at(began, moment)
            daemon.kill()
            daemon = host.run()
        _at(began, 85)
        books = server.books()
        assert daemon.end(signal.SIGTERM) == 0

    assert all(book.alive for book in books.voices.values())
    assert (books.clone, books.design) == (1, 1)
    assert {host.voice(name).status for name in ("cloned", "designed")} == {Status.OK}


@pytest.mark.skipif(shutil.which("faketime") is None, reason="needs the faketime command")
def test_twelve_days_at_3600_times_the_pace_with_a_day_of_errors(tmp_path: Path) -> None:
    fast = ["faketime", "-f", "+0 x3600", sys.executable, "-m", "voicekeeper"]
    ids = [f"id-voice-{number}" for number in range(20)]
    known = [word for voice_id in ids for word in ("--voice", voice_id)]
    with subprocess.Popen(
        [*fast, "sandbox", "--port", "0", *known],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as sandbox:
        assert sandbox.stdout is not None
        base_url = sandbox.stdout.readline().strip()
        url = base_url.removesuffix("/api/v1")
        host = Host(tmp_path, base_url)
        host.register(*(imported(f"voice-{number}") for number in range(20)))
        environ = host.environ(VOICEKEEPER_API_KEY=KEY)
        kept = {name: value for name, value in environ.items() if "VOICEKEEPER_" not in name}
        paced = {
            "VOICEKEEPER_DAEMON__TICK": "10m",
            "VOICEKEEPER_UPSTREAM__TIMEOUT": "20m",
            "VOICEKEEPER_UPSTREAM__BASE_URL": base_url,
            "VOICEKEEPER_DATABASE__URL": f"sqlite:///{host.path}",
            "VOICEKEEPER_API_KEY": KEY,
        }
        with subprocess.Popen(
            [*fast, "run"], env=kept | paced, stdout=subprocess.DEVNULL, start_new_session=True
        ) as daemon:
            began = time.monotonic()
            _at(began, 70)
            httpx.put(f"{url}/faults", json=["500"])
            _at(began, 94)
            httpx.put(f"{url}/faults", json=[])
            _at(began, 12 * 24)
            books = json.loads(httpx.get(f"{url}/books").text)
            # The command that faketime runs is a child of its own.
            subprocess.run(["pkill", "-TERM", "-s", str(daemon.pid)], check=True)
        subprocess.run(["pkill", "-TERM", "-s", str(sandbox.pid)], check=True)

    assert all(book["alive"] for book in books["voices"].values())
    assert all(book["uses"] <= 9 for book in books["voices"].values())
