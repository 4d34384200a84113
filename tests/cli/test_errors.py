"""Bad input: one clear sentence on stderr, a code that says what kind it is, and no change."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.command import CommandLine, another_programs, newer, overwritten, sentence, torn
from tests.support import imported

URL = "https://example.com/a.wav"


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path / "voicekeeper.db").ready(imported("anna"))


def clone(*, prefix: str = "demo01", url: str = URL, name: str = "bert") -> list[str]:
    return ["clone", name, "--prefix", prefix, "--audio-url", url]


def design(
    *, prefix: str = "demo01", prompt: str = "Warm.", preview: str = "Hi.", name: str = "bert"
) -> list[str]:
    recipe = ["--prefix", prefix, "--prompt", prompt, "--preview-text", preview]
    return ["design", name, *recipe]


def add(*options: str, voice_id: str = "id-bert", name: str = "bert") -> list[str]:
    return ["add", voice_id, "--name", name, *options]


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        (clone(prefix="demo-01"), 2, "prefix must be 1 to 10 letters or digits, not 'demo-01'"),
        (design(prefix=""), 2, "prefix must be 1 to 10 letters or digits, not ''"),
        (clone(url="/home/anna.wav"), 2, "the audio URL must be an http or https URL, not '/"),
        ([*clone(), "--audio-url", URL], 2, "--audio-url must be given exactly once, not 2 times"),
        (design(prompt="p" * 501), 2, "prompt must be 1 to 500 characters, not 501"),
        (design(preview=""), 2, "preview text must be 1 to 200 characters"),
        (add(voice_id="longanyang"), 2, "longanyang is a built-in voice"),
        (add(voice_id=""), 2, "a voice_id must be 1 to 200 printable characters"),
        (add(voice_id="'id-bert'"), 2, 'a voice_id holds no "\'", unlike'),
        (add(voice_id='"id-bert"'), 2, "a voice_id holds no '\"', unlike"),
        (add(voice_id="id\u2013bert"), 2, "a voice_id holds no '\u2013', unlike"),
        (add(voice_id="\u201cid-bert\u201d"), 2, "a voice_id holds no '\u201c', unlike"),
        (add(voice_id="id-bert,"), 2, "a voice_id holds no ',', unlike 'id-bert,'; copy it as"),
        (add(name="anna"), 1, "the name 'anna' is taken"),
        (clone(name="anna"), 1, "the name 'anna' is taken"),
        (add(voice_id="id-anna"), 1, "id-anna is registered as 'anna' already"),
        (add("--last-used", "yesterday"), 2, "must be a time such as 2026-05-01T12:00:00Z"),
        (add("--last-used", "2026-05-01T13:00:00Z"), 2, "2026-05-01T13:00:00Z lies ahead"),
        (add("--model", "../other"), 2, "a model is letters, digits"),
        (["touch", "anna", "--at", "2026-05-02"], 2, "lies ahead"),
        (add(name="a\x1b[31m"), 2, "a name must be 1 to 64 printable characters"),
        (add(name="\u2800"), 2, "a name must be 1 to 64 printable characters"),
        (add(name="a\u202eb"), 2, "a name must be 1 to 64 printable characters"),
        (add(name="-b"), 2, "must not begin with a hyphen"),
        (["backup", "-"], 2, "a copy is a file, never '-'"),
        (["restore", "-"], 2, "a copy is a file, never '-'"),
        (["add", "id-bert"], 2, "Missing option '--name'. See 'voicekeeper add --help'."),
        (["add", "--name", "bert"], 2, "Missing argument 'VOICE_ID'."),
        (["clone", "bert", "--prefix", "a"], 2, "Missing option '--audio-url'."),
        (["list", "anna"], 2, "See 'voicekeeper list --help'."),
        (["list", "--jsno"], 2, "No such option"),
        (["lsit"], 2, "No such command 'lsit'"),
        (["--frob", "list"], 2, "No such option"),
        (["completion", "tcsh"], 2, "is not one of 'bash', 'zsh', 'fish'"),
    ],
)
def test_bad_input_is_refused_with_one_sentence_and_changes_nothing(
    cli: CommandLine, args: list[str], code: int, told: str
) -> None:
    before = cli.rows()
    ended = cli(*args)
    assert ended.code == code
    assert told in sentence(ended)
    assert cli.rows() == before


@pytest.mark.parametrize(
    "args",
    [
        ["show", "caf\udce9"],
        ["resolve", "caf\udce9"],
        add(name="caf\udce9"),
        add("--last-used", "caf\udce9"),
        clone(url="https://example.com/caf\udce9"),
        design(prompt="caf\udce9"),
    ],
    ids=["show", "resolve", "name", "time", "url", "prompt"],
)
def test_what_is_not_utf_8_is_named(cli: CommandLine, args: list[str]) -> None:
    before = cli.rows()
    ended = cli.process(*args) if args[0] == "show" else cli(*args)
    assert ended.code == 2
    assert "caf\\udce9" in sentence(ended)
    assert "database" not in ended.err
    assert cli.rows() == before


def test_bad_input_does_not_even_make_the_registry(tmp_path: Path) -> None:
    cli = CommandLine(tmp_path / "new.db")
    assert cli(*add(name="")).code == 2
    assert cli("import", "-", stdin=b"{").code == 1
    assert not cli.path.exists()


ALL = [
    ["list"],
    ["show", "anna"],
    ["history", "anna"],
    ["resolve", "anna"],
    ["export"],
    add(),
    clone(),
    design(),
    ["keep", "anna"],
    ["touch", "anna"],
    ["pause", "anna"],
    ["resume", "anna"],
    ["retry", "anna"],
    ["remove", "anna"],
    ["run", "--once"],
]
"""Every command that works on the registry and ends with the code of its error."""


def test_wrong_settings_stop_every_command_with_all_the_problems_at_once(cli: CommandLine) -> None:
    before = cli.rows()
    config = cli.path.with_name("wrong.toml")
    config.write_text('[keepalive]\ninterval = "9d"\nprompt = ""\n[retry]\nbas = "1s"\n[frob]\n')
    for args in ALL:
        run = cli.process if args[0] == "run" else cli  # the daemon needs real streams
        ended = run("--config", str(config), *args, environ={"VOICEKEEPER_LOG__LEVEL": "loud"})
        assert (ended.code, ended.out) == (78, ""), args
        first, *problems = ended.err.splitlines()
        assert first == f"voicekeeper: 5 problems in {config}:"
        paths = {problem.strip().partition(":")[0] for problem in problems}
        assert paths == {"keepalive.interval", "keepalive.prompt", "retry.bas", "frob", "log.level"}
    assert cli.rows() == before


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (overwritten, "is damaged or not a database"),
        (torn, "is damaged or not a database"),
        (another_programs, "is a database of another program"),
        (newer, "was written by a newer voicekeeper (schema 9999"),
    ],
)
def test_a_file_that_is_no_registry_of_ours_is_left_as_it_is_by_every_command(
    cli: CommandLine, spoil: Callable[[Path], None], told: str
) -> None:
    spoil(cli.path)
    before = cli.path.read_bytes()
    for args in ALL[:-1]:
        ended = cli(*args)
        assert ended.code == 78, args
        assert told in sentence(ended)
        assert cli.path.read_bytes() == before


@pytest.mark.parametrize("named_by", ["--config", "$VOICEKEEPER_CONFIG"])
def test_a_config_file_that_is_named_must_be_there(cli: CommandLine, named_by: str) -> None:
    path = str(cli.path.with_name("none.toml"))
    if named_by == "--config":
        ended = cli("--config", path, "list")
    else:
        ended = cli("list", environ={"VOICEKEEPER_CONFIG": path})
    assert (ended.code, ended.out) == (78, "")
    assert ended.err == f"voicekeeper: 1 problem in {path}:\n  there is no such file\n"


def test_the_directory_of_a_new_registry_must_exist_and_the_file_be_none(tmp_path: Path) -> None:
    cli = CommandLine(tmp_path / "voicekeeper.db")
    url = f"sqlite:///{tmp_path}/nowhere/voicekeeper.db"
    for args in (add(), clone(), design()):
        ended = cli(*args, environ={"VOICEKEEPER_DATABASE__URL": url})
        assert ended.code == 78
        assert "does not exist; create it" in sentence(ended)
    assert not (tmp_path / "nowhere").exists()
    cli.path.mkdir()
    ended = cli(*add())
    assert ended.code == 78
    assert "is a directory, not a database file" in sentence(ended)


def test_a_registry_busy_with_another_command_is_a_reason_to_try_again(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voicekeeper.store.sqlite._BUSY_TIMEOUT_S", 0.1)
    other = sqlite3.connect(cli.path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    ended = cli(*add())
    other.close()
    assert ended.code == 75
    assert "is busy with another command; try again" in sentence(ended)
    assert cli.names() == ["anna"]


def test_what_a_terminal_cannot_show_is_told_and_not_a_crash(cli: CommandLine) -> None:
    cli.ready(imported("日本語の声"))
    ended = cli.process("list", environ={"PYTHONIOENCODING": "iso-8859-1"})
    assert ended.code == 1
    assert ended.err.splitlines()[-1].startswith("voicekeeper: stdout cannot take")
    assert "Traceback" not in ended.err
