"""Quick reads of the registry's file: what the registry tells, or nothing at all."""

import dataclasses
import itertools
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
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
from voicekeeper.store.quick import MOST, QuickVoices, Unsure, opened
from voicekeeper.store.quick_fleet import QuickFleet
from voicekeeper.store.registry import Registry
from voicekeeper.store.sqlite import SqliteDatabase

# --- the same answers


def facts(row: object, table: type[SQLModel]) -> dict[str, object]:
    """Return every column of a row, whichever way it was read."""
    return {name: getattr(row, name) for name in table.model_fields}


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


def assert_same(database: SqliteDatabase) -> None:
    """Compare every answer of a quick read with the registry's."""
    registry, rules = Registry(database), policy()
    known = [facts(voice, Voice) for voice in registry.all()]
    with opened(QuickFleet, database.path) as quick:
        assert [facts(voice, Voice) for voice in quick.all()] == known
        assert [facts(quick.get(str(each["name"])), Voice) for each in known] == known
        ranked = [voice.name for voice in quick.by_urgency(now=NOW, policy=rules)]
        assert ranked == [voice.name for voice in registry.by_urgency(now=NOW, policy=rules)]
        assert told(quick.health(now=NOW, policy=rules)) == told(
            registry.health(now=NOW, policy=rules)
        )
        assert quick.totals(now=NOW) == registry.totals(now=NOW)


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
def test_a_quick_read_of_any_registry_tells_what_the_registry_tells(made: list[SQLModel]) -> None:
    with registry_of(made) as database:
        assert_same(database)


def test_a_quick_read_counts_every_sort_of_voice_at_risk_as_the_registry_does() -> None:
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
        assert_same(database)
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


# --- nothing at all


def is_unsure(path: Path) -> bool:
    """Tell whether a quick read of everything is not enough."""
    try:
        with opened(QuickFleet, path) as quick:
            quick.all()
            quick.health(now=NOW, policy=policy())
            quick.totals(now=NOW)
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
    with opened(QuickVoices, cli.path) as quick:
        assert quick.get("anna").voice_id == "id-anna"
    with pytest.raises(Unsure), opened(QuickVoices, cli.path) as quick:
        quick.get("berta")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE active SET beat = 'then'",
        "UPDATE breaker SET judged_at = 'then'",
        "UPDATE balance SET micros = 'much'",
        "UPDATE ledger SET cost_micros = 'much'",
        "UPDATE alembic_version SET version_num = '9999'",
        "DELETE FROM alembic_version",
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
    assert not is_unsure(cli.path)
    change(cli.path, statement)
    assert is_unsure(cli.path)


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


@pytest.mark.parametrize("name", ["a b", "100%", "what?", "#1", "a%20b", "Stimme-声"])
def test_a_file_of_any_name_is_found(cli: CommandLine, tmp_path: Path, name: str) -> None:
    directory = tmp_path / name
    directory.mkdir()
    shutil.copy(cli.path, directory / f"{name}.db")
    assert not is_unsure(directory / f"{name}.db")


# --- the commands


ASKED = ("resolve anna", "resolve anna --json", "resolve berta", "resolve nobody")


@pytest.mark.parametrize("args", [*ASKED, "list", "list --json", "status", "status --json"])
def test_a_command_says_the_same_when_a_quick_read_is_not_enough(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch, args: str
) -> None:
    cli.passed()
    cli.add_row(Breaker(model=FLASH, opened_at=NOW, cause="402 Payment Required"))
    cli.change("anna", status=Status.OK, last_error="500\tInternal Server Error")
    quick = cli(*args.split())
    monkeypatch.setattr("voicekeeper.cli.session.opened", _unsure)
    assert cli(*args.split()) == quick


def _unsure(*_: object) -> None:
    raise Unsure


def test_a_row_that_cannot_be_read_is_told_by_resolve_as_by_any_command(cli: CommandLine) -> None:
    change(cli.path, "UPDATE voice SET controlled_at = 'then' WHERE name = 'anna'")
    ended = cli("resolve", "anna")
    assert (ended.code, ended.out) == (DatabaseUnusable.exit_code, "")
    assert "a row of anna holds a value that cannot be read" in ended.err
