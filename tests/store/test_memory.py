"""A registry in memory: what it has of a file's ways, and that no part of a change is kept."""

from collections.abc import Iterator

import pytest
from sqlalchemy.exc import IntegrityError

from tests.support import NOW, imported, policy
from voicekeeper.errors import VoicekeeperError
from voicekeeper.store import memory, sqlite
from voicekeeper.store.memory import MemoryDatabase
from voicekeeper.store.registry import Registry

ADD = "INSERT INTO breaker (model, run, probes, distrusted) VALUES ('m', 0, 0, 0)"


@pytest.fixture
def database() -> Iterator[MemoryDatabase]:
    made = MemoryDatabase()
    yield made
    made.close()


class TroubleError(Exception):
    """What goes wrong while a transaction is under way."""


def count(database: MemoryDatabase) -> int:
    with database.reading() as session:
        found: int = (
            session.connection().exec_driver_sql("SELECT count(*) FROM breaker").scalar_one()
        )
    return found


@pytest.mark.parametrize("safe", [True, False])
def test_it_is_there_whatever_a_file_would_keep_its_changes_in(
    monkeypatch: pytest.MonkeyPatch,
    safe: bool,  # noqa: FBT001 - whether files have a WAL
) -> None:
    monkeypatch.setattr(sqlite, "WAL_IS_SAFE", safe)
    made_anew = vars(memory)["_empty_registry"].__wrapped__
    monkeypatch.setattr(memory, "_empty_registry", made_anew)
    database = MemoryDatabase()
    registry = Registry(database)
    registry.register([imported("anna")], now=NOW, policy=policy())
    assert registry.get("anna").name == "anna"
    database.close()


@pytest.mark.parametrize("times", [1, 2])
def test_what_fails_leaves_nothing_of_itself(database: MemoryDatabase, times: int) -> None:
    def change() -> None:
        with database.writing() as session:
            for _ in range(times):  # the second breaks a rule of the schema
                session.connection().exec_driver_sql(ADD)
            raise TroubleError

    with pytest.raises(TroubleError if times == 1 else IntegrityError):
        change()
    assert count(database) == 0


def test_a_read_that_fails_spoils_no_later_change(database: MemoryDatabase) -> None:
    with pytest.raises(TroubleError), database.reading():
        raise TroubleError
    with database.writing() as session:
        session.connection().exec_driver_sql(ADD)
    assert count(database) == 1


def test_a_transaction_within_another_is_refused_and_commits_no_half_of_it(
    database: MemoryDatabase,
) -> None:
    def change() -> None:
        with database.writing() as session:
            session.connection().exec_driver_sql(ADD)
            count(database)

    with pytest.raises(VoicekeeperError, match="transaction within a transaction"):
        change()
    assert count(database) == 0
