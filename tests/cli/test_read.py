"""Reading the registry: ``list``, ``show``, ``history``, ``resolve``, ``status`` and ``check``."""

import io
import shutil
import sqlite3
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from sqlalchemy import delete

from tests.command import CommandLine, Ended, sentence
from tests.receiver import Receiver
from tests.support import CLONE, DAY, HOUR, MINUTE, NOW, FakeClock, imported, policy, wanted
from tests.web_support import free_port, lead_here
from voicekeeper.cli import table
from voicekeeper.config import DEFAULT_PATH
from voicekeeper.core.models import Breaker, HistoryEntry, Status
from voicekeeper.core.requests import FLASH
from voicekeeper.sandbox import Gateway, SandboxServer
from voicekeeper.store.backup import DailyCopies
from voicekeeper.store.registry import Registry
from voicekeeper.store.sqlite import WAL_IS_SAFE

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
BERT = {
    "name": "bert",
    "voice_id": None,
    "model": FLASH,
    "origin": "clone",
    "status": "NEW",
    "paused": True,
    "last_used_at": None,
    "deadline_at": None,
    "next_keepalive_at": None,
    "failures": 0,
    "last_error": None,
    "created_at": "2026-05-01T12:00:00Z",
    "same_voice": True,
}


PAUSED = (
    f"calls for {FLASH} are paused since 2026-05-01T11:00:00Z: no balance; "
    "the next probe is at 2026-05-01T12:01:00Z"
)


def block(cli: CommandLine) -> None:
    """Pause the calls of a model."""
    opened_at, probe_at = NOW - HOUR, NOW + MINUTE
    cli.add_row(Breaker(model=FLASH, opened_at=opened_at, cause="no balance", probe_at=probe_at))


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


@pytest.fixture
def empty(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path / "empty.db").ready()


def test_list_prints_a_line_a_voice_into_a_pipe(cli: CommandLine) -> None:
    ended = cli("list")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == (
        "anna\tid-anna\tOK\t2026-05-07T12:00:00Z\t2026-05-03T06:00:00Z\t"
        "500 Internal Server Error\t\n"
        "bert\t\tNEW\t\tpaused\t\t\n"
    )


def test_list_as_json_holds_every_voice_with_its_contracted_keys(cli: CommandLine) -> None:
    ended = cli("list", "--json")
    assert (ended.code, ended.err) == (0, "")
    assert ended.json == {"schema": 1, "voices": [ANNA, BERT]}
    assert [list(voice) for voice in ended.json["voices"]] == [list(ANNA)] * 2


def test_list_puts_the_most_urgent_first(empty: CommandLine) -> None:
    ages = {"fine": 1, "over": 9, "risky": 6, "paused": 6, "lost": 9, "broken": 0}
    empty.ready(*(imported(name, last_used_at=NOW - days * DAY) for name, days in ages.items()))
    empty.change("paused", paused=True, next_at=None)
    empty.change("lost", status=Status.LOST, next_at=None)
    empty.change("broken", status=Status.FAILED, next_at=None)
    order = ["risky", "fine", "over", "lost", "broken", "paused"]
    assert [line.split("\t")[0] for line in empty("list").out.splitlines()] == order
    assert [voice["name"] for voice in empty("list", "--json").json["voices"]] == order


def test_list_marks_the_voices_at_risk_without_color_too(empty: CommandLine) -> None:
    empty.ready(
        imported("fine", last_used_at=NOW - DAY), imported("risky", last_used_at=NOW - 6 * DAY)
    )
    written = io.StringIO()
    console = Console(file=written, width=120, color_system=None)
    with empty.database() as database:
        voices = Registry(database).all()
        console.print(table.voices(voices, now=NOW, policy=policy(), console=console))
    assert ["at risk" in line for line in written.getvalue().splitlines()[1:]] == [False, True]


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_list_says_which_calls_are_paused_and_when_they_are_tried(
    cli: CommandLine, options: tuple[str, ...]
) -> None:
    block(cli)
    ended = cli("list", *options)
    assert ended.err.split() == (f"note: {PAUSED}.").split()
    assert PAUSED not in ended.out


