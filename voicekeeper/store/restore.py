"""An older copy of the registry put in its place.

The copy is checked, migrated and made ready beside the database before anything is touched, and
then takes its name in one step; what it replaces is kept. Of what was done since the copy was
made the registry knows nothing any more, so every voice falls due at once, what might be paid for
twice is left to a person, and nobody is told again what they were told long ago.
"""

import errno
import os
import shutil
import sqlite3
import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import func, select, update
from sqlmodel import col

from voicekeeper.errors import (
    BackupFailed,
    DatabaseDamaged,
    DatabaseFull,
    DatabaseUnusable,
    VoicekeeperError,
    reason,
)
from voicekeeper.files import open_named, open_plain
from voicekeeper.models import Kind, Status, Task, Voice
from voicekeeper.schedule import Policy
from voicekeeper.store import quiet
from voicekeeper.store.backup import SIBLINGS, sync, unfinished
from voicekeeper.store.sqlite import SqliteDatabase
from voicekeeper.store.witness import Begun
from voicekeeper.terms import LIVING

Voices = Mapping[str, datetime | None]
"""Their names, and when they were registered; None where their registry was put back itself."""

_NAMES_OTHERS = bytes.fromhex("d9d505f920a163d7")
"""The end of a journal that names a list of others, a file that SQLite would remove, whoever's."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore has done.

    Attributes:
        voices: how many the registry has now.
        missing: voices that the replaced registry had and this one has not.
        replaced: where what was there before is kept; None where there was nothing.
        doubted: how many enrollments wait, and may have been made already.
    """

    voices: int
    missing: Sequence[str]
    replaced: Path | None
    doubted: int


class Copy:
    """A copy to restore: its file, and what SQLite may have left beside it, all of them open.

    They are read by their descriptors alone: who opened them may be another user by then.

    Attributes:
        file: its path, for words.
    """

    def __init__(self, file: Path) -> None:
        """Open a copy.

        Args:
            file: the copy; root follows no way to it that another user could change.

        Raises:
            BackupFailed: it cannot be read.
        """
        self.file = file
        self._opened = {"": _seen(file)}
        owner = os.fstat(self._opened[""]).st_uid
        for ending in ("-journal", "-wal"):
            part = _named_after(file, ending)
            if os.path.lexists(part):
                self._opened[ending] = _seen(part)
                if os.fstat(self._opened[ending]).st_uid != owner:  # who may write in /tmp
                    raise BackupFailed(f"{part} is not of the owner of {file}; see what it is")

    def is_file(self, path: Path) -> bool:
        """Tell whether a path is the copy's own."""
        return os.path.samestat(path.stat(), os.fstat(self._opened[""]))

    def take(self, place: Path) -> None:
        """Copy all of it to an empty file, and what is beside it to beside that.

        Raises:
            BackupFailed: it was written to meanwhile.
            OSError: it cannot be read or written.
        """
        before = self._states()
        for ending, descriptor in self._opened.items():
            there = open_plain(_named_after(place, ending), os.O_WRONLY | os.O_CREAT)
            with os.fdopen(descriptor, "rb", closefd=False) as old, os.fdopen(there, "wb") as new:
                shutil.copyfileobj(old, new)
        if self._states() != before:
            raise BackupFailed(
                f"{self.file} is written to just now; stop what uses it, or copy it with "
                "'voicekeeper backup' first; nothing was changed"
            )

    def close(self) -> None:
        """Close the files."""
        for descriptor in self._opened.values():
            os.close(descriptor)

    def _states(self) -> list[tuple[int, int, int]]:
        found = map(os.fstat, self._opened.values())
        return [(each.st_mtime_ns, each.st_size, each.st_nlink) for each in found]


def restore(database: SqliteDatabase, source: Copy, *, now: datetime, policy: Policy) -> Restored:
    """Put a copy in the place of a registry; every voice is due at once.

    Args:
        database: whose place it takes; nobody may hold it.
        source: the copy.
        now: of this command.
        policy: the settings.

    Raises:
        BackupFailed: the copy cannot be read, or there is no room for it. Nothing was touched.
        DatabaseHeld: a daemon works on the registry. Nothing was touched.
        DatabaseUnusable: the copy is damaged, of another program or newer, or the place is closed
            to us. Nothing was touched.
    """
    is_there = database.exists()
    database.check_place()
    if database.path.is_dir():
        raise DatabaseUnusable(f"{database.path} is a directory, not a database file")
    if is_there and source.is_file(database.path):
        raise BackupFailed(f"{source.file} is the registry itself; name a copy of it")
    with database.held(now), _explained(database.path), unfinished(database.path) as copy:
        _take(source, copy)
        ready = SqliteDatabase(copy)
        try:
            _prepare(ready, source.file)
            before = _voices(database)
            names, doubted = _make_ready(ready, database.witness.begun(), before, now=now)
            with ready.writing() as session:
                quiet.fall(session, now=now, policy=policy)
        finally:
            ready.close()
        sync(copy)
        if doubted:
            _set_aside(database.witness.path, now)
        replaced = _replace(database.path, copy, now=now)
    missing = sorted(before.keys() - names)
    return Restored(len(names), missing, replaced, doubted)


def _seen(file: Path) -> int:
    try:
        descriptor = open_named(file)
    except FileNotFoundError:
        raise BackupFailed(f"there is no {file} to restore") from None
    except OSError as error:
        raise BackupFailed(
            f"{file} cannot be read: {reason(error)}; run the command as root"
        ) from None
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise BackupFailed(f"{file} is a directory; name a copy in it")
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise BackupFailed(f"{file} is no plain file; name a copy of the registry")
    return descriptor


