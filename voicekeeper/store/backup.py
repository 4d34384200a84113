"""Copies of the registry: one that a person asks for, and one a day that the daemon makes.

A copy is made by SQLite's own online backup, so that it is one state of the registry whatever is
written meanwhile; it is checked before it gets its name, and appears whole or not at all. It does
not hold the API key.
"""

import errno
import os
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from datetime import UTC, date, datetime
from pathlib import Path
from secrets import token_hex
from typing import Final

from voicekeeper.errors import BackupFailed, DatabaseDamaged, reason
from voicekeeper.store.sqlite import SqliteDatabase, give_name, unfinished

KEPT: Final = 14
"""So many daily copies are kept."""

_DAILY = re.compile(r"\d{4}-\d\d-\d\d\.db")
_BUSY_TIMEOUT_S = 30.0
"""For a registry that another program has locked."""
_SPARE = 16 * 1024 * 1024
"""Bytes that a daily copy leaves to the registry, beside as many as that has."""


Turn = Callable[[], AbstractContextManager[object]]
"""Keeps the transactions of this process off for as long as a block lasts."""


def write(registry: Path, file: Path, *, turn: Turn = nullcontext) -> int:
    """Copy a registry, which may be in use, to a new file of mode 0600; return its size in bytes.

    Args:
        turn: where this process uses the registry too: to have it alone while it is read.

    Raises:
        BackupFailed: there is such a file already, or it cannot be written.
        DatabaseDamaged: the registry, and so its copy, is damaged.
        VoicekeeperError: the registry cannot be read. Whatever is raised, nothing is left.
    """
    see_free(file)
    with explained(file, registry), unfinished(file) as copy:
        _fill_and_check(copy, registry, turn)
        give_name(copy, file)
        sync(file.parent)
        return file.stat().st_size


@contextmanager
def explained(file: Path, registry: Path | None = None) -> Iterator[None]:
    """Raise `BackupFailed`, with one sentence, for an error of a file or a database in a block.

    Args:
        file: the one that is made.
        registry: the one that is copied, if it may be at fault.
    """
    try:
        yield
    except sqlite3.Error as error:
        words, source = str(error), registry or file
        if "full" in words:
            raise BackupFailed(_sentence(file, OSError(errno.ENOSPC, ""))) from error
        if "locked" in words or "busy" in words:
            raise BackupFailed(f"{source} is busy with another command; try again") from error
        raise BackupFailed(
            f"{source} cannot be copied to {file}: {words}; nothing is left of it"
        ) from error
    except FileExistsError:
        raise BackupFailed(f"{file} exists already; name another file") from None
    except OSError as error:
        raise BackupFailed(_sentence(file, error)) from None


def see_free(file: Path) -> None:
    """Raise `BackupFailed` where a name is taken."""
    if file.is_dir():
        raise BackupFailed(f"{file} is a directory; name the file in it")
    if os.path.lexists(file):
        raise BackupFailed(f"{file} exists already; name another file")


@contextmanager
def receiving(folder: int, name: str) -> Iterator[int]:
    """Give the descriptor of a new file of mode 0600, which gets its name when the block is over.

    Nothing is opened by a path: whoever may write to the folder leads this nowhere else.

    Args:
        folder: the descriptor of its folder.

    Raises:
        OSError: there is such a file already, or it cannot be written. Nothing is left.
    """
    begun = f".{name}.{token_hex(4)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    descriptor = os.open(begun, flags, 0o600, dir_fd=folder)
    try:
        yield descriptor
        os.fsync(descriptor)
        give_name(begun, name, folder=folder)
        os.fsync(folder)
    finally:
        os.close(descriptor)
        with suppress(FileNotFoundError):  # a file system without links
            os.unlink(begun, dir_fd=folder)


def send(registry: Path, file: Path, descriptor: int) -> None:
    """Copy a registry, which may be in use, to a file that another user has opened.

    The copy is made beside the registry: SQLite opens files by their path, and that one may be
    closed to us.

    Args:
        file: the one that is open, for words only.

    Raises:
        VoicekeeperError: as `write`.
    """
    with explained(registry):
        _leave_room(registry.parent, registry)
        with unfinished(registry) as copy:
            _fill_and_check(copy, registry, nullcontext)
            with (
                copy.open("rb") as made,
                explained(file),
                os.fdopen(descriptor, "wb", closefd=False) as given,
            ):
                shutil.copyfileobj(made, given)


