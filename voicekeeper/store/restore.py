"""Old copies of the registry: put in its place by `restore`, or by hand.

`restore` checks, migrates and prepares the copy beside the database before anything is touched;
then the copy takes its name in one step, and the replaced file is kept. The registry knows nothing
of what happened after the copy was made. So every voice falls due at once, an enrollment that may
have been requested already is left to a person, and no message is sent a second time.
"""

import errno
import os
import shutil
import sqlite3
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from sqlalchemy import delete, select, update
from sqlmodel import col

from voicekeeper.core import alerting
from voicekeeper.core.models import Active, Alert, AlertKind, Message, Status, Task, Topic, Voice
from voicekeeper.core.schedule import Policy
from voicekeeper.core.transitions import enrollment
from voicekeeper.errors import (
    BackupFailed,
    DatabaseDamaged,
    DatabaseFull,
    DatabaseUnusable,
    VoicekeeperError,
    reason,
)
from voicekeeper.store import active, due, results, unreadable
from voicekeeper.store.backup import sync
from voicekeeper.store.files import open_named, open_plain
from voicekeeper.store.jobs import call_for, write_intents
from voicekeeper.store.session import Session
from voicekeeper.store.sqlite import SIBLINGS, SqliteDatabase, unfinished

_RESTED: Final = timedelta(hours=1)
"""A registry without a pass for longer may be a copy that was put back by hand."""

_NAMES_OTHERS = bytes.fromhex("d9d505f920a163d7")
"""The end of a journal that names a list of others, a file that SQLite would remove, whoever's."""


class Known(NamedTuple):
    """A voice as a registry knows it; without a ``voice_id`` where it has none yet."""

    name: str
    model: str
    voice_id: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Restored:
    """A restored registry, and what the replaced one knew and the copy does not.

    Attributes:
        voices: the number of voices that the registry has now.
        missing: voices that the replaced registry had and this one has not.
        changed: voices of both, as the replaced registry knew them, whose id is another now.
        removed: names of voices that were removed after the copy was made.
        unknown: names of voices whose enrollment waited, and may have been requested already.
        replaced: where the replaced file is kept; None where there was none.
    """

    voices: int
    missing: Sequence[Known]
    changed: Sequence[Known]
    removed: Sequence[str]
    unknown: Sequence[str]
    replaced: Path | None


