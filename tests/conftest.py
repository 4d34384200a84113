"""How Hypothesis tries its examples, in every test; a host elsewhere; and the judge's court."""

import time
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, settings

from tests.court import Court

# A busy machine is no finding, so nothing here is measured against the wall clock.
settings.register_profile("usual", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# A mutant has only to be caught: to shrink its example takes longer than to find it.
settings.register_profile(
    "mutants",
    settings.get_profile("usual"),
    phases=[Phase.explicit, Phase.generate],
    max_examples=30,
    derandomize=True,  # the same mutants live in every run
    database=None,
)
settings.load_profile("usual")


@pytest.fixture
def far_east(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Move the host to where a day begins 14 hours before UTC's."""
    with monkeypatch.context() as moved:
        moved.setenv("TZ", "EAST-14")
        time.tzset()
        yield
    time.tzset()


@pytest.fixture
def court() -> Iterator[Court]:
    court = Court()
    yield court
    court.loop.close()
