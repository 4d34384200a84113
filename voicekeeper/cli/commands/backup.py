"""``voicekeeper backup``: a copy of the registry."""

from pathlib import Path

import click

from voicekeeper.cli import prose
from voicekeeper.cli.options import copy_argument, pass_session
from voicekeeper.cli.session import Session, must_exist
from voicekeeper.store import backup


@click.command
@copy_argument
@pass_session
def command(session: Session, *, file: Path) -> None:
    """Copy the registry to FILE, also while the daemon runs.

    The copy is one state of the registry, checked, and readable by you
    alone. It appears whole or not at all, and never takes the place of a
    file that exists. 'voicekeeper restore' puts it back.
    """
    database = session.file_as_caller()
    must_exist(database)
    database.schema()  # an older one is copied too: best before an upgrade
    size = backup.write(database.path, file)
    prose.say(f"{file} is a copy of {database.path}, {_size(size)}.")


def _size(count: int) -> str:
    return f"{count / 1_000_000:.1f} MB" if count >= 1_000_000 else f"{count / 1000:.0f} kB"  # noqa: PLR2004 - decimal units
