"""The layers, and the two things a rule must not read: the clock and chance."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "voicekeeper"

CLOCKS = {
    "datetime": {"now", "utcnow", "today"},
    "date": {"today"},
    "time": {
        *("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns"),
        *("localtime", "gmtime", "ctime", "strftime", "asctime"),
    },
}
"""What reads a clock, by the name before the dot."""

MAY_ROLL_DICE = (
    *("sandbox/", "rehearsal/", "cli/commands/sandbox.py"),
    *("daemon/wiring.py", "store/backup.py"),
)


def sources() -> Iterator[tuple[str, ast.Module]]:
    """Yield every module's path within the package, and its syntax tree."""
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE).as_posix(), ast.parse(path.read_text("utf-8"))


def imported(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield every import as its module and the name taken from it, empty for the whole."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from ((node.module or "", alias.name) for alias in node.names)


def clocks_read(tree: ast.AST) -> Iterator[str]:
    """Yield every reading of a clock, called or handed on, e.g. as ``default_factory``."""
    for module, name in imported(tree):
        if module == "time" and name in CLOCKS["time"]:
            yield f"from time import {name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            owner = node.value
            last = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
            if node.attr in CLOCKS.get(last, ()):
                yield f"{last}.{node.attr}"


def test_every_import_goes_down_the_layers() -> None:
    # In a process of its own: the linter puts the working directory on sys.path.
    lint = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command; lint_imports_command()",
            "--no-cache",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert lint.returncode == 0, lint.stdout + lint.stderr
    assert "4 kept, 0 broken" in lint.stdout


def test_every_file_of_the_package_is_shipped() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    globs = settings["tool"]["setuptools"]["package-data"]["voicekeeper"]
    shipped = {path for pattern in globs for path in PACKAGE.glob(pattern)}
    files = {path for path in PACKAGE.rglob("*") if path.is_file()}
    assert {path for path in files if path.suffix not in (".py", ".pyc")} == shipped


def test_only_the_clock_reads_the_clock() -> None:
    readers = {path: sorted(clocks_read(tree)) for path, tree in sources()}
    assert {path: read for path, read in readers.items() if read} == {
        "core/clock.py": ["datetime.now", "time.monotonic"]
    }


def test_only_the_sandbox_the_rehearsal_and_what_nobody_may_guess_roll_dice() -> None:
    dice = {
        path
        for path, tree in sources()
        if any(module.partition(".")[0] in ("random", "secrets") for module, _ in imported(tree))
    }
    assert [path for path in dice if not path.startswith(MAY_ROLL_DICE)] == []


@pytest.mark.parametrize(
    "code",
    [
        "datetime.now(UTC)",
        "datetime.datetime.utcnow()",
        "dt.date.today()",
        "time.time()",
        "from time import monotonic as m",
        "Field(default_factory=datetime.now)",
    ],
)
def test_a_reading_of_the_clock_is_seen_in_any_spelling(code: str) -> None:
    assert list(clocks_read(ast.parse(code)))


@pytest.mark.parametrize("code", ["clock.now()", "self._clock.monotonic()", "loop.time()"])
def test_asking_the_port_is_not_a_reading(code: str) -> None:
    assert not list(clocks_read(ast.parse(code)))
