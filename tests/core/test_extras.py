"""A library that is missing is named with the command that installs it right where this runs."""

import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path

import pytest

from voicekeeper.cli.session import database_of
from voicekeeper.config import load
from voicekeeper.core import extras
from voicekeeper.errors import ConfigError

ROOT = Path(__file__).parent.parent.parent
ON_A_SERVER = {"VOICEKEEPER_DATABASE__URL": "postgresql+psycopg://me@h/d"}
STORE = "voicekeeper.store.postgres"
ASKED = "from voicekeeper.core import extras; print(extras.missing(extras.ALERTS))"


def opened(directory: Path) -> str:
    """Return what root types first where it owns an installation; its umask may be strict."""
    return "umask 022 && " if directory.stat().st_uid == 0 else ""


def test_what_is_to_be_installed_is_what_the_project_asks_for() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert declared["optional-dependencies"]["alerts"] == [extras.ALERTS.requirement]
    assert declared["optional-dependencies"]["postgres"] == [extras.POSTGRES.requirement]


def test_in_an_environment_its_own_python_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    assert extras.missing(extras.ALERTS) == (
        "apprise, which sends the messages, is missing; install it, then restart the daemon: "
        f"{opened(Path(sys.prefix))}{sys.executable} -P -m pip install 'apprise>=2.2,<3'"
    )


def test_in_an_environment_without_pip_uv_installs_it(tmp_path: Path) -> None:
    venv.create(tmp_path / "a b")
    python = str(tmp_path / "a b" / "bin" / "python")
    told = subprocess.run(
        [python, "-c", ASKED], cwd=ROOT, capture_output=True, text=True, check=True
    )
    command = f"{opened(tmp_path)}uv pip install --python '{python}' 'apprise>=2.2,<3'\n"
    assert told.stdout.endswith(f"restart the daemon: {command}")


def test_where_the_system_keeps_pip_out_it_is_told_to_let_it_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "EXTERNALLY-MANAGED").touch()
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    assert "--break-system-packages" not in extras.mend("x")  # an environment is nobody else's
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    assert extras.mend("x").endswith(" -P -m pip install --break-system-packages x")


def test_files_of_it_that_may_not_be_read_are_as_good_as_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "apprise_of_root").mkdir()  # Python takes a folder that it cannot look into for it
    monkeypatch.syspath_prepend(tmp_path)
    extra = extras.ALERTS._replace(module="apprise_of_root")
    assert str(extras.missing(extra)).startswith("apprise_of_root, which sends the messages, is mi")


def test_a_driver_that_finds_no_library_of_its_own_is_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load(None, ON_A_SERVER)
    (tmp_path / "psycopg.py").write_text("raise ImportError('no pq wrapper available')")
    monkeypatch.syspath_prepend(tmp_path)
    for module in [name for name in sys.modules if name.startswith(("psycopg", STORE))]:
        monkeypatch.delitem(sys.modules, module)
    with pytest.raises(ConfigError, match=r"cannot be loaded \(ImportError: no pq.*psycopg\[bin"):
        database_of(settings)
