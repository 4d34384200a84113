"""The lock beside a registry's file, by which one daemon keeps others off.

The kernel lets go of it when the process that holds it ends, however it ends.
"""

import fcntl
import os
import time
from pathlib import Path
from typing import Final

_LOOKS: Final = 25
_LOOK_S: Final = 0.02
"""For so long a daemon that starts waits for those who only ask: each has the lock for an instant,
and so had `is_held` for its answer."""


def lock_of(file: Path) -> Path:
    """Return the lock of a registry; one that is reached by a link has its lock where it is."""
    real = Path(os.path.realpath(file))
    return real.with_name(f"{real.name}.lock")


def take(descriptor: int) -> None:
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


def is_held(file: Path) -> bool | None:
    """Tell whether a daemon holds a registry; None where nobody can tell.

    Args:
        file: the registry's.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(lock_of(file), flags)
    except OSError:  # there is none yet, or it is closed to us
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
