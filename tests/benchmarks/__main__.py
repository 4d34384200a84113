"""``python -m tests.benchmarks [NAME ...] [--write]``: measure, print the table, keep it."""

import argparse
import os
import platform
import sqlite3
import sys
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Final

from tests.benchmarks import calls, commands, drain, growth, quiet, rehearsal, throughput
from tests.benchmarks.table import Row, markdown

BENCHMARKS: Final[dict[str, Callable[[], Iterator[Row]]]] = {
    "commands": commands.rows,
    "calls": calls.rows,
    "throughput": throughput.rows,
    "rehearsal": rehearsal.rows,
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
    parser.add_argument(
        "--write", action="store_true", help="put what was measured into docs/benchmarks.md"
    )
    chosen = parser.parse_args()
    unknown = set(chosen.name) - set(BENCHMARKS)
    if unknown:
        parser.error(f"no benchmark is named {', '.join(sorted(unknown))}")
    passed = True
    for name in chosen.name or BENCHMARKS:
        rows = []
        for row in BENCHMARKS[name]():
            sys.stdout.write("\t".join(row.cells()).rstrip() + "\n")
            sys.stdout.flush()
            rows.append(row)
        passed = passed and all(row.passed is not False for row in rows)
        if chosen.write:
            PLACE.write_text(with_section(PLACE.read_text(), name, _measured(rows)))
    return int(not passed)


def with_section(page: str, name: str, content: str) -> str:
    """Return a page whose section of that name has another content.

    Raises:
        ValueError: it has no such section.
    """
    head = f"## {name}\n"
    before, found, rest = page.partition(head)
    if not found:
        raise ValueError(f"the page has no section {name}")
    _, after, others = rest.partition("\n## ")
    return f"{before}{head}\n{content}{after}{others}"


def _measured(rows: list[Row]) -> str:
    machine = (
        f"{os.cpu_count()} processors, Python {platform.python_version()}, "
        f"SQLite {sqlite3.sqlite_version}"
    )
    return f"{markdown(rows)}\n{date.today():%Y-%m-%d}, {machine}.\n"  # noqa: DTZ011


if __name__ == "__main__":
    sys.exit(main())