@pytest.mark.parametrize(
    "args",
    [
        ["keep", "anna"],
        ["add", "id-carl", "--name", "carl"],
        ["design", "dora", "--prefix", "dora", "--prompt", "old", "--preview-text", "Hello."],
    ],
)
def test_whatever_waits_for_paused_calls_is_told_so(cli: CommandLine, args: list[str]) -> None:
    block(cli)
    cli.passed()
    ended = cli(*args)
    assert ended.code == 0
    assert PAUSED in " ".join(ended.err.split())
    assert "on its next pass" not in ended.err


def test_an_empty_registry_lists_nothing(empty: CommandLine) -> None:
    assert cli_told(empty, "list") == (0, "", "")
    assert empty("list", "--json").json == {"schema": 1, "voices": []}


def cli_told(cli: CommandLine, *args: str) -> tuple[int, str, str]:
    ended = cli(*args)
    return ended.code, ended.out, ended.err


def test_where_there_is_no_registry_yet_list_tells_how_to_begin(tmp_path: Path) -> None:
    cli = CommandLine(tmp_path / "none.db")
    code, out, err = cli_told(cli, "list")
    assert (code, out) == (0, "")
    assert "there is no registry at" in err
    assert "'voicekeeper add'" in err
    assert cli("list", "--json").json == {"schema": 1, "voices": []}
    assert not cli.path.exists()


def test_show_tells_all_that_is_known(cli: CommandLine) -> None:
    ended = cli("show", "anna")
    assert (ended.code, ended.err) == (0, "")
    rows = dict(line.split("\t") for line in ended.out.splitlines())
    assert rows == {
        "name": "anna",
        "voice_id": "id-anna",
        "model": FLASH,
        "origin": "imported",
        "status": "OK",
        "time left": rows["time left"],
        "last used": "2026-04-30T12:00:00Z",
        "next keepalive": "in 1 d 18 h",
        "failures": "2",
        "last error": "500 Internal Server Error",
        "cost so far": "$0.00 (estimate)",
        "registered": "2026-05-01T12:00:00Z",
    }
    assert rows["time left"].endswith(" 6 d")


def test_show_tells_of_a_voice_that_is_to_be_made_what_it_is_made_from(cli: CommandLine) -> None:
    rows = dict(line.split("\t") for line in cli("show", "bert").out.splitlines())
    assert (rows["voice_id"], rows["status"], rows["next keepalive"]) == ("-", "NEW paused", "-")
    assert rows["recipe prefix"] == "demo01"
    assert rows["recipe audio_url"] == CLONE["audio_url"]


def test_show_as_json_is_the_voice_with_its_recipe(cli: CommandLine) -> None:
    nothing = {"spent_usd": 0.0, "possibly_spent_usd": 0.0, "preview_url": None}
    assert cli("show", "anna", "--json").json == {"schema": 1, **ANNA, "recipe": None, **nothing}
    assert cli("show", "bert", "--json").json == {"schema": 1, **BERT, "recipe": CLONE, **nothing}


@pytest.mark.parametrize(
    ("columns", "left"),
    [
        ({"last_used_at": NOW - 7 * DAY}, "window over"),
        ({"last_used_at": NOW - 6 * DAY}, "1 d"),
        ({"last_used_at": None}, "not known yet"),
        ({"last_used_at": None, "enrolled_at": NOW - 2 * DAY}, "5 d"),
        ({"status": Status.LOST}, "-"),
        ({"status": Status.UNDEPLOYED}, "-"),
    ],
)
def test_the_time_left_is_counted_to_the_gateways_deadline(
    cli: CommandLine, columns: dict[str, Any], left: str
) -> None:
    cli.change("anna", **columns)
    rows = dict(line.split("\t") for line in cli("show", "anna").out.splitlines())
    assert rows["time left"].lstrip("\u2588\u2591#.").strip() == left


def test_a_hold_is_shown_as_no_error(cli: CommandLine) -> None:
    cli.change("anna", held_at=NOW, last_error="held until tomorrow")
    rows = dict(line.split("\t") for line in cli("show", "anna").out.splitlines())
    assert rows["held back"] == "held until tomorrow"
    assert "last error" not in rows


