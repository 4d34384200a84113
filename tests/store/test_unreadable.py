"""A row that holds what no row may hold: it is told of, and every other voice is kept."""

import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from tests.command import CommandLine
from tests.support import DAY, HOUR, MINUTE, Life, imported, wanted
from voicekeeper.core.models import Status
from voicekeeper.errors import CallFailed
from voicekeeper.store import unreadable


def write(life: Life, *statements: str) -> None:
    """Write to the file past the schema's CHECKs, as a failing disk might."""
    with closing(sqlite3.connect(life.database.path)) as connection, connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        for statement in statements:
            connection.execute(statement)


BAD_VALUES = [
    "status = 'bogus'",
    "status = 7",
    "origin = x'ff00'",
    "recipe = '{\"prefix\": '",
    "created_at = 'yesterday'",
    "anchored_at = 'yesterday'",
    "anchored_at = 12345",
    "anchored_at = '10000-01-01 00:00:00.000000'",
    "next_at = '0000-00-00 00:00:00.000000'",
    "next_at = '10000-01-01 00:00:00.000000'",
    "created_at = '-4713-01-01 00:00:00.000000'",
    "last_used_at = '2026-13-45 99:00:00'",
    "enrolled_at = x'00'",
    "suspected_at = 'maybe'",
    "paused = 'perhaps'",
    "failures = 'some'",
]


@pytest.mark.parametrize("value", BAD_VALUES)
def test_a_bad_value_in_one_row_costs_no_other_voice_a_keepalive(life: Life, value: str) -> None:
    life.register(*(imported(name) for name in ("anna", "berta", "clara")), wanted("made"))
    write(life, f"UPDATE voice SET {value} WHERE name = 'berta'")  # noqa: S608 - the value is the example
    life.live(4 * DAY)
    alive = life.alive()
    assert {"id-anna", "id-clara"} <= alive
    assert life.books().clone == 1
    assert {life.voice(name).status for name in ("anna", "clara", "made")} == {Status.OK}
    told = life.log.of("pass.failed")
    if life.books().voices["id-berta"].uses == 0:
        assert [line["name"] for line in told] == ["berta"]
        assert "holds a value that cannot be read" in told[0]["error"]
        assert "run 'voicekeeper remove berta' and register it again" in told[0]["error"]


def test_the_command_that_is_told_for_a_bad_row_runs_nothing_else() -> None:
    assert "'voicekeeper remove 'a;$(id)'' and" in unreadable.sentence("a;$(id)", "why")


def test_many_bad_rows_do_not_crowd_out_the_good_ones(life: Life) -> None:
    bad = [f"bad-{number}" for number in range(40)]
    life.register(*map(imported, [*bad, "anna"]))
    write(life, "UPDATE voice SET status = 'bogus', anchored_at = '' WHERE name LIKE 'bad-%'")
    life.live(HOUR)
    assert life.books().voices["id-anna"].uses == 1
    assert sorted(line["name"] for line in life.log.of("pass.failed")) == sorted(bad)


@pytest.mark.parametrize("value", ["kind = 'bogus'", "sent_at = 'then'", "created_at = 'then'"])
def test_a_bad_value_in_a_task_costs_its_voice_one_more_keepalive(life: Life, value: str) -> None:
    life.register(imported("anna"), imported("berta"))
    life.live(timedelta(seconds=1))
    write(life, f"UPDATE task SET {value} WHERE spoken = 'id-berta'")  # noqa: S608 - the value is the example
    life.live(2 * HOUR)
    assert life.books().voices["id-anna"].uses == 1
    assert life.voice("berta").status is Status.OK
    assert life.books().voices["id-berta"].uses == 2
    assert {line["name"] for line in life.log.of("pass.failed")} == {"berta"}


def test_a_bad_value_in_an_enrollments_task_pays_for_nothing_again(life: Life) -> None:
    life.register(wanted("made"), imported("anna"))
    life.live(timedelta(seconds=1))
    write(life, "UPDATE task SET kind = 'bogus' WHERE spoken IS NULL")
    life.live(4 * DAY)
    assert life.books().clone == 1
    assert "id-anna" in life.alive()
    assert {line["name"] for line in life.log.of("pass.failed")} == {"made"}


