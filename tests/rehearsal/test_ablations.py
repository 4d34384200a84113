"""Each safeguard is needed: a campaign keeps its promise with it, and breaks it without."""

import pytest

from tests.rehearsal.ablations import ABLATIONS, Ablation, Campaign, set_back, without_watchdog


def whole(ablation: Ablation) -> tuple[Campaign, int]:
    """Return the same campaign with everything in."""
    campaign = set_back if ablation.campaign is without_watchdog else ablation.campaign
    return campaign, ablation.seed


def by_name(which: tuple[Campaign, int]) -> tuple[str, int]:
    """Return the order of campaigns, which must be the same in every process."""
    campaign, seed = which
    return campaign.__name__, seed


_DISTINCT: set[tuple[Campaign, int]] = {whole(ablation) for ablation in ABLATIONS}
CAMPAIGNS = sorted(_DISTINCT, key=by_name)


@pytest.mark.parametrize("ablation", ABLATIONS, ids=lambda ablation: ablation.name)
def test_without_the_safeguard_the_promise_is_broken(
    ablation: Ablation, monkeypatch: pytest.MonkeyPatch
) -> None:
    ablation.remove(monkeypatch)
    assert not ablation.campaign(ablation.seed).kept_its_promise


@pytest.mark.parametrize(
    ("campaign", "seed"),
    CAMPAIGNS,
)
def test_with_all_safeguards_it_is_kept(campaign: Campaign, seed: int) -> None:
    report = campaign(seed)
    assert (report.saveable_lost, list(report.broken)) == (0, [])


def test_the_ten_safeguards_and_more_are_all_taken_out_once() -> None:
    assert len({ablation.name for ablation in ABLATIONS}) == len(ABLATIONS) >= 10
