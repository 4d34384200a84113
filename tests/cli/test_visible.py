"""Words from outside on a terminal: made visible wherever they are printed, and forging no line."""

import json
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.command import CommandLine, Ended, on_a_terminal, plain
from tests.support import NOW, imported, wanted
from voicekeeper.core.models import Breaker, HistoryEntry, Origin, Status
from voicekeeper.core.requests import FLASH
from voicekeeper.core.visible import is_visible
from voicekeeper.log import lines
from voicekeeper.web import page

ROOT = Path(__file__).parents[2]
HOSTILE = (
    "[red]\x1b]0;t\x07\x1b]52;c;YQ==\x07\r\x85\u2028"
    "\ncritical: forged\t\x9b1m\x7f\u202e\u2066\u200b\u3164"
)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a registry in every column of which somebody has written what he likes."""
    cli = CommandLine(tmp_path_factory.mktemp("planted") / "voicekeeper.db")
    cli.ready(imported("anna"), wanted("bert", Origin.DESIGN), imported("carla"))
    cli.change("bert", status=Status.FAILED, last_error=HOSTILE)
    cli.change("carla", voice_id=f"id{HOSTILE}", last_error=HOSTILE, model=HOSTILE)
    cli.add_row(Breaker(model=FLASH, opened_at=NOW, cause=HOSTILE))
    cli.passed(keeper=HOSTILE)
    entry = {"error": HOSTILE, HOSTILE: [HOSTILE]}
    cli.add_row(
        HistoryEntry(voice_pk=2, at=NOW, event=HOSTILE, level="warning", detail=entry, logged=True)
    )
    with closing(sqlite3.connect(cli.path)) as connection, connection:
        recipe = json.dumps(dict.fromkeys(("prefix", "prompt", HOSTILE), HOSTILE))
        connection.execute("UPDATE voice SET recipe = ? WHERE name = 'bert'", [recipe])
        connection.execute("UPDATE voice SET name = ? WHERE name = 'carla'", [HOSTILE])
    return cli.path


@pytest.fixture
def planted(registry: Path, tmp_path: Path) -> CommandLine:
    shutil.copy(registry, tmp_path)
    return CommandLine(tmp_path / registry.name)


READS = [
    ["list"],
    ["list", "--json"],
    ["show", "bert"],
    ["show", HOSTILE],
    ["history", "bert"],
    ["history", "bert", "--json"],
    ["status"],
    ["status", "--json"],
    ["resolve", HOSTILE],
    ["resolve", HOSTILE, "--json"],
    ["export"],
    ["keep", HOSTILE],
    ["remove", HOSTILE],
    ["add", "id-new", "--name", HOSTILE],
    ["clone", "new", "--prefix", HOSTILE, "--audio-url", HOSTILE],
    ["restore", f"/nowhere/{HOSTILE}"],
    ["import", f"/nowhere/{HOSTILE}"],
    ["sandbox", "--fault", HOSTILE],
    ["rehearse", "--outage", HOSTILE],
    ["completion", HOSTILE],
    [HOSTILE],
    ["list", f"--{HOSTILE}"],
    ["--config", HOSTILE, "list"],
]


def each(args: list[str]) -> str:
    return " ".join(args).replace(HOSTILE, "X")


def forged(ended: Ended) -> list[str]:
    """Return the lines that somebody else could have begun."""
    return [line for line in (ended.out + ended.err).split("\n") if line.startswith("critical: f")]


@pytest.mark.parametrize("args", READS, ids=each)
def test_no_command_prints_a_character_that_does_not_show(
    planted: CommandLine, args: list[str]
) -> None:
    ended = planted(*args)
    assert is_visible("".join(set(ended.out + ended.err) - {"\n", "\t"}))
    assert "Traceback" not in ended.err
    assert forged(ended) == []


@pytest.mark.parametrize(
    "args",
    [["list"], ["history", "bert"], ["add", HOSTILE, "--name", "n"]],
    ids=each,
)
def test_a_terminal_gets_colors_and_nothing_else(planted: CommandLine, args: list[str]) -> None:
    ended = on_a_terminal(planted, *args)
    assert all(map(is_visible, plain(ended.out).split("\n")))
    assert set(re.findall(r"\x1b\[[0-9;]*([^0-9;])", ended.out)) <= {"m"}
    assert forged(ended) == []
    assert "[red]" in "".join(ended.out.split())


def test_as_many_lines_are_printed_as_there_are_things_to_tell(planted: CommandLine) -> None:
    assert len(planted("list").out.splitlines()) == 3
    assert len(planted("history", "bert").out.splitlines()) == 2
    assert {line.count("\t") for line in planted("list").out.splitlines()} == {6}
    assert {line.count("\t") for line in planted("show", "bert").out.splitlines()} == {1}


def test_an_export_brings_back_whatever_was_in_it(planted: CommandLine) -> None:
    records = [json.loads(line) for line in planted("export").out.splitlines()]
    assert HOSTILE in [record["name"] for record in records]


def test_a_script_is_given_no_voice_id_that_does_not_show(planted: CommandLine) -> None:
    ended = planted("resolve", HOSTILE)
    assert (ended.code, ended.out) == (1, "")
    assert "holds characters that do not print" in ended.err
    assert planted("resolve", HOSTILE, "--json").json["voice_id"] == f"id{HOSTILE}"


def test_a_shell_completes_no_name_that_does_not_show(planted: CommandLine) -> None:
    asked = {
        "_VOICEKEEPER_COMPLETE": "bash_complete",
        "COMP_WORDS": "voicekeeper show ",
        "COMP_CWORD": "2",
    }
    assert planted(environ=asked).out.split() == ["plain,anna", "plain,bert"]


def test_the_holder_of_the_lock_cannot_write_on_a_terminal(planted: CommandLine) -> None:
    with planted.database() as database, database.held(NOW):
        lock = next(planted.path.parent.glob("*.lock"))
        lock.write_text(HOSTILE, "utf-8")
        ended = planted.process("run", environ={"VOICEKEEPER_API_KEY": "k" * 32})
    assert ended.code == 75
    assert is_visible(ended.err.rstrip("\n"))
    assert "[red]" in ended.err


def test_the_log_and_the_page_show_whatever_they_hold() -> None:
    for encoding in ("utf-8", "ascii"):
        line = lines.json_line({"event": HOSTILE}, encoding)
        assert is_visible(line)
        assert json.loads(line) == {"event": HOSTILE}
    assert is_visible(page.failure(HOSTILE).rstrip("\n").replace("\n", ""))


PRINTERS = {"cli/prose.py", "cli/commands/manual.py"}
"""What prints without `prose` prints no word from outside; see also `sandbox/server.py`."""


@pytest.mark.parametrize("printer", ["echo", "secho", "Console", "print_exception"])
def test_words_are_printed_in_one_place(printer: str) -> None:
    package = ROOT / "voicekeeper"
    found = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if re.search(rf"\b{printer}\(", path.read_text("utf-8"))
    }
    assert found <= PRINTERS | {"sandbox/server.py"}
