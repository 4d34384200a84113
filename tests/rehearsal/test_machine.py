"""The simulation in the hands of Hypothesis: any order of faults, checked after each of them.

It makes its finds short: two voices, and the fewest steps that still break the promise.
The suite plays a few; ``pytest -m campaign -n 0 tests/rehearsal/test_machine.py`` plays many.
"""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.rehearsal.stage import HOUR, MINUTE, SECOND, Stage
from voicekeeper.rehearsal import faults
from voicekeeper.rehearsal.network import FAULTS

NOW = timedelta(0)
VOICES = 2
KINDS = sorted(faults.HARD | {faults.DATABASE_LOCKED})

hours = st.integers(1, 200).map(lambda count: count * HOUR)
minutes = st.integers(1, 180).map(lambda count: count * MINUTE)
seconds = st.integers(1, 120).map(lambda count: count * SECOND)
waits = seconds | minutes | hours
jumps = st.integers(-240, 240).map(lambda count: count * HOUR)
shares = st.integers(0, 9).map(lambda tenths: tenths / 10)
names = st.integers(1, VOICES).map(lambda number: f"v{number:05d}") | st.sampled_from(
    ["ok1", "slow2", "reject3", "fail4"]
)
kinds = st.sampled_from(KINDS)


class Promise(RuleBasedStateMachine):
    """Whatever happens, no voice is lost that could be saved, and nothing is paid for twice."""

    stage: Stage
    happened: ClassVar[Counter[str]] = Counter()
    """What went wrong in all plays so far."""

    def __init__(self) -> None:
        super().__init__()
        self.enrolled: set[str] = set()

    @initialize(seed=st.integers(0, 3))
    def begin(self, seed: int) -> None:
        self.stage = Stage(voices=VOICES, seed=seed).__enter__()

    @rule(length=waits)
    def time_passes(self, length: timedelta) -> None:
        self.stage.let_pass(length)

    @rule(kind=kinds, length=minutes | hours)
    def a_period_begins(self, kind: str, length: timedelta) -> None:
        self.stage.begin(kind, length)

    @rule(names=st.lists(st.sampled_from(FAULTS), min_size=1, max_size=3), length=hours)
    def many_calls_fail(self, names: list[str], length: timedelta) -> None:
        rates = dict.fromkeys(names, 0.6 / len(names))
        self.stage.begin(faults.STORM, length, rates)

    @rule()
    def all_faults_end(self) -> None:
        self.stage.timeline.clear(self.stage.since)

    @rule(names=st.lists(st.sampled_from(FAULTS), min_size=1, max_size=4))
    def the_next_calls_fail(self, names: list[str]) -> None:
        self.stage.timeline.next_faults += names

    @rule(steps=st.integers(0, 30))
    def the_process_dies(self, steps: int) -> None:
        self.stage.do(faults.Kill(NOW, steps))

    @rule(by=jumps)
    def the_clock_is_set(self, by: timedelta) -> None:
        self.stage.do(faults.Jump(NOW, by))

    @precondition(lambda self: self.stage.wrong_by)
    @rule()
    def the_clock_is_set_right(self) -> None:
        self.stage.do(faults.Jump(NOW, -self.stage.wrong_by))

    @rule(pick=shares, kind=st.sampled_from([faults.Delete, faults.Undeploy]))
    def a_voice_is_taken_away(self, pick: float, kind: type[faults.Delete]) -> None:
        self.stage.do(kind(NOW, pick))

    @rule(name=names, design=st.booleans())
    def a_voice_is_asked_for(self, name: str, design: bool) -> None:  # noqa: FBT001 - drawn
        if name.startswith("v") or name in self.enrolled:
            return
        self.enrolled.add(name)
        self.stage.do(faults.Enroll(NOW, name, design))

    @rule()
    def enrollments_are_retried(self) -> None:
        self.stage.do(faults.Retry(NOW))

    @rule(name=names, command=st.sampled_from([Stage.pause, Stage.resume, Stage.remove]))
    def a_person_gives_a_command(self, name: str, command: Callable[[Stage, str], None]) -> None:
        command(self.stage, name)

    @invariant()
    def the_promise_is_kept(self) -> None:
        assert self.stage.broken() == []

    def teardown(self) -> None:
        if not hasattr(self, "stage"):
            return
        try:
            self.stage.heal()
            assert self.stage.broken() == []
            self.happened.update(self.stage.happened)
        finally:
            self.stage.__exit__(None, None, None)


def play(examples: int, deeds: int, *, always_the_same: bool = False) -> None:
    run_state_machine_as_test(
        Promise,
        settings=settings(
            max_examples=examples,
            stateful_step_count=deeds,
            derandomize=always_the_same,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_the_promise_is_kept_in_any_order_of_a_few_troubles() -> None:
    play(examples=20, deeds=12, always_the_same=True)


@pytest.mark.campaign
@pytest.mark.timeout(3600)
def test_the_promise_is_kept_in_any_order_of_many_troubles() -> None:
    play(examples=2000, deeds=25)
    promised = {*FAULTS, *KINDS, faults.STORM, *faults.NAMES.values()}
    assert promised <= set(Promise.happened)
