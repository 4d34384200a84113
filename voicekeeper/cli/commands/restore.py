"""``voicekeeper restore``: a copy of the registry put back."""

from contextlib import closing
from pathlib import Path

import click

from voicekeeper.cli import prose
from voicekeeper.cli.options import copy_argument, pass_session
from voicekeeper.cli.session import Session
from voicekeeper.health import few, voices
from voicekeeper.store.restore import Copy, Restored, restore


@click.command
@copy_argument
@pass_session
def command(session: Session, *, file: Path) -> None:
    """Put the copy FILE in the place of the registry; the daemon must be stopped.

    FILE is checked before anything is touched, and the registry that it
    replaces is kept. Every voice falls due at once. What was registered
    since the copy was made has to be registered again. Exits with 75 while a
    daemon runs.
    """
    if session.settings.database_path is None:
        session.file_database()  # it is none: told before FILE is looked at
    with closing(Copy(file)) as copy:
        database = session.file_database()
        done = restore(database, copy, now=session.now, policy=session.policy)
    prose.say(
        f"{database.path} is restored from {file}: {voices(done.voices)}, each to be "
        "used as soon as the daemon runs; 'systemctl start voicekeeper' or 'voicekeeper run' "
        "starts it."
    )
    _tell_of_the_rest(done)


def _tell_of_the_rest(done: Restored) -> None:
    if done.missing:
        prose.say(
            f"note: the copy does not know {few(done.missing)}; "
            f"'VOICEKEEPER_DATABASE__URL=sqlite:///{done.replaced} voicekeeper export' tells of "
            "what was replaced, and 'voicekeeper import' registers it again."
        )
    if done.doubted:
        prose.say(
            f"note: {voices(done.doubted)} waiting to be made may have been made already, "
            "and become UNKNOWN when the daemon starts; 'voicekeeper retry NAME' pays for one "
            "again."
        )
    if done.replaced is not None:
        prose.say(f"What was there before is kept as {done.replaced}.")
