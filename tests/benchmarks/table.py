"""A figure, its bar, and how they are shown."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

ROUNDS = 5
"""So often each thing is measured: the machine's noise shows in the spread."""


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        what: was measured.
        figures: of each round.
        unit: behind each figure.
        at_least, at_most: the bar for the median; None where there is none.
        note: what else is to be known.
    """

    what: str
    figures: Sequence[float]
    unit: str = ""
    at_least: float | None = None
    at_most: float | None = None
    note: str = ""

    @property
    def passed(self) -> bool | None:
        """Whether the median clears the bar; None without one."""
        middle = median(self.figures)
        if self.at_least is not None:
            return middle >= self.at_least
        if self.at_most is not None:
            return middle <= self.at_most
        return None

    def cells(self) -> tuple[str, ...]:
        """Return what stands in the table."""
        bar = ""
        if self.at_least is not None:
            bar = f"≥ {_short(self.at_least)}"
        elif self.at_most is not None:
            bar = f"≤ {_short(self.at_most)}"
        verdict = {None: "", True: "pass", False: "FAIL"}[self.passed]
        least, middle, most = min(self.figures), median(self.figures), max(self.figures)
        spread = f"{_short(least)} to {_short(most)}" if len(self.figures) > 1 else ""
        return (self.what, f"{_short(middle)} {self.unit}".strip(), spread, bar, verdict, self.note)


HEAD = ("figure", "median", "min to max", "bar", "", "note")


def markdown(rows: Iterable[Row]) -> str:
    """Return the table as it stands in the docs."""
    lines = ["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
    lines += ["| " + " | ".join(row.cells()) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def rounds(measure: Callable[[], float], times: int = ROUNDS) -> list[float]:
    """Measure something several times."""
    return [measure() for _ in range(times)]


def _short(figure: float) -> str:
    if figure >= 100:
        return f"{figure:,.0f}"
    return f"{figure:.3g}"
