"""Root steps down: its command becomes the user that owns the registry's folder, for good.

Whoever owns a folder decides what each name in it leads to, and may change that at any moment. So
root looks at the folder from outside, becomes its owner, and only then opens anything in it: what
the owner has planted there then leads to nothing that was not the owner's already. What root names
on the command line is opened before, and handed over as a descriptor.
"""

import os
import pwd
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from voicekeeper.errors import BackupFailed, DatabaseUnusable, VoicekeeperError, reason

IMPORTED_LATE: Final = (
    *("shutil", "textwrap", "traceback", "alembic.command", "alembic.config", "rich.table"),
    *("voicekeeper.bootstrap", "voicekeeper.cli.program", "voicekeeper.cli.table"),
)
"""Modules that commands import when they need them, with all that those import."""

_PROGRAM = (Path(__file__), Path(os.__file__))
_MOST_LINKS = 40  # as the kernel has it
_NOGROUP = 65_534


class _Step(NamedTuple):
    """A directory, a link or a file that a path leads through, itself without a link."""

    path: Path
    found: os.stat_result

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.found.st_mode)


class Owner(NamedTuple):
    """The user whom root becomes."""

    uid: int
    gid: int
    groups: Sequence[int]
    name: str


def owner_of(file: Path, *, is_kind: Callable[[int], bool] = stat.S_ISREG) -> Owner | None:
    """Return whom root has to become before it touches a file; None where it stays who it is.

    Args:
        file: absolute. It, and folders on the way to it, may be missing.
        is_kind: of its mode; what it has to be.

    Raises:
        DatabaseUnusable: another user could lead root astray: a folder or a link on the way is
            theirs, they may write to root's folder, or the file is not the owner's.
    """
    if os.geteuid() != 0:
        return None
    try:
        way = _way(file)
    except OSError as error:
        raise DatabaseUnusable(f"{file}: {reason(error)}") from None
    folder = next(step for step in reversed(way) if step.is_folder)
    uid = folder.found.st_uid
    last = way[-1]
    if not last.is_folder and not (last.found.st_uid == uid and is_kind(last.found.st_mode)):
        raise DatabaseUnusable(
            f"{last.path} must be a plain file of {_name(uid)}, who owns its folder, and is not; "
            f"see what it is, and 'chown {_name(uid)} {last.path}' if it is your registry"
        )
    _see_way(way, uid, lambda words: DatabaseUnusable(f"{file}: {words}"))
    _see_closed(way, folder, file)
    return None if uid == 0 else _user(uid, folder.found.st_gid)


def is_program_public() -> bool:
    """Tell whether any user may read this program and its Python; in /root nobody else may."""
    folders = {folder for file in _PROGRAM for folder in file.parents}
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in folders)


def can_read_program() -> bool:
    """Tell whether this user, whom root may have become, can read this program and its Python."""
    return all(os.access(file, os.R_OK) for file in _PROGRAM)


def closed_program(error: Exception) -> DatabaseUnusable:
    """Return the error of a program that the user whom root became cannot read."""
    return DatabaseUnusable(
        f"root became {_name(os.geteuid())}, who owns the registry's folder and cannot read this "
        f"program at {sys.prefix} or its Python at {Path(os.__file__).parent} ({error}); install "
        "both where everybody can read them, as systemd/install.sh does"
    )


def become(owner: Owner) -> None:
    """Take on a user for good: nothing leads back to root.

    Raises:
        DatabaseUnusable: this root may not.
    """
    try:
        os.setgroups(owner.groups)
        os.setresgid(owner.gid, owner.gid, owner.gid)
        os.setresuid(owner.uid, owner.uid, owner.uid)
    except OSError as error:
        raise DatabaseUnusable(
            f"root may not become {owner.name}, who owns the registry's folder "
            f"({reason(error)}; it takes CAP_SETUID and CAP_SETGID); "
            "run the command as that user"
        ) from None


