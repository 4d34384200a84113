"""Quick reads of the registry's file: what the registry tells, or nothing at all."""

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlmodel import SQLModel

from tests import support
from tests.command import CommandLine
from tests.store.test_unreadable import BAD_VALUES
from tests.support import CLONE, DAY, HOUR, MINUTE, NOW, imported, policy, wanted
from voicekeeper.core.models import (
    Breaker,
    Origin,
    Status,
    Voice,
)
from voicekeeper.core.requests import FLASH
from voicekeeper.store.quick import MOST, Unsure, opened
from voicekeeper.store.registry import Registry
from voicekeeper.store.sqlite import SqliteDatabase

# --- the same answers


def facts(row: object, table: type[SQLModel]) -> dict[str, object]:
    """Return every column of a row, whichever way it was read."""
    return {name: getattr(row, name) for name in table.model_fields}


def assert_same(database: SqliteDatabase) -> None:
    """Compare every answer of a quick read with the registry's."""
    registry, rules = Registry(database), policy()
    known = [facts(voice, Voice) for voice in registry.all()]
    with opened(database.path) as quick:
        assert [facts(voice, Voice) for voice in quick.all()] == known
        assert [facts(quick.get(str(each["name"])), Voice) for each in known] == known
        ranked = [voice.name for voice in quick.by_urgency(now=NOW, policy=rules)]
        assert ranked == [voice.name for voice in registry.by_urgency(now=NOW, policy=rules)]
        blocked = {facts(breaker, Breaker)["model"] for breaker in registry.blocked()}
        assert {breaker.model for breaker in quick.blocked()} == blocked


INSTANTS = st.sampled_from(
    [
        NOW + sign * (edge + slack)
        for edge in (timedelta(0), 3 * HOUR, 2 * DAY, 3 * DAY, 5 * DAY, 7 * DAY)
        for slack in (timedelta(0), timedelta(microseconds=1), MINUTE, 4 * HOUR)
        for sign in (1, -1)
    ]
)
MAYBE = st.none() | INSTANTS


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
    made += [
        Breaker(model=model, opened_at=draw(MAYBE), cause=draw(st.sampled_from([None, "402"])))
        for model in draw(st.sets(st.sampled_from([FLASH, "other", "third"])))
    ]
    return made


@contextmanager
def registry_of(made: Sequence[SQLModel]) -> Iterator[SqliteDatabase]:
    with tempfile.TemporaryDirectory() as directory:
        database = support.database(Path(directory) / "voicekeeper.db")
        try:
            with database.writing() as session:
                session.add_all(made)
            yield database
        finally:
            database.close()


@settings(max_examples=40)
@given(made=rows())
def test_a_quick_read_of_any_registry_tells_what_the_registry_tells(made: list[SQLModel]) -> None:
    with registry_of(made) as database:
        assert_same(database)


# --- nothing at all


def is_unsure(path: Path) -> bool:
    """Tell whether a quick read of everything is not enough."""
    try:
        with opened(path) as quick:
            quick.by_urgency(now=NOW, policy=policy())
            quick.blocked()
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
    with opened(cli.path) as quick:
        assert quick.get("anna").voice_id == "id-anna"
    with pytest.raises(Unsure), opened(cli.path) as quick:
        quick.get("berta")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE breaker SET judged_at = 'then'",
        "UPDATE alembic_version SET version_num = '9999'",
        "DELETE FROM alembic_version",
        "DROP TABLE breaker",
    ],
)
def test_a_registry_that_is_not_as_expected_is_left_to_the_registry(
    cli: CommandLine, statement: str
) -> None:
    cli.passed()
    cli.add_row(Breaker(model=FLASH, opened_at=NOW))
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


@pytest.mark.parametrize("args", [*ASKED, "list", "list --json"])
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
