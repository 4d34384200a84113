"""Keepers on one PostgreSQL, each a process: one works, and what happens when it fails."""

import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.benchmarks.upstream import Upstream, upstream
from tests.daemon_support import Daemon, Host, Wire, until
from tests.postgres import Cluster

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(900)]

VOICES = 800
RATE = 100
IN_FLIGHT = 32
SETTINGS = {
    "KEEPALIVE__WINDOW": "7d",
    "KEEPALIVE__INTERVAL": "3d",
    "KEEPALIVE__JITTER": "12h",
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

    def __init__(
        self, cluster: Cluster, gateway: Upstream, directory: Path, keepers: ExitStack, voices: int
    ) -> None:
        self._url, self._keepers = cluster.empty(), keepers
        plain = self._url.replace("postgresql+psycopg", "postgresql")
        self._database = psycopg.connect(plain, autocommit=True)
        keepers.callback(self._database.close)
        self._host = Host(directory, gateway.url, **SETTINGS)
        self.fill(voices)

    def fill(self, voices: int) -> None:
        """Register so many voices."""
        self._database.execute(FILL, (voices,))

    def ask(self, query: str) -> Any:  # noqa: ANN401 - any value
        """Return the value that a query asks for."""
        row = self._database.execute(query).fetchone()
        assert row is not None
        return row[0]

    def make_due(self) -> None:
        """Let every voice have been used four days ago."""
        self._database.execute(DUE_AGAIN)

    def await_kept(self) -> None:
        """Wait until every voice is kept, and every call settled."""
        until(lambda: self.ask(LEFT) == self.ask(OPEN) == 0, "all are kept", within=120)

    def begin(self, wire: Wire | None = None) -> Daemon:
        """Start a keeper, over a wire if one is given; wait until it is active or stands by."""
        url = self._url
        if wire is not None:
            url = url.partition("?")[0].replace("@/", f"@127.0.0.1:{wire.port}/")
        keeper = self._keepers.enter_context(self._host.run(VOICEKEEPER_DATABASE__URL=url))
        until(
            lambda: keeper.told("daemon.ready") or keeper.told("daemon.standby"),
            "it begins",
        )
        return keeper


Registered = Callable[[int], Fleet]


@pytest.fixture
def gateway() -> Iterator[Upstream]:
    with upstream("0.05") as gateway:
        yield gateway


@pytest.fixture
def registered(cluster: Cluster, gateway: Upstream, tmp_path: Path) -> Iterator[Registered]:
    with ExitStack() as keepers:
        yield partial(Fleet, cluster, gateway, tmp_path, keepers)


def calls_by_voice(gateway: Upstream) -> Counter[str]:
    return Counter(call.voice for call in gateway.calls())


def test_one_keeper_works_and_when_it_is_killed_another_goes_on(
    registered: Registered, gateway: Upstream
) -> None:
    fleet = registered(0)
    active, *others = [fleet.begin() for _ in range(3)]
    for each in others:
        assert each.told("daemon.standby")[0]["keeper"].startswith(f"{active.pid}@")
    fleet.fill(VOICES)
    until(lambda: fleet.ask(LEFT) < VOICES * 3 / 4, "a quarter is kept", within=60)
    assert [each.told("keepalive.submitted") for each in others] == [[], []]
    active.kill()
    fleet.await_kept()
    (successor,) = [each for each in others if each.told("daemon.ready")]
    assert fleet.ask(ACTIVE).startswith(f"{successor.pid}@")
    interrupted = fleet.ask("SELECT count(*) FROM task WHERE code = 'interrupted'")
    calls = calls_by_voice(gateway)
    doubled = [voice for voice, count in calls.items() if count > 1]
    assert len(calls) == VOICES
    assert max(calls.values()) <= 2
    assert len(doubled) <= interrupted + IN_FLIGHT  # in flight, or accepted and asked for again
    assert fleet.ask("SELECT count(*) FROM voice WHERE status <> 'OK' OR failures > 0") == 0
    for each in others:
        assert each.end(signal.SIGTERM) == 0, each.words


def test_a_frozen_keeper_that_wakes_writes_no_intent_and_stands_by(
    registered: Registered, gateway: Upstream
) -> None:
    fleet = registered(50)
    frozen, other = fleet.begin(), fleet.begin()
    fleet.await_kept()
    frozen.send(signal.SIGSTOP)
    other.await_event("daemon.ready")
    calls = len(frozen.told("keepalive.submitted"))
    frozen.send(signal.SIGCONT)
    fleet.make_due()
    stands_by = frozen.await_event("daemon.standby")
    fleet.await_kept()
    assert stands_by["keeper"].startswith(f"{other.pid}@")
    assert len(frozen.told("keepalive.submitted")) == calls
    assert frozen.told("pass.failed") == []
    assert set(calls_by_voice(gateway).values()) == {2}
    assert fleet.ask("SELECT count(*) FROM task WHERE code = 'interrupted'") == 0
    assert other.end(signal.SIGTERM) == 0
    frozen.await_event("daemon.ready", count=2)  # it follows at once


def test_a_keeper_whose_database_does_not_answer_stops_all_the_same(
    registered: Registered, cluster: Cluster
) -> None:
    fleet = registered(1)
    with Wire(cluster.socket) as wire:
        cut = fleet.begin(wire)
        wire.cut()
        assert cut.end(signal.SIGTERM) == 0


def test_a_keeper_that_is_cut_from_the_database_stands_by_when_it_is_back(
    registered: Registered, gateway: Upstream, cluster: Cluster
) -> None:
    fleet = registered(50)
    with Wire(cluster.socket) as wire:
        cut, other = fleet.begin(wire), fleet.begin()
        fleet.await_kept()
        wire.cut()
        other.await_event("daemon.ready")
        fleet.make_due()
        fleet.await_kept()
        wire.let_go()
        cut.await_event("daemon.standby")
        fleet.make_due()
        fleet.await_kept()
        assert set(calls_by_voice(gateway).values()) == {3}