def opened(file: Path) -> int:
    """Open a file that a person named, to be read by whom root becomes.

    Raises:
        BackupFailed: another user could have led root to it, to learn what it holds.
        OSError: it cannot be opened.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK  # a pipe is no reason to wait
    if os.geteuid() != 0:
        return os.open(file, flags)
    file.stat()  # else the way ends before it
    way = _way(file.absolute())
    descriptor = os.open(way[-1].path, flags | os.O_NOFOLLOW)
    try:
        _see_way(way[:-1], os.fstat(descriptor).st_uid, lambda words: _astray(file, words))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def opened_for(settings: Path | None, file: Path) -> int:
    """Open a file that settings name; another user's lead root to no file but that user's.

    Raises:
        OSError: it cannot be opened, or is not for whoever may change the settings.
    """
    descriptor = os.open(file, os.O_RDONLY)
    way = [] if settings is None or os.geteuid() != 0 else _way(settings.absolute())
    others = [uid for step in way if (uid := step.found.st_uid) not in (0, way[0].found.st_uid)]
    if others and os.fstat(descriptor).st_uid not in others:
        os.close(descriptor)
        words = f"permission denied: {_name(others[0])} may change {settings}, and it is not theirs"
        raise OSError(words)
    return descriptor


def is_closed(folder: Path) -> bool:
    """Tell whether nobody but root, if this is root, decides what is in a folder."""
    way = _way(folder) if os.geteuid() == 0 else []
    is_roots = all(step.found.st_uid == 0 for step in way)
    return is_roots and not any(_is_open(step, way[-1]) for step in way)


@contextmanager
def folder_of(file: Path) -> Iterator[int]:
    """Give the folder that a person wants a new file in, opened: it cannot be exchanged.

    Raises:
        BackupFailed: another user could have led root to it.
        OSError: it cannot be opened.
    """
    way = _way(file.absolute().parent) if os.geteuid() == 0 else []
    flags = os.O_RDONLY | os.O_DIRECTORY
    descriptor = os.open(file.parent, flags)
    try:
        _see_way(way, os.fstat(descriptor).st_uid, lambda words: _astray(file, words))
        yield descriptor
    finally:
        os.close(descriptor)


def in_child(work: Callable[[], None]) -> None:
    """Have work done by a child of this process, which may become another user.

    Raises:
        VoicekeeperError: what the child raised, in its words and with its exit code.
    """
    told, telling = os.pipe()
    child = os.fork()
    if child == 0:
        words, exit_code = "", 0
        try:
            work()
        except VoicekeeperError as error:
            words, exit_code = str(error), error.exit_code
        except BaseException as error:  # noqa: BLE001 - the parent tells of it
            words, exit_code = f"{type(error).__name__}: {error}", VoicekeeperError.exit_code
        finally:
            os.write(telling, words.encode(errors="replace"))
            os._exit(exit_code)
    os.close(telling)
    with os.fdopen(told, encoding="utf-8") as pipe:
        words = pipe.read()
    _, status = os.waitpid(child, 0)
    if status:
        failure = VoicekeeperError(words or "the copying was killed; nothing is left of it")
        failure.exit_code = max(1, os.waitstatus_to_exitcode(status))  # type: ignore[misc]  # of this error alone
        raise failure


def _way(path: Path) -> list[_Step]:
    """Return what a path leads through, link by link, from the root to where it ends.

    Whoever exchanges a step of it owns a folder before that step, and so is found here.

    Raises:
        OSError: root is kept from a step, and nobody but root is found. A file system that a user
            mounts (FUSE) does that, for as long as that user likes.
    """
    place, links = Path("/"), 0
    steps, left = [_Step(place, place.lstat())], list(reversed(path.parts[1:]))
    while left:
        part = left.pop()
        if part == "..":
            place = place.parent
            continue
        try:
            step = _Step(place / part, (place / part).lstat())
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


def _see_way(way: Sequence[_Step], uid: int, refusal: Callable[[str], VoicekeeperError]) -> None:
    """See that each step of a way is root's or a user's.

    Who owns ``/`` counts as root: in a user namespace that is the host's, who has no name there.
    """
    for step in way:
        if step.found.st_uid not in (0, uid, way[0].found.st_uid):
            raise refusal(
                f"the way there leads through {step.path}, which is {_name(step.found.st_uid)}'s, "
                f"to what is {_name(uid)}'s, so root does not follow it; have it in a folder that "
                "nobody else can exchange"
            )


def _see_closed(way: Sequence[_Step], folder: _Step, file: Path) -> None:
    """See that nobody else can write to root's folder, nor exchange a folder above it."""
    if folder.found.st_uid != 0:
        return
    for step in way:
        if _is_open(step, folder):
            raise DatabaseUnusable(
                f"{step.path} is root's and others may write to it, so they could lead root astray "
                f"at {file}; have the registry in a folder that its owner alone can write to"
            )


def _is_open(step: _Step, folder: _Step) -> bool:
    """Tell whether others than its owner may exchange what a folder on the way to one holds."""
    mode, group = step.found.st_mode, step.found.st_gid
    writers = stat.S_IWOTH | (stat.S_IWGRP if group != 0 else 0)  # root's group is root
    is_shared = mode & stat.S_ISVTX and step is not folder
    return step.is_folder and bool(mode & writers) and not is_shared


def _astray(file: Path, words: str) -> BackupFailed:
    return BackupFailed(f"{file}: {words}")


def _user(uid: int, gid: int) -> Owner:
    try:
        known = pwd.getpwuid(uid)
    except KeyError:  # such as in a container
        return Owner(uid, gid or _NOGROUP, [], _name(uid))
    groups = os.getgrouplist(known.pw_name, known.pw_gid)
    return Owner(uid, known.pw_gid, groups, known.pw_name)


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
