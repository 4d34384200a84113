"""Statements that the driver runs: what values become, and that each is prepared once."""

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest
import sqlalchemy as sa
from sqlmodel.sql.sqltypes import UTCDateTime

from tests.support import DAY, NOW, Life, driver_of, imported, policy
from voicekeeper.core.models import Breaker, Status, Task, Voice
from voicekeeper.store import rows
from voicekeeper.store.conversion import from_driver, to_driver
from voicekeeper.store.statement import Statement

SQLITE = sa.create_engine("sqlite://").dialect
STATUS = rows.table_of(Voice).c.status.type
INSTANTS = [
    datetime(2030, 1, 1, tzinfo=UTC),
    datetime(2030, 1, 1, 23, 59, 59, 999_999, tzinfo=UTC),
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
    datetime(2030, 1, 1, 12, tzinfo=timezone(timedelta(hours=-7, minutes=30))),
]


@pytest.mark.parametrize("instant", INSTANTS)
def test_an_instant_is_stored_as_sqlalchemy_stores_it_and_comes_back_in_utc(
    instant: datetime,
) -> None:
    kind = UTCDateTime()
    there, full = to_driver(kind, SQLITE), kind.dialect_impl(SQLITE).bind_processor(SQLITE)
    back = from_driver(kind, SQLITE)
    assert there is not None
    assert back is not None
    assert full is not None
    assert there(instant) == full(instant)
    assert back(there(instant)) == instant
    assert back(there(instant)).tzinfo is UTC


def test_an_instant_without_a_zone_is_refused() -> None:
    there = to_driver(UTCDateTime(), SQLITE)
    assert there is not None
    with pytest.raises(ValueError, match="timezone"):
        there(datetime(2030, 1, 1))  # noqa: DTZ001 - the point


def test_no_instant_is_stored_as_null() -> None:
    there = to_driver(UTCDateTime(), SQLITE)
    assert there is not None
    assert there(None) is None


def test_a_column_that_no_table_has_is_refused_and_nothing_is_written(life: Life) -> None:
    life.register(imported("anna"))
    voice = life.voice("anna")
    with pytest.raises(AssertionError, match="nonsense"), life.database.writing() as session:
        rows.assign(session, voice, {"failures": 9, "nonsense": 1})
    with pytest.raises(AssertionError, match="nonsense"), life.database.writing() as session:
        rows.insert(session, Breaker, model="m", nonsense=1)


@pytest.mark.parametrize("text", ["soon", "2030-01-01 00:00:00.00000x", 7, b"\x00"])
def test_what_is_no_instant_cannot_be_read(text: object) -> None:
    back = from_driver(UTCDateTime(), SQLITE)
    assert back is not None
    with pytest.raises((ValueError, TypeError)):
        back(text)


def test_an_instant_that_a_person_wrote_shorter_is_read_all_the_same() -> None:
    back = from_driver(UTCDateTime(), SQLITE)
    assert back is not None
    assert back("2030-01-01 00:00:00") == datetime(2030, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("status", list(Status))
def test_a_word_is_stored_as_its_text_and_comes_back_as_the_word(status: Status) -> None:
    there, back = to_driver(STATUS, SQLITE), from_driver(STATUS, SQLITE)
    assert there is not None
    assert back is not None
    assert type(there(status)) is str
    assert there(status) == status.value
    assert back(status.value) is status


def test_a_word_that_is_none_of_its_enum_cannot_be_read() -> None:
    back = from_driver(STATUS, SQLITE)
    assert back is not None
    with pytest.raises(LookupError, match="GONE"):
        back("GONE")


@pytest.fixture
def prepared(life: Life) -> Iterator[list[str]]:
    """Note each table that a statement reads while it is prepared."""
    seen: list[str] = []

    def note(action: int, table: str | None, *_: object) -> int:
        if action == sqlite3.SQLITE_READ:
            seen.append(str(table))
        return sqlite3.SQLITE_OK

    with life.database.reading() as session:
        driver = driver_of(session)
    driver.set_authorizer(note)
    yield seen
    driver.set_authorizer(None)


@pytest.fixture
def life(tmp_path_factory: pytest.TempPathFactory) -> Life:
    return Life(tmp_path_factory.mktemp("life"))


def test_a_pass_prepares_nothing_a_second_time(life: Life, prepared: list[str]) -> None:
    """SQLite prepares anew, each time, what a bound value has a say in the plan of."""

    def live(name: str, now: datetime) -> None:
        voice = imported(name, last_used_at=now - DAY)
        life.registry.register([voice], now=now, policy=policy())
        prepared.clear()
        for _ in range(20):  # until it is past saving
            now += DAY / 2
            life.worklist.claim(now=now, policy=policy(), calls=8, polls=8)
            life.worklist.take_alerts(now=now, policy=policy())
            life.worklist.idle_until(now=now, policy=policy())
        life.registry.remove(name, now=now)
        life.worklist.claim(now=now, policy=policy(), calls=8, polls=8)

    live("anna", NOW)  # which makes every statement ready
    assert prepared != []
    live("bert", NOW + 10 * DAY)
    assert prepared == []


def test_a_state_that_is_bound_is_prepared_anew(life: Life, prepared: list[str]) -> None:
    """What the test above would see; see `store.jobs` for what is done instead."""
    task = rows.table_of(Task)
    by_state = Statement(
        sa.select(task.c.id).where(
            task.c.state == sa.bindparam("state"), task.c.next_poll_at <= sa.bindparam("now")
        )
    )
    with life.database.reading() as session:
        by_state.rows(session, state="running", now=NOW)
        prepared.clear()
        by_state.rows(session, state="success", now=NOW)
    assert prepared != []