def _fill_and_check(copy: Path, registry: Path, turn: Turn) -> None:
    with turn():
        fill(copy, registry)
    made = SqliteDatabase(copy)
    try:
        made.schema()
        made.check()
    except DatabaseDamaged as error:
        raise DatabaseDamaged(
            f"{registry} is damaged, so no copy of it was kept; "
            "'voicekeeper restore FILE' puts an older copy in its place"
        ) from error
    finally:
        made.close()


def fill(copy: Path, source: Path) -> None:
    """Copy a database into an empty file, and see that it is on the disk.

    All pages in one step: in several, each write of the daemon would begin the copy anew. The
    daemon's writes wait for it, so it is synced only when the registry is let go.
    """
    address = f"{source.absolute().as_uri()}?mode=ro"
    with (
        closing(sqlite3.connect(address, uri=True, timeout=_BUSY_TIMEOUT_S)) as old,
        closing(sqlite3.connect(copy, isolation_level=None)) as new,
    ):
        new.execute("PRAGMA synchronous = OFF")
        new.execute("PRAGMA journal_mode = OFF")
        old.backup(new, progress=_give_up)
        new.execute("PRAGMA journal_mode = DELETE")  # one file, wherever it is carried to
    sync(copy)


def _give_up(status: int, _remaining: int, _pages: int) -> None:
    """End a copy whose registry stays locked; the driver would try for ever."""
    if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        raise sqlite3.OperationalError("database is locked")


def sync(path: Path) -> None:
    """Wait until a file or a directory is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class DailyCopies:
    """The copies that the daemon makes, in a directory beside the database.

    Args:
        registry: the database's file.
        turn: as for `write`.
    """

    def __init__(self, registry: Path, *, turn: Turn = nullcontext) -> None:
        self._registry = registry
        self._turn = turn
        self.directory = registry.with_name(f"{registry.name}.backups")

    def make(self, now: datetime) -> Path | None:
        """Make the copy of this UTC day and let go of those too many; None where it is there.

        Raises:
            VoicekeeperError: as `write`, or it would leave the registry no room.
        """
        file = self.directory / f"{now.astimezone(UTC).date()}.db"
        if file.exists():
            return None
        try:
            self.directory.mkdir(mode=0o700, exist_ok=True)
            for left in self.directory.glob(".*.db.*"):  # by a process that was killed
                left.unlink(missing_ok=True)
            _leave_room(self.directory, self._registry)
        except OSError as error:
            raise BackupFailed(_sentence(file, error)) from None
        write(self._registry, file, turn=self._turn)
        self._let_go(file.stem)
        return file

    def all(self) -> list[Path]:
        """Return the copies there are, the oldest first."""
        with suppress(OSError):
            return sorted(f for f in self.directory.iterdir() if _DAILY.fullmatch(f.name))
        return []

    def last_day(self) -> date | None:
        """Return the UTC day of the last copy; None where there is none."""
        with suppress(ValueError):  # a name that looks like a day and is none
            return date.fromisoformat(self.all()[-1].stem) if self.all() else None
        return None

    def _let_go(self, today: str) -> None:
        """Remove the oldest; before them those of days ahead, which a wrong clock has made."""
        ahead_first = sorted(self.all(), key=lambda file: file.stem <= today)
        for old in ahead_first[:-KEPT]:
            with suppress(OSError):
                old.unlink()


def _leave_room(folder: Path, registry: Path) -> None:
    """Keep a copy from filling the disk that the registry itself is on."""
    if shutil.disk_usage(folder).free < 2 * registry.stat().st_size + _SPARE:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _sentence(file: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"no room for {file}: the disk is full, or would be; nothing is left of it"
    if error.errno == errno.ENOENT:
        return f"the directory of {file} does not exist; create it, or name another"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"no permission to write {file}; name a place of yours, or run the command as root"
    return f"{file}: {reason(error)}"
