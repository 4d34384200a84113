"""What an old copy of the database cannot know: which enrollments were begun since.

A person's word for an enrollment is spent once. A copy that is put back may hold the word still,
so what was spent is also noted in a file beside the database, which stays when a copy takes the
database's place: one JSON object a line, written and synced before the call's first byte.
"""

import errno
import json
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self

from voicekeeper.duration import parse_instant
from voicekeeper.errors import DatabaseFull, DatabaseUnusable, reason
from voicekeeper.files import open_plain


@dataclass(frozen=True, slots=True)
class Begun:
    """An enrollment that was about to be requested.

    Attributes:
        name: of the voice.
        asked_at: when a person asked for it; a retry is another word.
        begun_at: when its intent was written; its task has the same time.
    """

    name: str
    asked_at: datetime
    begun_at: datetime

    def line(self) -> str:
        """Return the line that notes it."""
        times = {"asked_at": self.asked_at.isoformat(), "begun_at": self.begun_at.isoformat()}
        return json.dumps({"name": self.name, **times}) + "\n"

    @classmethod
    def read(cls, line: str) -> Self:
        """Return what a line notes.

        Raises:
            ValueError: it notes nothing.
            KeyError, TypeError: the same.
        """
        noted = json.loads(line)
        asked_at, begun_at = (parse_instant(str(noted[key])) for key in ("asked_at", "begun_at"))
        return cls(str(noted["name"]), asked_at, begun_at)


class Witness:
    """The file of notes beside a database.

    Args:
        database: the database's file.
    """

    def __init__(self, database: Path) -> None:
        self.path = database.with_name(f"{database.name}.enrollments")

    def begun(self) -> list[Begun] | None:
        """Return all that was noted; None where nobody can tell: the file is gone or spoilt.

        Raises:
            DatabaseUnusable: it is there, and may not be read.
        """
        try:
            with os.fdopen(open_plain(self.path, os.O_RDONLY), encoding="utf-8") as file:
                text = file.read()
        except (FileNotFoundError, UnicodeDecodeError):
            return None
        except OSError as error:
            raise self._explain(error) from None
        lines = text.split("\n")[:-1]  # one cut short by a crash was followed by no call
        try:
            return [Begun.read(line) for line in lines if line]
        except (ValueError, KeyError, TypeError):
            return None

    def note(self, *begun: Begun) -> None:
        """Add notes, and the file where it is missing; return when they are on the disk.

        Raises:
            DatabaseFull: the disk is.
            DatabaseUnusable: the file cannot be written.
        """
        try:
            descriptor = open_plain(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            try:
                size, added = os.fstat(descriptor).st_size, "".join(map(Begun.line, begun)).encode()
                if os.write(descriptor, added) < len(added):
                    os.ftruncate(descriptor, size)
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise self._explain(error) from None

    def _explain(self, error: OSError) -> DatabaseFull | DatabaseUnusable:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return DatabaseFull(f"the disk of {self.path} is full; make room, and it goes on")
        return DatabaseUnusable(
            f"{self.path}: {reason(error)}; it must be a plain file that the "
            "database's owner reads and writes"
        )


class Recollection(Witness):
    """Notes that live as long as this object, for a registry in memory."""

    def __init__(self) -> None:
        self._begun: list[Begun] = []

    def begun(self) -> list[Begun] | None:
        """Return all that was noted."""
        return list(self._begun)

    def note(self, *begun: Begun) -> None:
        """Add notes."""
        self._begun += begun


class NoWitness(Witness):
    """No notes, where nobody but the server's own tools puts an older copy in its place."""

    def __init__(self) -> None:
        """There is no file."""

    def begun(self) -> list[Begun] | None:
        """Return nothing: no enrollment is known to be forgotten."""
        return []

    def note(self, *begun: Begun) -> None:
        """Note nothing."""
