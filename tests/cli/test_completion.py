"""What a real shell puts into a person's line at Tab, and what that line then means."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import CommandLine
from tests.support import imported

ODD = [
    "$(touch${IFS}ran)",
    "`touch${IFS}ran`",
    "a;touch${IFS}ran",
    "a&b|c>ran",
    "an*a?[x]{y}",
    "it's",
    'say"so"',
    "back\\slash",
    "one,two",
    "~root",
    "!x!!",
    "#hash",
    "éclair",
]
"""Names that a shell would read as something else than a name."""


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_reads_each_completed_name_as_that_name(tmp_path: Path) -> None:
    """The function itself, its words read back as bash reads the line."""
    (tmp_path / "ana").touch()  # what a pattern would match
    words = completed(
        tmp_path,
        "bash",
        """
    source ./completion; set -H
    COMP_WORDS=(./voicekeeper resolve ""); COMP_CWORD=2
    PATH=$PWD/bin:$PATH _voicekeeper_completion
    for word in "${COMPREPLY[@]}"; do eval "set -- $word"; printf '%s\\0' "$#" "$1"; done
    """,
    ).split("\0")[:-1]
    assert set(words[::2]) == {"1"}
    assert sorted(words[1::2]) == sorted(ODD)


@pytest.mark.skipif(shutil.which("fish") is None, reason="needs fish")
def test_fish_is_offered_each_name_as_it_is(tmp_path: Path) -> None:
    """It quotes by itself what it puts into the line."""
    script = 'source ./completion; PATH=$PWD/bin:$PATH complete -C "voicekeeper resolve "'
    assert sorted(completed(tmp_path, "fish", script).splitlines()) == sorted(ODD)


def completed(folder: Path, shell: str, script: str) -> str:
    """Have a shell complete the odd names in a folder of another's; return what it prints."""
    cli = CommandLine(folder / "voicekeeper.db").ready(*(imported(name) for name in ODD))
    (folder / "completion").write_text(cli("completion", shell).out)
    (folder / "bin").mkdir()
    for program, line in {
        folder / "bin/voicekeeper": f'exec "{sys.executable}" -m voicekeeper "$@"',
        folder / "voicekeeper": "touch ran",  # a file that a person has begun to name is not run
    }.items():
        program.write_text(f"#!/bin/sh\n{line}\n")
        program.chmod(0o755)
    done = subprocess.run(
        [shell, "-c", script],
        cwd=folder,
        env={**cli.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert not (folder / "ran").exists()
    return done.stdout


def complete(cli: CommandLine, line: str, **environ: str) -> list[str]:
    """Return what the program offers bash at the end of a line."""
    asked = {
        "_VOICEKEEPER_COMPLETE": "bash_complete",
        "COMP_WORDS": line,
        "COMP_CWORD": str(line.count(" ")),
    }
    ended = cli(environ=asked | environ)
    assert (ended.code, ended.err) == (0, "")
    return [row.partition(",")[2] for row in ended.out.splitlines() if row]


def test_commands_names_options_and_choices_are_offered(tmp_path: Path) -> None:
    cli = CommandLine(tmp_path / "voicekeeper.db").ready(imported("anna"), imported("berta"))
    names = ["reload", "resolve", "resume", "retry", "remove", "restore", "rehearse"]
    assert complete(cli, "voicekeeper re") == names
    assert complete(cli, "voicekeeper resolve an") == ["anna"]
    assert complete(cli, "voicekeeper list --j") == ["--json"]
    assert complete(cli, "voicekeeper completion ") == ["bash", "zsh", "fish"]


def test_completing_a_line_never_fails(tmp_path: Path) -> None:
    cli = CommandLine(tmp_path / "voicekeeper.db").ready(imported("anna"))
    assert complete(cli, "voicekeeper show a", VOICEKEEPER_DAEMON__TICK="often") == []
    cli.path.write_bytes(b"not a database")
    assert complete(cli, "voicekeeper show a") == []
