"""Changing what is kept: ``keep``, ``touch``, ``pause``, ``resume``, ``retry``, ``remove``."""

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


def events(cli: CommandLine, name: str) -> list[str]:
    return [entry["event"] for entry in cli("history", name, "--json").json["history"]]


def test_keep_makes_a_voice_due_now(cli: CommandLine) -> None:
    ended = cli("keep", "anna")
    told = "anna is due now; the daemon uses it on its next pass.\n"
    assert (ended.code, ended.out, ended.err) == (0, "", told)
    assert cli.voice("anna").next_at == NOW
    assert events(cli, "anna") == ["voice.registered", "voice.hastened"]


def test_touch_records_a_use_now_or_at_a_time(cli: CommandLine) -> None:
    ended = cli("touch", "anna", "--at", "2026-05-01T12:00:00+02:00")
    assert (ended.code, ended.out, ended.err) == (0, "", "anna: the use is recorded.\n")
    assert cli.voice("anna").last_used_at == NOW - 2 * HOUR
    assert cli("touch", "anna").code == 0
    assert cli.voice("anna").last_used_at == NOW
    due = cli.voice("anna").next_at
    assert due is not None
    assert NOW + 2 * DAY < due <= NOW + 3 * DAY


def test_touch_with_an_older_use_than_the_known_one_changes_nothing(cli: CommandLine) -> None:
    before = cli.rows()
    ended = cli("touch", "anna", "--at", "2026-04-29T12:00:00Z")
    assert ended.code == 1
    assert "anna is known to have been used later than that already" in sentence(ended)
    assert cli.rows() == before


def test_touch_is_not_refused_for_a_use_that_only_a_wrong_clock_can_have_told(
    cli: CommandLine,
) -> None:
    cli.change("anna", last_used_at=datetime(9999, 12, 31, tzinfo=UTC))
    assert cli("touch", "anna").code == 0
    assert cli.voice("anna").last_used_at == NOW


def test_pause_and_resume_stop_and_start_the_keeping(cli: CommandLine) -> None:
    due = cli.voice("anna").next_at
    paused = cli("pause", "anna")
    told = (
        "anna is paused, and deleted by the gateway in 6 d if nobody uses it; "
        "'voicekeeper resume anna' keeps it again.\n"
    )
    assert (paused.code, paused.out, paused.err) == (0, "", told)
    assert (cli.voice("anna").paused, cli.voice("anna").next_at) == (True, None)
    resumed = cli("resume", "anna")
    assert (resumed.code, resumed.out, resumed.err) == (0, "", "anna is kept again.\n")
    assert (cli.voice("anna").paused, cli.voice("anna").next_at) == (False, due)
    assert events(cli, "anna") == ["voice.registered", "voice.paused", "voice.resumed"]


def test_to_pause_what_is_not_made_yet_has_no_deadline_to_tell(cli: CommandLine) -> None:
    told = "bert is paused; 'voicekeeper resume bert' keeps it again.\n"
    assert cli("pause", "bert").err == told


@pytest.mark.parametrize(("name", "again"), [("bert", "cloned"), ("dora", "designed")])
def test_retry_asks_for_an_enrollment_again(cli: CommandLine, name: str, again: str) -> None:
    ended = cli("retry", name)
    told = f"{name} is to be {again} again, as a new voice.\n"
    assert (ended.code, ended.out, ended.err) == (0, "", told)
    voice = cli.voice(name)
    assert (voice.status, voice.next_at, voice.last_error) == (Status.NEW, NOW, None)


def undo(told: str) -> list[str]:
    """Return the arguments of the command that a removal offers."""
    first, command = told.split(" is removed.\nTo keep it after all:\n")
    program, *args = shlex.split(command.replace("\\\n", ""))
    assert (bool(first), program) == (True, "voicekeeper")
    return args


def test_remove_forgets_a_voice_and_tells_how_to_take_that_back(cli: CommandLine) -> None:
    ended = cli("remove", "anna")
    assert (ended.code, ended.out) == (0, "")
    assert ended.err == (
        "anna is removed.\nTo keep it after all:\n  voicekeeper add id-anna --name anna\n"
    )
    assert "anna" not in cli.names()
    assert cli(*undo(ended.err)).code == 0
    assert cli("resolve", "anna").out == "id-anna\n"


def test_how_to_take_a_removal_back_fits_a_terminal_and_survives_a_shell(
    cli: CommandLine,
) -> None:
    voice_id = "cosyvoice-v3-flash-host01-12e0c8b2bad640fb19488dec4f65d4d9"
    cli.ready(imported("a$(b);'c'", voice_id=voice_id, model="cosyvoice-3-plus"))
    told = cli("remove", "a$(b);'c'").err
    assert max(map(len, told.splitlines())) <= 80
    assert undo(told) == ["add", voice_id, "--name", "a$(b);'c'", "--model", "cosyvoice-3-plus"]


def test_what_never_had_an_id_is_removed_for_good(cli: CommandLine) -> None:
    assert cli("remove", "bert").err == "bert is removed.\n"


@pytest.mark.parametrize("status", [Status.LOST, Status.UNDEPLOYED, Status.FAILED])
def test_nothing_is_offered_to_keep_a_dead_voice(cli: CommandLine, status: Status) -> None:
    cli.change("anna", status=status)
    assert cli("remove", "anna").err == "anna is removed.\n"


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["keep", "bert"], "bert is FAILED and has no voice_id yet"),
        (["touch", "bert"], "bert is FAILED and has no voice_id yet"),
        (["resume", "anna"], "anna is not paused"),
        (["retry", "anna"], "anna was not made here: there is nothing to repeat"),
    ],
)
def test_a_deed_that_does_not_fit_is_refused_and_changes_nothing(
    cli: CommandLine, args: list[str], told: str
) -> None:
    before = cli.rows()
    ended = cli(*args)
    assert ended.code == 1
    assert sentence(ended) == f"voicekeeper: {told}"
    assert cli.rows() == before


def test_a_paused_voice_is_not_kept_and_not_paused_twice(cli: CommandLine) -> None:
    assert cli("pause", "anna").code == 0
    before = cli.rows()
    assert "'voicekeeper resume anna' first" in sentence(cli("keep", "anna"))
    assert sentence(cli("pause", "anna")) == "voicekeeper: anna is paused already"
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