class Copy:
    """A copy to restore: its file and those that SQLite may have left beside it, all open.

    They are read by their descriptors alone: who opened them may be another user by then.

    Attributes:
        file: its path, for words.
    """

    def __init__(self, file: Path) -> None:
        """Open a copy; root follows no way to it that another user could change.

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
        """Copy all of it to an empty file, and make one whole file of that.

        Raises:
            BackupFailed: it was written to meanwhile, or cannot be read or copied.
            DatabaseDamaged: it is no database, or a damaged one.
            DatabaseFull: there is no room.
        """
        try:
            self._copy(place)
            self._see_alone(_named_after(place, "-journal"))
            with closing(sqlite3.connect(place, isolation_level=None)) as connection:
                connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall()
                connection.execute("PRAGMA journal_mode = DELETE").fetchall()
        except (OSError, sqlite3.Error) as error:
            if "full" in str(error) or getattr(error, "errno", 0) in (errno.ENOSPC, errno.EDQUOT):
                no_room = f"no room beside {place.parent} for {self.file}; make some"
                raise DatabaseFull(no_room) from None
            if isinstance(error, OSError):
                words = f"{place}: {reason(error)}; the registry is as it was"
                raise BackupFailed(words) from None
            raise DatabaseDamaged(
                f"{self.file} is damaged or no database ({error}); restore another copy; "
                "nothing was changed"
            ) from None

    def _copy(self, place: Path) -> None:
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

    def _see_alone(self, journal: Path) -> None:
        """See that what a crash left open is a change to one database, as this program's are."""
        with suppress(FileNotFoundError), journal.open("rb") as left:
            left.seek(max(0, os.fstat(left.fileno()).st_size - len(_NAMES_OTHERS)))
            if left.read() == _NAMES_OTHERS:
                raise DatabaseDamaged(
                    f"{self.file}-journal is that of a change to several databases, which no "
                    "registry has; restore another copy; nothing was changed"
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

    Raises:
        BackupFailed: the copy cannot be read, or there is no room for it.
        DatabaseHeld: a daemon works on the registry.
        DatabaseUnusable: the copy is damaged, of another program or newer, or the place is closed
            to us. Whatever is raised, nothing was touched.
    """
    is_there = database.exists()
    database.check_place()
    if database.path.is_dir():
        raise DatabaseUnusable(f"{database.path} is a directory, not a database file")
    if is_there and source.is_file(database.path):
        raise BackupFailed(f"{source.file} is the registry itself; name a copy of it")
    with database.held(now), _explained(database.path), unfinished(database.path) as copy:
        source.take(copy)
        ready = SqliteDatabase(copy)
        try:
            _prepare(ready, source.file)
            before, last_pass_at = _contents(database)
            with ready.writing() as session:
                now_known = {voice.name: voice for voice in _voices(session)}
                _cancel_stale_alerts(session, now=now, policy=policy)
                passes = [at for at in (last_pass_at, _last_pass(session)) if at is not None]
                last_pass_at = max(passes, default=None)
                unknown = _doubt(session, last_pass_at=last_pass_at, now=now, policy=policy)
                due.make_kept_due(session, now=now)
        finally:
            ready.close()
        sync(copy)
        replaced = _replace(database.path, copy, now=now)
    missing, changed, removed = _compared(before, now_known)
    return Restored(len(now_known), missing, changed, removed, unknown, replaced)


def doubt_at_start(
    session: Session,
    *,
    server: str | None,
    passed_at: datetime | None,
    now: datetime,
    policy: Policy,
) -> None:
    """Leave enrollments UNKNOWN at a start, where the registry may be an old copy.

    It may where it rested for long, where its server or tables are not those of the last start, and
    where a later pass was made in its place than it knows of.

    Args:
        server: which has the registry; None where a file has it.
        passed_at: when the last pass was made in its place, if that is known.
    """
    has_moved, last_pass_at = active.moved_to(session, server), _last_pass(session)
    if last_pass_at is None:
        return
    if passed_at is not None and passed_at > last_pass_at:
        _doubt(session, last_pass_at=passed_at, now=now, policy=policy)
    elif has_moved or now - last_pass_at > _RESTED:
        _doubt(session, last_pass_at=last_pass_at, now=now, policy=policy)


def _doubt(
    session: Session, *, last_pass_at: datetime | None, now: datetime, policy: Policy
) -> list[str]:
    """Leave the enrollments UNKNOWN that an old copy may have forgotten; return their names.

    The copy does not know what was requested after it was made, and nothing is paid for twice;
    `enrollment.is_in_doubt` is the rule.
    """
    waiting = select(Voice).where(col(Voice.status) == Status.NEW, col(Voice.voice_id).is_(None))
    voices, _ = unreadable.load(session, waiting)
    names = []
    for voice in voices:
        if enrollment.is_in_doubt(voice, last_pass_at=last_pass_at, policy=policy):
            (job,) = write_intents(session, [call_for(voice)], now=now, policy=policy)
            task = session.get_one(Task, job.task_pk)
            change = enrollment.left_unknown(voice, task, now=now)
            results.apply(session, voice, task, change, now=now, policy=policy, logged=False)
            names.append(voice.name)
    return sorted(names)


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


def _contents(database: SqliteDatabase) -> tuple[list[Known], datetime | None]:
    """Return the voices and the last pass of the registry that is replaced, where it can be read.

    To read it also ends what a crash left open, so that it is one whole file.
    """
    try:
        if not database.exists():
            return [], None
        with database.reading() as session:
            return _voices(session), _last_pass(session)
    except VoicekeeperError:
        return [], None
    finally:
        database.close()


def _voices(session: Session) -> list[Known]:
    columns = col(Voice.name), col(Voice.model), col(Voice.voice_id), col(Voice.created_at)
    return [Known(*row) for row in session.execute(select(*columns).order_by(col(Voice.name)))]


def _last_pass(session: Session) -> datetime | None:
    """Return when the last pass ended that the registry knows of; None where none did."""
    try:
        return session.scalar(select(col(Active.last_pass_at)))
    except unreadable.UNREADABLE:
        return None


def _cancel_stale_alerts(session: Session, *, now: datetime, policy: Policy) -> None:
    """Cancel the alerts and messages of a copy; what still holds is told as if it began.

    Each risk that is still there is found by the next look. Paused calls may flow since; they have
    as long to show it as a risk has. A lost voice is told again a day from now; at once, where its
    message waited in the copy.
    """
    waits = col(Message.send_at).is_not(None)
    waiting = set(session.scalars(select(col(Message.topic)).where(waits).distinct()))
    session.execute(update(Message).where(waits).values(send_at=None))
    digests = select(Message).where(col(Message.topic) == Topic.DIGEST)
    if last := session.scalars(digests.order_by(col(Message.id).desc()).limit(1)).first():
        last.made_at = now  # the next one is of a week that this registry saw
    session.execute(
        delete(Alert).where(col(Alert.kind).in_((AlertKind.ENROLLMENT, AlertKind.RISK)))
    )
    alerts, _ = unreadable.load(session, select(Alert))
    for alert in alerts:
        if alert.ended_at is not None:
            alert.tell_at = alert.send_at = None
        elif alert.kind is AlertKind.BLOCKED:
            alert.tell_at, alert.send_at, alert.sent_at = now + alerting.grace(policy), None, None
        else:
            if alert.told:
                alert.tell_at = now + alerting.AGAIN
            if Topic(alert.kind) in waiting:
                alert.send_at, alert.sent_at = now, None
            elif alert.sent_at is not None:
                alert.send_at = now + alerting.AGAIN


def _replace(path: Path, copy: Path, *, now: datetime) -> Path | None:
    """Let the copy take the database's name; return where what had it is kept."""
    replaced = None
    if path.exists():
        replaced = _named_after(path, f".replaced-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}")
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
