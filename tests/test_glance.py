"""A glance at the registry's file: it tells what the registry tells, or nothing at all."""

import dataclasses
import itertools
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlmodel import SQLModel

from tests import support
from tests.command import CommandLine
from tests.support import CLONE, DAY, HOUR, MINUTE, NOW, imported, policy, wanted
from tests.test_unreadable_rows import BAD_VALUES
from voicekeeper.core.health import Health
from voicekeeper.core.models import (
    Active,
    Balance,
    Breaker,
    Kind,
    LedgerEntry,
    Origin,
    Status,
    Task,
    TaskState,
    Voice,
)
from voicekeeper.core.requests import FLASH
from voicekeeper.errors import DatabaseUnusable
from voicekeeper.store.quick import columns
from voicekeeper.store.quick.columns import Read
from voicekeeper.store.quick.file import File, Unsure
from voicekeeper.store.quick.fleet import Fleet, Ranking
from voicekeeper.store.quick.voices import MOST, Voices
from voicekeeper.store.registry import Registry
from voicekeeper.store.sqlite import SqliteDatabase

TABLES: Mapping[type[SQLModel], Mapping[str, Read]] = {
    Voice: columns.VOICE,
    Breaker: columns.BREAKER,
    Active: columns.ACTIVE,
    Balance: columns.BALANCE,
}
READERS = {
    "UTCDateTime": columns.instant,
    "Integer": columns.whole,
    "Float": columns.number,
    "Boolean": columns.flag,
    "AutoString": columns.text,
    "JSON": columns.text,
}

# --- the same answers


def facts(row: object, table: type[SQLModel]) -> dict[str, object]:
    """Return every column of a row, however it was read, but the recipe, which a glance skips."""
    names = set(TABLES[table]) - {"recipe"}
    return {name: getattr(row, name) for name in names}


def told(health: Health) -> dict[str, object]:
    """Return a health as values that can be compared."""
    values: dict[str, Any] = {
        field.name: getattr(health, field.name) for field in dataclasses.fields(health)
    }
    balance = values["balance"]
    return values | {
        "by_status": dict(values["by_status"]),
        "names": {status: list(names) for status, names in values["names"].items()},
        **{of: list(values[of]) for of in ("late", "risky", "waiting")},
        "keepers": list(values["keepers"]),
        "blocked": sorted(
            (facts(breaker, Breaker) for breaker in values["blocked"]),
            key=lambda breaker: str(breaker["model"]),
        ),
        "balance": None if balance is None else facts(balance, Balance),
    }


def assert_same(database: SqliteDatabase, *, now: datetime) -> None:
    """Hold every answer of a glance against the registry's."""
    registry, rules = Registry(database), policy()
    with Voices(database.path) as voices:
        glanced = voices.all()
        ones = [voices.get(voice.name) for voice in glanced]
    with Ranking(database.path) as ranking:
        ranked = ranking.by_urgency(now=now, policy=rules)
        blocked = [facts(breaker, Breaker) for breaker in ranking.blocked()]
    assert [voice.name for voice in ranked] == [
        voice.name for voice in registry.by_urgency(now=now, policy=rules)
    ]
    assert blocked == [facts(breaker, Breaker) for breaker in registry.blocked()]
    with Fleet(database.path) as fleet:
        health, totals = fleet.health(now=now, policy=rules), fleet.totals(now=now)
    known = list(registry.all())
    assert [facts(voice, Voice) for voice in glanced] == [facts(voice, Voice) for voice in known]
    assert [facts(voice, Voice) for voice in ones] == [facts(voice, Voice) for voice in known]
    assert told(health) == told(registry.health(now=now, policy=rules))
    assert totals == registry.totals(now=now)


