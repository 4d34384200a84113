"""Changing a voice: ``keep``, ``touch``, ``pause``, ``resume``, ``retry``, ``remove``."""

import shlex
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.command import CommandLine, sentence
from tests.support import DAY, DESIGN, HOUR, NOW, imported, wanted
from voicekeeper.core.models import Origin, Status


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    """Return a registry with a voice that lives, one that failed, and a daemon that works."""
    cli = CommandLine(tmp_path / "voicekeeper.db")
    cli.ready(imported("anna", last_used_at=NOW - DAY), wanted("bert"), wanted("dora"))
    cli.change("anna", status=Status.OK)
    cli.change("bert", status=Status.FAILED, next_at=None, failures=1, last_error="400 bad audio")
    cli.change("dora", origin=Origin.DESIGN, recipe=DESIGN, status=Status.UNKNOWN, next_at=None)
    cli.passed()
    return cli


PAUSED = (
    "anna is paused, and deleted by the gateway in 6 d if nobody uses it; "
    "'voicekeeper resume anna' keeps it again."
)
TOUCH_AT = ["touch", "anna", "--at", "2026-05-01T12:00:00+02:00"]


@pytest.mark.parametrize(
    ("args", "told", "changed"),
    [
        (["keep", "anna"], "anna is due now; the daemon uses it on its next pass.", NOW),
        (["touch", "anna"], "anna: the use is recorded.", NOW),
        (TOUCH_AT, "anna: the use is recorded.", NOW - 2 * HOUR),
        (["pause", "anna"], PAUSED, True),
        (["pause", "bert"], "bert is paused; 'voicekeeper resume bert' keeps it again.", True),
        (["retry", "bert"], "bert is to be cloned again, as a new voice.", Status.NEW),
        (["retry", "dora"], "dora is to be designed again, as a new voice.", Status.NEW),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_change_is_made_and_told_in_a_sentence(
    cli: CommandLine, args: list[str], told: str, changed: object
) -> None:
    ended = cli(*args)
    assert (ended.code, ended.out, ended.err) == (0, "", f"{told}\n")
    voice = cli.voice(args[1])
    assert changed in (voice.next_at, voice.last_used_at, voice.paused, voice.status)


def test_touch_is_not_refused_for_a_use_that_only_a_wrong_clock_can_have_told(
    cli: CommandLine,
) -> None:
    cli.change("anna", last_used_at=datetime(9999, 12, 31, tzinfo=UTC))
    assert cli("touch", "anna").code == 0
    assert cli.voice("anna").last_used_at == NOW


def test_a_paused_voice_is_not_kept_and_not_paused_twice_until_it_is_resumed(
    cli: CommandLine,
) -> None:
    due = cli.voice("anna").next_at
    assert cli("pause", "anna").code == 0
    before = cli.rows()
    assert "'voicekeeper resume anna' first" in sentence(cli("keep", "anna"))
    assert sentence(cli("pause", "anna")) == "voicekeeper: anna is paused already"
    assert cli.rows() == before
    assert cli("resume", "anna").err == "anna is kept again.\n"
    assert (cli.voice("anna").paused, cli.voice("anna").next_at) == (False, due)


def undo(told: str) -> list[str]:
    """Return the arguments of the command that a removal offers."""
    _, command = told.split(" is removed.\nTo keep it after all:\n")
    program, *args = shlex.split(command.replace("\\\n", ""))
    assert program == "voicekeeper"
    return args


def test_remove_forgets_a_voice_and_tells_how_to_take_that_back(cli: CommandLine) -> None:
    told = cli("remove", "anna").err
    assert told.endswith("To keep it after all:\n  voicekeeper add id-anna --name anna\n")
    assert "anna" not in cli.names()
    assert cli(*undo(told)).code == 0
    assert cli("resolve", "anna").out == "id-anna\n"
    cli.change("anna", status=Status.LOST)  # nothing is offered for a dead voice, or without an id
    assert [cli("remove", name).err for name in ("anna", "bert")] == [
        "anna is removed.\n",
        "bert is removed.\n",
    ]


def test_how_to_take_a_removal_back_fits_a_terminal_and_survives_a_shell(
    cli: CommandLine,
) -> None:
    voice_id = "cosyvoice-v3-flash-host01-12e0c8b2bad640fb19488dec4f65d4d9"
    cli.ready(imported("a$(b);'c'", voice_id=voice_id, model="cosyvoice-3-plus"))
    told = cli("remove", "a$(b);'c'").err
    assert max(map(len, told.splitlines())) <= 80
    assert undo(told) == ["add", voice_id, "--name", "a$(b);'c'", "--model", "cosyvoice-3-plus"]


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["keep", "bert"], "bert is FAILED and has no voice_id yet"),
        (["touch", "bert"], "bert is FAILED and has no voice_id yet"),
        (["touch", "anna", "--at", "2026-04-29"], "anna is known to have been used later"),
        (["resume", "anna"], "anna is not paused"),
        (["retry", "anna"], "anna was not made here: there is nothing to repeat"),
    ],
)
def test_a_change_that_does_not_fit_is_refused_and_changes_nothing(
    cli: CommandLine, args: list[str], told: str
) -> None:
    before = cli.rows()
    ended = cli(*args)
    assert ended.code == 1
    assert told in sentence(ended)
    assert cli.rows() == before


@pytest.mark.parametrize(
    "command",
    ["show", "history", "resolve", "keep", "touch", "pause", "resume", "retry", "remove"],
)
def test_every_command_on_a_name_tells_that_there_is_no_such_voice_or_no_registry(
    cli: CommandLine, tmp_path: Path, command: str
) -> None:
    before = cli.rows()
    ended = cli(command, "nobody")
    assert ended.code == 1
    assert sentence(ended) == (
        "voicekeeper: no voice is named 'nobody'; 'voicekeeper list' shows those there are"
    )
    assert cli.rows() == before
    none = CommandLine(tmp_path / "none.db")
    ended = none(command, "anna")
    assert ended.code == 1
    assert "there is no registry at" in sentence(ended)
    assert not none.path.exists()
