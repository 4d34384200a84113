"""``voicekeeper backup`` and ``restore``: a copy of the registry, and a copy put back."""

import os
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from shlex import quote

import click

from voicekeeper.cli import owner, prose
from voicekeeper.cli.options import copy_argument, pass_session
from voicekeeper.cli.session import Session, must_exist
from voicekeeper.core.health import few, voices
from voicekeeper.core.visible import visible
from voicekeeper.errors import InvalidInput
from voicekeeper.store import backup, files
from voicekeeper.store.restore import Copy, Known, Restored, restore
from voicekeeper.store.sqlite import SqliteDatabase

_MOST_NAMED = 20
"""So many voices are named, each with its command."""


@click.command
@copy_argument
@pass_session
def backup_command(session: Session, *, file: Path) -> None:
    """Copy the registry to FILE, also while the daemon runs.

    The copy is one state of the registry, checked, and readable by you
    alone. It appears whole or not at all, and never takes the place of a
    file that exists. 'voicekeeper restore' puts it back.
    """
    if session.owner is None and files.is_closed(file.absolute().parent):
        size = backup.write(_registry(session).path, file)
    else:  # whom root becomes may not be able to write where root may
        with owner.new_file(file) as given:
            owner.in_child(lambda: backup.send(_registry(session).path, file, given))
            size = os.fstat(given).st_size
    shown = f"{size / 1_000_000:.1f} MB" if size >= 1_000_000 else f"{size / 1000:.0f} kB"  # noqa: PLR2004 - decimal units
    prose.say(f"{file} is a copy of {session.settings.database_path}, {shown}.")


def _file_database(session: Session) -> SqliteDatabase:
    database = session.database
    if not isinstance(database, SqliteDatabase):
        raise InvalidInput(
            f"the registry is in {database.place.removeprefix('the ')}; its own tools copy it: "
            "'pg_dump -Fc DATABASE > FILE', and 'pg_restore' puts it back"
        )
    return database


def _registry(session: Session) -> SqliteDatabase:
    database = _file_database(session)
    must_exist(database)
    database.schema()  # an older one is copied too: best before an upgrade
    return database


@click.command
@copy_argument
@pass_session
def restore_command(session: Session, *, file: Path) -> None:
    """Put the copy FILE in the place of the registry; the daemon must be stopped.

    FILE is checked before anything is touched, and the registry that it
    replaces is kept. Every voice falls due at once. What the replaced registry
    knew and the copy does not is named, with the commands that mend it. Exits
    with 75 while a daemon runs.
    """
    if session.settings.database_path is None:
        _file_database(session)  # it is none: told before FILE is looked at
    with closing(Copy(file)) as copy:
        database = _file_database(session)
        done = restore(database, copy, now=session.now, policy=session.policy)
    prose.say(
        f"{database.path} is restored from {file}: {voices(done.voices)}, each to be "
        "used as soon as the daemon runs; 'systemctl start voicekeeper' or 'voicekeeper run' "
        "starts it."
    )
    _say_differences(done)


def _say_differences(done: Restored) -> None:
    """Name what the replaced registry knew and the copy does not."""
    if done.missing:
        counted = voices(len(done.missing))
        prose.say(f"note: the copy does not know {counted} of the registry that it replaced:")
        _say_commands(map(_addition, done.missing), done)
    if done.changed:
        counted = voices(len(done.changed))
        prose.say(f"note: {counted} had another voice_id in the registry that was replaced:")
        _say_commands(
            (f"{_removal(each.name)} && {_addition(each)}" for each in done.changed), done
        )
    if done.removed:
        counted = voices(len(done.removed))
        prose.say(f"note: {counted} of the copy had been removed since, and will be used again:")
        _say_commands(map(_removal, done.removed), done)
    if done.unknown:
        prose.say(
            f"note: {voices(len(done.unknown))} waiting to be made may have been requested "
            f"already, and became UNKNOWN: {few(done.unknown)}; 'voicekeeper retry NAME' pays for "
            "one again."
        )
    if done.replaced is not None:
        prose.say(f"What was there before is kept as {done.replaced}.")


def _say_commands(commands: Iterable[str], done: Restored) -> None:
    """Name a command for each voice; of many, the first."""
    commands = [f"  {visible(command)}" for command in commands]
    prose.put("\n".join(commands[:_MOST_NAMED]), err=True)  # unbroken, to be copied
    if len(commands) > _MOST_NAMED:
        prose.say(
            f"  and {len(commands) - _MOST_NAMED} more; 'VOICEKEEPER_DATABASE__URL=sqlite:///"
            f"{done.replaced} voicekeeper export' writes out what was replaced."
        )


def _addition(voice: Known) -> str:
    """Return the command that registers a voice of the replaced registry."""
    if voice.voice_id is None:
        return f"# {voice.name} had no voice_id yet"
    return (
        f"voicekeeper add {quote(voice.voice_id)} --name {quote(voice.name)} "
        f"--model {quote(voice.model)}"
    )


def _removal(name: str) -> str:
    return f"voicekeeper remove {quote(name)}"