@pytest.mark.parametrize("value", ["at = 'then'", "detail = '{'"])
def test_a_bad_value_in_the_history_is_left_out_of_the_log(life: Life, value: str) -> None:
    life.register(imported("anna"), imported("berta"))
    write(life, f"UPDATE history SET {value} WHERE id = 1")  # noqa: S608 - the value is the example
    life.live(MINUTE)
    assert [line["name"] for line in life.log.of("voice.registered")] == ["berta"]
    assert life.log.of("pass.failed") == []
    assert life.books().speech == 2


@pytest.mark.parametrize(
    "value", ["opened_at = 'then'", "probe_at = 'soon'", "probes = 'then'", "probes = 9e999"]
)
def test_a_bad_value_in_a_breaker_keeps_no_route_closed(life: Life, value: str) -> None:
    life.register(imported("anna"))
    life.upstream.trouble = lambda _: CallFailed("refused", code=402)
    life.live(MINUTE)
    assert life.log.of("upstream.blocked")
    life.upstream.trouble = lambda _: None
    write(life, f"UPDATE breaker SET {value}")  # noqa: S608 - the value is the example
    life.live(2 * HOUR)
    assert life.events("anna").count("keepalive.succeeded") == 1


def test_a_voice_whose_failures_cannot_be_counted_fails_alone(life: Life) -> None:
    life.register(imported("anna"), imported("berta"))
    write(life, "UPDATE voice SET failures = 'some' WHERE name = 'berta'")
    life.upstream.trouble = lambda call: (
        CallFailed("no", code=500) if call.subject == "id-berta" else None
    )
    life.live(HOUR)
    assert life.voice("anna").status is Status.OK
    assert [line["name"] for line in life.log.of("pass.failed")] == ["berta"]


def test_a_suspicion_that_cannot_be_read_costs_no_control_call_after_another(life: Life) -> None:
    life.register(imported("anna"), imported("berta"))
    life.live(MINUTE)
    write(life, "UPDATE voice SET suspected_at = 9e999 WHERE name = 'anna'")
    before = life.books().speech
    life.live(2 * HOUR)
    assert life.books().speech - before <= 1


def test_a_ledger_that_cannot_be_read_holds_enrollments_and_no_keepalive(tmp_path: Path) -> None:
    life = Life(tmp_path, enrollments_per_day=5_000)
    life.register(wanted("made"))
    life.live(HOUR)
    life.register(imported("anna"), wanted("later"))
    write(life, "UPDATE ledger SET cost_micros = 9e999")
    life.live(HOUR)
    assert life.voice("anna").status is Status.OK
    assert life.voice("later").status is Status.NEW
    assert life.books().clone == 1


def test_commands_name_the_voice_whose_row_cannot_be_read_and_remove_mends_it(
    tmp_path: Path,
) -> None:
    cli = CommandLine(tmp_path / "voicekeeper.db").ready(imported("anna"), imported("berta"))
    with closing(sqlite3.connect(cli.path)) as connection, connection:
        connection.execute("UPDATE voice SET recipe = '{' WHERE name = 'berta'")
    for args in (["list"], ["list", "--json"], ["export"], ["show", "berta"], ["keep", "berta"]):
        ended = cli(*args)
        assert ended.code == 78, args
        assert "Traceback" not in ended.err
        assert "a row of berta holds a value that cannot be read" in ended.err
    assert cli("show", "anna").code == 0
    assert cli("remove", "berta").code == 0
    assert cli("list").code == 0


def test_the_state_of_the_fleet_is_unknown_while_a_status_cannot_be_read(tmp_path: Path) -> None:
    cli = CommandLine(tmp_path / "voicekeeper.db").ready(imported("anna"))
    with closing(sqlite3.connect(cli.path)) as connection, connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute("UPDATE voice SET status = 'bogus'")
    ended = cli("status")
    assert ended.code == 3
    assert "holds a value that cannot be read" in " ".join(ended.out.split())
