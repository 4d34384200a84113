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

from voicekeeper.errors import DatabaseUnusable, VoicekeeperError, reason
from voicekeeper.store import files

IMPORTED_LATE: Final = (
    *("shutil", "textwrap", "traceback", "alembic.command", "alembic.config", "rich.progress"),
    *(
        "voicekeeper.core.health",
        "voicekeeper.cli.table",
        "voicekeeper.daemon.wiring",
        "voicekeeper.cli.network",
    ),
)
"""Modules that commands import when they need them, with all that those import."""

_PROGRAM = (Path(__file__), Path(os.__file__))
_NOGROUP = 65_534


class Owner(NamedTuple):
    """The user whom root becomes."""

    uid: int
    gid: int
    groups: Sequence[int]
    name: str


def owner_of(file: Path, *, is_kind: Callable[[int], bool] = stat.S_ISREG) -> Owner | None:
    """Return the user whom root has to become before it touches a file; None where it stays root.

    The path is absolute; the file, and folders on the way to it, may be missing. Raises
    DatabaseUnusable where another user could lead root astray: a folder or a link on the way is
    theirs, they may write to root's folder, or the file is not the owner's, or not of its kind.
    """
    if os.geteuid() != 0:
        return None
    try:
        way = files.way_to(file)
    except OSError as error:
        raise DatabaseUnusable(f"{file}: {reason(error)}") from None
    folder = next(step for step in reversed(way) if step.is_folder)
    uid = folder.found.st_uid
    last = way[-1]
    if not last.is_folder and not (last.found.st_uid == uid and is_kind(last.found.st_mode)):
        name = files.user_name(uid)
        raise DatabaseUnusable(
            f"{last.path} must be a plain file of {name}, who owns its folder, and is not; "
            f"see what it is, and 'chown {name} {last.path}' if it is your registry"
        )
    files.see_way(way, uid, lambda words: DatabaseUnusable(f"{file}: {words}"))
    files.see_closed(way, folder, file)
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
    user = files.user_name(os.geteuid())
    return DatabaseUnusable(
        f"root became {user}, who owns the registry's folder and cannot read "
        f"this program at {sys.prefix} or its Python at {Path(os.__file__).parent} ({error}); "
        "install both where everybody can read them, as systemd/install.sh does"
    )


def become(owner: Owner) -> None:
    """Become a user for good; DatabaseUnusable where this root may not."""
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


@contextmanager
def new_file(file: Path) -> Iterator[int]:
    """Give the descriptor of a new file that a person named; it appears whole or not at all.

    Raises BackupFailed where there is such a file already, or it cannot be written.
    """
    from voicekeeper.store import backup  # noqa: PLC0415 - `resolve` does without

    backup.see_free(file)
    with (
        backup.explained(file),
        files.folder_of(file) as folder,
        backup.receiving(folder, file.name) as descriptor,
    ):
        yield descriptor


def in_child(work: Callable[[], None]) -> None:
    """Have work done by a child of this process, which may become another user.

    What the child raises is raised here as a VoicekeeperError with its words and its exit code.
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


def _user(uid: int, gid: int) -> Owner:
    try:
        known = pwd.getpwuid(uid)
    except KeyError:  # such as in a container
        return Owner(uid, gid or _NOGROUP, [], files.user_name(uid))
    groups = os.getgrouplist(known.pw_name, known.pw_gid)
    return Owner(uid, known.pw_gid, groups, known.pw_name)
