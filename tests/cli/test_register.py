"""Registering voices: ``add``, ``clone``, ``design``, ``import`` and ``export``."""

import json
import sqlite3
import time
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.command import CommandLine, sentence
from tests.daemon_support import until
from tests.support import CLONE, DAY, DESIGN, HOUR, MINUTE, NOW, imported, wanted
from voicekeeper.core.models import Origin, Status
from voicekeeper.core.requests import FLASH
from voicekeeper.store.registry import Registry

NOTE = (
    "note: nothing is kept yet: no daemon has ever made a pass; "
    "'systemctl start voicekeeper' or 'voicekeeper run' starts one.\n"
)
CLONE_ANNA = ["clone", "anna", "--prefix", "demo01", "--audio-url", "https://example.com/a.wav"]
CLONE_BERT = ["clone", "bert", *CLONE_ANNA[2:]]
DESIGN_ANNA = ["design", "anna", "--prefix", "demo02", "--prompt", "Warm.", "--preview-text", "Hi"]


def lines(*records: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def many(count: int) -> list[dict[str, Any]]:
    return [{"voice_id": f"id-{number}", "name": f"voice-{number}"} for number in range(count)]


def test_the_first_voice_makes_the_registry_for_its_owner_alone(tmp_path: Path) -> None:
    cli = CommandLine(tmp_path / "new.db")
    ended = cli("add", "id-1", "--name", "anna")
    assert (ended.code, ended.out, ended.err) == (0, "", "anna is registered.\n" + NOTE)
    assert cli.path.stat().st_mode & 0o777 == 0o600
    assert cli.names() == ["anna"]


def test_add_takes_what_is_known_of_a_voice(cli: CommandLine) -> None:
    used = "2026-04-30T14:00:00+02:00"
    ended = cli("add", "id-1", "--name", "anna", "--model", "other-model", "--last-used", used)
    assert ended.code == 0
    voice = cli.voice("anna")
    assert (voice.voice_id, voice.model, voice.origin) == ("id-1", "other-model", Origin.IMPORTED)
    assert (voice.last_used_at, voice.created_at) == (NOW - DAY, NOW)
    assert voice.next_at is not None
    assert NOW + DAY < voice.next_at <= NOW + 2 * DAY


def test_a_voice_id_that_names_another_model_is_warned_of(cli: CommandLine) -> None:
    ended = cli("add", "cosyvoice-v3-plus-4f1c", "--name", "anna")
    assert ended.code == 0
    note = (
        "note: the voice_id of anna names the model cosyvoice-3-plus, but it is registered for "
        "cosyvoice-3-flash, so calls would fail; where the model is wrong, remove anna and "
        "register it for cosyvoice-3-plus."
    )
    assert note in " ".join(ended.err.split())
    right = cli("add", "cosyvoice-v3-plus-4f1d", "--name", "bert", "--model", "cosyvoice-3-plus")
    assert "note: the voice_id" not in right.err


@pytest.mark.parametrize(
    ("args", "origin", "recipe"),
    [
        (CLONE_ANNA, Origin.CLONE, CLONE),
        (DESIGN_ANNA, Origin.DESIGN, DESIGN | {"preview_text": "Hi"}),
    ],
)
def test_an_enrollment_is_a_row_that_the_daemon_finds_due(
    cli: CommandLine, args: list[str], origin: Origin, recipe: dict[str, str]
) -> None:
    ended = cli(*args)
    told = "anna is registered; the daemon requests it from the gateway.\n"
    assert (ended.code, ended.out, ended.err) == (0, "", told + NOTE)
    voice = cli.voice("anna")
    assert (voice.status, voice.voice_id, voice.next_at) == (Status.NEW, None, NOW)
    assert (voice.origin, voice.recipe) == (origin, recipe)


OVER = (
    "longer ago than the window of 7 d: probably deleted by the gateway, and tried at once "
    "all the same.\n"
)


@pytest.mark.parametrize(("used", "noted"), [("2026-04-24T12:00:00Z", True), ("2026-04-25", False)])
def test_a_note_tells_that_the_window_of_a_voice_is_over(
    cli: CommandLine, used: str, *, noted: bool
) -> None:
    ended = cli("add", "id-1", "--name", "anna", "--last-used", used)
    assert ended.code == 0
    assert (f"note: the last use of anna is {OVER}" in ended.err) is noted


def test_notes_name_a_few_of_the_imported(cli: CommandLine) -> None:
    old = [record | {"last_used_at": "2026-04-01"} for record in many(5)]
    old[0] |= {"paused": True}
    used = {"voice_id": "id-now", "name": "now", "last_used_at": "2026-04-25"}
    told = cli("import", "-", stdin=lines(*old, used)).err
    assert f"note: the last use of voice-1, voice-2, voice-3 and 1 more is {OVER}" in told
    plus = [{"voice_id": f"cosyvoice-v3-plus-{n}", "name": f"plus-{n}"} for n in range(5)]
    told = " ".join(cli("import", "-", stdin=lines(*plus)).err.split())
    assert told.count("names the model cosyvoice-3-plus") == 3
    assert "note: so do the voice_ids of 2 more." in told


def test_a_note_tells_when_nobody_keeps_the_voices(cli: CommandLine) -> None:
    cli.passed(3 * MINUTE)
    words = "note: nothing is kept now: no daemon has made a pass since 2026-05-01T11:57:00Z; "
    for args in (["add", "id-1", "--name", "anna"], ["keep", "anna"], ["import", "-"], CLONE_BERT):
        assert words in cli(*args, stdin=lines({"voice_id": "id-3", "name": "carl"})).err
        cli.passed(MINUTE)
        assert "note" not in cli("keep", "anna").err
        cli.passed(3 * MINUTE)


@pytest.mark.parametrize(
    ("status", "held_at"),
    [
        *((status, None) for status in (Status.FAILED, Status.UNDEPLOYED, Status.UNKNOWN)),
        (Status.NEW, NOW),  # the day's budget is spent
    ],
)
def test_waiting_ends_with_an_enrollment_that_made_no_voice_or_is_held(
    cli: CommandLine, status: Status, held_at: datetime | None
) -> None:
    error = "the reason in words"
    with cli.once_registered(
        "anna", lambda: cli.change("anna", status=status, held_at=held_at, last_error=error)
    ):
        ended = cli(*DESIGN_ANNA, "--wait")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.endswith(f"voicekeeper: anna is {status}: {error}\n")


def test_a_clone_that_is_waited_for_prints_its_voice_id_alone(cli: CommandLine) -> None:
    with cli.once_registered(
        "anna", lambda: cli.change("anna", status=Status.OK, voice_id="id-new", enrolled_at=NOW)
    ):
        ended = cli(*CLONE_ANNA, "--wait")
    assert (ended.code, ended.out) == (0, "id-new\n")
    assert "anna is OK after 0 s.\n" in ended.err


def test_who_waits_is_told_once_that_the_daemon_has_ended_and_ends_with_the_voice(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = list[float]()
    monkeypatch.setattr("voicekeeper.cli.commands.enroll._LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(
        "time.sleep", lambda seconds, sleep=time.sleep: looks.append(sleep(seconds))
    )
    cli.passed()

    def end() -> None:
        until(lambda: len(looks) > 2, "the command waits")
        cli.clock.advance(3 * MINUTE)
        before = len(looks)
        until(lambda: len(looks) > before + 3, "a few more looks")
        with cli.database() as database:
            Registry(database).remove("anna", now=NOW)

    with cli.once_registered("anna", end):
        ended = cli(*CLONE_ANNA, "--wait")
    assert ended.code == 1
    assert "no voice is named 'anna'" in ended.err
    assert ended.err.count("no daemon has made a pass since ") == 1


def test_a_file_is_imported_whole(cli: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "voices.jsonl"
    file.write_bytes(
        lines(
            {"voice_id": "id-1", "name": "anna"},
            {"voice_id": "id-2", "name": "bert", "model": "m", "last_used_at": "2026-04-30T12:00Z"},
        )
        + b"\n  \n"
        + lines({"voice_id": "id-3", "name": "carl", "paused": True})
    )
    ended = cli("import", str(file))
    assert (ended.code, ended.out, ended.err) == (0, "", "3 voices are registered.\n" + NOTE)
    assert [cli.voice(name).model for name in cli.names()] == [FLASH, "m", FLASH]
    assert cli.voice("bert").last_used_at == NOW - DAY
    assert (cli.voice("carl").paused, cli.voice("carl").next_at) == (True, None)


def test_a_fleet_of_2500_is_imported_and_its_keepalives_spread_out(cli: CommandLine) -> None:
    records = [record | {"last_used_at": "2026-05-01T11:00:00Z"} for record in many(2500)]
    ended = cli("import", "-", stdin=lines(*records))
    assert ended.code == 0
    assert "2500 voices are registered." in ended.err
    due = [voice["next_at"] for voice in cli.rows()["Voice"]]
    assert len(due) == 2500
    assert max(due) - min(due) > 11 * HOUR


BROKEN = lines(*many(499)) + b'{"voice_id": "id-499", "name": \n' + lines(*many(1))
NO_JSON = "not a line of JSON"


@pytest.mark.parametrize(
    ("stdin", "bad"),
    [
        (BROKEN, [f"line 500: {NO_JSON}"]),
        (
            lines(*many(1000)),
            [
                "line 701: the name 'voice-700' is taken",
                "line 801: id-800 is registered as 'x' already",
            ],
        ),
        (
            lines(
                *many(600), {"voice_id": "id-3", "name": "o"}, {"voice_id": "o", "name": "voice-3"}
            ),
            [
                "line 601: the voice_id id-3 occurs twice",
                "line 602: the name 'voice-3' occurs twice",
            ],
        ),
        (b"no\n" * 5000, [*(f"line {n}: {NO_JSON}" for n in range(1, 21)), "and 4980 more"]),
    ],
    ids=["broken", "taken", "twice", "a screenful"],
)
def test_a_bad_line_of_a_thousand_lets_nothing_be_imported(
    cli: CommandLine, stdin: bytes, bad: list[str]
) -> None:
    cli.ready(imported("voice-700"), imported("x", voice_id="id-800"))
    before = cli.rows()
    ended = cli("import", "-", stdin=stdin)
    assert (ended.code, ended.out) == (1, "")
    first, *told = ended.err.splitlines()
    assert first.startswith("voicekeeper: nothing was imported, because of ")
    assert told == [f"  {line}" for line in bad]
    assert cli.rows() == before


GOOD = {"voice_id": "id-1", "name": "anna"}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b'{"voice_id": "id-\xe9", "name": "anna"}', "not a line of JSON"),
        (b"[" * 100_000, "not a line of JSON"),
        (lines(GOOD | {"nmae": "x"}), "unknown field 'nmae'; known are voice_id, name, model"),
        (lines(GOOD | {"last_used_at": "2026-05-02T12:00:00Z"}), "lies ahead"),
    ],
)
def test_a_line_that_breaks_a_rule_is_named_with_the_rule(
    cli: CommandLine, line: bytes, told: str
) -> None:
    before = cli.rows()
    good = lines({"voice_id": "id-0", "name": "before"})
    ended = cli("import", "-", stdin=good + line)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("voicekeeper: nothing was imported, because of 1 bad line:\n")
    assert "  line 2: " in ended.err
    assert told in ended.err
    assert cli.rows() == before


