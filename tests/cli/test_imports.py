"""What the commands that stand in scripts and prompts do not wait for; in real processes."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import CommandLine
from tests.support import NOW, imported, wanted
from voicekeeper.core.models import Breaker
from voicekeeper.core.requests import FLASH

ROOT = Path(__file__).parents[2]
LIBRARIES = {
    *("sqlmodel", "sqlalchemy", "alembic", "pydantic", "pydantic_core", "psycopg"),
    *("httpx", "apscheduler", "structlog", "rich", "starlette", "uvicorn", "prometheus_client"),
    *("apprise", "asyncio", "ssl", "email", "http", "importlib.metadata", "logging"),
}
OURS = {
    *("voicekeeper.core.models", "voicekeeper.core.transitions", "voicekeeper.store.database"),
    *("voicekeeper.daemon.keeper", "voicekeeper.gateway", "voicekeeper.log"),
}
RULES = {"voicekeeper.core.schedule", "voicekeeper.core.health", "voicekeeper.core.costs"}
FOR_A_TERMINAL = {"textwrap", "shutil", "difflib"}


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    cli = CommandLine(tmp_path / "voicekeeper.db").ready(imported("anna"), wanted("berta"))
    cli.passed()
    cli.add_row(Breaker(model=FLASH, opened_at=NOW, cause="402 Payment Required"))
    return cli


def imports(cli: CommandLine, *args: str, **environ: str) -> set[str]:
    """Return every module that a command imports, without those of any interpreter."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "voicekeeper", *args],
        env={**cli.environ, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode in (0, 1, 2), done.stderr
    told = re.findall(r"^import time: .*\| +(\S+)$", done.stderr, re.MULTILINE)
    return set(told[told.index("site") + 1 :])


@pytest.mark.parametrize(
    ("args", "more"),
    [
        (["--help"], {"sqlite3", "voicekeeper.config", *RULES}),
        (["--version"], {"sqlite3", "voicekeeper.config", *RULES, *FOR_A_TERMINAL}),
        (["resolve", "anna"], {*RULES, *FOR_A_TERMINAL, "click", "json"}),
        (["resolve", "anna", "--json"], FOR_A_TERMINAL),
        (["list"], FOR_A_TERMINAL),
        (["list", "--json"], FOR_A_TERMINAL),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_command_waits_for_nothing_that_it_does_not_need(
    cli: CommandLine, args: list[str], more: set[str]
) -> None:
    assert imports(cli, *args) & (LIBRARIES | OURS | more) == set()


@pytest.mark.parametrize("args", [["status"], ["keep", "anna"], ["retry", "berta"]], ids=" ".join)
def test_a_command_on_the_registry_waits_for_nothing_of_the_daemons(
    cli: CommandLine, args: list[str]
) -> None:
    needless = {"alembic", "httpx", "apscheduler", "structlog", "starlette", "voicekeeper.daemon"}
    assert imports(cli, *args) & needless == set()


@pytest.mark.parametrize("args", [["resolve", "anna"], ["list"]], ids=" ".join)
def test_settings_in_a_file_cost_no_library(
    cli: CommandLine, tmp_path: Path, args: list[str]
) -> None:
    shutil.copy(ROOT / "config.example.toml", tmp_path / "config.toml")
    assert imports(cli, *args) & (LIBRARIES | OURS) == set()


def test_the_names_that_a_shell_completes_wait_for_no_library(cli: CommandLine) -> None:
    asked = {
        "_VOICEKEEPER_COMPLETE": "bash_complete",
        "COMP_WORDS": "voicekeeper resolve an",
        "COMP_CWORD": "2",
    }
    assert imports(cli, **asked) & (LIBRARIES | OURS) == set()
    assert {"sqlmodel", "click", "voicekeeper.core.models"} <= imports(cli, "show", "anna")
