"""`resolve NAME` past the library of the command line does what the command does."""

import io
from pathlib import Path

import pytest

from tests.command import CommandLine, sentence
from tests.support import imported
from voicekeeper.cli import main, shortcut
from voicekeeper.cli.session import Session
from voicekeeper.core.models import Status
from voicekeeper.errors import INTERRUPTED


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path / "voicekeeper.db").ready(imported("anna"))


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


class Full(io.TextIOWrapper):
    """A stdout that has no room the first time, and then has."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO())
        self.fails = True

    def flush(self) -> None:
        if self.fails:
            self.fails = False
            raise OSError(28, "No space left on device")
        super().flush()


def test_ctrl_c_ends_it_with_130_and_no_traceback(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Session, "glance", interrupted)
    ended = cli("resolve", "anna")
    assert (ended.code, ended.out, ended.err) == (INTERRUPTED, "", "")


def test_an_answer_that_could_not_be_written_is_not_written_again(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in cli.environ.items():
        monkeypatch.setenv(name, value)
    stdout = Full()
    monkeypatch.setattr("sys.stdout", stdout)
    with pytest.raises(SystemExit) as ended:
        main(["resolve", "anna"])
    assert ended.value.code == 1
    assert stdout.detach().getvalue().count(b"id-anna") <= 1  # type: ignore[attr-defined]
    assert capsys.readouterr().err == "voicekeeper: no space left on device\n"


def test_settings_from_a_pipe_are_read_once(cli: CommandLine) -> None:
    cli.change("anna", status=Status.LOST)
    settings = f'[database]\nurl = "sqlite:///{cli.path}"\n'.encode()
    piped = {"VOICEKEEPER_CONFIG": "/dev/stdin", "VOICEKEEPER_DATABASE__URL": ""}
    ended = cli.process("resolve", "anna", stdin=settings, environ=piped)
    assert sentence(ended) == "voicekeeper: anna is LOST: there is no voice_id to use"


@pytest.mark.parametrize("voice_id", ["id-Ünï", "id-\x1b[31m"])
def test_an_id_that_not_every_terminal_takes_is_left_to_the_command(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch, voice_id: str
) -> None:
    for name, value in cli.environ.items():
        monkeypatch.setenv(name, value)
    assert shortcut(["resolve", "anna"]) == "id-anna"
    cli.change("anna", voice_id=voice_id)
    assert shortcut(["resolve", "anna"]) is None


@pytest.mark.parametrize(
    "args", [["resolve"], ["resolve", "-h"], ["resolve", "anna", "--json"], []]
)
def test_only_the_plain_form_is_answered(args: list[str]) -> None:
    assert shortcut(args) is None
