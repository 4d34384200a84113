"""What a real shell puts into a person's line at Tab, and what that line then means."""

import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.command import CommandLine
from tests.support import imported

LIMIT_S = 30.0

SHELLS = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "-i"],
}
READY = {
    "bash": "source ./completion; PS1='rea''dy '",
    "zsh": "autoload -U compinit; compinit -u -D; source ./completion; PS1='rea''dy '",
    "fish": "source ./completion; function fish_prompt; echo 'rea''dy '; end",
}

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


class Terminal:
    """A terminal with a shell that a person types into."""

    def __init__(self, end: int) -> None:
        self._end = end
        self._shown = ""

    def type(self, keys: str) -> None:
        self._shown = ""
        os.write(self._end, keys.encode())

    def wait_for(self, words: str) -> None:
        limit = time.monotonic() + LIMIT_S
        while words not in self._shown:
            assert time.monotonic() < limit, f"no {words!r} in {self._shown!r}"
            if select.select([self._end], [], [], 0.2)[0]:
                piece = os.read(self._end, 4096).decode(errors="replace")
                self._shown += piece
                if "\x1b[c" in piece or "\x1b[0c" in piece:  # fish asks what terminal this is
                    os.write(self._end, b"\x1b[?62;c")


@contextmanager
def shell(name: str, cli: CommandLine, folder: Path) -> Iterator[Terminal]:
    """Start a shell in a folder, with the completion of this program."""
    if shutil.which(name) is None:
        pytest.skip(f"needs {name}")
    program = folder / "bin" / "voicekeeper"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m voicekeeper "$@"\n')
    program.chmod(0o755)
    environ = {
        **cli.environ,
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "HOME": str(folder),
        "LC_ALL": "C.UTF-8",
        "TERM": "xterm",
    }
    (folder / "completion").write_text(cli("completion", name).out)
    process, ours = pty.fork()  # fish wants a terminal of its own
    if process == 0:
        os.chdir(folder)
        os.execvpe(SHELLS[name][0], SHELLS[name], environ)  # noqa: S606 - a shell without a shell
    terminal = Terminal(ours)
    try:
        terminal.type(f"{READY[name]}\r")
        terminal.wait_for("ready ")
        yield terminal
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        os.close(ours)


@pytest.mark.host
@pytest.mark.parametrize("name", SHELLS)
@pytest.mark.parametrize("voice", ["$(touch${IFS}ran)", "it's;`touch${IFS}ran`,*"])
def test_a_name_that_a_shell_completes_is_that_name_and_runs_nothing(
    tmp_path: Path, name: str, voice: str
) -> None:
    cli = CommandLine(tmp_path / "voicekeeper.db").ready(imported(voice, voice_id="id-of-it"))
    folder = tmp_path / "home"
    folder.mkdir()
    with shell(name, cli, folder) as terminal:
        terminal.type("voicekeeper resolve \t")
        terminal.wait_for("IFS")
        terminal.type("\r")
        terminal.wait_for("id-of-it")
    assert not (folder / "ran").exists()


@pytest.mark.host
@pytest.mark.parametrize("name", SHELLS)
def test_a_file_of_the_programs_name_is_not_run_at_tab(tmp_path: Path, name: str) -> None:
    """Root may stand in a folder of another's, and has not yet said that it is to be run."""
    cli = CommandLine(tmp_path / "voicekeeper.db").ready(imported("anna"))
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "voicekeeper").write_text("#!/bin/sh\ntouch ran\n")
    (folder / "voicekeeper").chmod(0o755)
    with shell(name, cli, folder) as terminal:
        terminal.type("./voicekeeper resolve \t")
        terminal.wait_for("anna")
        assert not (folder / "ran").exists()


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
    assert complete(cli, "voicekeeper completion ") == list(SHELLS)


def test_completing_a_line_never_fails(tmp_path: Path) -> None:
    cli = CommandLine(tmp_path / "voicekeeper.db").ready(imported("anna"))
    assert complete(cli, "voicekeeper show a", VOICEKEEPER_DAEMON__TICK="often") == []
    cli.path.write_bytes(b"not a database")
    assert complete(cli, "voicekeeper show a") == []
