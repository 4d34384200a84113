"""Settings that changed between two starts, or at a reload: no voice that can be saved is lost."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.support import DAY, HOUR, MINUTE, Life, imported
from voicekeeper.core.models import Active, Status, Voice
from voicekeeper.core.schedule import Policy
from voicekeeper.errors import CallFailed
from voicekeeper.sandbox import Gateway

pytestmark = pytest.mark.usefixtures("each_database")

WINDOW = 2 * DAY
NONE = timedelta(0)
FLEET = tuple(f"v{number}" for number in range(10))

Change = Callable[[Life, Policy], None]


def reload(life: Life, policy: Policy) -> None:
    """Have the keeper that runs go by other settings."""
    life.policy = policy
    asyncio.run(life.keeper.adopt(policy))


def restart(life: Life, policy: Policy) -> None:
    """Start a keeper by other settings, where one was stopped."""
    life.policy = policy


@pytest.fixture(params=[restart, reload])
def change(request: pytest.FixtureRequest) -> Change:
    function: Change = request.param
    return function


def life_of(tmp_path: Path, **policy: Any) -> Life:  # noqa: ANN401 - any of its fields
    """Return a life with a gateway whose window is shorter than anybody knew."""
    return Life(tmp_path, gateway=Gateway(random.Random(0), window=WINDOW), **policy)


def shorter(life: Life) -> Policy:
    return replace(life.policy, window=WINDOW, interval=DAY, jitter=NONE)


def test_a_due_time_that_only_looks_right_by_shorter_settings_costs_no_voice(
    tmp_path: Path, change: Change
) -> None:
    """Reckoned by three days, it lies within one: and after the deadline."""
    life = life_of(tmp_path)
    life.register(*map(imported, FLEET))
    life.live(HOUR)
    life.clock.advance(46 * HOUR)  # nothing is done; the settings are put right in good time
    change(life, shorter(life))
    life.live(3 * DAY)
    assert {life.voice(name).status for name in FLEET} == {Status.OK}


@pytest.mark.parametrize(("interval", "window"), [(DAY, 7 * DAY), (3 * DAY, 6 * DAY)])
def test_by_a_shorter_interval_or_window_every_voice_is_used_at_once(
    life: Life, change: Change, interval: timedelta, window: timedelta
) -> None:
    life.register(*map(imported, FLEET))
    life.live(HOUR)
    change(life, replace(life.policy, interval=interval, window=window))
    life.live(MINUTE)
    assert life.books().speech == 2 * len(FLEET)
    life.live(HOUR)
    assert life.books().speech == 2 * len(FLEET)


def test_by_longer_ones_each_keeps_its_next_turn(tmp_path: Path, change: Change) -> None:
    life = Life(tmp_path, interval=DAY, jitter=NONE)
    life.register(imported("anna"))
    life.live(HOUR)
    change(life, replace(life.policy, interval=4 * DAY))
    life.live(22 * HOUR)
    assert life.books().speech == 1
    life.live(2 * HOUR)
    assert life.books().speech == 2
    life.live(90 * HOUR)
    assert life.books().speech == 2


def test_a_due_time_of_a_wrong_clock_does_not_look_right_by_a_longer_interval(
    tmp_path: Path,
) -> None:
    life = Life(tmp_path, interval=DAY, jitter=NONE)
    life.register(imported("anna"))
    life.live(HOUR)
    with life.database.writing() as session:
        session.execute(sa.update(Voice).values(next_at=life.clock.now() + 2 * DAY))
    restart(life, replace(life.policy, interval=4 * DAY))
    life.live(MINUTE)
    assert life.books().speech == 2


def test_a_retry_that_was_put_off_by_days_comes_before_a_nearer_deadline(
    tmp_path: Path, change: Change
) -> None:
    life = life_of(tmp_path, interval=DAY, jitter=NONE)
    life.register(imported("anna"))
    life.live(HOUR)
    busy = CallFailed("busy", code=503, retry_after=(30 * DAY).total_seconds())
    life.upstream.trouble = lambda _: busy
    life.live(25 * HOUR)
    life.upstream.trouble = lambda _: None
    change(life, replace(life.policy, window=WINDOW))
    life.live(2 * DAY)
    assert life.voice("anna").status is Status.OK
    assert life.books().speech >= 2


def test_the_first_keeper_of_a_registry_leaves_every_due_time_as_it_is(life: Life) -> None:
    life.register(imported("anna", last_used_at=life.clock.now() - DAY))
    with life.database.writing() as session:  # as a new registry has it
        nobody = {"epoch": 0, "keeper": None, "beat": None, "interval_s": 0, "window_s": 0}
        session.execute(sa.update(Active).values(nobody))
    due = life.voice("anna").next_at
    asyncio.run(life.keeper.take_over())
    assert life.voice("anna").next_at == due


@pytest.mark.parametrize("odd", ["0", "1e300", "-5", "'Infinity'"])
def test_whatever_stands_in_the_keepers_row_stops_no_start(tmp_path: Path, odd: str) -> None:
    life = life_of(tmp_path)
    life.register(*map(imported, FLEET))
    life.live(HOUR)
    with life.database.writing() as session:
        session.execute(sa.update(Active).values(interval_s=sa.text(odd), window_s=1))
    life.policy = shorter(life)
    life.live(3 * DAY)
    assert {life.voice(name).status for name in FLEET} == {Status.OK}


def test_what_a_reload_shortened_and_a_start_lengthens_and_shortens_again_is_noted(
    tmp_path: Path,
) -> None:
    life = life_of(tmp_path)
    life.register(*map(imported, FLEET))
    life.live(HOUR)
    longer = life.policy
    reload(life, shorter(life))
    reload(life, longer)
    life.live(MINUTE)
    life.clock.advance(46 * HOUR)
    life.policy = shorter(life)
    life.live(3 * DAY)
    assert {life.voice(name).status for name in FLEET} == {Status.OK}


def test_starts_by_the_same_settings_pay_for_nothing_whatever_the_clock_says(life: Life) -> None:
    """By the gateway's count the last use lies days back: that is the clock's fault."""
    life.register(imported("anna"))
    life.clock.wrong_by = 5 * DAY
    for _ in range(12):
        life.live(HOUR)
    assert life.books().speech == 1
