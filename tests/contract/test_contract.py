"""What users' scripts and dashboards depend on is today what the pinned files say.

A difference that is meant is written with ``python -m tests.contract``, and told in the changelog.
"""

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.contract.pinned import FOLDER, declared, lived


def pinned(names: Mapping[str, str]) -> Mapping[str, str]:
    return {name: (FOLDER / name).read_text() for name in names}


def test_the_help_the_exit_codes_and_the_settings_are_those_that_are_pinned(
    tmp_path: Path,
) -> None:
    today = declared(tmp_path)
    assert today == pinned(today)


@pytest.mark.host
@pytest.mark.timeout(600)
def test_events_json_metrics_and_paths_are_those_that_are_pinned(tmp_path: Path) -> None:
    today = lived(tmp_path)
    assert today == pinned(today)
    assert {file.name for file in FOLDER.iterdir()} == {*today, *declared(tmp_path)}
