"""One SQLite file: how it is made, opened, locked, and what its errors mean.

Every write is one ``BEGIN IMMEDIATE`` transaction: a deferred one that reads and then writes
fails with "database is locked" under load, whatever the busy timeout. WAL is used only where
SQLite is free of the WAL-reset bug (3.51.3 and later); a rollback journal elsewhere.

A new file appears whole or not at all, so one that is empty or has no tables was never left by
this program: it is what remained of a registry, and is refused like any other damage. So is one
that is missing beside its daily copies: an empty one in its place would say that all is well.
"""

import errno
import glob
import os
import re
import socket
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from datetime import datetime
from itertools import count
from pathlib import Path
from threading import RLock
from typing import Final

import sqlalchemy as sa

from voicekeeper.core.duration import parse_instant, rfc3339
from voicekeeper.errors import (
    DatabaseDamaged,
    DatabaseHeld,
    DatabaseUnusable,
    VoicekeeperError,
)
from voicekeeper.store import files, sqlite_errors
from voicekeeper.store.database import Database
from voicekeeper.store.session import Session

WAL_IS_SAFE = sqlite3.sqlite_version_info >= (3, 51, 3)

SIBLINGS: Final = ("-journal", "-wal", "-shm")
"""What SQLite may have beside a file."""

_BUSY_TIMEOUT_S = 10

_CHECKED_WHOLE = 256 * 1024 * 1024
"""Bytes of the largest file that is checked whole. Of a larger one, such as that of 10,000 voices
after some months, the tables are checked that every pass needs: commands wait for the check, and
so does the daemon's first call."""

_CHECKED_STEPS = 20_000_000
"""Steps of SQLite's machine that a check may take, some 0.5 s. The pages of a table are looked at
first, in a few of them, and then its rows, as far as the steps go: a million voices would take
five times as many."""

_STEPS_AT_A_TIME = 100_000

_PASSED = ", last pass "
"""Stands in the file of the lock between its holder and the time."""

_NEEDED = ("voice", "breaker", "alembic_version")

_BAD_VALUE = re.compile(r"(NULL|TEXT|NUMERIC|non-\w+) value in |CHECK constraint failed in ")
"""What ``quick_check`` says of a row that is whole and holds what it should not."""


