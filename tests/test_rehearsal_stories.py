"""What rehearsals found, one story each, made short."""

import pytest

from tests.rehearsal_support import DAY, HOUR
from voicekeeper.config import Settings
from voicekeeper.rehearsal import Plan, Rehearsal, troubles
from voicekeeper.rehearsal.troubles import lasting


def called_lost(plan: Plan, *, voices: int, strangers: float = 0.0) -> list[str]:
    """Return the voices that were called LOST in three weeks, and live."""
    rehearsal = Rehearsal(Settings(), plan, voices=voices, days=21, seed=1, strangers=strangers)
    return [sentence for sentence in rehearsal.run().broken if "was called LOST" in sentence]


@pytest.mark.parametrize("voices", [2, 12])
def test_a_whole_fleet_that_falls_due_under_another_account_s_key_is_not_called_lost(
    voices: int,
) -> None:
    """All were suspects at once, so a built-in voice bore witness against each of them."""
    down = lasting(troubles.HOST_DOWN, 10 * DAY, 4 * DAY)
    wrong = lasting(troubles.WRONG_ACCOUNT, 14 * DAY - 2 * HOUR, DAY)

    assert called_lost(down + wrong, voices=voices) == []


@pytest.mark.parametrize("voices", [2, 12])
def test_a_fleet_imported_under_another_account_s_key_is_not_called_lost(voices: int) -> None:
    """None had spoken yet, so none of them was asked to bear witness."""
    wrong = lasting(troubles.WRONG_ACCOUNT, 0 * DAY, DAY)

    assert called_lost(wrong, voices=voices, strangers=1.0) == []
