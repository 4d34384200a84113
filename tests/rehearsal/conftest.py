"""Forged evidence."""

from collections.abc import Iterator

import pytest

from tests.rehearsal.forged import Forged


@pytest.fixture
def forged() -> Iterator[Forged]:
    forged = Forged()
    yield forged
    forged.loop.close()