def test_a_lost_voice_is_shown_as_tried_again_and_is_not_next_due(cli: CommandLine) -> None:
    before = cli("status").out
    cli.change("bert", status=Status.LOST, voice_id="id-bert", next_at=NOW + HOUR, paused=False)
    rows = dict(line.split("\t") for line in cli("show", "bert").out.splitlines())
    assert rows["next keepalive"] == "tried again in 1 h"
    headline, *_ = cli("status").out.splitlines()
    assert headline.rpartition("next due in ")[2] in before


def test_history_tells_a_life_in_order(cli: CommandLine) -> None:
    cli.clock.advance(HOUR)
    cli("keep", "anna")
    detail = {"from": "NEW", "to": "OK"}
    cli.add_row(
        HistoryEntry(voice_pk=1, at=NOW, event="voice.status_changed", level="info", detail=detail)
    )
    assert cli("history", "anna").out == (
        f"2026-05-01T12:00:00Z  voice.registered        origin=imported model={FLASH}\n"
        "2026-05-01T13:00:00Z  voice.hastened\n"
        "2026-05-01T12:00:00Z  voice.status_changed    from=NEW to=OK\n"
    )
    assert cli("history", "anna", "--json").json == {
        "schema": 1,
        "name": "anna",
        "pruned": False,
        "history": [
            {
                "at": "2026-05-01T12:00:00Z",
                "level": "info",
                "event": "voice.registered",
                "origin": "imported",
                "model": FLASH,
            },
            {"at": "2026-05-01T13:00:00Z", "level": "info", "event": "voice.hastened"},
            {
                "at": "2026-05-01T12:00:00Z",
                "level": "info",
                "event": "voice.status_changed",
                "from": "NEW",
                "to": "OK",
            },
        ],
    }


def test_history_says_where_something_came_before_that_is_kept_no_more(cli: CommandLine) -> None:
    shown = cli("history", "anna")
    assert (shown.err, len(shown.out.splitlines())) == ("", 1)
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


def test_resolve_prints_the_voice_id_and_nothing_else(cli: CommandLine) -> None:
    assert cli_told(cli, "resolve", "anna") == (0, "id-anna\n", "")
    resolved = {"schema": 1, "name": "anna", "voice_id": "id-anna"}
    assert cli("resolve", "anna", "--json").json == resolved


@pytest.mark.parametrize("status", [Status.NEW, Status.DEPLOYING, Status.UNKNOWN])
def test_resolve_gives_an_id_that_may_speak(cli: CommandLine, status: Status) -> None:
    cli.change("anna", status=status)
    assert cli("resolve", "anna").out == "id-anna\n"


@pytest.mark.parametrize("status", [Status.LOST, Status.UNDEPLOYED, Status.FAILED, Status.NEW])
def test_resolve_gives_no_id_that_cannot_speak_or_is_not_known_yet(
    cli: CommandLine, status: Status
) -> None:
    name = "bert" if status is Status.NEW else "anna"
    cli.change(name, status=status)
    for options in ([], ["--json"]):
        ended = cli("resolve", name, *options)
        assert ended.code == 1
        assert sentence(ended).startswith(f"voicekeeper: {name} is {status}")


@pytest.mark.parametrize(
    "args", [["list"], ["show", "anna"], ["history", "anna"], ["resolve", "anna"], ["export"]]
)
def test_reading_changes_nothing(cli: CommandLine, args: list[str]) -> None:
    before = cli.path.read_bytes(), sorted(p.name for p in cli.path.parent.iterdir())
    assert cli(*args).code == 0
    assert (cli.path.read_bytes(), sorted(p.name for p in cli.path.parent.iterdir())) == before


def test_status_is_ok_while_a_daemon_keeps_every_voice(cli: CommandLine) -> None:
    cli.passed()
    ended = cli("status")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == (
        "OK: 1 voice kept, 1 paused, next due in 1 d 18 h\n"
        "  keeping it costs about $0.000022 a day, $0.008 a year\n"
    )
    assert cli("status", "--json").json == {
        "schema": 1,
        "status": "ok",
        "headline": "1 voice kept, 1 paused, next due in 1 d 18 h",
        "findings": [],
        "voices": {
            "NEW": 1,
            "DEPLOYING": 0,
            "OK": 1,
            "UNDEPLOYED": 0,
            "FAILED": 0,
            "UNKNOWN": 0,
            "LOST": 0,
        },
        "paused": 1,
        "overdue": 0,
        "at_risk": 0,
        "blocked": False,
        "keeper": "1@here",
        "keepers": ["1@here"],
        "last_pass_at": "2026-05-01T12:00:00Z",
        "held": 0,
        "spent_usd": {"today": 0.0, "last_30_days": 0.0, "ever": 0.0},
        "possibly_spent_usd": {"today": 0.0, "last_30_days": 0.0, "ever": 0.0},
        "forecast_usd": {"day": 0.000022, "year": 0.007964},
        "balance_usd": None,
        "balance_at": None,
        "runway_days": None,
    }