INSTANTS = st.sampled_from(
    [
        NOW + sign * (edge + slack)
        for edge in (timedelta(0), 3 * HOUR, 2 * DAY, 3 * DAY, 5 * DAY, 7 * DAY)
        for slack in (timedelta(0), timedelta(microseconds=1), MINUTE, 4 * HOUR)
        for sign in (1, -1)
    ]
)
MAYBE = st.none() | INSTANTS
MICROS = st.integers(0, 10**9)


@st.composite
def rows(draw: st.DrawFn) -> list[SQLModel]:
    """Return the rows of some registry."""
    made: list[SQLModel] = []
    for number in range(draw(st.integers(0, 8))):
        status = draw(st.sampled_from(Status))
        has_id = status is Status.OK or draw(st.booleans())
        made.append(
            Voice(
                id=number + 1,
                name=f"{draw(st.sampled_from(['anna', 'Änne', '声']))}-{number}",
                model=draw(st.sampled_from([FLASH, "other"])),
                voice_id=f"id-{number}" if has_id else None,
                origin=draw(st.sampled_from(Origin)),
                status=status,
                paused=draw(st.booleans()),
                recipe=draw(st.sampled_from([None, {}, CLONE])),
                created_at=draw(INSTANTS),
                anchored_at=draw(INSTANTS),
                failures=draw(st.integers(0, 2)),
                last_error=draw(st.sampled_from([None, "", "500 Über\tlast\n"])),
                **{
                    column: draw(MAYBE)
                    for column in (
                        *("last_used_at", "enrolled_at", "next_at", "suspected_at"),
                        *("controlled_at", "held_at", "remade_at"),
                    )
                },
            )
        )
        if draw(st.booleans()):
            state = draw(st.sampled_from([TaskState.SUCCESS, TaskState.FAILED, TaskState.INTENT]))
            made.append(
                Task(
                    voice_pk=number + 1,
                    model=FLASH,
                    kind=Kind.KEEPALIVE,
                    state=state,
                    sent_at=draw(INSTANTS),
                )
            )
    made += [
        Breaker(model=model, opened_at=draw(MAYBE), cause=draw(st.sampled_from([None, "402"])))
        for model in draw(st.sets(st.sampled_from([FLASH, "other", "third"])))
    ]
    made.append(
        Active(
            keeper=draw(st.sampled_from([None, "1@here"])),
            version="0",
            once=draw(st.booleans()),
            started_at=draw(MAYBE),
            last_pass_at=draw(MAYBE),
            beat=draw(MAYBE),
        )
    )
    if draw(st.booleans()):
        made.append(Balance(micros=draw(st.integers(-(10**9), 10**12)), told_at=draw(INSTANTS)))
    days = draw(st.sets(st.integers(-1, 40), max_size=4))
    made += [
        LedgerEntry(
            day=NOW.date() - timedelta(days=day),
            kind=draw(st.sampled_from(Kind)),
            cost_micros=draw(MICROS),
            possible_cost_micros=draw(MICROS),
        )
        for day in days
    ]
    return made


@contextmanager
def registry_of(made: Sequence[SQLModel]) -> Iterator[SqliteDatabase]:
    with tempfile.TemporaryDirectory() as directory:
        database = support.database(Path(directory) / "voicekeeper.db")
        try:
            with database.writing() as session:
                session.add_all([row for row in made if isinstance(row, Voice)])
                session.flush()
                for row in made:
                    if not isinstance(row, Voice):
                        session.merge(row)  # there is a row of the active keeper already
            yield database
        finally:
            database.close()


@settings(max_examples=40)
@given(made=rows())
def test_a_glance_at_any_registry_tells_what_the_registry_tells(made: list[SQLModel]) -> None:
    with registry_of(made) as database:
        assert_same(database, now=NOW)


