"""A line of the log: values made plain, secrets cut out, and the two forms it is laid out in.

A secret can hide in a nested value, in a key or in an exception's text. So each value is first
reduced to what JSON has, and each text in it is searched.
The forms are JSON for machines, and columns for a person at a terminal.
"""

import json
import math
import traceback
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from enum import Enum
from pathlib import PurePath

from structlog.typing import ExcInfo

from voicekeeper.core import duration
from voicekeeper.core.secrecy import REDACTED, Secrets
from voicekeeper.core.visible import INDENT, filled, json_text, visible, words

Plain = None | bool | int | float | str | list["Plain"] | dict[str, "Plain"]

_NAMES = frozenset({"authorization", "proxy_authorization", "api_key", "apikey", "x_api_key"})
_DEEPEST = 8
_FRAMES = 6
_LONGEST_TRACE = 3_000
_COLORS = {"debug": "\x1b[2m", "warning": "\x1b[33m", "error": "\x1b[31m", "critical": "\x1b[31m"}
_RESET = "\x1b[0m"
_PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}


class Redactor:
    """Makes values plain, and lets no secret pass; ``text`` cuts them out of a text."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self.text = Secrets(secrets).cut

    def fields(self, fields: Mapping[str, object], depth: int = 0) -> dict[str, Plain]:
        """Return the fields with plain values; one that is named like a key is cut out."""
        is_key = {name: name.lower().replace("-", "_") in _NAMES for name in fields}
        return {
            self.text(name): REDACTED if is_key[name] else self.plain(value, depth)
            for name, value in fields.items()
        }

    def plain(self, value: object, depth: int = 0) -> Plain:
        """Reduce any value to what JSON has, without secrets; never raises."""
        try:
            return self._reduced(value, depth)
        except Exception:  # noqa: BLE001 - a value's own code failed, and a log line must not
            return f"<{type(value).__name__} that cannot be shown>"

    def _reduced(self, value: object, depth: int) -> Plain:
        if isinstance(value, (Mapping, list, tuple, AbstractSet)):
            if depth >= _DEEPEST:
                return "…"
            if isinstance(value, Mapping):
                return self.fields({str(key): inner for key, inner in value.items()}, depth + 1)
            return [self.plain(inner, depth + 1) for inner in value]
        if isinstance(value, Enum):
            value = value.value
        if value is None or isinstance(value, bool):
            return value
        written = _written(value)
        cut = self.text(written)
        if isinstance(value, (int, float)) and math.isfinite(value) and cut == written:
            return value
        return cut


def _written(value: object) -> str:
    """Write a single value as the commands write it, else as Python does."""
    match value:
        case str() | int() | float() | PurePath():
            return str(value)
        case datetime() if value.tzinfo is not None:
            return duration.rfc3339(value)
        case timedelta() if value >= timedelta(0):
            return duration.compact(value)
        case BaseException():
            return f"{type(value).__name__}: {value}"
        case _:
            return repr(value)


def exception_text(exc_info: ExcInfo) -> str:
    """Write an exception and its causes: the innermost frames of each, never their locals."""
    return "".join(
        traceback.TracebackException(*exc_info, limit=-_FRAMES, compact=True).format()
    ).strip()


def shortened(trace: str) -> str:
    """Keep the end of a long trace: journald's JSON shows no message of over 4 KiB."""
    return trace if len(trace) <= _LONGEST_TRACE else f"… {trace[-_LONGEST_TRACE:]}"


def json_line(fields: Mapping[str, Plain], encoding: str) -> str:
    """Write the fields as one JSON object, escaped further where the stream needs it."""
    line = json_text(fields)
    try:
        line.encode(encoding)
    except UnicodeEncodeError:
        return json.dumps(fields)
    return line


def console_line(fields: Mapping[str, Plain], *, color: bool, encoding: str) -> str:
    """Write the fields for a person, in lines of 80 columns.

    Control characters are shown, not sent: the gateway's words cannot move the cursor.
    """
    rest = dict(fields)
    moment = str(rest.pop("timestamp"))[:19].replace("T", " ") + "Z"
    level = str(rest.pop("level"))
    event = visible(str(rest.pop("event")))
    trace = rest.pop("exception", None)
    lines = list(filled(f"{moment} {level:<7}", [*event.split(" "), *words(rest)]))
    if trace is not None:
        lines += [INDENT + visible(line) for line in str(trace).splitlines()]
    text = "\n".join(lines).encode(encoding, "backslashreplace").decode(encoding)
    if color and level in _COLORS:
        text = text.replace(level, f"{_COLORS[level]}{level}{_RESET}", 1)
    return text


def with_priority(line: str, level: str) -> str:
    """Put the journal's priority before each line (``sd-daemon(3)``); the journal strips it."""
    priority = _PRIORITIES.get(level, _PRIORITIES["info"])
    return "\n".join(f"<{priority}>{part}" for part in line.split("\n"))
