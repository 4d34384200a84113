"""Every error voicekeeper raises on purpose, and the exit code each one ends the command with.

An error carries its own sentence for the person who reads it, so no ladder of ``except``
turns types into words. The facts that a caller needs to decide ride on the exception.
"""

import os
import reprlib
from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

INTERRUPTED: Final = 130

EXIT_CODES: Final[Mapping[int, str]] = {
    0: "It is done, or all is well.",
    1: "It failed: what was asked for could not be done, or is not so.",
    2: "Wrong use: an option, an argument or a value that breaks a rule.",
    75: (
        "Try again: another daemon holds the registry, its file was replaced under this one, or "
        "its server is away."
    ),
    77: "The gateway refuses the API key.",
    78: "The settings, the key's place or the registry cannot be used; a person must act.",
    INTERRUPTED: "It was interrupted by Ctrl-C.",
}
"""What a command ends with, and what that means; ``status`` has codes of its own. The numbers are
those of ``sysexits.h`` where one fits, and the shell's for a process that SIGINT ended."""

_QUOTED_MOST: Final = 100
_repr = reprlib.Repr()
_repr.maxstring = _repr.maxlong = _QUOTED_MOST


def quoted(value: str | float) -> str:
    """Return a value as it can stand in a sentence: in quotes, escaped, its middle left out."""
    return _repr.repr(value)


def reason(error: OSError) -> str:
    """Return in words why the system refused, without the path or address that Python adds."""
    number = error.errno or 0
    return (os.strerror(number) if number > 0 else error.strerror or str(error)).lower()


class VoicekeeperError(Exception):
    """The root of all; its sentence says what to do, its details stand below, a line each."""

    exit_code: ClassVar[int] = 1

    def __init__(self, sentence: str = "", details: Sequence[str] = ()) -> None:
        self.lines = (sentence, *(f"  {detail}" for detail in details))
        super().__init__("\n".join(self.lines))


class InvalidInput(VoicekeeperError):
    """A value that a person or a file gave breaks a rule; the sentence names the rule."""

    exit_code = 2


class NotFound(VoicekeeperError):
    """No voice in the registry has the name that was asked for."""


class NotAllowed(VoicekeeperError):
    """The voice's status, or another voice, stands in the way."""


class Taken(NotAllowed):
    """Names or voice ids are registered already: the place of each in the list, and a sentence."""

    def __init__(self, conflicts: Sequence[tuple[int, str]]) -> None:
        self.conflicts = tuple(conflicts)
        super().__init__("; ".join(sentence for _, sentence in self.conflicts[:5]))


class DatabaseHeld(VoicekeeperError):
    """Another daemon works on the same database; try again when it has stopped."""

    exit_code = 75


class NotActive(DatabaseHeld):
    """Another keeper, ``PID@HOST``, is the active one: this one writes no intent."""

    def __init__(self, keeper: str, place: str) -> None:
        self.keeper = keeper
        super().__init__(f"{keeper} is the active keeper of {place}; this one stands by")


class DatabaseReplaced(VoicekeeperError):
    """The registry's file was replaced or removed while it was open; a new start opens it anew."""

    exit_code = 75


class DatabaseAway(VoicekeeperError):
    """The server of the database is not reached, or ended the connection; try again."""

    exit_code = 75


class DatabaseFull(VoicekeeperError):
    """The disk under the database is full; there may be room later."""


class BackupFailed(VoicekeeperError):
    """A copy of the registry could not be made; nothing is left of it."""


class FetchFailed(VoicekeeperError):
    """The preview of a new voice could not be downloaded; nothing is left of it."""


class KeyRefused(VoicekeeperError):
    """The gateway answered 401: the API key is missing or not valid."""

    exit_code = 77


class ConfigError(VoicekeeperError):
    """One or more settings are wrong: a problem each, beginning with the setting's dotted path."""

    exit_code = 78

    def __init__(self, problems: Sequence[str], source: str = "the configuration") -> None:
        self.problems = tuple(problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        super().__init__(f"{count} in {source}:", self.problems)


class DatabaseUnusable(VoicekeeperError):
    """The database is newer than this program, not a database, or cannot be opened or written."""

    exit_code = 78


class DatabaseDamaged(DatabaseUnusable):
    """The database's file is torn, overwritten or empty: it has to be restored."""


class NotSent(VoicekeeperError):
    """A message to people, or a ping, did not arrive, as far as anybody knows."""


class Withdrawn(VoicekeeperError):
    """An enrollment about to be requested was paused, removed, held back or begun elsewhere."""


class CallFailed(VoicekeeperError):
    """A call to the gateway failed.

    Attributes:
        code: the HTTP status, or the ``code`` of the JSON body where that one is not 200;
            None when no usable answer came.
        retry_after: seconds that the gateway asked us to wait, or None.
        ambiguous: True when the gateway may have done, and charged, what was asked
            although no answer says so. Never repeat a paid enrollment after that.
    """

    def __init__(
        self,
        message: str,
        *,
        code: int | None = None,
        retry_after: float | None = None,
        ambiguous: bool = False,
    ) -> None:
        self.code = code
        self.retry_after = retry_after
        self.ambiguous = ambiguous
        super().__init__(message)
