"""The two forms of a log line: JSON for machines, columns for a person at a terminal."""

import json
import logging
import traceback
from collections.abc import Iterator, Mapping
from typing import Final

from structlog.typing import ExcInfo

from voicekeeper.log.redaction import Plain

WIDTH: Final = 80

_FRAMES = 6
_LONGEST_TRACE = 3_000
_INDENT = "    "
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
    line = json.dumps(fields, ensure_ascii=False)
    try:
        line.encode(encoding)
    except UnicodeEncodeError:
        return json.dumps(fields)
    return line


def console_line(fields: Mapping[str, Plain], *, color: bool, encoding: str) -> str:
    """Write the fields for a person, broken between two of them at 80 columns.

    Control characters are shown, not sent: the gateway's words cannot move the cursor.
    """
    rest = dict(fields)
    moment = str(rest.pop("timestamp"))[:19].replace("T", " ") + "Z"
    level = str(rest.pop("level"))
    event = _visible(str(rest.pop("event")))
    trace = rest.pop("exception", None)
    tokens = [*event.split(" "), *(f"{_visible(k)}={_value(v)}" for k, v in rest.items())]
    lines = list(_filled(f"{moment} {level:<7}", tokens))
    if trace is not None:
        lines += [_INDENT + _visible(line) for line in str(trace).splitlines()]
    text = "\n".join(lines).encode(encoding, "backslashreplace").decode(encoding)
    if color and level in _COLORS:
        text = text.replace(level, f"{_COLORS[level]}{level}{_RESET}", 1)
    return text


def with_priority(line: str, level: int) -> str:
    """Put the journal's priority before each line (``sd-daemon(3)``); the journal strips it."""
    priority = next((number for least, number in _PRIORITIES if level >= least), 7)
    return "\n".join(f"<{priority}>{part}" for part in line.split("\n"))


def _filled(line: str, tokens: list[str]) -> Iterator[str]:
    """Yield lines that hold as many whole tokens as fit."""
    for token in tokens:
        if len(line) + 1 + len(token) > WIDTH and line.strip():
            yield line
            line = _INDENT[:-1]
        line += f" {token}"
    yield line


def _value(value: Plain) -> str:
    if not isinstance(value, str):
        return _visible(json.dumps(value, ensure_ascii=False))
    if value and not any(c in value for c in ' ="'):
        return _visible(value)
    quoted = value.replace('"', '\\"')
    return f'"{_visible(quoted)}"'


def _visible(text: str) -> str:
    """Spell out what does not print."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
