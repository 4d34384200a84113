"""What goes wrong with a registry's file, in sentences for the person who has to deal with it."""

import errno
import fcntl
import os
import sqlite3
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from voicekeeper.errors import (
    DatabaseDamaged,
    DatabaseFull,
    DatabaseHeld,
    DatabaseReplaced,
    DatabaseUnusable,
    VoicekeeperError,
    reason,
)

MEND = (
    "nothing was changed; 'voicekeeper restore FILE' puts a good copy in its place, "
    "and the daily ones are beside it"
)

_SORT = 0xFF
"""Of an extended code of SQLite, what it is about."""

_NO_LOCKS = (
    sqlite3.SQLITE_IOERR_LOCK,
    sqlite3.SQLITE_IOERR_RDLOCK,
    sqlite3.SQLITE_IOERR_CHECKRESERVEDLOCK,
)
"""What SQLite says of a lock that failed otherwise than because somebody else has it."""

_UNWRITABLE: Final = (
    "{path} or its directory cannot be written by this user; run the command as the user that owns "
    "it, or as root"
)
_DAMAGED: Final = f"{{path}} is damaged or not a database ({{words}}); {MEND}"

_MEANINGS: Final[Sequence[tuple[str, type[VoicekeeperError], str]]] = (
    (
        "full",
        DatabaseFull,
        "the disk of {path} is full; nothing was changed; make room, and it goes on",
    ),
    ("readonly", DatabaseUnusable, _UNWRITABLE),
    (
        "unable to open",
        DatabaseUnusable,
        "{path} cannot be opened; see that its directory exists and is yours",
    ),
    ("not a database", DatabaseDamaged, _DAMAGED),
    ("malformed", DatabaseDamaged, _DAMAGED),
)
"""What the driver's words mean, and what to do."""


def explain(error: sqlite3.Error, path: Path) -> VoicekeeperError:
    """Turn the driver's words about a registry's file into one sentence that says what to do."""
    return _passing_trouble(error, path) or _lasting_trouble(error, path)


def _lasting_trouble(error: sqlite3.Error, path: Path) -> VoicekeeperError:
    words, code = str(error), getattr(error, "sqlite_errorcode", None)
    if code == sqlite3.SQLITE_READONLY_DBMOVED:
        return replaced(path, "replaced or removed")
    if code in _NO_LOCKS or "locking protocol" in words:
        return lockless(path, OSError(words))
    if "locked" in words:
        return _without_locks(path) or DatabaseHeld(
            f"{path} is busy with another command; try again"
        )
    if ("readonly" in words or "unable to open" in words) and is_read_only(path):
        return unreachable(path, OSError(errno.EROFS, ""))
    for part, kind, sentence in _MEANINGS:
        if part in words:
            return kind(sentence.format(path=path, words=words))
    return VoicekeeperError(f"{path}: {words}")


def _passing_trouble(error: sqlite3.Error, path: Path) -> VoicekeeperError | None:
    """Return what the host lacks for now, such as room in a quota: SQLite does not say."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK)
    if code & _SORT not in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN):
        return None
    try:
        with tempfile.TemporaryFile(dir=path.parent, buffering=0) as trial:
            trial.write(bytes(4096))
            os.fsync(trial)
    except OSError as told:
        found = unreachable(path, told)
        return None if isinstance(found, DatabaseUnusable) else found
    return None


def _without_locks(path: Path) -> DatabaseUnusable | None:
    """Return what to say where locks fail altogether, which SQLite takes for a busy file."""
    try:
        # Not on the registry itself: to close that would let go of SQLite's own locks.
        with tempfile.TemporaryFile(dir=path.parent) as trial:
            try:
                fcntl.lockf(trial, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                return lockless(path, error)
    except OSError:
        pass
    return None


def emptied(path: Path) -> str:
    """Return the sentence for a file without any table."""
    return f"{path} is empty: the registry is gone; {MEND}; or remove it, to begin with none"


def lost(path: Path, copies: Path) -> str:
    """Return the sentence for a file that is missing beside its copies."""
    return f"{path} is gone; {MEND}; or move {copies} away, to begin with none"


def unreachable(path: Path, error: OSError) -> VoicekeeperError:
    """Return why a file cannot be opened or made, and what to do."""
    elsewhere = "set database.url (VOICEKEEPER_DATABASE__URL) to a place of yours"
    match error.errno:
        case errno.ENOENT:
            words = f"the directory of {path} does not exist; create it, or {elsewhere}"
        case errno.EACCES | errno.EPERM:
            words = (
                f"no permission for {path}; run the command as the user that owns it, or as root, "
                f"or {elsewhere}"
            )
        case errno.EROFS:
            words = (
                f"{path} is on a file system that is read-only here; mount it to be written "
                "(a service of systemd writes to its own folder alone, so each account needs a "
                "database.url of its own)"
            )
        case errno.ELOOP | errno.ENXIO:
            words = f"{path} must be a plain file, and is a link or a pipe: see what it is"
        case errno.ENOSPC:
            return DatabaseFull(f"the disk of {path} is full; make room, and it goes on")
        case errno.EDQUOT:
            return DatabaseFull(
                f"the quota on the disk of {path} is used up; make room, and it goes on"
            )
        case number if number in _PASSING:
            words = (error.strerror or str(error)).lower()
            return VoicekeeperError(f"{path}: {words}; try again, and see to the host if it lasts")
        case _:
            words = f"{path}: {reason(error)}"
    return DatabaseUnusable(words)


_PASSING = (
    *(errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN),
    *(errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.EHOSTDOWN),
)
"""What a host or its disk may be over by the next start, without a person."""


def is_read_only(path: Path) -> bool:
    """Return whether a file's folder is on a file system that is read-only here."""
    try:
        return bool(os.statvfs(path.parent).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def lockless(path: Path, error: OSError) -> DatabaseUnusable:
    """Return the error for a file system without locks."""
    return DatabaseUnusable(
        f"the file system of {path} has no locks ({reason(error)}), "
        "without which two daemons could damage it; mount it with them (NFS: without 'nolock'), or "
        "have the registry on a disk of this host"
    )


def replaced(path: Path, how: str) -> DatabaseReplaced:
    """Return the error for a file that is not the one that was opened."""
    return DatabaseReplaced(
        f"{path} was {how} while it was open; what is there is opened at the next start, and no "
        "earlier"
    )
