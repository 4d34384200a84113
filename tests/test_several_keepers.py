"""Keepers on one PostgreSQL, each a process: one works, and what happens when it fails."""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.benchmarks.upstream import Upstream, upstream
from tests.daemon_support import KEY, Daemon
from tests.postgres import Cluster, Wire

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(900)]

RATE = 100
IN_FLIGHT = 32
SETTINGS = {
    "UPSTREAM__REQUESTS_PER_SECOND": str(RATE),
    "UPSTREAM__MAX_IN_FLIGHT": str(IN_FLIGHT),
    "UPSTREAM__TIMEOUT": "1s",
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
OPEN = "SELECT count(*) FROM task WHERE state IN ('intent', 'running')"
ACTIVE = "SELECT keeper FROM active WHERE beat IS NOT NULL"
DUE_AGAIN = (
    "UPDATE voice SET last_used_at = now() - interval '4 days',"
    " anchored_at = now() - interval '4 days', next_at = now()"
)


class Fleet:
    """A registry of voices that are all due, and the keepers that are set on it."""

    def __init__(self, url: str, gateway: Upstream, directory: Path, voices: int) -> None:
        self._database = psycopg.connect(
            url.replace("postgresql+psycopg", "postgresql"), autocommit=True
        )
        self._database.execute(FILL, (voices,))
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

    def active(self) -> str:
        """Return the process id of the active keeper."""
        return str(self.ask(ACTIVE)[0]).partition("@")[0]

    def make_due(self) -> None:
        """Let every voice have been used four days ago."""
        self._database.execute(DUE_AGAIN)

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
def keepers() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def begin(keepers: ExitStack, fleet: Fleet, count: int) -> list[Daemon]:
    """Start keepers; return them, the active one first."""
    started = [keepers.enter_context(Daemon(["run"], fleet.environ)) for _ in range(count)]
    fleet.until(
        lambda: (
            sum(len(each.told("daemon.ready")) for each in started) == 1
            and sum(len(each.told("daemon.standby")) for each in started) == count - 1
        ),
        60,
        "one is active, and the others stand by",
    )
    return sorted(started, key=lambda each: str(each.pid) != fleet.active())


def calls_by_voice(gateway: Upstream) -> Counter[str]:
    return Counter(call.voice for call in gateway.calls())


def test_one_keeper_works_and_when_it_is_killed_another_goes_on(
    cluster: Cluster, gateway: Upstream, tmp_path: Path, keepers: ExitStack
) -> None:
    fleet = Fleet(cluster.empty(), gateway, tmp_path, 2_000)
    active, *others = begin(keepers, fleet, 3)
    assert all(
        told["keeper"].startswith(f"{active.pid}@")
        for each in others
        for told in each.told("daemon.standby")
    )
    fleet.until(lambda: fleet.left() < 1_500, 60, "a quarter is kept")
    assert [each.told("keepalive.submitted") for each in others] == [[], []]
    active.kill()
    fleet.until(lambda: fleet.left() == 0, 120, "another keeps the rest")
    fleet.until(lambda: fleet.ask(OPEN) == (0,), 60, "every call is settled")
    (successor,) = [each for each in others if each.told("daemon.ready")]
    assert fleet.active() == str(successor.pid)
    interrupted = fleet.ask("SELECT count(*) FROM task WHERE code = 'interrupted'")[0]
    calls = calls_by_voice(gateway)
    doubled = {voice for voice, count in calls.items() if count > 1}
    assert len(calls) == 2_000
    assert max(calls.values()) <= 2
    assert len(doubled) <= interrupted + IN_FLIGHT  # in flight, or accepted and asked for again
    assert fleet.ask("SELECT count(*) FROM voice WHERE status <> 'OK' OR failures > 0") == (0,)
    for each in others:
        assert each.end(signal.SIGTERM) == 0, each.words
    fleet.close()


def test_a_frozen_keeper_that_wakes_writes_no_intent_and_stands_by(
    cluster: Cluster, gateway: Upstream, tmp_path: Path, keepers: ExitStack
) -> None:
    fleet = Fleet(cluster.empty(), gateway, tmp_path, 50)
    frozen, other = begin(keepers, fleet, 2)
    fleet.until(lambda: fleet.left() == 0 and fleet.ask(OPEN) == (0,), 60, "all are kept")
    frozen.send(signal.SIGSTOP)
    other.await_event("daemon.ready")
    calls = len(frozen.told("keepalive.submitted"))
    frozen.send(signal.SIGCONT)
    fleet.make_due()
    frozen.await_event("daemon.standby")
    fleet.until(lambda: fleet.left() == 0, 60, "the other keeps them")
    assert len(frozen.told("keepalive.submitted")) == calls
    assert frozen.told("daemon.standby")[0]["keeper"].startswith(f"{other.pid}@")
    assert frozen.told("pass.failed") == []
    assert set(calls_by_voice(gateway).values()) == {2}
    assert fleet.ask("SELECT count(*) FROM task WHERE code = 'interrupted'") == (0,)
    assert other.end(signal.SIGTERM) == 0
    fleet.until(lambda: len(frozen.told("daemon.ready")) == 2, 30, "it is followed at once")
    fleet.close()


def test_a_keeper_whose_database_does_not_answer_stops_all_the_same(
    cluster: Cluster, gateway: Upstream, tmp_path: Path, keepers: ExitStack
) -> None:
    url = cluster.empty()
    fleet = Fleet(url, gateway, tmp_path, 1)
    with Wire(cluster.socket) as wire:
        address = url.partition("?")[0].replace("@/", f"@127.0.0.1:{wire.port}/")
        through = fleet.environ | {"VOICEKEEPER_DATABASE__URL": address}
        cut = keepers.enter_context(Daemon(["run"], through))
        cut.await_event("daemon.ready")
        wire.cut()
        assert cut.end(signal.SIGTERM) == 0
    fleet.close()


def test_a_keeper_that_is_cut_from_the_database_stands_by_when_it_is_back(
    cluster: Cluster, gateway: Upstream, tmp_path: Path, keepers: ExitStack
) -> None:
    url = cluster.empty()
    fleet = Fleet(url, gateway, tmp_path, 50)
    with Wire(cluster.socket) as wire:
        through = fleet.environ | {
            "VOICEKEEPER_DATABASE__URL": url.partition("?")[0].replace(
                "@/", f"@127.0.0.1:{wire.port}/"
            )
        }
        cut = keepers.enter_context(Daemon(["run"], through))
        cut.await_event("daemon.ready")
        other = keepers.enter_context(Daemon(["run"], fleet.environ))
        other.await_event("daemon.standby")
        fleet.until(lambda: fleet.left() == 0 and fleet.ask(OPEN) == (0,), 60, "all are kept")
        wire.cut()
        other.await_event("daemon.ready")
        fleet.make_due()
        fleet.until(lambda: fleet.left() == 0, 60, "the other keeps them")
        wire.mend()
        cut.await_event("daemon.standby")
        fleet.make_due()
        fleet.until(lambda: fleet.left() == 0, 60, "the other keeps them on")
        assert set(calls_by_voice(gateway).values()) == {3}
    fleet.close()
