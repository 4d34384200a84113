"""A bar of the share of its window that a voice has left, for a terminal."""

from typing import Final

from rich.console import Console
from rich.text import Text

_CELLS: Final = 10


def bar(share: float, *, plain: bool = False) -> Text:
    """Return a bar of a share between 0 and 1, green, yellow or red.

    Args:
        share: what is left; what lies outside of 0 to 1 is drawn as the nearer of the two.
        plain: draw it with ASCII alone.
    """
    full = round(min(max(share, 0.0), 1.0) * _CELLS)
    color = "green" if share > 2 / 7 else "yellow" if share > 1 / 14 else "red"
    marks = ("#", ".") if plain else ("\u2588", "\u2591")
    return Text(marks[0] * full, style=color).append(marks[1] * (_CELLS - full), style="dim")


def has_blocks(console: Console) -> bool:
    """Tell whether the console can show a bar that is not plain."""
    return (console.encoding or "").lower().startswith("utf")
