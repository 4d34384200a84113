"""Opening files where another user may decide what a name leads to.

Whoever owns a folder decides that, and may change it at any moment. So root follows a path only
where each step is root's or of the user whose file it ends at; what lies beside the registry is
opened as a plain file and never through a link. The lock of the registry is such a file.
"""

import errno
import fcntl
import os
import pwd
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from voicekeeper.errors import BackupFailed, DatabaseUnusable, VoicekeeperError, reason

_MOST_LINKS = 40  # as the kernel has it
_LOOKS: Final = 25
_LOOK_S: Final = 0.02
"""How long a starting daemon waits for those who only ask: `is_locked` has the lock an instant."""


def open_plain(path: Path, flags: int) -> int:
    """Open a plain file, of mode 0600 where it is made; anything else raises OSError."""
    flags |= os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe is no reason to wait
    descriptor = os.open(path, flags, 0o600)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    return descriptor


def open_named(file: Path) -> int:
    """Open a file that a person named, to be read by whom root becomes.

    Raises:
        BackupFailed: another user could have led root to it, to learn what it holds.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK  # a pipe is no reason to wait
    if os.geteuid() != 0:
        return os.open(file, flags)
    file.stat()  # else the way ends before it
    way = way_to(file.absolute())
    descriptor = os.open(way[-1].path, flags | os.O_NOFOLLOW)
    try:
        see_way(way[:-1], os.fstat(descriptor).st_uid, lambda words: _astray(file, words))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def open_for(settings: Path | None, file: Path) -> int:
    """Open a file that settings name; another user's lead root to no file but that user's.

    Raises:
        OSError: it cannot be opened, or is not for whoever may change the settings.
    """
    descriptor = os.open(file, os.O_RDONLY)
    way = [] if settings is None or os.geteuid() != 0 else way_to(settings.absolute())
    others = [uid for step in way if (uid := step.found.st_uid) not in (0, way[0].found.st_uid)]
    if others and os.fstat(descriptor).st_uid not in others:
        os.close(descriptor)
        who = user_name(others[0])
        raise OSError(f"permission denied: {who} may change {settings}, and it is not theirs")
    return descriptor


@contextmanager
def folder_of(file: Path) -> Iterator[int]:
    """Give the folder that a person wants a new file in, opened: it cannot be exchanged.

    Raises:
        BackupFailed: another user could have led root to it.
    """
    way = way_to(file.absolute().parent) if os.geteuid() == 0 else []
    flags = os.O_RDONLY | os.O_DIRECTORY
    descriptor = os.open(file.parent, flags)
    try:
        see_way(way, os.fstat(descriptor).st_uid, lambda words: _astray(file, words))
        yield descriptor
    finally:
        os.close(descriptor)


def is_closed(folder: Path) -> bool:
    """Tell whether nobody but root, if this is root, decides what is in a folder."""
    way = way_to(folder) if os.geteuid() == 0 else []
    is_roots = all(step.found.st_uid == 0 for step in way)
    return is_roots and not any(_is_open(step, way[-1]) for step in way)


def lock_of(file: Path) -> Path:
    """Return the lock of a registry; one that is reached by a link has its lock where it is."""
    real = Path(os.path.realpath(file))
    return real.with_name(f"{real.name}.lock")


def take_lock(descriptor: int) -> None:
    """Take the lock, for as long as this descriptor is open.

    Raises:
        BlockingIOError: another process has it.
        OSError: its file system has no locks.
    """
    for left in range(_LOOKS, -1, -1):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if left == 0:
                raise
            time.sleep(_LOOK_S)
        else:
            return


def is_locked(file: Path) -> bool | None:
    """Tell whether a daemon holds a registry's file; None where nobody can tell."""
    try:
        descriptor = open_plain(lock_of(file), os.O_RDONLY)
    except OSError:  # there is none yet, it is closed to us, or it is no plain file
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    else:
        return False
    finally:
        os.close(descriptor)


class Step(NamedTuple):
    """A directory, a link or a file that a path leads through, itself without a link."""

    path: Path
    found: os.stat_result

    @property
    def is_folder(self) -> bool:
        """Whether it is a directory."""
        return stat.S_ISDIR(self.found.st_mode)


def way_to(path: Path) -> list[Step]:
    """Return what a path leads through, link by link, from the root to where it ends.

    Whoever exchanges a step of it owns a folder before that step, and so is found here.

    Raises:
        OSError: root is kept from a step, and nobody but root is found. A file system that a user
            mounts (FUSE) does that, for as long as that user likes.
    """
    place, links = Path("/"), 0
    steps, left = [Step(place, place.lstat())], list(reversed(path.parts[1:]))
    while left:
        part = left.pop()
        if part == "..":
            place = place.parent
            continue
        try:
            step = Step(place / part, (place / part).lstat())
        except (FileNotFoundError, NotADirectoryError):
            break  # what is missing is told by who opens it
        except OSError as error:
            if steps[-1].found.st_uid == steps[0].found.st_uid:
                words = f"root cannot look at {place / part}, so it goes no further"
                raise OSError(f"{words} ({reason(error)}); see 'findmnt {place / part}'") from None
            break
        steps.append(step)
        if stat.S_ISLNK(step.found.st_mode):
            links += 1
            if links > _MOST_LINKS:
                break
            target = step.path.readlink()
            place = Path("/") if target.is_absolute() else place
            left += reversed(target.parts[target.is_absolute() :])
        else:
            place = step.path
    return steps


def see_way(way: Sequence[Step], uid: int, refusal: Callable[[str], VoicekeeperError]) -> None:
    """See that each step of a way is root's or a user's.

    Who owns ``/`` counts as root: in a user namespace that is the host's, who has no name there.
    """
    for step in way:
        if step.found.st_uid not in (0, uid, way[0].found.st_uid):
            theirs, other = user_name(step.found.st_uid), user_name(uid)
            raise refusal(
                f"the way there leads through {step.path}, which is {theirs}'s, to what is "
                f"{other}'s, so root does not follow it; have it in a folder that nobody else can "
                "exchange"
            )


def see_closed(way: Sequence[Step], folder: Step, file: Path) -> None:
    """See that nobody else can write to root's folder, nor exchange a folder above it."""
    if folder.found.st_uid != 0:
        return
    for step in way:
        if _is_open(step, folder):
            raise DatabaseUnusable(
                f"{step.path} is root's and others may write to it, so they could lead root astray "
                f"at {file}; have the registry in a folder that its owner alone can write to"
            )


def user_name(uid: int) -> str:
    """Return the name of a user; the number of one who has none, such as in a container."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _is_open(step: Step, folder: Step) -> bool:
    """Tell whether others than its owner may exchange what a folder on the way to one holds."""
    mode, group = step.found.st_mode, step.found.st_gid
    writers = stat.S_IWOTH | (stat.S_IWGRP if group != 0 else 0)  # root's group is root
    is_shared = mode & stat.S_ISVTX and step is not folder
    return step.is_folder and bool(mode & writers) and not is_shared


def _astray(file: Path, words: str) -> BackupFailed:
    return BackupFailed(f"{file}: {words}")
