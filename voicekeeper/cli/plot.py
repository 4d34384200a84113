"""The smallest margin of each day over time, drawn for a terminal."""

import math
from collections.abc import Sequence
from datetime import timedelta
from typing import Final, NamedTuple

from rich.text import Text

from voicekeeper.core.duration import words

ROWS: Final = 7
_AT_RISK = 2
"""So many sevenths of a window are left when a voice is at risk."""

_EIGHTHS = " ▁▂▃▄▅▆▇█"
_LEFT = 8
_STEPS = (1, 2, 5, 7, 10, 14, 20, 30, 50, 100, 200, 500, 1000, 2000)
_LABELS = 7
_SEVERAL = "*"


class Mark(NamedTuple):
    """Something that went wrong.

    Attributes:
        letter: that stands for it.
        name: what it was.
        start, end: in days.
    """

    letter: str
    name: str
    start: float
    end: float


def plot(
    margins: Sequence[timedelta | None],
    marks: Sequence[Mark],
    *,
    window: timedelta,
    columns: int,
    plain: bool = False,
) -> Text:
    """Draw margins, with the days beneath and a letter for each trouble.

    Args:
        margins: the smallest of each day; None where no voice lived.
        marks: what went wrong.
        window: the largest margin there can be.
        columns: how wide the drawing may be.
        plain: draw it with ASCII alone.
    """
    days, width = len(margins), _width(len(margins), columns - _LEFT - 2)
    shares = [_least(margins, column, width) for column in range(width)]
    lines = [_row(row, shares, window, plain=plain) for row in reversed(range(ROWS))]
    edge = "+" + "-" * width if plain else "└" + "─" * width
    lines.append(Text(f"{'0':>{_LEFT}} {edge}", style="dim"))
    if marks:
        struck = Text(" " * (_LEFT + 2)).append(_marked(marks, days, width), style="yellow")
        lines.append(struck)
    lines.append(Text(f"{'day':>{_LEFT}}  {_labels(days, width)}".rstrip(), style="dim"))
    if marks:
        names = {mark.letter: mark.name for mark in marks}
        told = ", ".join(f"{letter} {name}" for letter, name in sorted(names.items()))
        lines.append(Text(f"{told}, {_SEVERAL} several" if len(names) > 1 else told, style="dim"))
    return Text("\n").join(lines)


def _width(days: int, most: int) -> int:
    """Return how many columns are drawn: of whole days, where there is room for each."""
    return most if days >= most else most // days * days


def _least(margins: Sequence[timedelta | None], column: int, width: int) -> timedelta | None:
    days = len(margins)
    first = column * days // width
    last = max(first + 1, math.ceil((column + 1) * days / width))
    return min((m for m in margins[first:last] if m is not None), default=None)


def _row(row: int, margins: Sequence[timedelta | None], window: timedelta, *, plain: bool) -> Text:
    """Draw one row; the lowest is 0."""
    label = ""
    if row + 1 in (ROWS, _AT_RISK):
        label = words(window * (row + 1) / ROWS)
    line = Text(f"{label:>{_LEFT}} {'|' if plain else '│'}", style="dim")
    for margin in margins:
        share = 0.0 if margin is None else max(margin / window, 0.0)
        filled = min(max(share * ROWS - row, 0.0), 1.0)
        cell = _cell(filled, plain=plain)
        line.append(cell, style=_color(share))
    return line


def _cell(filled: float, *, plain: bool) -> str:
    if plain:
        return "#" if filled >= 0.5 else " "  # noqa: PLR2004 - the half
    return _EIGHTHS[round(filled * 8)]


def _color(share: float) -> str:
    return "green" if share > 2 / 7 else "yellow" if share > 1 / 14 else "red"


def _marked(marks: Sequence[Mark], days: int, width: int) -> str:
    cells = [" "] * width
    for mark in marks:
        first = min(int(mark.start * width / days), width - 1)
        last = max(first + 1, min(math.ceil(mark.end * width / days), width))
        for column in range(first, last):
            free = cells[column] in (" ", mark.letter)
            cells[column] = mark.letter if free else _SEVERAL
    return "".join(cells).rstrip()


def _labels(days: int, width: int) -> str:
    """Return the numbers of some days, each beginning where its day does."""
    step = next((step for step in _STEPS if days / step <= _LABELS), _STEPS[-1])
    written = ""
    for day in range(0, days, step):
        at = day * width // days
        if at + len(str(day)) <= width:
            written = f"{written:<{at}}{day}"
    return written
