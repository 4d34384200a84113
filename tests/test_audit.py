"""What is said of pip-audit's report: a hole fails, and what was not looked up is told."""

import json
from typing import Any

import pytest

from tests.audit import verdict

SOUND = {"name": "anyio", "version": "4.16.0", "vulns": []}
HOLED = {
    "name": "click",
    "version": "8.5.1",
    "vulns": [{"id": "CVE-2026-0001", "fix_versions": ["99.0"]}],
}
SKIPPED = {
    "name": "alembic",
    "skip_reason": "Dependency not found on PyPI and could not be audited: alembic (1.20.1)",
}
HOLE = "  click 8.5.1: CVE-2026-0001, mended in 99.0"
NOT_LOOKED_UP = ["NOT AUDITED: 1 of 2 packages, such as:", f"  {SKIPPED['skip_reason']}"]


def report(*packages: dict[str, Any]) -> str:
    return json.dumps({"dependencies": packages, "fixes": []})


@pytest.mark.parametrize(
    ("packages", "code", "lines"),
    [
        ([SOUND], 0, ["0 known holes in 1 packages"]),
        ([SOUND, HOLED], 1, ["1 known holes in 2 packages", HOLE]),
        ([SOUND, SKIPPED], 0, ["0 known holes in 1 packages", *NOT_LOOKED_UP]),
        ([HOLED, SKIPPED], 1, ["1 known holes in 1 packages", HOLE, *NOT_LOOKED_UP]),
        ([], 0, ["NOT AUDITED: 0 of 0 packages, such as:"]),
    ],
    ids=["sound", "a hole", "not looked up", "both", "nothing"],
)
def test_a_hole_fails_and_what_was_not_looked_up_is_told(
    packages: list[dict[str, Any]], code: int, lines: list[str]
) -> None:
    assert verdict(report(*packages), "") == (code, "\n".join(lines))


def test_a_list_that_cannot_be_had_is_told_and_is_no_failure() -> None:
    words = "Traceback (most recent call last):\n  ...\nConnectionError: no such host\n\n"
    told = "NOT AUDITED: pip-audit ended without a report: ConnectionError: no such host"
    assert verdict("", words) == (0, told)
