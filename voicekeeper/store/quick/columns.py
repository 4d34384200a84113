"""The columns of the tables, and what reads a value of each, as the file has it.

A reader raises ValueError, TypeError or LookupError for a value that is not of its type to the
letter.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any, Final

from voicekeeper.core.enums import Origin, Status

Read = Callable[[Any], object]


def text(value: object) -> str:
    """Read a text."""
    if type(value) is not str:
        raise ValueError
    return value


def whole(value: object) -> int:
    """Read a whole number."""
    if type(value) is not int:
        raise ValueError
    return value


def number(value: object) -> float:
    """Read a number that may have a fraction."""
    if type(value) is not float:
        raise ValueError
    return value


def flag(value: object) -> bool:
    """Read a yes or no."""
    return {0: False, 1: True}[whole(value)]


def instant(value: object) -> datetime:
    """Read an instant; the file has it in UTC."""
    at = datetime.fromisoformat(f"{text(value)}+00:00")
    if written(at) != value:  # such as a week's day, which the library reads too
        raise ValueError
    return at


def maybe(read: Read) -> Read:
    """Make the reader of a value that may be missing."""
    return lambda value: None if value is None else read(value)


VOICE: Final[Mapping[str, Read]] = {
    "id": whole,
    "name": text,
    "model": text,
    "voice_id": maybe(text),
    "origin": Origin,
    "status": Status,
    "paused": flag,
    "recipe": maybe(text),
    "created_at": instant,
    "last_used_at": maybe(instant),
    "enrolled_at": maybe(instant),
    "anchored_at": instant,
    "next_at": maybe(instant),
    "failures": whole,
    "last_error": maybe(text),
    "suspected_at": maybe(instant),
    "controlled_at": maybe(instant),
    "held_at": maybe(instant),
    "remade_at": maybe(instant),
}
"""Every column of a voice, and what reads it: one that cannot be read spoils the row."""

BREAKER: Final[Mapping[str, Read]] = {
    "model": text,
    "run": whole,
    "last_voice_pk": maybe(whole),
    "opened_at": maybe(instant),
    "cause": maybe(text),
    "probes": whole,
    "probe_at": maybe(instant),
    "judged_at": maybe(instant),
    "distrusted": flag,
}
ACTIVE: Final[Mapping[str, Read]] = {
    "id": whole,
    "epoch": whole,
    "keeper": maybe(text),
    "version": maybe(text),
    "once": flag,
    "started_at": maybe(instant),
    "last_pass_at": maybe(instant),
    "beat": maybe(instant),
    "interval_s": number,
    "window_s": number,
    "server": maybe(text),
}
BALANCE: Final[Mapping[str, Read]] = {"id": whole, "micros": whole, "told_at": instant}


def record(row: Mapping[str, Any]) -> Any:  # noqa: ANN401 - one of `facts`
    """Return a row as a record of what it tells."""
    return SimpleNamespace(**row)


def written(value: object) -> object:
    """Return a value as the file has it."""
    match value:
        case datetime():
            return value.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")
        case date():
            return value.isoformat()
    return value