def test_a_glance_counts_every_sort_of_voice_at_risk_as_the_registry_does() -> None:
    sorts = itertools.product(
        (Status.OK, Status.LOST),
        (False, True),
        ("id", None),
        (0, 1),
        (NOW - 6 * DAY, NOW - 5 * DAY, NOW - DAY),  # the second is at the edge
        (None, NOW - HOUR, NOW + HOUR, NOW + 4 * DAY),
        (None, (TaskState.SUCCESS, HOUR), (TaskState.SUCCESS, 9 * DAY), (TaskState.FAILED, HOUR)),
    )
    made: list[SQLModel] = []
    for key, (status, paused, voice_id, failures, anchor, next_at, called) in enumerate(sorts, 1):
        row = voice_row(key, status=Status.NEW if voice_id is None else status, paused=paused)
        row.voice_id = voice_id and f"{voice_id}-{key}"
        row.failures, row.anchored_at, row.next_at = failures, anchor, next_at
        made.append(row)
        if called is not None:
            state, ago = called
            task = Task(
                voice_pk=key, model=FLASH, kind=Kind.KEEPALIVE, state=state, sent_at=NOW - ago
            )
            made.append(task)
    with registry_of(made) as database:
        assert_same(database, now=NOW)
        assert 0 < Registry(database).health(now=NOW, policy=policy()).at_risk < len(made)


def voice_row(key: int, *, status: Status, paused: bool) -> Voice:
    return Voice(
        id=key,
        name=f"v{key:04}",
        model=FLASH,
        origin=Origin.IMPORTED,
        status=status,
        paused=paused,
        created_at=NOW - 30 * DAY,
        anchored_at=NOW,
    )


@pytest.mark.parametrize("table", TABLES)
def test_a_glance_knows_every_column_by_its_type(table: type[SQLModel]) -> None:
    known = TABLES[table]
    stored = sa.inspect(table).local_table.columns
    assert list(known) == [column.name for column in stored]
    for column in stored:
        kind, read = column.type, known[column.name]
        wanted = kind.enum_class if isinstance(kind, sa.Enum) else READERS[type(kind).__name__]
        assert inner(read) is wanted, column.name
        assert (inner(read) is not read) is column.nullable, column.name


def inner(read: Read) -> Read:
    """Return the reader of a value that is there."""
    cells = getattr(read, "__closure__", None)
    return read if cells is None else cells[0].cell_contents


# --- nothing at all


def is_unsure(path: Path, side: type[File] = Voices) -> bool:
    """Tell whether one look at everything is not enough."""
    try:
        with side(path) as file:
            if isinstance(file, Voices):
                file.all()
            if isinstance(file, Fleet):
                file.health(now=NOW, policy=policy())
                file.totals(now=NOW)
    except Unsure:
        return True
    return False