def test_status_warns_where_nobody_is_sent_a_message(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli.passed()
    monkeypatch.setitem(sys.modules, "apprise", None)
    assert cli("status").code == 0  # nor is anybody to be
    ended = cli("status", environ={"VOICEKEEPER_ALERTS__URLS": SLACK})
    assert (ended.code, ended.out.splitlines()[0].partition(":")[0]) == (1, "WARNING")
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
def test_status_ends_with_the_code_that_monitoring_reads(
    cli: CommandLine, columns: dict[str, Any], code: int, word: str, told: str
) -> None:
    cli.passed()
    cli.change("anna", **columns)
    ended = cli("status")
    first, *findings = [line for line in ended.out.splitlines() if "keeping it costs" not in line]
    assert (ended.code, ended.err) == (code, "")
    assert first.startswith(f"{word.upper()}: ")
    assert len(findings) == 1
    assert findings[0].startswith(f"  {word}: ")
    assert told in findings[0]
    document = cli("status", "--json")
    assert (document.code, document.json["status"]) == (code, word)
    assert document.json["findings"] == [findings[0].removeprefix(f"  {word}: ")]


def test_status_is_critical_while_calls_are_paused(cli: CommandLine) -> None:
    cli.passed()
    cli.add_row(Breaker(model=FLASH, run=5, opened_at=NOW - HOUR, cause="402 no balance"))
    ended = cli("status")
    assert ended.code == 2
    assert f"calls for {FLASH} are paused since 2026-05-01T11:00:00Z: 402 no balance" in ended.out
    assert cli("status", "--json").json["blocked"] is True


def test_an_empty_registry_needs_no_daemon(empty: CommandLine) -> None:
    told = (
        "OK: no voice is registered; 'voicekeeper add' registers one that exists, 'voicekeeper "
        "clone' or 'voicekeeper design' makes one\n"
    )
    assert cli_told(empty, "status") == (0, told, "")


def missing(path: Path) -> None:
    path.unlink(missing_ok=True)


def damaged(path: Path) -> None:
    path.write_text("these are the voices of our company\n" * 100)


def newer(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (missing, "there is no registry"),
        (damaged, "is damaged or not a database"),
        (newer, "was written by a newer voicekeeper (schema 9999"),
    ],
)
def test_what_cannot_be_looked_at_has_the_status_unknown(
    cli: CommandLine, spoil: Callable[[Path], None], told: str
) -> None:
    spoil(cli.path)
    ended = cli("status")
    assert (ended.code, ended.err) == (3, "")
    assert ended.out.startswith("UNKNOWN: ")
    assert told in ended.out
    document = cli("status", "--json")
    assert (document.code, document.json["schema"]) == (3, 1)
    assert document.json["status"] == "unknown"
    assert told in document.json["findings"][0]


def test_wrong_settings_have_the_status_unknown(cli: CommandLine) -> None:
    ended = cli("status", environ={"VOICEKEEPER_DAEMON__TICK": "often"})
    assert ended.code == 3
    assert "daemon.tick" in ended.out


SUBJECTS = [
    *("settings", "key", "gateway", "clock", "database", "backup", "daemon"),
    *("alerts", "heartbeat", "webhook"),
]


def verdicts(out: str) -> dict[str, str]:
    """Return the verdict of each thing that was checked."""
    lines = [line.split() for line in out.splitlines() if not line.startswith(" ")]
    return {subject: verdict for verdict, subject, *_ in lines}


KEY = "made-up-key"


def check_with(cli: CommandLine, base_url: str, **environ: str) -> Ended:
    """Check with a key, against a gateway; the key is nowhere to be read."""
    base = {"VOICEKEEPER_UPSTREAM__BASE_URL": base_url, "VOICEKEEPER_API_KEY": KEY}
    ended = cli("check", environ=base | environ)
    assert KEY not in ended.out + ended.err
    return ended


