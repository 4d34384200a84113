"""Durations and instants in the forms that people read and write.

``"7d"``, ``"36h"``, ``"90m"``, ``"0.5s"`` and ``"1d12h"`` in settings and options;
``"2 d 4 h"`` in tables; RFC 3339 in UTC with a ``Z`` wherever a machine reads an instant.
"""

import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from voicekeeper.errors import quoted

_PART = re.compile(r"(\d+(?:\.\d+)?)(d|h|m|s)")
_UNITS = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0}
_NAMED = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
_WRITTEN = "must be a duration such as 7d, 36h, 90m, 0.5s or 1d12h"


def parse(text: str) -> timedelta:
    """Read a duration: numbers with a unit each, the largest first.

    Raises:
        ValueError: the text is not of that form, or longer than 100 years.
    """
    text = text.strip()
    parts = _PART.findall(text)
    units = [unit for _, unit in parts]
    ordered = sorted(set(units), key="dhms".index)
    if not parts or "".join(n + u for n, u in parts) != text or units != ordered:
        raise ValueError(f"{_WRITTEN}, not {quoted(text)}")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if seconds > 100 * 365 * _UNITS["d"]:
        raise ValueError(f"must be shorter than 100 years, not {quoted(text)}")
    return timedelta(seconds=seconds)


def compact(duration: timedelta) -> str:
    """Write a duration so that ``parse`` reads it back, e.g. ``1d12h``; not negative."""
    rest = duration.total_seconds()
    written = ""
    for unit, seconds in list(_UNITS.items())[:3]:
        count, rest = divmod(rest, seconds)
        written += f"{int(count)}{unit}" if count else ""
    if rest or not written:
        written += f"{rest:.6f}".rstrip("0").rstrip(".") + "s"
    return written


def words(duration: timedelta) -> str:
    """Write a duration for a person, to its two largest units, e.g. ``2 d 4 h`` or ``35 s``."""
    seconds = abs(duration.total_seconds())
    sign = "-" if duration < timedelta(0) else ""
    for (big, size), (small, part) in pairwise(_NAMED):
        if seconds >= size:
            count, rest = divmod(seconds, size)
            parts = int(rest // part)
            return f"{sign}{int(count)} {big}" + (f" {parts} {small}" if parts else "")
    return f"{sign}{int(seconds)} s"


def plus(instant: datetime, length: timedelta) -> datetime:
    """Return an instant moved by a duration, which may be negative, within the calendar.

    A date in a row or an answer may stand at its end already; that must not stop a pass.
    """
    try:
        return instant + length
    except OverflowError:
        return _FIRST if length < timedelta(0) else _LAST


def rfc3339(instant: datetime) -> str:
    """Write an aware instant as RFC 3339 in UTC with ``Z``, cut to the whole second.

    ``jq``'s date functions read no fractions, and a deadline a moment early harms nobody.
    """
    return instant.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat() + "Z"


def parse_instant(text: str) -> datetime:
    """Read an RFC 3339 instant; one without an offset is taken as UTC.

    Raises:
        ValueError: the text is no such instant.
    """
    try:
        instant = datetime.fromisoformat(text.strip())
        return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(
            f"must be a time such as 2026-05-01T12:00:00Z, not {quoted(text)}"
        ) from None
