"""``voicekeeper backup``: a copy of the registry."""

import os
from pathlib import Path

import click

from voicekeeper.cli import owner, prose
from voicekeeper.cli.options import copy_argument, pass_session
from voicekeeper.cli.session import Session, must_exist
from voicekeeper.store import backup, files
from voicekeeper.store.sqlite import SqliteDatabase


@click.command
@copy_argument
@pass_session
def command(session: Session, *, file: Path) -> None:
    """Copy the registry to FILE, also while the daemon runs.

    The copy is one state of the registry, checked, and readable by you
    alone. It appears whole or not at all, and never takes the place of a
    file that exists. 'voicekeeper restore' puts it back.
    """
    if session.owner is None and files.is_closed(file.absolute().parent):
        size = backup.write(_registry(session).path, file)
    else:
        size = _for_root(session, file)
    prose.say(f"{file} is a copy of {session.settings.database_path}, {_size(size)}.")


def _registry(session: Session) -> SqliteDatabase:
    database = session.file_database()
    must_exist(database)
    database.schema()  # an older one is copied too: best before an upgrade
    return database


def _for_root(session: Session, file: Path) -> int:
    """Have the copy made by whom root becomes, who may not be able to write where root may."""
    backup.see_free(file)
    with (
        backup.explained(file),
        files.folder_of(file) as folder,
        backup.receiving(folder, file.name) as given,
    ):
        owner.in_child(lambda: backup.send(_registry(session).path, file, given))
        return os.fstat(given).st_size


def _size(count: int) -> str:
    return f"{count / 1_000_000:.1f} MB" if count >= 1_000_000 else f"{count / 1000:.0f} kB"  # noqa: PLR2004 - decimal units