def test_check_is_content_with_a_right_set_up(cli: CommandLine) -> None:
    cli.passed()
    DailyCopies(cli.path).make(NOW)
    with SandboxServer(Gateway(key=KEY), clock=cli.clock) as server:
        ended = check_with(cli, server.base_url)
        calls = server.books()
    journal = "WAL" if WAL_IS_SAFE else "rollback journal"
    assert (ended.code, ended.err) == (0, "")
    assert verdicts(ended.out) == dict.fromkeys(SUBJECTS, "ok")
    assert journal in ended.out
    assert calls.cost_micros == 0


def test_check_fails_where_the_gateway_refuses_the_key(cli: CommandLine) -> None:
    cli.passed()
    with SandboxServer(Gateway(key="another-key")) as server:
        ended = check_with(cli, server.base_url)
    assert ended.code == 77
    assert verdicts(ended.out)["gateway"] == "failed"
    assert "401" in ended.out


def test_check_says_where_to_look_when_the_gateway_is_not_reached(cli: CommandLine) -> None:
    ended = check_with(cli, f"http://127.0.0.1:{free_port()}/api/v1")
    assert ended.code == 1
    assert "connection refused; see that upstream.base_url is right" in checked(ended, "gateway")


def test_check_fails_without_a_key_and_still_looks_at_the_rest(cli: CommandLine) -> None:
    ended = cli("check")
    assert ended.code == 78
    warned = dict.fromkeys(("gateway", "clock", "backup", "daemon"), "warning")
    assert verdicts(ended.out) == dict.fromkeys(SUBJECTS, "ok") | warned | {"key": "failed"}
    assert "$VOICEKEEPER_API_KEY" in ended.out
    assert ended.out.count("there is no API key") == 1


def checked(ended: Ended, subject: str) -> str:
    """Return what the check of a subject tells."""
    return next(line[19:] for line in ended.out.splitlines() if line.split()[1] == subject)


def test_check_tells_which_settings_it_read(cli: CommandLine, tmp_path: Path) -> None:
    config = tmp_path / "other.toml"
    config.write_text(f'[database]\nurl = "sqlite:///{cli.path}"\n', "utf-8")
    over = "$VOICEKEEPER_DATABASE__URL"
    assert checked(cli("--config", str(config), "check"), "settings").startswith(
        f"{config}, and over it {over}; a voice is used every 3d of its window of 7d"
    )
    more = {"VOICEKEEPER_DAEMON__TICK": "9s", "VOICEKEEPER_RETRY__CAP": "2h"}
    assert f"{over}, $VOICEKEEPER_DAEMON__TICK and 1 more; " in cli("check", environ=more).out
    del cli.environ["VOICEKEEPER_DATABASE__URL"]
    assert checked(cli("--config", str(config), "check"), "settings").startswith(f"{config}; ")


@pytest.mark.skipif(DEFAULT_PATH.exists(), reason="this machine has settings of its own")
def test_check_tells_that_there_is_no_settings_file(cli: CommandLine) -> None:
    del cli.environ["VOICEKEEPER_CONFIG"]
    assert checked(cli("check"), "settings").startswith(
        f"defaults and $VOICEKEEPER_DATABASE__URL, as there is no {DEFAULT_PATH}; "
    )


def test_check_tells_where_the_key_stands_and_never_the_key(
    cli: CommandLine, tmp_path: Path
) -> None:
    file = tmp_path / "apixo-api-key"
    file.write_text("made-up-key\n", "utf-8")
    nowhere = {"VOICEKEEPER_UPSTREAM__BASE_URL": "http://127.0.0.1:9/api/v1"}
    for place, variables in {
        "$VOICEKEEPER_API_KEY": {"VOICEKEEPER_API_KEY": "made-up-key"},
        f"{file} ($CREDENTIALS_DIRECTORY)": {"CREDENTIALS_DIRECTORY": str(tmp_path)},
        f"{file} (upstream.api_key_file)": {"VOICEKEEPER_UPSTREAM__API_KEY_FILE": str(file)},
    }.items():
        ended = cli("check", environ=nowhere | variables)
        assert checked(ended, "key") == f"read from {place}"
        assert "made-up-key" not in ended.out + ended.err


