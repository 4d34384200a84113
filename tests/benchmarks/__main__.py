"""``python -m tests.benchmarks [NAME ...] [--write]``: measure, print the table, keep it."""

import argparse
import os
import platform
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from tests.benchmarks import alternatives, calls, commands, drain, growth, quiet, throughput
from tests.benchmarks.table import Row, markdown

BENCHMARKS: Final[dict[str, Callable[[], Iterator[Row]]]] = {
    "commands": commands.rows,
    "calls": calls.rows,
    "throughput": throughput.rows,
    "alternatives": alternatives.rows,
    "quiet": quiet.rows,
    "drain": drain.rows,
    "drain-whole": drain.whole,
    "growth": growth.rows,
}
PLACE = Path(__file__).parents[2] / "docs" / "benchmarks.md"


def main() -> int:
    """Return 1 if a bar was missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("name", nargs="*", help=f"{', '.join(BENCHMARKS)}; all without one")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    chosen = parser.parse_args()
    unknown = set(chosen.name) - set(BENCHMARKS)
    if unknown:
        parser.error(f"no benchmark is named {', '.join(sorted(unknown))}")
    rows = []
    for name in chosen.name or BENCHMARKS:
        for row in BENCHMARKS[name]():
            sys.stdout.write("\t".join(row.cells()).rstrip() + "\n")
            sys.stdout.flush()
            rows.append(row)
    if chosen.write:
        PLACE.write_text(_page(rows))
    return int(any(row.passed is False for row in rows))


def _page(rows: list[Row]) -> str:
    machine = (
        f"{os.cpu_count()} processors, Python {platform.python_version()}, "
        f"SQLite {sqlite3.sqlite_version}"
    )
    return (
        "# Benchmarks\n\nWhat `python -m tests.benchmarks --write` measured on a machine with "
        f"{machine}.\nWhere a bar is missed it says FAIL. Ratios and the spread say more than "
        "single figures: both sides\nof a ratio are measured in turns, in one run.\n\n"
        + markdown(rows)
    )


if __name__ == "__main__":
    sys.exit(main())
