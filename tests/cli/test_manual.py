"""The manual page: all that the commands' own help tells, and it reads well at 80 columns."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tests.command import CommandLine, sentence
from voicekeeper.cli.commands import manual
from voicekeeper.cli.program import program

PAGE = manual.page()


def commands(
    command: click.Command = program, parent: click.Context | None = None
) -> Iterator[tuple[str, click.Command]]:
    """Yield every command that can be typed, with its path."""
    ctx = click.Context(command, parent=parent, info_name=command.name or "voicekeeper")
    if isinstance(command, click.Group):
        for name in command.list_commands(ctx):
            below = command.get_command(ctx, name)
            assert below is not None
            yield from commands(below, ctx)
    else:
        yield ctx.command_path.removeprefix("program "), command


ALL = {path.rpartition("program ")[2]: command for path, command in commands()}


def plain(roff: str) -> str:
    """Return the words of a page, on one line."""
    text = re.sub(r"^\.[A-Za-z].*$", "", roff, flags=re.MULTILINE)
    text = re.sub(r"\\f[BIR]", "", text).replace("\\-", "-").replace("\\(aq", "'")
    text = text.replace("\\(ha", "^").replace("\\(ti", "~").replace("\\(ga", "`")
    return " ".join(text.replace("\\&", "").replace("\\e", "\\").split())


def unquoted(text: str | None) -> str:
    """Return a help without the quotes around commands, which the page sets in bold."""
    return " ".join((text or "").replace("\b", "").replace("'", "").split())


def part(path: str) -> str:
    """Return what the page tells of one command."""
    _, _, after = PAGE.partition(f"\n\\fBvoicekeeper {path}\\fR")
    assert after, path
    return plain(re.split(r"\n\.S[HS]|\n\.TP 2\n\\fBvoicekeeper ", after)[0])


@pytest.mark.parametrize("path", ALL)
def test_the_page_tells_all_that_the_help_of_a_command_tells(path: str) -> None:
    told, command = part(path).replace("'", ""), ALL[path]
    assert unquoted(command.help) in told
    ctx = click.Context(command)
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            names, words = parameter.get_help_record(ctx) or ("", "")
            assert f"{names} {unquoted(words)}" in told
        else:
            assert parameter.make_metavar(ctx) in told.split()


def test_no_line_is_taken_for_a_request_and_no_sign_is_changed() -> None:
    lines = list(manual.paragraphs("Do.\n\n'a' and\n.b\n\n\b\n.c 'd' \\ ^~`-e"))
    assert "\\&'a' and .b" in lines
    assert "\\&.c \\(aqd\\(aq \\e \\(ha\\(ti\\(ga\\-e" in lines
    requests = set(re.findall(r"^[.'](\w+)", PAGE, re.MULTILINE))
    assert requests <= {
        *("TH", "SH", "SS", "TP", "PP", "IP", "RS", "RE", "BR"),
        *("nf", "fi", "nh", "ad", "B"),
    }


def test_the_sections_stand_in_the_usual_order() -> None:
    sections = re.findall(r"^\.SH (.*)$", PAGE, re.MULTILINE)
    assert sections == [
        *("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "COMMANDS", "STATUS OF A VOICE"),
        *("EXIT STATUS", "ENVIRONMENT", "FILES", "SIGNALS", "EXAMPLES", "SEE ALSO"),
    ]


def test_the_command_prints_it(tmp_path: Path) -> None:
    ended = CommandLine(tmp_path / "voicekeeper.db")("manual")
    assert (ended.code, ended.out, ended.err) == (0, PAGE, "")
    assert PAGE.isascii()  # so that it needs no locale


def test_a_page_without_its_texts_is_refused(tmp_path: Path) -> None:
    ended = CommandLine(tmp_path / "voicekeeper.db").process(
        "manual", environ={"PYTHONOPTIMIZE": "2"}
    )
    assert ended.code == 2
    assert "PYTHONOPTIMIZE=2 and 'python -OO' leave out the texts" in sentence(ended)


@pytest.mark.skipif(shutil.which("man") is None, reason="no man (Debian: man-db)")
def test_man_shows_it_in_80_columns_and_has_nothing_to_say_of_it(tmp_path: Path) -> None:
    file = tmp_path / "voicekeeper.1"
    file.write_text(PAGE)
    shown = subprocess.run(
        ["man", "--warnings", "--local-file", file],
        env={"PATH": "/usr/bin:/bin", "MANWIDTH": "80", "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    lines = shown.stdout.splitlines()
    assert shown.stderr == ""
    assert [line for line in lines if len(line) > 80] == []
    assert lines[0].split() == ["VOICEKEEPER(1)", "User", "Commands", "VOICEKEEPER(1)"]
    assert "       voicekeeper - keep custom voices alive on the APIXO gateway" in lines
    assert any("--host-down 30h@day20 --clock-jump -5d@day10" in line for line in lines)
