"""Four keepers on one PostgreSQL: what they share, and what is left when two of them fail."""

import os
import signal
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.benchmarks.upstream import Upstream, upstream
from tests.daemon_support import KEY, Daemon
from tests.postgres import Cluster

pytestmark = [pytest.mark.postgres, pytest.mark.campaign, pytest.mark.timeout(900)]

VOICES = 20_000
RATE = 150
"""What four keepers and a server reach on two cores that have other work too."""
KEEPERS = 4
IN_FLIGHT = 32
SETTINGS = {
    "UPSTREAM__REQUESTS_PER_SECOND": str(RATE),
    "UPSTREAM__MAX_IN_FLIGHT": str(IN_FLIGHT),
    "UPSTREAM__TIMEOUT": "2s",
    "DAEMON__TICK": "1s",
    "POLLING__SPEECH_FIRST": "0.1s",
    "POLLING__SPEECH_INTERVAL": "0.5s",
}

FILL = """
INSERT INTO voice (name, model, voice_id, created_at, last_used_at, anchored_at, next_at, origin,
                   status, paused, failures)
SELECT 'v' || n, 'cosyvoice-3-flash', 'id-' || n, now(), used, used, now() - interval '1 minute',
       'imported', 'OK', false, 0
FROM generate_series(1, %s) AS n, LATERAL (SELECT now() - interval '4 days' - n * interval '1 s')
     AS its(used)
"""
LEFT = "SELECT count(*) FROM voice WHERE last_used_at < now() - interval '2 days'"
LIVING = "SELECT count(*) FROM keeper WHERE alive_until > now()"
SHARES = "SELECT count(*), sum(share) FROM keeper WHERE alive_until > now() AND share > 0"


class Fleet:
    """A registry of voices that are all due, and the keepers that are set on it."""

    def __init__(self, url: str, gateway: Upstream, directory: Path) -> None:
        self._database = psycopg.connect(
            url.replace("postgresql+psycopg", "postgresql"), autocommit=True
        )
        self._database.execute(FILL, (VOICES,))
        key = directory / "key"
        key.write_text(KEY)
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("VOICEKEEPER_")}
        named = SETTINGS | {
            "DATABASE__URL": url,
            "UPSTREAM__BASE_URL": gateway.url,
            "UPSTREAM__API_KEY_FILE": str(key),
        }
        self.environ = inherited | {f"VOICEKEEPER_{name}": text for name, text in named.items()}

    def ask(self, query: str) -> tuple[Any, ...]:
        """Return the first row of a query."""
        row = self._database.execute(query).fetchone()
        assert row is not None
        return tuple(row)

    def until(self, condition: Callable[[], object], within: float, what: str) -> None:
        limit = time.monotonic() + within
        while not condition():
            assert time.monotonic() < limit, f"not within {within:g} s: {what}"
            time.sleep(0.1)

    def left(self) -> int:
        """Return how many voices are yet to be kept."""
        return int(self.ask(LEFT)[0])

    def close(self) -> None:
        self._database.close()


@pytest.fixture
def gateway() -> Iterator[Upstream]:
    with upstream("0.05") as gateway:
        yield gateway


@pytest.fixture
def fleet(cluster: Cluster, gateway: Upstream, tmp_path: Path) -> Iterator[Fleet]:
    fleet = Fleet(cluster.empty(), gateway, tmp_path)
    yield fleet
    fleet.close()


def fullest(times: list[float], seconds: float) -> float:
    """Return the most calls a second in any stretch of so many seconds."""
    return max(
        (number - bisect_left(times, at - seconds) + 1) / seconds for number, at in enumerate(times)
    )


def test_four_keepers_keep_each_voice_once_though_one_is_killed_and_one_is_frozen(
    fleet: Fleet, gateway: Upstream, capsys: pytest.CaptureFixture[str]
) -> None:
    with ExitStack() as stack:
        keepers = [stack.enter_context(Daemon(["run"], fleet.environ)) for _ in range(KEEPERS)]
        for keeper in keepers:
            keeper.await_event("daemon.ready")
        fleet.until(lambda: fleet.ask(SHARES)[0] == KEEPERS, 60, "all four have a share")
        calm_from = time.monotonic()
        assert fleet.ask(SHARES)[1] == pytest.approx(1)
        fleet.until(lambda: fleet.left() < 0.75 * VOICES, 300, "a quarter is kept")
        calm_until = time.monotonic()
        keepers[0].send(signal.SIGKILL)
        fleet.until(lambda: fleet.left() < 0.6 * VOICES, 300, "the others go on")
        keepers[1].send(signal.SIGSTOP)
        fleet.until(lambda: fleet.ask(LIVING)[0] == KEEPERS - 2, 60, "both are missed")
        two_from = time.monotonic() + 2
        fleet.until(
            lambda: fleet.left() < 0.2 * VOICES or time.monotonic() > two_from + 15,
            300,
            "two go on",
        )
        two_until = time.monotonic()
        keepers[1].send(signal.SIGCONT)
        fleet.until(lambda: fleet.left() == 0, 300, "every voice is kept")
        fleet.until(
            lambda: (
                fleet.ask("SELECT count(*) FROM task WHERE state IN ('intent', 'running')") == (0,)
            ),
            60,
            "every call is settled",
        )
        for keeper in keepers[1:]:
            assert keeper.end(signal.SIGTERM) == 0, keeper.words
    calls = Counter(call.voice for call in gateway.calls())
    times = gateway.times()
    doubled = {voice for voice, count in calls.items() if count > 1}
    in_doubt = {
        voice
        for (voice,) in fleet._database.execute(  # noqa: SLF001 - its own test
            "SELECT DISTINCT spoken FROM task WHERE state = 'unknown'"
        )
    }

    def rate(since: float, until: float) -> float:
        return (bisect_left(times, until) - bisect_left(times, since)) / (until - since)

    with capsys.disabled():
        print(  # noqa: T201 - the figures
            f"\n{VOICES} voices, {len(times)} calls in {times[-1] - times[0]:.0f} s, "
            f"{RATE} a second allowed: four keepers {rate(calm_from, calm_until):.1f}, two "
            f"{rate(two_from, two_until):.1f}; the fullest 5 s {fullest(times, 5):.1f}; "
            f"{len(doubled)} voices called twice, {len(in_doubt)} calls in flight at the failures"
        )
    assert [keeper.told("pass.failed") for keeper in keepers[2:]] == [[], []]
    assert len(calls) == VOICES
    assert max(calls.values()) <= 2
    assert doubled <= in_doubt
    assert len(in_doubt) <= 2 * IN_FLIGHT
    assert fullest(times, 5) <= 1.05 * RATE
    assert rate(calm_from, calm_until) >= 0.95 * RATE
    assert rate(two_from, two_until) >= 0.95 * RATE
    assert fleet.ask("SELECT count(*) FROM voice WHERE status <> 'OK' OR failures > 0") == (0,)
