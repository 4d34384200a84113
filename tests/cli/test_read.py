"""Reading the registry: ``list``, ``show``, ``history`` and ``resolve``."""

import io
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from sqlalchemy import delete

from tests.command import CommandLine, sentence
from tests.support import CLONE, DAY, HOUR, MINUTE, NOW, imported, policy, wanted
from voicekeeper.cli import table
from voicekeeper.core.models import Breaker, HistoryEntry, Status
from voicekeeper.core.requests import FLASH
from voicekeeper.store.registry import Registry

ANNA = {
    "name": "anna",
    "voice_id": "id-anna",
    "model": FLASH,
    "origin": "imported",
    "status": "OK",
    "paused": False,
    "last_used_at": "2026-04-30T12:00:00Z",
    "deadline_at": "2026-05-07T12:00:00Z",
    "next_keepalive_at": "2026-05-03T06:00:00Z",
    "failures": 2,
    "last_error": "500 Internal Server Error",
    "created_at": "2026-05-01T12:00:00Z",
    "same_voice": True,
}
UNKNOWN = dict.fromkeys(
    ("voice_id", "last_used_at", "deadline_at", "next_keepalive_at", "last_error")
)
BERT = {**ANNA, "name": "bert", "origin": "clone", "status": "NEW", "paused": True, **UNKNOWN}
BERT["failures"] = 0

PAUSED = (
    f"calls for {FLASH} are paused since 2026-05-01T11:00:00Z: no balance; "
    "the next probe is at 2026-05-01T12:01:00Z"
)


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    """Return a registry with a voice that lives and one that is to be made."""
    cli = CommandLine(tmp_path / "voicekeeper.db")
    cli.ready(imported("anna", last_used_at=NOW - DAY), wanted("bert"))
    cli.change(
        "anna",
        status=Status.OK,
        failures=2,
        last_error="500 Internal Server Error",
        next_at=NOW + timedelta(days=1, hours=18),
    )
    cli.change("bert", paused=True, next_at=None)
    return cli


def block(cli: CommandLine) -> None:
    """Pause the calls of a model."""
    opened_at, probe_at = NOW - HOUR, NOW + MINUTE
    cli.add_row(Breaker(model=FLASH, opened_at=opened_at, cause="no balance", probe_at=probe_at))


def shown(cli: CommandLine, name: str) -> dict[str, str]:
    """Return what ``show`` writes into a pipe."""
    ended = cli("show", name)
    assert (ended.code, ended.err) == (0, "")
    return dict(line.split("\t") for line in ended.out.splitlines())


def test_reading_changes_nothing(cli: CommandLine) -> None:
    before = cli.path.read_bytes(), sorted(p.name for p in cli.path.parent.iterdir())
    for args in (["list"], ["show", "anna"], ["history", "anna"], ["resolve", "anna"], ["export"]):
        assert cli(*args).code == 0
    assert (cli.path.read_bytes(), sorted(p.name for p in cli.path.parent.iterdir())) == before


# list


def test_list_prints_a_line_a_voice_into_a_pipe_or_one_json_object(cli: CommandLine) -> None:
    ended = cli("list")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == (
        "anna\tid-anna\tOK\t2026-05-07T12:00:00Z\t2026-05-03T06:00:00Z\t"
        "500 Internal Server Error\t\n"
        "bert\t\tNEW\t\tpaused\t\t\n"
    )
    document = cli("list", "--json").json
    assert document == {"schema": 1, "voices": [ANNA, BERT]}
    assert [list(voice) for voice in document["voices"]] == [list(ANNA)] * 2


