"""``voicekeeper status``: whether all is well, for people and for monitoring."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.command import CommandLine, newer, overwritten, sentence
from tests.support import DAY, HOUR, NOW, imported, wanted
from voicekeeper.core.models import Breaker, Status
from voicekeeper.core.requests import FLASH

NOTHING = {"today": 0.0, "last_30_days": 0.0, "ever": 0.0}


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    """Return a registry with a voice that lives and one that is paused, and a daemon at work."""
    cli = CommandLine(tmp_path / "voicekeeper.db")
    cli.ready(imported("anna", last_used_at=NOW - DAY), wanted("bert"))
    cli.change("anna", status=Status.OK, next_at=NOW + DAY + 18 * HOUR)
    cli.change("bert", paused=True, next_at=None)
    cli.passed()
    return cli


def test_it_is_ok_while_a_daemon_keeps_every_voice(cli: CommandLine) -> None:
    headline = "1 voice kept, 1 paused, next due in 1 d 18 h"
    ended = cli("status")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == (
        f"OK: {headline}\n  keeping it costs about $0.000022 a day, $0.008 a year\n"
    )
    assert cli("status", "--json").json == {
        "schema": 1,
        "status": "ok",
        "headline": headline,
        "findings": [],
        "voices": dict.fromkeys(Status, 0) | {"NEW": 1, "OK": 1},
        "paused": 1,
        "overdue": 0,
        "at_risk": 0,
        "blocked": False,
        "keeper": "1@here",
        "keepers": ["1@here"],
        "last_pass_at": "2026-05-01T12:00:00Z",
        "held": 0,
        "spent_usd": NOTHING,
        "possibly_spent_usd": NOTHING,
        "forecast_usd": {"day": 0.000022, "year": 0.007964},
        "balance_usd": None,
        "balance_at": None,
        "runway_days": None,
    }


def test_it_warns_where_nobody_is_sent_a_message(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    assert cli("status").code == 0  # nor is anybody to be
    ended = cli("status", environ={"VOICEKEEPER_ALERTS__URLS": "json://localhost"})
    assert (ended.code, ended.out.partition(":")[0]) == (1, "WARNING")
    assert "warning: nobody is sent a message: apprise, which sends the messages, is" in ended.out
    assert f"{sys.executable} -P -m pip install 'apprise>=2.2,<3'\n" in ended.out


@pytest.mark.parametrize(
    ("columns", "code", "word", "told"),
    [
        ({"status": Status.LOST}, 2, "critical", "1 voice LOST: anna; 'voicekeeper show NAME'"),
        ({"anchored_at": NOW - 6 * DAY}, 2, "critical", "1 voice at risk: anna;"),
        ({"next_at": NOW - 4 * HOUR}, 1, "warning", "1 voice overdue: anna; 'voicekeeper list'"),
        ({"status": Status.FAILED}, 1, "warning", "1 voice FAILED"),
    ],
)
def test_it_ends_with_the_code_that_monitoring_reads(
    cli: CommandLine, columns: dict[str, Any], code: int, word: str, told: str
) -> None:
    cli.change("anna", **columns)
    ended = cli("status")
    first, finding, *_ = ended.out.splitlines()
    assert (ended.code, ended.err) == (code, "")
    assert first.startswith(f"{word.upper()}: ")
    assert finding.startswith(f"  {word}: ")
    assert told in finding
    document = cli("status", "--json")
    assert (document.code, document.json["status"]) == (code, word)
    assert document.json["findings"] == [finding.removeprefix(f"  {word}: ")]


def test_it_is_critical_while_calls_are_paused(cli: CommandLine) -> None:
    cli.add_row(Breaker(model=FLASH, run=5, opened_at=NOW - HOUR, cause="402 no balance"))
    ended = cli("status")
    assert ended.code == 2
    assert f"calls for {FLASH} are paused since 2026-05-01T11:00:00Z: 402 no balance" in ended.out
    assert cli("status", "--json").json["blocked"] is True


def test_it_is_critical_when_the_daemon_is_dead(cli: CommandLine) -> None:
    cli.passed(5 * HOUR)
    ended = cli("status")
    assert ended.code == 2
    assert "no daemon has made a pass since 2026-05-01T07:00:00Z" in ended.out
    assert "'systemctl start voicekeeper'" in ended.out


def test_an_empty_registry_needs_no_daemon(tmp_path: Path) -> None:
    ended = CommandLine(tmp_path / "empty.db").ready()("status")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == (
        "OK: no voice is registered; 'voicekeeper add' registers one that exists, 'voicekeeper "
        "clone' or 'voicekeeper design' makes one\n"
    )


@pytest.mark.parametrize(
    ("spoil", "environ", "told"),
    [
        (Path.unlink, {}, "there is no registry"),
        (overwritten, {}, "is damaged or not a database"),
        (newer, {}, "was written by a newer voicekeeper (schema 9999"),
        (Path.touch, {"VOICEKEEPER_DAEMON__TICK": "often"}, "daemon.tick"),
    ],
    ids=["missing", "damaged", "newer", "settings"],
)
def test_what_cannot_be_looked_at_is_unknown(
    cli: CommandLine, spoil: Callable[[Path], None], environ: dict[str, str], told: str
) -> None:
    spoil(cli.path)
    ended = cli("status", environ=environ)
    assert (ended.code, ended.err) == (3, "")
    assert ended.out.startswith("UNKNOWN: ")
    assert told in ended.out
    document = cli("status", "--json", environ=environ)
    assert (document.code, document.json["schema"]) == (3, 1)
    assert document.json["status"] == "unknown"


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["status", "--jsn"], 3),
        (["status", "--json", "x"], 3),
        (["--bogus", "status", "--json"], 3),
        (["--bogus"], 2),
    ],
)
def test_a_wrong_use_of_it_is_unknown_to_monitoring(
    cli: CommandLine, args: list[str], code: int
) -> None:
    ended = cli(*args)
    assert ended.code == code
    assert sentence(ended)
