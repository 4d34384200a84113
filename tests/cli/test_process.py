"""The command as a process of its own: pipes, terminals, users, and how the shell completes it."""

import os
import re
import signal
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.command import CommandLine, on_a_terminal, plain
from tests.support import DAY, FakeClock, imported
from voicekeeper.cli.table import bar
from voicekeeper.core.models import HistoryEntry, Status

ESCAPE = "\x1b"
LONG = "429 Too Many Requests: the balance of the account is used up, top it up to go on"


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    """Return a registry whose voices were used by the real clock."""
    now = datetime.now(UTC)
    cli = CommandLine(tmp_path / "voicekeeper.db", FakeClock(now))
    cli.ready(
        imported("anna", last_used_at=now - 2 * DAY + timedelta(minutes=1)),
        imported("b" * 64, last_used_at=now - 6 * DAY),
        imported("日本語の声", paused=True),
    )
    cli.change("anna", status=Status.OK)
    cli.change("b" * 64, status=Status.UNDEPLOYED, last_error=LONG)
    return cli


def widest(text: str) -> int:
    from rich.cells import cell_len  # noqa: PLC0415 - only what is shown has a width

    return max(cell_len(line) for line in plain(text).splitlines())


@pytest.mark.parametrize(
    ("share", "text"),
    [(-1.0, ".........."), (0.0, ".........."), (0.5, "#####....."), (2.0, "##########")],
)
def test_a_bar_never_leaves_its_cells(share: float, text: str) -> None:
    assert bar(share, plain=True).plain == text


def test_a_terminal_shows_a_table_with_the_window_as_a_bar(cli: CommandLine) -> None:
    ended = on_a_terminal(cli, "list")
    assert ended.code == 0
    assert ESCAPE in ended.out
    assert widest(ended.out) <= 80
    head, anna, other, paused = plain(ended.out).splitlines()
    assert head.split() == ["NAME", "STATUS", "TIME", "LEFT", "NEXT", "LAST", "ERROR"]
    assert re.fullmatch(r"anna +OK +███████░░░ 5 d +in .*", anna.rstrip())
    assert re.match(r"b{4,}… +UNDEPLOYED +- +", other)
    assert "429 Too" in other
    assert re.fullmatch(r"日本語の声 +NEW paused +not known yet +-", paused.rstrip())


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_color_is_for_who_wants_it(cli: CommandLine, environ: dict[str, str]) -> None:
    ended = on_a_terminal(cli, "list", environ=environ)
    assert "anna" in ended.out
    assert not re.search(r"\x1b\[[0-9;]*(3[0-9]|9[0-9])m", ended.out)
    assert (ESCAPE in ended.out) is ("NO_COLOR" in environ)


def test_what_is_long_is_broken_for_a_terminal_between_words_and_not_cut(cli: CommandLine) -> None:
    shown, status = on_a_terminal(cli, "show", "b" * 64), on_a_terminal(cli, "status")
    assert max(widest(shown.out), widest(status.out)) <= 80
    assert "".join(LONG.split()) in "".join(plain(shown.out).split())
    assert "'voicekeeper show NAME'" in status.out


def test_history_on_a_terminal_is_broken_between_fields_and_words(cli: CommandLine) -> None:
    detail = {"task_id": "task_0123456789abcdef0123456789abcdef", "code": "429", "error": LONG}
    at = datetime(2026, 5, 1, 12, tzinfo=UTC)
    cli.add_row(
        HistoryEntry(voice_pk=1, at=at, event="keepalive.failed", level="warning", detail=detail)
    )
    assert on_a_terminal(cli, "history", "anna").out.splitlines()[-3:] == [
        "2026-05-01T12:00:00Z  keepalive.failed  code=429",
        '    error="429 Too Many Requests: the balance of the account is used up, top it',
        '      up to go on" task_id=task_0123456789abcdef0123456789abcdef',
    ]


def test_an_empty_registry_on_a_terminal_tells_how_to_begin(tmp_path: Path) -> None:
    cli = CommandLine(tmp_path / "voicekeeper.db").ready()
    assert on_a_terminal(cli, "list").out == "No voices; 'voicekeeper add' registers one.\n"


def test_a_reader_that_has_enough_is_no_failure(cli: CommandLine) -> None:
    cli.ready(*(imported(f"voice-{number}") for number in range(3000)))
    with subprocess.Popen(
        cli.command("list"), env=cli.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().endswith(b"\n")
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 0


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["--help"], 0),
        (["list"], 0),
        (["resolve", "anna"], 0),
        (["status"], 2),
        (["show", "nobody"], 1),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_pipe_that_nobody_reads_changes_no_exit_code(
    cli: CommandLine, args: list[str], code: int
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as pipe:
        words = cli.command(*args)
        done = subprocess.run(words, env=cli.environ, stdout=pipe, stderr=pipe, check=False)
    assert done.returncode == code


def test_ctrl_c_ends_the_waiting_and_tells_that_the_enrollment_goes_on(cli: CommandLine) -> None:
    args = ["clone", "--prefix", "a", "--audio-url", "https://example.com/a.wav"]
    with subprocess.Popen(
        cli.command(*args, "host", "--wait"),
        env=cli.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert any(line == "host is NEW.\n" for line in process.stderr)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err == (
        "No longer waiting; the enrollment of host goes on without this command. "
        "'voicekeeper show host' tells how it stands.\n"
    )
    assert cli.voice("host").next_at is not None


@pytest.mark.parametrize("args", [["export"], ["resolve", "anna"]], ids=" ".join)
def test_a_full_disk_under_the_output_is_told(cli: CommandLine, args: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            cli.command(*args), env=cli.environ, stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 1
    assert done.stderr == b"voicekeeper: no space left on device\n"


def test_a_closed_stdout_is_no_crash_and_hits_no_file_of_ours(cli: CommandLine) -> None:
    before = cli.rows()
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *cli.command("list")],
        env=cli.environ,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert cli.rows() == before
