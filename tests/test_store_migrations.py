"""The migrations make the schema that the models describe."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlmodel import SQLModel, select

from tests.support import NOW, database, policy
from voicekeeper import models
from voicekeeper.store import NewVoice, Registry, SqliteDatabase
from voicekeeper.terms import SCHEMA

TABLES = (
    "voice",
    "task",
    "ledger",
    "tally",
    "balance",
    "history",
    "past",
    "removal",
    "breaker",
    "alert",
    "message",
    "audio",
    "keeper",
)


def scripts() -> Config:
    config = Config()
    config.set_main_option("script_location", "voicekeeper.store:migrations")
    return config


def revisions() -> list[str]:
    """Return every revision, newest first."""
    walk = ScriptDirectory.from_config(scripts()).walk_revisions()
    return [script.revision for script in walk]


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


@pytest.mark.parametrize("table", TABLES)
def test_a_migrated_table_is_the_one_the_model_describes(tmp_path: Path, table: str) -> None:
    assert shape(migrated(tmp_path), table) == shape(described(tmp_path), table)


def test_no_migration_is_missing(tmp_path: Path) -> None:
    with migrated(tmp_path).connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), SQLModel.metadata) == []


def test_the_tables_are_those_of_the_models() -> None:
    assert set(SQLModel.metadata.tables) == set(TABLES)
    assert models.Voice.__tablename__ in TABLES


def older() -> list[str]:
    """Return every revision but the newest."""
    return [revision for revision in revisions() if revision != SCHEMA]


@pytest.mark.parametrize("revision", older())
def test_an_older_registry_is_migrated_with_the_voices_it_holds(
    tmp_path: Path, revision: str
) -> None:
    path = tmp_path / "older.db"
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config = scripts()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        connection.exec_driver_sql(
            "INSERT INTO voice (name, model, voice_id, origin, status, paused, created_at,"
            " anchored_at, failures) VALUES ('anna', 'm', 'v1', 'imported', 'OK', 0,"
            " '2026-05-01 12:00:00', '2026-05-01 12:00:00', 0)"
        )
    engine.dispose()
    made = SqliteDatabase(path)
    made.prepare(upgrade=True)
    assert made.schema() == SCHEMA
    assert [(voice.name, voice.created_at) for voice in Registry(made).all()] == [("anna", NOW)]
    assert Registry(made).remove("anna", now=NOW).voice_id == "v1"
    made.close()


def test_the_registry_of_the_first_release_is_taken_over_whole(tmp_path: Path) -> None:
    path = tmp_path / "first.db"
    with closing(sqlite3.connect(path)) as first:
        first.executescript(Path(__file__).with_name("first_release.sql").read_text())
    made = SqliteDatabase(path)
    made.prepare(upgrade=True)
    registry = Registry(made)
    assert [(v.name, v.status.value) for v in registry.all()] == [
        ("guide", "FAILED"),
        ("narrator", "OK"),
    ]
    assert [entry.event for entry in registry.history("narrator")] == [
        "voice.registered",
        "keepalive.succeeded",
    ]
    new = NewVoice("new", "m", "id-new", models.Origin.IMPORTED)
    registry.register([new], now=NOW, policy=policy())
    assert registry.get("new").id == 4  # the key of a voice that was removed is not used again
    with made.reading() as session:
        ledger = {
            entry.kind: entry.cost_micros for entry in session.scalars(select(models.LedgerEntry))
        }
        tables = set(sa.inspect(session.connection()).get_table_names())
        broken = session.connection().exec_driver_sql("PRAGMA foreign_key_check").all()
    assert ledger == {models.Kind.KEEPALIVE: 60, models.Kind.DESIGN: 30_000}
    assert tables == {*TABLES, "alembic_version"}
    assert broken == []
    made.close()


def test_the_code_knows_the_newest_migration() -> None:
    assert ScriptDirectory.from_config(scripts()).get_heads() == [SCHEMA]


def test_migrations_are_ordered_by_their_names() -> None:
    """`Database.schema` compares them as texts to tell an older schema from a newer one."""
    assert revisions() == sorted(revisions(), reverse=True)
    assert all(len(revision) == len(SCHEMA) for revision in revisions())