def test_list_puts_the_most_urgent_first(tmp_path: Path) -> None:
    cli = CommandLine(tmp_path / "ranked.db")
    ages = {"fine": 1, "over": 9, "risky": 6, "paused": 6, "lost": 9, "broken": 0}
    cli.ready(*(imported(name, last_used_at=NOW - days * DAY) for name, days in ages.items()))
    cli.change("paused", paused=True, next_at=None)
    cli.change("lost", status=Status.LOST, next_at=None)
    cli.change("broken", status=Status.FAILED, next_at=None)
    order = ["risky", "fine", "over", "lost", "broken", "paused"]
    assert [line.split("\t")[0] for line in cli("list").out.splitlines()] == order
    assert [voice["name"] for voice in cli("list", "--json").json["voices"]] == order


def test_list_marks_the_voices_at_risk_without_color_too(cli: CommandLine) -> None:
    cli.change("anna", anchored_at=NOW - 6 * DAY, last_used_at=NOW - 6 * DAY)
    written = io.StringIO()
    console = Console(file=written, width=120, color_system=None)
    with cli.database() as database:
        voices = Registry(database).all()
        console.print(table.voices(voices, now=NOW, policy=policy(), console=console))
    assert ["at risk" in line for line in written.getvalue().splitlines()[1:]] == [True, False]


def test_list_names_the_calls_that_are_paused_and_when_they_are_tried(cli: CommandLine) -> None:
    block(cli)
    for options in ((), ("--json",)):
        assert cli("list", *options).err == f"note: {PAUSED}.\n"


@pytest.mark.parametrize(
    "args",
    [
        ["keep", "anna"],
        ["add", "id-carl", "--name", "carl"],
        ["clone", "dora", "--prefix", "dora", "--audio-url", "https://example.com/a.wav"],
        ["design", "dora", "--prefix", "dora", "--prompt", "old", "--preview-text", "Hello."],
    ],
)
def test_who_waits_for_paused_calls_is_told_so(cli: CommandLine, args: list[str]) -> None:
    block(cli)
    cli.passed()
    ended = cli(*args)
    assert ended.code == 0
    assert PAUSED in " ".join(ended.err.split())
    assert "on its next pass" not in ended.err


def test_a_registry_that_is_empty_or_not_made_yet_lists_nothing(tmp_path: Path) -> None:
    cli = CommandLine(tmp_path / "none.db")
    ended = cli("list")
    assert (ended.code, ended.out) == (0, "")
    assert "there is no registry at" in ended.err
    assert "'voicekeeper add'" in ended.err
    assert cli("list", "--json").json == {"schema": 1, "voices": []}
    assert not cli.path.exists()
    ended = cli.ready()("list")
    assert (ended.code, ended.out, ended.err) == (0, "", "")
    assert cli("list", "--json").json == {"schema": 1, "voices": []}


# show


def test_show_tells_all_that_is_known(cli: CommandLine) -> None:
    rows = shown(cli, "anna")
    assert rows == {
        "name": "anna",
        "voice_id": "id-anna",
        "model": FLASH,
        "origin": "imported",
        "status": "OK",
        "time left": "\u2588" * 9 + "\u2591 6 d",
        "last used": "2026-04-30T12:00:00Z",
        "next keepalive": "in 1 d 18 h",
        "failures": "2",
        "last error": "500 Internal Server Error",
        "cost so far": "$0.00 (estimate)",
        "registered": "2026-05-01T12:00:00Z",
    }
    rows = shown(cli, "bert")
    assert (rows["voice_id"], rows["status"], rows["next keepalive"]) == ("-", "NEW paused", "-")
    assert rows["recipe prefix"] == "demo01"
    assert rows["recipe audio_url"] == CLONE["audio_url"]
    nothing = {"spent_usd": 0.0, "possibly_spent_usd": 0.0, "preview_url": None}
    for name, voice, recipe in (("anna", ANNA, None), ("bert", BERT, CLONE)):
        document = cli("show", name, "--json").json
        assert document == {"schema": 1, **voice, "recipe": recipe, **nothing}


