"""How Hypothesis tries its examples, in every test; and the court of the rehearsal's judge."""

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
    database=None,
)
settings.load_profile("usual")


@pytest.fixture
def court() -> Iterator[Court]:
    court = Court()
    yield court
    court.loop.close()
