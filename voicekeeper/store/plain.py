"""Opening a file beside the database, which is plain and no link."""

import errno
import os
import stat
from pathlib import Path


def open_plain(path: Path, flags: int) -> int:
    """Open a file, of mode 0600 where it is made; return its descriptor.

    Raises:
        OSError: it cannot be opened, or is a link, a pipe or anything else but a plain file.
    """
    flags |= os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe is no reason to wait
    descriptor = os.open(path, flags, 0o600)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    return descriptor