def test_what_windows_writes_is_read_and_a_last_line_needs_no_end(cli: CommandLine) -> None:
    text = '{"voice_id": "id-1", "name": "zoë"}\r\n\r\n{"voice_id": "id-2", "name": "bert"}'
    for encoding in ("utf-16", "utf-8-sig"):
        assert cli("import", "-", stdin=text.encode(encoding)).code == 0
        assert cli.names() == ["bert", "zoë"]
        for name in cli.names():
            cli("remove", name)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b'\n[\n{"voice_id": "1", "name": "a"}]', "is a JSON array, not one object a line"),
        (
            b'{"voice_id": "1", "name": "a"}\n{"voice_id": "2", "name": "b", "name": "c"}',
            "line 2 has the field 'name' twice",
        ),
        (
            b'{"voice_id": "1", "name": "a", "recipe": {"prefix": "a", "prefix": "b"}}',
            "line 1 has the field 'prefix' twice",
        ),
    ],
)
def test_a_file_that_can_be_read_in_two_ways_is_refused_in_a_sentence(
    cli: CommandLine, content: bytes, told: str
) -> None:
    ended = cli("import", "-", stdin=content)
    assert ended.code == 2
    assert sentence(ended).startswith("voicekeeper: nothing was imported: ")
    assert told in ended.err
    assert cli.names() == []


