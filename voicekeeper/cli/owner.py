"""The user that owns the registry, whom root takes on so that its files stay theirs."""

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from voicekeeper.errors import VoicekeeperError


def become_owner(path: Path | None) -> None:
    """Run as root, take on the user that owns the database, so that its files stay theirs.

    Args:
        path: its file; None where it has none, and so nobody owns it here.

    Raises:
        VoicekeeperError: that user cannot be taken on.
    """
    owner = None if path is None else _owner(path)
    if owner is None:
        return
    _import_the_rest()
    _join_groups(owner)
    try:
        os.setgid(owner.st_gid)
        os.setuid(owner.st_uid)
    except OSError as error:
        raise VoicekeeperError(
            f"cannot become the owner of {path} (uid {owner.st_uid}): {error.strerror}"
        ) from None


@contextmanager
def as_owner(path: Path) -> Iterator[None]:
    """Take on the user that owns the database as `become_owner` does, for as long as a block lasts.

    Raises:
        OSError: that user cannot be taken on.
    """
    owner = _owner(path)
    if owner is None:
        yield
        return
    groups, group = os.getgroups(), os.getegid()
    try:
        _join_groups(owner)
        os.setegid(owner.st_gid)
        os.seteuid(owner.st_uid)
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(groups)


def _owner(path: Path) -> os.stat_result | None:
    """Return whose database it is, where root is to take that user on."""
    if os.geteuid() != 0:
        return None
    try:
        owner = (path if path.exists() else path.parent).stat()
    except OSError:
        return None  # opening it tells what is wrong
    return owner if owner.st_uid != 0 else None


def _import_the_rest() -> None:
    """Import what is only imported when it is needed, while this program may be read."""
    import shutil  # noqa: F401, PLC0415
    import textwrap  # noqa: F401, PLC0415

    from voicekeeper import health  # noqa: F401, PLC0415


def _join_groups(owner: os.stat_result) -> None:
    try:
        os.initgroups(pwd.getpwuid(owner.st_uid).pw_name, owner.st_gid)
    except KeyError:
        os.setgroups([])
