"""The help: every command of the design, in words, within 80 columns, and at once."""

import re

import click
import pytest

from tests.command import CommandLine
from voicekeeper import __version__
from voicekeeper.cli.program import program

ALL = program.list_commands(click.Context(program))


def command(name: str) -> click.Command:
    found = program.get_command(click.Context(program), name)
    assert found is not None
    return found


@pytest.mark.parametrize("name", ALL)
def test_every_command_has_help_that_begins_with_a_sentence(cli: CommandLine, name: str) -> None:
    ended = cli(name, "--help")
    assert (ended.code, ended.err) == (0, "")
    usage, _, first, *_ = ended.out.splitlines()
    assert usage.startswith(f"Usage: voicekeeper {name} ")
    words = " ".join((command(name).help or "").split("\n\n")[0].split())
    assert re.match(r"[A-Z].{8,}[.:;]", words)
    assert words.startswith(first.strip())
    assert cli(name, "-h").out == ended.out
    assert max(map(len, ended.out.splitlines())) <= 80


@pytest.mark.parametrize("name", ALL)
def test_every_option_is_documented(name: str) -> None:
    for parameter in command(name).params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name
            assert parameter.help.endswith("."), parameter.name
        else:
            metavar = parameter.make_metavar(click.Context(command(name)))
            assert metavar.strip("{}") in (command(name).help or "") or "|" in metavar


def test_the_help_lists_every_command_under_a_heading(cli: CommandLine) -> None:
    ended = cli("--help")
    assert (ended.code, ended.err) == (0, "")
    assert re.findall(r"^  ([a-z]+)  ", ended.out, re.MULTILINE) == ALL
    assert [line for line in ended.out.splitlines() if len(line) > 80] == []


@pytest.mark.parametrize("group", [(), ("alerts",)])
def test_without_a_command_the_help_is_told_and_nothing_is_done(
    cli: CommandLine, group: tuple[str, ...]
) -> None:
    ended = cli(*group)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == cli(*group, "--help").out


def test_python_dash_m_is_the_command(cli: CommandLine) -> None:
    ended = cli.process("--version")
    assert (ended.code, ended.out, ended.err) == (0, f"voicekeeper {__version__}\n", "")
