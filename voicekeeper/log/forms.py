"""The two forms of a log line: JSON for machines, columns for a person at a terminal."""

import json
import logging
import traceback
from collections.abc import Mapping

from structlog.typing import ExcInfo

from voicekeeper.fields import INDENT, filled, json_text, words
from voicekeeper.log.redaction import Plain
from voicekeeper.visible import visible

_FRAMES = 6
_LONGEST_TRACE = 3_000
_COLORS = {"debug": "\x1b[2m", "warning": "\x1b[33m", "error": "\x1b[31m", "critical": "\x1b[31m"}
_RESET = "\x1b[0m"
_PRIORITIES = (
    (logging.CRITICAL, 2),
    (logging.ERROR, 3),
    (logging.WARNING, 4),
    (logging.INFO, 6),
)


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


def with_priority(line: str, level: int) -> str:
    """Put the journal's priority before each line (``sd-daemon(3)``); the journal strips it."""
    priority = next((number for least, number in _PRIORITIES if level >= least), 7)
    return "\n".join(f"<{priority}>{part}" for part in line.split("\n"))
