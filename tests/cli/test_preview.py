"""The preview of a new voice: shown where the gateway has it, and saved on a person's word."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest

from tests.command import CommandLine, sentence
from tests.daemon_support import until
from tests.receiver import served
from tests.support import HOUR, NOW, Life, imported, wanted
from voicekeeper.core.models import HistoryEntry, Status

WAVE = b"RIFF....WAVE" * 1000
CLONE_ANNA = ["clone", "anna", "--prefix", "demo01", "--audio-url", "https://example.com/a.wav"]
DESIGN_ANNA = ["design", "anna", "--prefix", "demo02", "--prompt", "Warm.", "--preview-text", "Hi"]


def test_the_url_of_a_preview_is_shown_until_the_voice_is_made_again(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.register(wanted("made"), imported("anna"))
    life.live(HOUR)
    (told,) = life.log.of("enrollment.succeeded")
    url = told["preview_url"]
    assert url.startswith("https://sandbox.invalid/")
    cli = CommandLine(life.database.path, clock=life.clock)
    assert cli("show", "made", "--json").json["preview_url"] == url
    assert f"preview\t{url}\n" in cli("show", "made").out
    assert url in cli("history", "made").out
    assert cli("show", "anna", "--json").json["preview_url"] is None
    cli.change("made", status=Status.LOST)
    assert cli("retry", "made").code == 0
    assert cli("show", "made", "--json").json["preview_url"] is None


@pytest.fixture
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return where a preview is served."""
    folder = tmp_path_factory.mktemp("gateway")
    (folder / "preview.wav").write_bytes(WAVE)
    with served(folder) as base:
        yield f"{base}/preview.wav"


def make(cli: CommandLine, url: str | None) -> None:
    """Do what the daemon does: make the voice anna as soon as somebody waits for it."""
    until(lambda: cli.voice("anna").status is Status.NEW, "anna to be made")
    entry = HistoryEntry(
        voice_pk=cli.voice("anna").id or 0,
        at=NOW,
        event="enrollment.succeeded",
        level="info",
        detail={"task_id": "t", **({} if url is None else {"preview_url": url})},
        logged=True,
    )
    cli.add_row(entry)
    cli.change("anna", status=Status.OK, voice_id="id-new", enrolled_at=NOW)


def making(cli: CommandLine, url: str | None) -> AbstractContextManager[None]:
    """Have the voice anna made beside a block."""
    return cli.once_registered("anna", partial(make, cli, url))


@pytest.mark.parametrize(
    "args", [CLONE_ANNA, DESIGN_ANNA, ["retry", "anna"]], ids=["clone", "design", "retry"]
)
def test_the_preview_of_a_voice_that_is_waited_for_is_saved(
    cli: CommandLine, tmp_path: Path, url: str, args: list[str]
) -> None:
    if args == ["retry", "anna"]:
        assert cli(*CLONE_ANNA).code == 0
        make(cli, "https://file.apixo.ai/of-the-first.wav")
        cli.change("anna", status=Status.LOST)
    file = tmp_path / "anna.wav"
    with making(cli, url):
        ended = cli(*args, "--wait", "--save-preview", str(file))
    assert (ended.code, ended.out) == (0, "id-new\n")
    assert "anna is OK after 0 s.\n" in ended.err
    assert ended.err.endswith(f"{file} is the preview of anna.\n")
    assert file.read_bytes() == WAVE
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.glob(".anna*")) == []


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:9/a.wav", "its host is not reached (ConnectError)"),
        ("file:///etc/passwd", "its URL is neither http nor https"),
        (None, "the gateway named none"),
    ],
)
def test_a_preview_that_cannot_be_saved_leaves_the_voice_and_no_file(
    cli: CommandLine, tmp_path: Path, url: str | None, words: str
) -> None:
    before = sorted(path.name for path in tmp_path.iterdir())
    with making(cli, url):
        ended = cli(*CLONE_ANNA, "--wait", "--save-preview", str(tmp_path / "anna.wav"))
    assert (ended.code, ended.out) == (1, "id-new\n")
    told = f"voicekeeper: the preview of anna is not saved: {words}\n"
    assert ended.err.endswith(told)
    assert cli.voice("anna").status is Status.OK
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("taken.wav", "taken.wav exists already; name another file"),
        (".", "is a directory; name the file in it"),
        ("no/such/folder.wav", "does not exist; create it, or name another"),
        ("config.toml/a.wav", "config.toml/a.wav: not a directory"),
    ],
)
def test_nothing_is_paid_for_where_the_file_cannot_be_written(
    cli: CommandLine, tmp_path: Path, file: str, words: str
) -> None:
    (tmp_path / "taken.wav").write_bytes(b"mine")
    ended = cli(*CLONE_ANNA, "--wait", "--save-preview", str(tmp_path / file))
    assert ended.code == 1
    assert words in sentence(ended)
    assert cli.names() == []
    assert (tmp_path / "taken.wav").read_bytes() == b"mine"


def test_a_file_that_appears_meanwhile_is_not_written_over(
    cli: CommandLine, tmp_path: Path, url: str
) -> None:
    file = tmp_path / "anna.wav"

    def make_and_take() -> None:
        file.write_bytes(b"mine")
        make(cli, url)

    with cli.once_registered("anna", make_and_take):
        ended = cli(*CLONE_ANNA, "--wait", "--save-preview", str(file))
    assert (ended.code, ended.out) == (1, "id-new\n")
    assert "exists already; name another file" in ended.err
    assert file.read_bytes() == b"mine"
    assert list(tmp_path.glob(".anna*")) == []


def test_no_file_is_left_of_an_enrollment_that_made_no_voice(
    cli: CommandLine, tmp_path: Path
) -> None:
    fail = partial(cli.change, "anna", status=Status.FAILED, last_error="refused")
    with cli.once_registered("anna", fail):
        ended = cli(*CLONE_ANNA, "--wait", "--save-preview", str(tmp_path / "anna.wav"))
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.endswith("voicekeeper: anna is FAILED: refused\n")
    assert list(tmp_path.glob("*anna*")) == []


def test_a_preview_is_saved_for_who_waits_only(cli: CommandLine, tmp_path: Path) -> None:
    ended = cli(*CLONE_ANNA, "--save-preview", str(tmp_path / "anna.wav"))
    assert ended.code == 2
    assert "--save-preview needs --wait." in sentence(ended)
    assert cli.names() == []