def change(path: Path, statement: str) -> None:
    """Write to the file past the schema's CHECKs, as a failing disk might."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute(statement)


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path / "voicekeeper.db").ready(imported("anna"), wanted("berta"))


@pytest.mark.parametrize(
    "value",
    [
        *BAD_VALUES,
        "paused = 2",
        "recipe = '[1'",
        "created_at = '2026-05-01T12:00:00.000000'",
        "created_at = '2026-05-01 12:00:00'",
        "created_at = '2026-W18-5 12:00:00.000000'",
        "last_error = x'ff'",
        "last_error = CAST(x'ff' AS TEXT)",
        "controlled_at = ''",
        "failures = 1.5",
    ],
)
def test_a_value_that_is_not_of_its_type_is_left_to_the_registry(
    cli: CommandLine, value: str
) -> None:
    change(cli.path, f"UPDATE voice SET {value} WHERE name = 'berta'")  # noqa: S608 - the example
    assert is_unsure(cli.path)
    with Voices(cli.path) as voices:
        assert voices.get("anna").voice_id == "id-anna"
    with pytest.raises(Unsure), Voices(cli.path) as voices:
        voices.get("berta")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE voice SET status = 'bogus'",
        "UPDATE voice SET next_at = 'soon'",
        "UPDATE active SET beat = 'then'",
        "UPDATE breaker SET judged_at = 'then'",
        "UPDATE balance SET micros = 'much'",
        "UPDATE ledger SET cost_micros = 'much'",
        "UPDATE alembic_version SET version_num = '9999'",
        "UPDATE alembic_version SET version_num = '0001'",
        "DELETE FROM alembic_version",
        "DROP TABLE alembic_version",
        "DROP TABLE ledger",
    ],
)
def test_a_fleet_that_cannot_be_counted_is_left_to_the_registry(
    cli: CommandLine, statement: str
) -> None:
    cli.passed()
    cli.add_row(Breaker(model=FLASH, opened_at=NOW))
    with cli.database() as database, database.writing() as session:
        session.add(Balance(micros=1, told_at=NOW))
        session.add(LedgerEntry(day=date(2026, 5, 1), kind=Kind.CLONE, cost_micros=1))
    assert not is_unsure(cli.path, Fleet)
    change(cli.path, statement)
    assert is_unsure(cli.path, Fleet)


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    assert is_unsure(tmp_path / "voicekeeper.db")
    assert list(tmp_path.iterdir()) == []
    assert is_unsure(tmp_path / "nowhere" / "voicekeeper.db")
    assert is_unsure(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no database at all" * 100])
def test_a_file_that_is_no_registry_is_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "voicekeeper.db"
    path.write_bytes(content)
    assert is_unsure(path)
    assert path.read_bytes() == content


def test_a_registry_that_is_being_written_is_left_to_the_registry(cli: CommandLine) -> None:
    with closing(sqlite3.connect(cli.path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert is_unsure(cli.path)
        other.execute("ROLLBACK")
    assert not is_unsure(cli.path)


def test_a_long_list_is_left_to_the_registry(tmp_path: Path) -> None:
    cli = CommandLine(tmp_path / "voicekeeper.db")
    cli.ready(*(imported(f"v{number:04}") for number in range(MOST)))
    assert not is_unsure(cli.path)
    cli.ready(imported("w"))
    assert is_unsure(cli.path)
    assert len(cli("list").out.splitlines()) == MOST + 1


def test_a_voice_that_is_not_there_is_left_to_the_registry(cli: CommandLine) -> None:
    with pytest.raises(Unsure), Voices(cli.path) as voices:
        voices.get("nobody")


@pytest.mark.parametrize("name", ["a b", "100%", "what?", "#1", "a%20b", "Stimme-声", "a&b=c"])
def test_a_file_of_any_name_is_found(cli: CommandLine, tmp_path: Path, name: str) -> None:
    directory = tmp_path / name
    directory.mkdir()
    shutil.copy(cli.path, directory / f"{name}.db")
    assert not is_unsure(directory / f"{name}.db")


# --- the commands


ASKED = [
    ["resolve", "anna"],
    ["resolve", "anna", "--json"],
    ["resolve", "berta"],
    ["resolve", "nobody"],
    ["list"],
    ["list", "--json"],
    ["status"],
    ["status", "--json"],
]


@pytest.mark.parametrize("args", ASKED, ids=" ".join)
def test_a_command_says_the_same_when_a_glance_is_not_enough(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch, args: list[str]
) -> None:
    cli.passed()
    cli.add_row(Breaker(model=FLASH, opened_at=NOW, cause="402 Payment Required"))
    cli.change("anna", status=Status.OK, last_error="500\tInternal Server Error")
    glanced = cli(*args)
    with monkeypatch.context() as patch:
        patch.setattr(File, "__enter__", _unsure)
        assert cli(*args) == glanced


def _unsure(_: File) -> File:
    raise Unsure


def test_a_row_that_cannot_be_read_is_told_by_resolve_as_by_any_command(cli: CommandLine) -> None:
    change(cli.path, "UPDATE voice SET controlled_at = 'then' WHERE name = 'anna'")
    ended = cli("resolve", "anna")
    assert (ended.code, ended.out) == (DatabaseUnusable.exit_code, "")
    assert "a row of anna holds a value that cannot be read" in ended.err