def test_check_warns_where_nothing_is_registered_yet(tmp_path: Path) -> None:
    cli = CommandLine(tmp_path / "none.db")
    with SandboxServer(Gateway(), clock=cli.clock) as server:
        ended = check_with(cli, server.base_url)
    warned = dict.fromkeys(("database", "backup", "daemon"), "warning")
    assert ended.code == 0
    assert verdicts(ended.out) == dict.fromkeys(SUBJECTS, "ok") | warned
    assert not cli.path.exists()


@pytest.mark.parametrize(
    ("ahead", "verdict", "told"),
    [
        (timedelta(seconds=50), "ok", "as the gateway's, to the minute"),
        (-5 * MINUTE, "warning", "5 min behind the gateway's"),
        (3 * DAY, "failed", "3 d ahead of the gateway's"),
    ],
)
def test_check_compares_the_clock_with_the_gateways(
    cli: CommandLine, ahead: timedelta, verdict: str, told: str
) -> None:
    with SandboxServer(Gateway(), clock=FakeClock(NOW)) as server:
        cli.clock.wrong_by = ahead
        ended = check_with(cli, server.base_url)
    assert verdicts(ended.out)["clock"] == verdict
    assert checked(ended, "clock").startswith(told)
    assert ended.code == (1 if verdict == "failed" else 0)


def test_check_reads_every_page_of_the_database(cli: CommandLine) -> None:
    cli.ready(*(imported(f"voice-{number}") for number in range(200)))
    with cli.path.open("r+b") as file:
        file.seek(cli.path.stat().st_size - 4 * 4096)
        file.write(b"\xff" * 8192)
    ended = cli("check", environ={"VOICEKEEPER_UPSTREAM__BASE_URL": "http://127.0.0.1:9/api/v1"})
    assert verdicts(ended.out)["database"] == "failed"
    assert "voicekeeper restore FILE" in checked(ended, "database")