@pytest.mark.parametrize(
    ("columns", "label", "told"),
    [
        ({"last_used_at": NOW - 7 * DAY}, "time left", "window over"),
        ({"last_used_at": NOW - 6 * DAY}, "time left", "1 d"),
        ({"last_used_at": None}, "time left", "not known yet"),
        ({"last_used_at": None, "enrolled_at": NOW - 2 * DAY}, "time left", "5 d"),
        ({"status": Status.LOST}, "time left", "-"),
        ({"status": Status.LOST, "next_at": NOW + HOUR}, "next keepalive", "tried again in 1 h"),
        ({"held_at": NOW, "last_error": "held until then"}, "held back", "held until then"),
    ],
)
def test_show_counts_to_the_gateways_deadline_and_calls_no_hold_an_error(
    cli: CommandLine, columns: dict[str, Any], label: str, told: str
) -> None:
    cli.change("anna", **columns)
    rows = shown(cli, "anna")
    assert rows[label].lstrip("\u2588\u2591#.").strip() == told
    assert ("last error" in rows) is ("held_at" not in columns)


# history


def test_history_tells_a_life_in_order(cli: CommandLine) -> None:
    cli.clock.advance(HOUR)
    cli("keep", "anna")
    assert cli("history", "anna").out == (
        f"2026-05-01T12:00:00Z  voice.registered        origin=imported model={FLASH}\n"
        "2026-05-01T13:00:00Z  voice.hastened\n"
    )
    registered, hastened = {"event": "voice.registered"}, {"event": "voice.hastened"}
    registered |= {"at": "2026-05-01T12:00:00Z", "origin": "imported", "model": FLASH}
    hastened |= {"at": "2026-05-01T13:00:00Z"}
    assert cli("history", "anna", "--json").json == {
        "schema": 1,
        "name": "anna",
        "pruned": False,
        "history": [{"level": "info", **registered}, {"level": "info", **hastened}],
    }


def test_history_tells_that_what_came_before_is_kept_no_more(cli: CommandLine) -> None:
    with cli.database() as database, database.writing() as session:
        session.execute(delete(HistoryEntry))
    ended = cli("history", "anna")
    assert (ended.code, ended.out) == (0, "")
    assert ended.err == "What came before is kept no more; see daemon.keep_history.\n"
    told = cli("history", "anna", "--json").json
    assert (told["pruned"], told["history"]) == (True, [])


def test_an_event_is_one_line_in_a_pipe_and_begins_with_what_failed(cli: CommandLine) -> None:
    detail = {"task_id": "t1", "code": "X", "error": 'two\nlines, "quoted"', "retry_at": None}
    cli.add_row(
        HistoryEntry(voice_pk=1, at=NOW, event="keepalive.failed", level="warning", detail=detail)
    )
    _, line = cli("history", "anna").out.splitlines()
    assert line == (
        "2026-05-01T12:00:00Z  keepalive.failed        code=X "
        'error="two\\nlines, \\"quoted\\"" task_id=t1 retry_at=null'
    )


# resolve


@pytest.mark.parametrize("status", [Status.OK, Status.NEW, Status.DEPLOYING, Status.UNKNOWN])
def test_resolve_prints_an_id_that_may_speak_and_nothing_else(
    cli: CommandLine, status: Status
) -> None:
    cli.change("anna", status=status)
    ended = cli("resolve", "anna")
    assert (ended.code, ended.out, ended.err) == (0, "id-anna\n", "")
    resolved = {"schema": 1, "name": "anna", "voice_id": "id-anna"}
    assert cli("resolve", "anna", "--json").json == resolved


@pytest.mark.parametrize("status", [Status.LOST, Status.UNDEPLOYED, Status.FAILED, Status.NEW])
def test_resolve_prints_no_id_that_cannot_speak_or_is_not_known_yet(
    cli: CommandLine, status: Status
) -> None:
    name = "bert" if status is Status.NEW else "anna"
    cli.change(name, status=status)
    for options in ([], ["--json"]):
        ended = cli("resolve", name, *options)
        assert ended.code == 1
        assert sentence(ended).startswith(f"voicekeeper: {name} is {status}")