COMPOSED, DECOMPOSED = "zo\u00eb", "zoe\u0308"


@pytest.mark.parametrize("typed", [COMPOSED, DECOMPOSED])
def test_a_name_is_the_same_however_its_accents_were_typed(cli: CommandLine, typed: str) -> None:
    assert cli("add", "id-1", "--name", typed).code == 0
    assert cli.names() == [COMPOSED]
    for again in (COMPOSED, DECOMPOSED):
        ended = cli("add", "id-2", "--name", again)
        assert (ended.code, ended.err) == (1, f"voicekeeper: the name {COMPOSED!r} is taken\n")
        record = {"voice_id": "id-2", "name": again}
        assert cli("import", "-", stdin=lines(record)).code == 1
        assert cli("resolve", again).out == cli.process("resolve", again).out == "id-1\n"
        for command in ("show", "history", "keep"):
            assert cli(command, again).code == 0
    twice = [{"voice_id": f"id-{name}", "name": f"x{name}"} for name in (COMPOSED, DECOMPOSED)]
    assert "occurs twice" in cli("import", "-", stdin=lines(*twice)).err


@pytest.mark.parametrize("typed", [COMPOSED, DECOMPOSED])
def test_a_name_that_stands_decomposed_in_an_older_row_is_found(
    cli: CommandLine, typed: str
) -> None:
    cli.ready(imported("old"))
    with closing(sqlite3.connect(cli.path)) as connection, connection:
        connection.execute("UPDATE voice SET name = ?", [DECOMPOSED])
    assert cli("add", "id-2", "--name", typed).code == 1
    assert cli("resolve", typed).out == cli.process("resolve", typed).out == "id-old\n"
    assert cli("remove", typed).code == 0
    assert cli.names() == []


