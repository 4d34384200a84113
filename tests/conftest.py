"""How Hypothesis tries its examples, in every test; a host elsewhere."""

import os
import signal
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, Phase, settings

from tests import support
from tests.postgres import Cluster, missing
from tests.receiver import Receiver
from tests.support import Life
from voicekeeper.store.database import Database
from voicekeeper.store.postgres import PostgresDatabase

# A busy machine is no finding, so nothing here is measured against the wall clock.
settings.register_profile("usual", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# A mutant has only to be caught: to shrink its example takes longer than to find it.
settings.register_profile(
    "mutants",
    settings.get_profile("usual"),
    phases=[Phase.explicit, Phase.generate],
    max_examples=30,
    derandomize=True,  # the same mutants live in every run
    database=None,
)
settings.load_profile("usual")

# Begun in the background of a shell, this process ignores Ctrl-C, and so would all that it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def anyio_backend() -> str:
    """Run the tests that are coroutines on asyncio, each on a loop of its own."""
    return "asyncio"


@pytest.fixture
def far_east(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Move the host to where a day begins 14 hours before UTC's."""
    with monkeypatch.context() as moved:
        moved.setenv("TZ", "EAST-14")
        time.tzset()
        yield
    time.tzset()


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the environment name no proxy."""
    for kind in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{kind}_proxy", raising=False)
        monkeypatch.delenv(f"{kind}_proxy".upper(), raising=False)


@pytest.fixture
def life(tmp_path: Path) -> Life:
    return Life(tmp_path)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def owned() -> Iterator[Path]:
    """A folder that is neither root's nor in one that is closed to its owner."""
    with TemporaryDirectory(dir="/var/tmp") as folder:
        os.chown(folder, 65_534, 65_534)
        yield Path(folder)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A PostgreSQL server of the tests' own."""
    why = missing()
    if why is not None:
        pytest.skip(why)
    with Cluster() as cluster:
        yield cluster


@pytest.fixture
def restartable() -> Iterator[Cluster]:
    """A PostgreSQL server that a test may stop."""
    with Cluster() as cluster:
        yield cluster


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def each_database(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every `Life` of a test live on SQLite, and in a run of its own on PostgreSQL."""
    if request.param == "sqlite":
        return
    if request.node.get_closest_marker("sqlite_only") is not None:
        pytest.skip("it tells of what is of SQLite, or of its one keeper")
    cluster: Cluster = request.getfixturevalue("cluster")
    numbers = count(1)

    def made(_path: Path) -> Database:
        database = PostgresDatabase(cluster.empty(next(numbers)))
        request.addfinalizer(database.close)
        return database

    monkeypatch.setattr(support, "database", made)