class SqliteDatabase(Database):
    """A registry's file.

    Opening touches nothing; the file is made by `prepare` and by nothing else.

    Attributes:
        path: of the file.
        is_shared_in_wal: whether another program keeps it in WAL mode, where this one uses a
            rollback journal.
    """

    is_shared = False
    _mend = sqlite_errors.MEND
    _begin_writing = "BEGIN IMMEDIATE"
    _begin_reading = "BEGIN"

    def __init__(self, path: Path, engine: sa.Engine | None = None) -> None:
        self.path = path
        if engine is None:
            engine = sa.create_engine(
                sa.URL.create("sqlite", database=str(path)),
                connect_args={"timeout": _BUSY_TIMEOUT_S, "isolation_level": None},
                hide_parameters=True,
            )
        sa.event.listen(engine, "connect", _set_pragmas)
        super().__init__(engine, str(path))
        self._lock = RLock()
        self._is_in_wal = False
        self.is_shared_in_wal = False
        self._in_place: dict[Path, tuple[int, int]] = {}
        self._holding: tuple[int, str] | None = None
        self._passed_at: datetime | None = None

    @property
    def file(self) -> Path:
        """The file."""
        return self.path

    def alone(self) -> AbstractContextManager[object]:
        """Keep the other threads of this process from writing meanwhile.

        They wait, for as long as it takes, where SQLite would have them fail after a while.
        """
        return self._lock

    def unwritten(self) -> AbstractContextManager[object]:
        """Keep the other threads from writing while the file is read, where its journal needs it.

        A reader of a file in WAL mode keeps no writer waiting.
        """
        return nullcontext() if self._is_in_wal else self._lock

    def exists(self) -> bool:
        """Tell whether the file is there."""
        try:
            self.path.stat()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise sqlite_errors.unreachable(self.path, error) from None
        return True

    def see_never_made(self) -> None:
        """See that no daily copies are left of a file that is missing."""
        copies = self.path.with_name(f"{self.path.name}.backups")
        if any(copies.glob("????-??-??.db")):
            raise DatabaseDamaged(sqlite_errors.lost(self.path, copies))

    def check_place(self) -> None:
        """See that the file's directory is there, and open to us."""
        if not self.path.parent.is_dir():
            raise sqlite_errors.unreachable(self.path, FileNotFoundError(errno.ENOENT, ""))
        if sqlite_errors.is_read_only(self.path):
            raise sqlite_errors.unreachable(self.path, OSError(errno.EROFS, ""))
        if not os.access(self.path.parent, os.W_OK | os.X_OK):
            raise sqlite_errors.unreachable(self.path, PermissionError(errno.EACCES, ""))

    def prepare(self, *, upgrade: bool) -> None:
        """See that the file has one name; then as any database."""
        if self.exists():
            if self.path.is_dir():
                raise DatabaseUnusable(f"{self.path} is a directory, not a database file")
            self._see_one_name()
        super().prepare(upgrade=upgrade)

    def _see_one_name(self) -> None:
        """See that nobody can open the file by a name beside which neither lock nor journal is."""
        if self.path.stat().st_nlink > 1:
            for left in self.path.parent.glob(f".{glob.escape(self.path.name)}.????????"):
                if left.samefile(self.path):  # by `_make`, killed or just at it
                    left.unlink(missing_ok=True)
        if self.path.stat().st_nlink > 1:
            raise DatabaseUnusable(
                f"{self.path} has a second name (a hard link), by which another daemon could use "
                f"it too, and damage it; 'find / -xdev -samefile {self.path}' tells which: remove "
                "one of the two"
            )
        if _is_mounted(self.path):
            raise DatabaseUnusable(
                f"{self.path} is mounted without its folder, so another daemon could use it by its "
                "other name, and damage it; mount the whole folder in place of the file"
            )

    def _make_ready(self) -> None:
        super()._make_ready()
        self._set_journal_mode()
        self._in_place[self.path] = _identity(self.path.stat())

    def see_in_place(self) -> None:
        """See that the file, and the lock where it is held, are those that were opened."""
        for path, opened in tuple(self._in_place.items()):
            try:
                found = _identity(path.stat())
            except (FileNotFoundError, NotADirectoryError):
                raise sqlite_errors.replaced(path, "removed or renamed") from None
            except OSError:  # nobody can tell
                continue
            if found != opened:
                raise sqlite_errors.replaced(path, "replaced by another file")

    def close(self) -> None:
        """Close all connections."""
        super().close()
        self._in_place.pop(self.path, None)

    def _tables(self, session: Session) -> set[str]:
        query = "SELECT name FROM sqlite_master WHERE type = 'table'"
        tables = {row[0] for row in session.core.exec_driver_sql(query)}
        if not tables:
            raise DatabaseDamaged(sqlite_errors.emptied(self.path))
        return tables

    @contextmanager
    def held(self, now: datetime) -> Iterator[None]:
        """Hold the database as its only daemon; the kernel lets go when the process ends.

        The lock is on a file beside the database: closing any descriptor of the database file
        itself would drop SQLite's own locks.

        Raises:
            DatabaseHeld: another daemon holds it; the sentence names it.
            DatabaseFull: there is no room for the lock file.
            DatabaseUnusable: the lock file cannot be made, or its file system has no locks.
        """
        lock_path = files.lock_of(self.path)
        try:
            descriptor = files.open_plain(lock_path, os.O_RDWR | os.O_CREAT)
        except OSError as error:
            raise sqlite_errors.unreachable(lock_path, error) from None
        try:
            try:
                files.take_lock(descriptor)
            except BlockingIOError:
                holder, *_ = _content(descriptor).partition(_PASSED)
                raise DatabaseHeld(
                    f"another voicekeeper daemon holds {self.path}: {holder or 'it just started'}"
                ) from None
            except OSError as error:
                raise sqlite_errors.lockless(self.path, error) from None
            self._in_place[lock_path] = _identity(os.fstat(descriptor))
            self._passed_at = _passed_at(descriptor)
            holder = f"pid {os.getpid()} on {socket.gethostname()} since {rfc3339(now)}"
            self._holding = descriptor, holder
            self._write_lock(*self._holding)
            yield
        finally:
            self._holding = None
            self._in_place.pop(lock_path, None)
            os.close(descriptor)

    @property
    def passed_at(self) -> datetime | None:
        """When the last pass was made in this place, as the file of the lock has it."""
        return self._passed_at

    def note_pass(self, now: datetime) -> None:
        """Note in the file of the lock that a pass was made and is committed."""
        if self._holding is not None:
            self._passed_at = now
            self._write_lock(*self._holding)

    def _write_lock(self, descriptor: int, text: str) -> None:
        """Write into the file of the lock who holds it, and when the last pass was made."""
        if self._passed_at is not None:
            text += f"{_PASSED}{rfc3339(self._passed_at)}"
        content = f"{text}\n".encode(errors="replace")
        with suppress(OSError):  # a full disk: the lock holds all the same
            os.pwrite(descriptor, content, 0)
            os.ftruncate(descriptor, len(content))

    def is_held(self) -> bool | None:
        """Tell whether a daemon holds the file; None where nobody can tell."""
        return files.is_locked(self.path)

    def _make(self) -> None:
        self.see_never_made()
        try:
            with unfinished(self.path) as place:
                made = SqliteDatabase(place)
                with closing(made):
                    made._set_journal_mode()
                    made._migrate()
                # Now that it is closed: SQLite's own files are named after it.
                with suppress(FileExistsError):  # another command was faster
                    give_name(place, self.path)
        except OSError as error:
            raise sqlite_errors.unreachable(self.path, error) from None

    def check(self, *, briefly: bool = False) -> None:
        """See that the file is whole; briefly, in `_CHECKED_STEPS` at most."""
        whole = self.path.stat().st_size <= _CHECKED_WHOLE
        checks = ("",) if whole else tuple(f"('{table}')" for table in _NEEDED)
        left = count(_CHECKED_STEPS // _STEPS_AT_A_TIME, -1)
        found: list[str] = []
        with (
            self._explained(self._explanation),
            closing(sqlite3.connect(self.path, timeout=_BUSY_TIMEOUT_S)) as file,
        ):
            if briefly:
                file.set_progress_handler(lambda: next(left) <= 0, _STEPS_AT_A_TIME)
            try:
                for check in checks:
                    found.extend(words for (words,) in file.execute(f"PRAGMA quick_check{check}"))
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
                    raise
        damage = [words for words in found if words != "ok" and not _BAD_VALUE.search(words)]
        if damage:
            words = " ".join(damage[0].split())
            raise DatabaseDamaged(f"{self.path} is damaged ({words}); {sqlite_errors.MEND}")

    def state(self) -> str:
        """Return how SQLite keeps a change whole: WAL, or a rollback journal, and why."""
        with self.reading() as session:
            mode = session.core.exec_driver_sql("PRAGMA journal_mode").scalar()
        if mode == "wal":
            return "WAL"
        if WAL_IS_SAFE:
            return "rollback journal until the daemon starts"
        return "rollback journal, as this SQLite is older than 3.51.3"

    def _set_journal_mode(self) -> None:
        """Choose the journal; where another program keeps the file in its own, go on with that."""
        mode = "wal" if WAL_IS_SAFE else "delete"
        # No second connection may be open, and no transaction.
        with self._explained(self._explanation), self._engine.connect() as connection:
            with suppress(sa.exc.OperationalError):  # it is in use
                connection.exec_driver_sql(f"PRAGMA journal_mode = {mode}")
            found = connection.exec_driver_sql("PRAGMA journal_mode").scalar()
        self._is_in_wal = found == "wal"
        self.is_shared_in_wal = found == "wal" != mode

    def _lock_migrations(self, connection: sa.Connection) -> None:
        connection.exec_driver_sql(self._begin_writing)

    def _explained_by_driver(self, error: BaseException) -> VoicekeeperError | None:
        if isinstance(error, sqlite3.Error) and not isinstance(error, sqlite3.IntegrityError):
            return sqlite_errors.explain(error, self.path)
        return None


def _set_pragmas(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = FULL")


def _content(lock: int) -> str:
    return os.pread(lock, 500, 0).decode(errors="replace").strip()


def _passed_at(lock: int) -> datetime | None:
    with suppress(OSError, ValueError):
        return parse_instant(_content(lock).partition(_PASSED)[2])
    return None


def _identity(found: os.stat_result) -> tuple[int, int]:
    """Return what tells a file from every other one of this host."""
    return found.st_dev, found.st_ino


def _is_mounted(path: Path) -> bool:
    """Tell whether a file itself, and not its folder, is where something is mounted."""
    try:
        mounts = Path("/proc/self/mountinfo").read_bytes()
    except OSError:
        return False
    points = (line.split(b" ", 5)[4] for line in mounts.splitlines())
    return os.fsencode(path) in (_OCTAL.sub(_byte, point) for point in points)


_OCTAL = re.compile(rb"\\([0-7]{3})")


def _byte(octal: re.Match[bytes]) -> bytes:
    return bytes([int(octal[1], 8)])


@contextmanager
def unfinished(file: Path) -> Iterator[Path]:
    """Give an empty file of mode 0600 beside the one to be made; it does not stay."""
    descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    os.close(descriptor)
    copy = Path(name)
    try:
        yield copy
    finally:
        for ending in ("", *SIBLINGS):
            with suppress(OSError):
                copy.with_name(f"{copy.name}{ending}").unlink()


def give_name(made: str | Path, path: str | Path, *, folder: int | None = None) -> None:
    """Give a finished file its name, which nobody else may have taken meanwhile.

    Args:
        made: the file.
        path: its name.
        folder: a descriptor, for two names in it that no exchanged path leads elsewhere.

    Raises:
        FileExistsError: somebody has.
        OSError: it cannot be named.
    """
    try:
        os.link(made, path, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=folder))
        os.replace(made, path, src_dir_fd=folder, dst_dir_fd=folder)
