"""Whose a file beside the database is: root makes it, the daemon's user has to write it."""

import os
from pathlib import Path


def hand_over(descriptor: int, like: Path) -> None:
    """Give a file that root made to the owner of the database, or of its directory.

    Args:
        descriptor: of the file.
        like: whose owner it is.

    Raises:
        OSError: it cannot be given away.
    """
    if os.geteuid() == 0:
        owner = like.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
