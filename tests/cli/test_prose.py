"""Sentences that are broken at 80 columns on a terminal, and nowhere else."""

import io

import pytest

from voicekeeper.cli import prose

LONG = "voicekeeper: no voice is named 'nobody'; 'voicekeeper list' shows those there are, so look"
PROBLEMS = f"2 problems in config.toml:\n  {LONG}\n  short"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def eighty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def test_a_pipe_takes_lines_of_any_length() -> None:
    assert prose.fitted(PROBLEMS, io.StringIO()) == PROBLEMS


def test_a_terminal_takes_lines_of_80_columns() -> None:
    assert prose.fitted(LONG, Terminal()) == (
        "voicekeeper: no voice is named 'nobody'; 'voicekeeper list' shows those there\n"
        "  are, so look"
    )


@pytest.mark.parametrize(("columns", "widest"), [("200", 80), ("60", 60), ("5", 40)])
def test_lines_are_never_wider_than_80_columns_nor_than_the_terminal(
    monkeypatch: pytest.MonkeyPatch, columns: str, widest: int
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    lines = prose.fitted(LONG, Terminal()).splitlines()
    assert widest - 25 < max(map(len, lines)) <= widest


def test_each_line_keeps_its_own_indent() -> None:
    shown = prose.fitted(PROBLEMS, Terminal(), indent=9).splitlines()
    assert [len(line) - len(line.lstrip()) for line in shown] == [0, 2, 4, 2]
    first = prose.fitted(LONG, Terminal(), indent=9).splitlines()
    assert [len(line) - len(line.lstrip()) for line in first] == [0, 9]


def test_a_command_to_copy_stays_on_one_line() -> None:
    sentence = f"{'x' * 60} 'systemctl start voicekeeper' starts it"
    assert prose.fitted(sentence, Terminal()).splitlines()[1].strip() == (
        "'systemctl start voicekeeper' starts it"
    )


@pytest.mark.parametrize("sentence", ["", "short", "x" * 200])
def test_what_cannot_be_broken_stays_as_it_is(sentence: str) -> None:
    assert prose.fitted(sentence, Terminal()) == sentence