def _take(source: Copy, copy: Path) -> None:
    """Copy the person's file, which is read only, and make one whole file of it."""
    try:
        source.take(copy)
        _see_alone(source.file, _named_after(copy, "-journal"))
        with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
            connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall()
            connection.execute("PRAGMA journal_mode = DELETE").fetchall()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _no_room(source, copy) from None
        raise BackupFailed(f"{copy}: {reason(error)}; the registry is as it was") from None
    except sqlite3.Error as error:
        words = str(error)
        if "full" in words:
            raise _no_room(source, copy) from None
        raise DatabaseDamaged(
            f"{source.file} is damaged or no database ({words}); restore another copy; "
            "nothing was changed"
        ) from None


def _see_alone(file: Path, journal: Path) -> None:
    """See that what a crash left open is a change to one database, as all of this program's."""
    with suppress(FileNotFoundError), journal.open("rb") as left:
        left.seek(max(0, os.fstat(left.fileno()).st_size - len(_NAMES_OTHERS)))
        if left.read() == _NAMES_OTHERS:
            raise DatabaseDamaged(
                f"{file}-journal is that of a change to several databases, which no registry has; "
                "restore another copy; nothing was changed"
            )


def _no_room(source: Copy, copy: Path) -> DatabaseFull:
    return DatabaseFull(f"no room beside {copy.parent} for {source.file}; make some")


def _prepare(copy: SqliteDatabase, file: Path) -> None:
    """See that the copy is whole and ours, and migrate it; tell of it by the name of the file."""
    try:
        copy.prepare(upgrade=True)
    except DatabaseDamaged as error:
        raise DatabaseDamaged(
            f"{file} is damaged or empty; restore another copy; nothing was changed"
        ) from error
    except VoicekeeperError as error:
        words = str(error).replace(str(copy.path), str(file))
        words = words.replace("point database.url elsewhere", "nothing was changed")
        raise type(error)(words) from error


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BackupFailed(f"{path}: {reason(error)}; the registry is as it was") from None


def _make_ready(
    copy: SqliteDatabase, begun: Sequence[Begun] | None, before: Voices, *, now: datetime
) -> tuple[set[str], int]:
    """Make every voice due in a copy; return their names, and how many enrollments are in doubt.

    Args:
        copy: ready to be written.
        begun: what the notes beside the replaced registry tell.
        before: the voices of that registry.
        now: of this command.
    """
    with copy.writing() as session:
        session.execute(update(Voice).values(restored_at=now))
        session.execute(
            update(Voice)
            .where(
                col(Voice.status).in_(LIVING),
                col(Voice.paused).is_(False),
                col(Voice.voice_id).is_not(None),
                col(Voice.next_at).is_not(None),
            )
            .values(next_at=now)
        )
        voices: dict[str, datetime] = dict(
            session.execute(select(col(Voice.name), col(Voice.created_at))).all()
        )
        waiting = session.scalar(
            select(func.count()).where(
                col(Voice.status) == Status.NEW, col(Voice.voice_id).is_(None)
            )
        )
        known = session.scalars(
            select(col(Task.sent_at)).where(col(Task.kind).in_((Kind.CLONE, Kind.DESIGN)))
        ).all()
    followed = _is_followed(known, begun, related=bool(voices.items() & before.items()))
    return set(voices), 0 if followed else waiting or 0


def _is_followed(
    known: Collection[datetime], begun: Sequence[Begun] | None, *, related: bool
) -> bool:
    """Tell whether the notes are of the registry that a copy was made of, and not of another.

    They are where they know each enrollment that the copy knows. Where it knows none, the
    replaced registry tells: it has a voice of the copy, and was not put back itself.
    """
    if begun is None:
        return False
    noted = {each.begun_at for each in begun}
    return noted.issuperset(known) and (bool(known) or related)


def _voices(database: SqliteDatabase) -> Voices:
    """Return the voices of the registry that is replaced, as far as it can be read.

    To read it also ends what a crash left open, so that it is one whole file.
    """
    try:
        if not database.exists():
            return {}
        query = select(col(Voice.name), col(Voice.created_at), col(Voice.restored_at))
        with database.reading() as session:
            return {
                name: None if restored_at else created_at
                for name, created_at, restored_at in session.execute(query)
            }
    except VoicekeeperError:
        return {}
    finally:
        database.close()


def _replace(path: Path, copy: Path, *, now: datetime) -> Path | None:
    """Let the copy take the database's name; return where what had it is kept."""
    replaced = None
    if path.exists():
        replaced = _named_after(path, f".replaced-{_stamp(now)}")
        try:
            os.link(path, replaced)
        except FileExistsError:
            raise
        except OSError:  # a file system without links
            path.rename(replaced)
        for sibling in SIBLINGS:
            with suppress(FileNotFoundError):
                _named_after(path, sibling).rename(_named_after(replaced, sibling))
    copy.replace(path)
    sync(path.parent)
    return replaced


def _set_aside(notes: Path, now: datetime) -> None:
    """Take notes that are not this registry's from its side: they would say nothing was begun."""
    with suppress(FileNotFoundError):
        notes.rename(_named_after(notes, f".replaced-{_stamp(now)}"))


def _named_after(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _stamp(now: datetime) -> str:
    return f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}"