def test_of_two_older_rows_each_is_found_as_it_is_written(cli: CommandLine) -> None:
    cli.ready(imported("old"), imported("new"))
    with closing(sqlite3.connect(cli.path)) as connection, connection:
        connection.execute("UPDATE voice SET name = ? WHERE name = 'old'", [DECOMPOSED])
        connection.execute("UPDATE voice SET name = ? WHERE name = 'new'", [COMPOSED])
    for typed, voice_id in ((DECOMPOSED, "id-old"), (COMPOSED, "id-new")):
        assert cli("resolve", typed).out == f"{voice_id}\n"
        assert cli("resolve", typed, "--json").json["voice_id"] == voice_id
        assert cli("remove", typed).code == 0


def test_what_export_writes_import_takes(cli: CommandLine, tmp_path: Path) -> None:
    cli.ready(imported("gone"), wanted("unmade"))
    cli.change("gone", status=Status.LOST)
    cli.ready(
        imported("anna", last_used_at=NOW - DAY),
        imported("bert", model="other-model", paused=True),
        imported("日本語", voice_id="clone-1", origin=Origin.CLONE, recipe=CLONE),
        imported("dora", origin=Origin.DESIGN, recipe=DESIGN, last_used_at=NOW - 2 * DAY),
    )
    exported = cli("export")
    assert exported.code == 0
    assert exported.err == "2 voices without a living voice_id left out.\n"
    copy = CommandLine(tmp_path / "copy.db").ready()
    assert copy("import", "-", stdin=exported.out.encode()).code == 0
    assert copy("export").out == exported.out
    facts = ("name", "voice_id", "model", "origin", "recipe", "paused", "last_used_at", "next_at")
    was, became = (
        {row["name"]: [row[fact] for fact in facts] for row in registry.rows()["Voice"]}
        for registry in (cli, copy)
    )
    assert became == {name: was[name] for name in was if name not in ("gone", "unmade")}
