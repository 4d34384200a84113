"""What happened, in one short line for a person: a line of the daemon's log, or a command."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

Kind = Literal["command", "info", "warning", "error"]

READY: Final = "daemon.ready"
"""The event of a daemon that has made its first pass (``voicekeeper.events``)."""


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that happened.

    Attributes:
        at: seconds since the demonstration began.
        kind: a command that was given, or the level of a line of the log.
        text: the event, the voice, and what matters of the rest.
        event: of a line of the log, else empty.
    """

    at: float
    kind: Kind
    text: str
    event: str = ""


def command(args: Sequence[str], at: float) -> Happening:
    """Tell of a command that is given."""
    return Happening(at, "command", f"$ voicekeeper {shlex.join(args)}")


def logged(line: str, at: float) -> Happening:
    """Tell of a line of the daemon's log.

    What is no event, such as the words of a daemon that cannot start, is told as it came.
    """
    try:
        entry = json.loads(line)
    except ValueError:
        entry = None
    if not isinstance(entry, dict) or not isinstance(entry.get("event"), str):
        return Happening(at, "error", line.strip())
    event, name = entry["event"], entry.get("name") or ""
    words = (f"{event:<21}", f"{name:<8}", _detail(entry))
    return Happening(at, _kind(entry.get("level")), " ".join(words).rstrip(), event)


def _kind(level: object) -> Kind:
    match level:
        case "error" | "critical":
            return "error"
        case "warning":
            return "warning"
        case _:
            return "info"


def _detail(entry: Mapping[str, Any]) -> str:
    if "error" in entry:
        return str(entry["error"])
    if "from" in entry and "to" in entry:
        return f"{entry['from']} to {entry['to']}"
    return str(entry.get("status") or entry.get("origin") or "")