def test_check_warns_of_a_disk_with_little_room_and_of_copies_that_are_old(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    DailyCopies(cli.path).make(NOW - 2 * DAY)
    room = shutil.disk_usage(cli.path.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: room._replace(free=9_000_000))
    ended = cli("check")
    assert verdicts(ended.out)["database"] == verdicts(ended.out)["backup"] == "warning"
    assert "9 MB are free on its disk" in checked(ended, "database")
    assert checked(ended, "backup").startswith("the last daily copy is of 2026-04-29; ")


PING = "https://hc-ping.com/0123456789-secret"
SLACK = "slack://TokenA0123/TokenB0123/Token0123456789abcdefghi"


def test_check_reads_the_addresses_of_alerts_sends_no_message_and_shows_no_secret(
    cli: CommandLine,
) -> None:
    with Receiver() as receiver:
        environ = {
            "VOICEKEEPER_ALERTS__URLS": f"{receiver.url()} mailto://me:secret@example.com",
            "VOICEKEEPER_ALERTS__HEARTBEAT_URL": receiver.web_url(),
        }
        ended = cli("check", environ=environ)
        assert (receiver.messages, receiver.pings) == ([], ["/"])
    assert verdicts(ended.out)["alerts"] == verdicts(ended.out)["heartbeat"] == "ok"
    assert checked(ended, "alerts").startswith("2 addresses are understood; ")
    assert checked(ended, "heartbeat").startswith(
        "the host of alerts.heartbeat_url answers; a ping"
    )
    assert [word for word in ("hook-", "ping-", "secret") if word in ended.out + ended.err] == []


@pytest.mark.parametrize(
    ("status", "code", "told"),
    [(200, 0, "took a ping"), (301, 1, "the answer was 301"), (404, 1, "the answer was 404")],
)
def test_check_sends_a_ping_where_voices_are_kept_in_time(
    cli: CommandLine, status: int, code: int, told: str
) -> None:
    cli.passed()
    with (
        Receiver() as receiver,
        SandboxServer(Gateway(key=KEY), clock=cli.clock) as server,
    ):
        receiver.status = status
        beats = {"VOICEKEEPER_ALERTS__HEARTBEAT_URL": receiver.web_url()}
        ended = check_with(cli, server.base_url, **beats)
        assert receiver.came == 1
        assert receiver.pings == (["/ping-0123456789"] if status == 200 else [])
    assert ended.code == code
    assert told in checked(ended, "heartbeat")
    assert "ping-" not in ended.out + ended.err


def test_check_names_the_variable_by_which_the_heartbeat_never_arrives(cli: CommandLine) -> None:
    environ = {
        "VOICEKEEPER_ALERTS__HEARTBEAT_URL": PING,
        "https_proxy": "",
        "all_proxy": "socks5://me:hidden@127.0.0.1:1",
        "no_proxy": "",
    }
    ended = cli("check", environ=environ)
    assert verdicts(ended.out)["heartbeat"] == "failed"
    assert "all_proxy: must be the address of an http or https proxy" in ended.out
    assert "hidden" not in ended.out + ended.err


@pytest.mark.parametrize("key", ["made-up-key", None])
def test_check_fails_where_an_address_of_alerts_means_nothing(
    cli: CommandLine, key: str | None
) -> None:
    environ = {
        "VOICEKEEPER_ALERTS__URLS": "json://h/hook-0123456789 nosuch://secret-0123456789",
        "VOICEKEEPER_ALERTS__HEARTBEAT_URL": "https://xn--a/secret-0123456789",
        "VOICEKEEPER_UPSTREAM__BASE_URL": "http://127.0.0.1:9/api/v1",
    }
    ended = cli("check", environ=environ | ({"VOICEKEEPER_API_KEY": key} if key else {}))
    assert verdicts(ended.out)["alerts"] == verdicts(ended.out)["heartbeat"] == "failed"
    assert "alerts.urls[1] (nosuch): apprise does not know" in ended.out
    assert "alerts.heartbeat_url: " in ended.out
    assert "0123456789" not in ended.out + ended.err
    assert ended.code == (1 if key else 78)  # of what failed first


def test_check_says_what_to_install_where_apprise_is_missing(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    ended = cli("check", environ={"VOICEKEEPER_ALERTS__URLS": SLACK})
    assert verdicts(ended.out)["alerts"] == "warning"
    assert checked(ended, "alerts").endswith(
        f"{sys.executable} -P -m pip install 'apprise>=2.2,<3'"
    )
    assert "Token" not in ended.out + ended.err


@pytest.mark.parametrize(
    ("passed", "verdict", "told"),
    [
        (False, "warning", "no daemon runs; start it"),
        (True, "failed", "though a daemon made a pass"),
    ],
)
def test_check_tells_that_nobody_receives_webhooks(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch, *, passed: bool, verdict: str, told: str
) -> None:
    lead_here(monkeypatch, "voices.example.com")
    if passed:
        cli.passed()
    environ = {
        "VOICEKEEPER_WEBHOOK__PUBLIC_URL": f"https://voices.example.com:{free_port()}/webhook",
        "VOICEKEEPER_WEBHOOK__LISTEN": f"127.0.0.1:{free_port()}",
    }
    ended = cli("check", environ=environ)
    assert verdicts(ended.out)["webhook"] == verdict
    assert told in checked(ended, "webhook")
    assert "is not reached from this host (connection refused)" in checked(ended, "webhook")


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["status", "--jsn"], 3),
        (["status", "--json", "x"], 3),
        (["--bogus", "status", "--json"], 3),
        (["--bogus"], 2),
    ],
)
def test_a_wrong_use_of_status_is_unknown_to_monitoring(
    cli: CommandLine, args: list[str], code: int
) -> None:
    ended = cli(*args)
    assert ended.code == code
    assert sentence(ended)


def test_status_says_since_when_the_daemon_is_dead(cli: CommandLine) -> None:
    cli.passed(5 * HOUR)
    ended = cli("status")
    assert ended.code == 2
    assert "no daemon has made a pass since 2026-05-01T07:00:00Z" in ended.out
    assert "'systemctl start voicekeeper'" in ended.out


def test_check_of_wrong_settings_checks_nothing_else(cli: CommandLine) -> None:
    environ = {"VOICEKEEPER_DAEMON__TICK": "often", "VOICEKEEPER_LOG__LEVEL": "loud"}
    ended = cli("check", environ=environ)
    assert (ended.code, ended.out) == (78, "")
    assert "daemon.tick" in ended.err
    assert "log.level" in ended.err
