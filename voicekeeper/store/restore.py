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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import bindparam, delete, func, select, update
from sqlmodel import col

from voicekeeper.core import alerting
from voicekeeper.core.enums import LIVING
from voicekeeper.core.models import Alert, AlertKind, Message, Topic, Voice
from voicekeeper.core.schedule import Policy
from voicekeeper.errors import (
    BackupFailed,
    DatabaseDamaged,
    DatabaseFull,
    DatabaseUnusable,
    VoicekeeperError,
    reason,
)
from voicekeeper.store import old_copies
from voicekeeper.store.backup import SIBLINGS, sync, unfinished
from voicekeeper.store.files import open_named, open_plain
from voicekeeper.store.session import Session
from voicekeeper.store.sqlite import SqliteDatabase

_NAMES_OTHERS = bytes.fromhex("d9d505f920a163d7")
"""The end of a journal that names a list of others, a file that SQLite would remove, whoever's."""


class Known(NamedTuple):
    """A voice as a registry knows it.

    Attributes:
        name: of the voice.
        model: of the voice.
        voice_id: the gateway's; None where it has none.
        created_at: when it was registered.
    """

    name: str
    model: str
    voice_id: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore has done, and what the replaced registry knew and the copy does not.

    Attributes:
        voices: how many the registry has now.
        missing: voices that the replaced registry had and this one has not.
        changed: voices of both whose id the replaced registry knew otherwise, as it did.
        removed: names of voices that were removed after the copy was made.
        unknown: names of voices whose enrollment waited, and may have been requested already.
        replaced: where what was there before is kept; None where there was nothing.
    """

    voices: int
    missing: Sequence[Known]
    changed: Sequence[Known]
    removed: Sequence[str]
    unknown: Sequence[str]
    replaced: Path | None


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
            before, last_pass_at = _known(database)
            with ready.writing() as session:
                now_known = {voice.name: voice for voice in _voices(session)}
                _cancel_stale_alerts(session, now=now, policy=policy)
                known = [at for at in (last_pass_at, old_copies.last_pass(session)) if at]
                unknown = old_copies.settle(
                    session, last_pass_at=max(known, default=None), now=now, policy=policy
                )
                session.execute(_MAKE_DUE, {"now": now})
        finally:
            ready.close()
        sync(copy)
        replaced = _replace(database.path, copy, now=now)
    missing, changed, removed = _compared(before, now_known)
    return Restored(len(now_known), missing, changed, removed, unknown, replaced)


def _compared(
    before: Sequence[Known], now_known: Mapping[str, Known]
) -> tuple[list[Known], list[Known], list[str]]:
    """Return the missing voices, those whose id changed, and the names of the removed ones.

    A registry without any voice of the copy is another one, and nothing was removed from it.
    """
    missing = [voice for voice in before if voice.name not in now_known]
    both = [voice for voice in before if voice.name in now_known]
    changed = [
        voice
        for voice in both
        if voice.voice_id is not None and voice.voice_id != now_known[voice.name].voice_id
    ]
    related = any(voice.created_at == now_known[voice.name].created_at for voice in both)
    removed = now_known.keys() - {voice.name for voice in both}
    return missing, changed, sorted(removed) if related else []


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


_MAKE_DUE = (
    update(Voice)
    .where(
        col(Voice.status).in_(LIVING),
        col(Voice.paused).is_(False),
        col(Voice.voice_id).is_not(None),
        col(Voice.next_at).is_not(None),
    )
    .values(next_at=bindparam("now"))
)


def _known(database: SqliteDatabase) -> tuple[list[Known], datetime | None]:
    """Return the voices and the last pass of the registry that is replaced, where it can be read.

    To read it also ends what a crash left open, so that it is one whole file.
    """
    try:
        if not database.exists():
            return [], None
        with database.reading() as session:
            return _voices(session), old_copies.last_pass(session)
    except VoicekeeperError:
        return [], None
    finally:
        database.close()


def _voices(session: Session) -> list[Known]:
    columns = col(Voice.name), col(Voice.model), col(Voice.voice_id), col(Voice.created_at)
    return [Known(*row) for row in session.execute(select(*columns).order_by(col(Voice.name)))]


_LASTING = col(Alert.kind).in_((AlertKind.LOST, AlertKind.UNDEPLOYED))
"""What no pass mends by itself."""

_ALERTED = {Topic(kind) for kind in AlertKind}


def _cancel_stale_alerts(session: Session, *, now: datetime, policy: Policy) -> None:
    """Cancel the alerts and messages of a copy; what holds still is told as if it began.

    A risk is a matter of time: each that is there still is found by the next look. Paused calls
    may flow since; they have as long to show it as a risk has. A voice that is gone has been told
    of, and is again a day from now; but if nobody was, then now.

    Args:
        session: a writing one, on the copy.
        now: of the restore.
        policy: the settings.
    """
    alert, message = update(Alert), update(Message)
    waits = col(Message.send_at).is_not(None)
    unheard = select(col(Message.topic)).where(waits).distinct()
    topics = set(session.scalars(unheard))
    session.execute(message.where(waits).values(send_at=None))
    last_digest = select(func.max(col(Message.id))).where(col(Message.topic) == Topic.DIGEST)
    session.execute(  # the next one is of a week that this registry saw
        message.where(col(Message.id) == last_digest.scalar_subquery()).values(made_at=now)
    )
    session.execute(
        delete(Alert).where(col(Alert.kind).in_((AlertKind.ENROLLMENT, AlertKind.RISK)))
    )
    session.execute(
        alert.where(col(Alert.ended_at).is_not(None)).values(tell_at=None, send_at=None)
    )
    is_open = col(Alert.ended_at).is_(None)
    later = now + alerting.grace(policy)
    session.execute(
        alert.where(is_open, col(Alert.kind) == AlertKind.BLOCKED).values(
            tell_at=later, send_at=None, sent_at=None
        )
    )
    tomorrow = now + alerting.AGAIN
    session.execute(alert.where(is_open, _LASTING, col(Alert.told) > 0).values(tell_at=tomorrow))
    heard = col(Alert.kind).not_in([AlertKind(topic) for topic in topics & _ALERTED])
    session.execute(
        alert.where(is_open, _LASTING, col(Alert.sent_at).is_not(None), heard).values(
            send_at=tomorrow
        )
    )
    session.execute(alert.where(is_open, _LASTING, ~heard).values(send_at=now, sent_at=None))


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


def _named_after(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _stamp(now: datetime) -> str:
    return f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}"
