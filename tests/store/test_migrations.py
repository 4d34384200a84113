"""The migrations make the schema that the models describe."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlmodel import SQLModel

import voicekeeper.core.models  # noqa: F401 - which describes the tables
from tests.support import database
from voicekeeper.core.enums import SCHEMA
from voicekeeper.errors import DatabaseUnusable
from voicekeeper.store.sqlite import SqliteDatabase

REGISTRY = Path(__file__).parents[1] / "registry_0004.sql"

GONE = ("audio", "keeper")
"""Tables of older schemas that there are no more."""

GONE_COLUMNS: dict[str, tuple[str, ...]] = {"voice": ("restored_at",)}
"""Columns of older schemas that there are no more, by table."""


def migrated(tmp_path: Path) -> sa.Engine:
    made = database(tmp_path / "migrated.db")
    made.close()
    return sa.create_engine(f"sqlite:///{made.path}")


def described(tmp_path: Path) -> sa.Engine:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'described.db'}")
    SQLModel.metadata.create_all(engine)
    return engine


def shape(engine: sa.Engine, table: str) -> dict[str, Any]:
    """Return all of a table that matters, in an order that does not."""
    look = sa.inspect(engine)
    with engine.connect() as connection:
        sql = connection.exec_driver_sql(
            "SELECT sql FROM sqlite_master WHERE name = ?", (table,)
        ).scalar_one()
    return {
        "columns": [(c["name"], str(c["type"]), c["nullable"]) for c in look.get_columns(table)],
        "key": look.get_pk_constraint(table)["constrained_columns"],
        "never used again": "AUTOINCREMENT" in sql,
        "checks": {c["name"]: c["sqltext"] for c in look.get_check_constraints(table)},
        "unique": {c["name"]: c["column_names"] for c in look.get_unique_constraints(table)},
        "references": [
            (key["constrained_columns"], key["referred_table"], key["options"])
            for key in look.get_foreign_keys(table)
        ],
        "indexes": {
            index["name"]: (
                index["column_names"],
                str(index.get("dialect_options", {}).get("sqlite_where")),
            )
            for index in look.get_indexes(table)
        },
    }


@pytest.mark.parametrize("table", sorted(SQLModel.metadata.tables))
def test_a_migrated_table_is_the_one_the_model_describes(tmp_path: Path, table: str) -> None:
    assert shape(migrated(tmp_path), table) == shape(described(tmp_path), table)


def test_no_migration_is_missing(tmp_path: Path) -> None:
    with migrated(tmp_path).connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), SQLModel.metadata) == []


@pytest.fixture(params=["0004", "0005"])
def older(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return a registry of an earlier version, filled with every kind of row."""
    path = tmp_path / "older.db"
    with closing(sqlite3.connect(path)) as registry:
        registry.executescript(REGISTRY.read_text())
        if request.param == "0005":
            registry.executescript(
                "ALTER TABLE keeper ADD COLUMN window_s FLOAT DEFAULT 0 NOT NULL;"
                "UPDATE keeper SET window_s = 604800;"
                "UPDATE alembic_version SET version_num = '0005'"
            )
    return path


def every_row(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Return all rows of all tables, by the names of their columns."""
    with closing(sqlite3.connect(path)) as registry:
        registry.row_factory = sqlite3.Row
        tables = registry.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
        return {
            name: [dict(row) for row in registry.execute(f"SELECT * FROM {name}")]  # noqa: S608
            for (name,) in tables
        }


def test_an_older_registry_is_upgraded_with_all_that_it_holds(older: Path) -> None:
    before = every_row(older)
    used = [table for table in before["sqlite_sequence"] if table["name"] not in GONE]
    before["sqlite_sequence"] = used
    made = SqliteDatabase(older)
    made.prepare(upgrade=True)
    made.close()
    after = every_row(older)
    assert after["alembic_version"] == [{"version_num": SCHEMA}]
    kept = before.keys() - {"alembic_version", *GONE}
    assert all(before[table] for table in kept), "a table without a row proves nothing"
    for table in kept:
        columns = before[table][0].keys() - {*GONE_COLUMNS.get(table, ())}
        rows = [[{c: row[c] for c in columns} for row in which[table]] for which in (before, after)]
        assert rows[0] == rows[1], table
    assert set(SQLModel.metadata.tables) <= after.keys()
    assert shape(sa.create_engine(f"sqlite:///{older}"), "voice")["never used again"]


def test_the_keeper_with_the_newest_pass_is_the_active_one_that_was(older: Path) -> None:
    window_s = every_row(older)["keeper"][0].get("window_s", 0)
    made = SqliteDatabase(older)
    made.prepare(upgrade=True)
    made.close()
    (active,) = every_row(older)["active"]
    assert active == {
        "id": 1,
        "epoch": 0,
        "keeper": "2@here",
        "version": "0.9.0",
        "once": 0,
        "started_at": "2026-04-30 09:00:00.000000",
        "last_pass_at": "2026-05-01 12:31:00.000000",
        "beat": None,
        "interval_s": 259_200,
        "window_s": window_s,
        "server": None,
    }


def test_a_registry_that_is_too_old_is_refused_with_the_way_out(older: Path) -> None:
    with closing(sqlite3.connect(older)) as registry:
        registry.execute("UPDATE alembic_version SET version_num = '0003'")
        registry.commit()
    before = every_row(older)
    made = SqliteDatabase(older)
    with pytest.raises(DatabaseUnusable, match=r"too old .*'voicekeeper export' with the version"):
        made.prepare(upgrade=True)
    made.close()
    assert every_row(older) == before


def test_the_code_knows_the_newest_migration_and_their_names_order_them() -> None:
    """`Database.schema` compares them as texts to tell an older schema from a newer one."""
    config = Config()
    config.set_main_option("script_location", "voicekeeper.store:migrations")
    walk = ScriptDirectory.from_config(config).walk_revisions()
    newest_first = [script.revision for script in walk]
    assert newest_first == sorted(newest_first, reverse=True)
    assert newest_first[0] == SCHEMA
    assert {len(revision) for revision in newest_first} == {len(SCHEMA)}
