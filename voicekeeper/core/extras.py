"""The optional libraries: whether they are here, and the command that installs them right here.

A missing one never stops the keeping, but for the driver of the database itself.
"""

import shlex
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple


class Extra(NamedTuple):
    """An optional library: its module, what pip is asked for, and its purpose here."""

    module: str
    requirement: str
    purpose: str


ALERTS: Final = Extra("apprise", "apprise>=2.2,<3", "which sends the messages")
POSTGRES: Final = Extra("psycopg", "psycopg[binary]>=3.2,<4", "the driver for PostgreSQL")


def missing(extra: Extra) -> str | None:
    """Return the sentence that a library is not installed; None where it is.

    Files of it that this user may not read count as none.
    """
    spec = find_spec(extra.module)
    if spec is not None and spec.origin is not None:
        return None
    return f"{extra.module}, {extra.purpose}, is missing; {mend(extra.requirement)}"


def broken(extra: Extra, why: str) -> str:
    """Return the sentence that a library is installed and cannot be used."""
    again = mend("--force-reinstall", extra.requirement)
    return f"{extra.module}, {extra.purpose}, cannot be loaded ({why}); {again}"


def mend(*wanted: str) -> str:
    """Return what to do: the command that has pip install something where this program runs."""
    python = shlex.quote(sys.executable)
    if find_spec("pip") is None:  # as in an environment that uv made
        command = f"uv pip install --python {python}"
    elif _is_managed():
        command = f"{python} -P -m pip install --break-system-packages"
    else:
        command = f"{python} -P -m pip install"  # of no folder that the reader happens to be in
    if Path(sys.prefix).stat().st_uid == 0:  # else a strict umask of root's shuts others out
        command = f"umask 022 && {command}"
    return f"install it, then restart the daemon: {command} {shlex.join(wanted)}"


def _is_managed() -> bool:
    """Return whether the system's own package manager keeps pip out, as on Debian."""
    is_environment = sys.prefix != sys.base_prefix
    marker = Path(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED")
    return not is_environment and marker.exists()
