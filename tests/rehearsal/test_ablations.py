"""Each safeguard is needed: a campaign keeps its promise with it, and breaks it without.

A safeguard whose removal no campaign notices is either not needed or not tested.
"""

import random
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlmodel import col

from voicekeeper.config import Settings
from voicekeeper.core import alerting, breaker, schedule, transitions
from voicekeeper.core.models import Status, Task, TaskState, Voice
from voicekeeper.core.transitions import enrollment, keepalive
from voicekeeper.gateway import GatewayClient
from voicekeeper.rehearsal import Plan, Report, Simulation
from voicekeeper.rehearsal.faults import (
    BALANCE_EMPTY,
    HOST_DOWN,
    OUTAGE,
    WRONG_ACCOUNT,
    Enroll,
    Jump,
    Kill,
    Period,
    lasting,
)
from voicekeeper.rehearsal.host import _Process
from voicekeeper.store import alerts as alert_rows
from voicekeeper.store import breakers as breaker_rows
from voicekeeper.store import claims, due, jobs, results
from voicekeeper.store import controls as control_rows
from voicekeeper.store.history import LogLine
from voicekeeper.store.session import Session
from voicekeeper.store.worklist import Worklist

DAY = timedelta(days=1)
Remove = Callable[[pytest.MonkeyPatch], None]
Campaign = Callable[[int], Report]


def lived(plan: Plan, seed: int, *, voices: int = 6, days: int = 14) -> Report:
    """Live through a plan by the defaults."""
    return Simulation(Settings(), plan, voices=voices, days=days, seed=seed).run()


def set_back(seed: int) -> Report:
    """Live through a clock that is set back by days, and right again a week later."""
    by = timedelta(days=4, hours=seed % 48)
    return lived(Plan(incidents=(Jump(3 * DAY, -by), Jump(10 * DAY, by))), seed, days=18)


def ahead_at_first(seed: int) -> Report:
    """Begin with a clock that is days ahead, and is corrected on the fourth day."""
    by = timedelta(days=4, hours=seed % 48)
    return lived(Plan(incidents=(Jump(4 * DAY, -by),), clock_wrong_by=by), seed, days=18)


def empty_account(seed: int) -> Report:
    """Live through days without a balance."""
    return lived(lasting(BALANCE_EMPTY, 3 * DAY, 4 * DAY), seed, voices=8)


def empty_for_hours(seed: int) -> Report:
    """Live through an evening without a balance."""
    return lived(lasting(BALANCE_EMPTY, 2 * DAY, DAY / 3), seed, voices=8, days=4)


def key_of_another_account(seed: int) -> Report:
    """Live through a day on which the gateway knows none of the voices."""
    return lived(lasting(WRONG_ACCOUNT, 3 * DAY, timedelta(hours=30)), seed)


def enrolling(seed: int) -> Report:
    """Have voices made while answers get lost and the process dies."""
    rng = random.Random(seed)
    plan = Plan(rates={"reset-after": 0.1, "garbage": 0.05, "http-500": 0.1})
    for number in range(8):
        at = (1 + number + rng.random()) * DAY
        cut = Kill(at + timedelta(seconds=1), steps=rng.randint(1, 14))
        plan += Plan(incidents=(Enroll(at, f"ok{number}", design=number % 2 == 0), cut))
    return lived(plan, seed, voices=2)


def failing_tasks(seed: int) -> Report:
    """Live with a gateway that accepts speech tasks and fails a third of them."""
    return lived(Plan(rates={"task-GENERATION_FAILED": 0.35}), seed)


def cut_short(seed: int) -> Report:
    """Live through deaths in the middle of calls, each with two days of stillness after it."""
    rng = random.Random(seed)
    plan = Plan()
    for turn in range(4):
        at, still = (4 + 6 * turn + 2 * rng.random()) * DAY, (1 + rng.random()) * DAY
        period = Period(HOST_DOWN, at, at + still + DAY)
        death = Kill(at, steps=rng.randint(1, 12), restart_after=still)
        plan += Plan((period,), (death,))
    return lived(plan, seed, days=30)


def down_for_a_week(seed: int) -> Report:
    """Come back to a fleet of which the half is past saving."""
    plan = lasting(HOST_DOWN, 4 * DAY, timedelta(days=5, hours=6 + 2 * (seed % 20)))
    return lived(plan, seed, voices=12)


def down_for_days(seed: int) -> Report:
    """Come back to a fleet of which the half is overdue, and none past saving."""
    return lived(lasting(HOST_DOWN, 4 * DAY, timedelta(days=3, hours=seed % 20)), seed, voices=30)


def long_outages(seed: int) -> Report:
    """Live through long outages with a backoff that grows to half a day."""
    settings = Settings()
    settings = settings._replace(retry=settings.retry._replace(cap=DAY / 2))
    plan = lasting(OUTAGE, 4 * DAY, timedelta(days=3, hours=12 + 4 * (seed % 20)))
    return Simulation(settings, plan, voices=6, days=14, seed=seed).run()


def _no_watch_over_the_clocks(patch: pytest.MonkeyPatch) -> None:
    """Leave the scheduler alone when the clock was set back."""
    patch.setattr(_Process, "wake", lambda _: None)


def _anchor_at_the_answer(patch: pytest.MonkeyPatch) -> None:
    """Count from when a success was heard of, not from when the voice was used."""

    def from_now(name: str, *, now: datetime, policy: schedule.Policy, **_: object) -> datetime:
        return schedule.due(now, name, policy)

    patch.setattr(schedule, "next_keepalive", from_now)


def _trust_any_due_time(patch: pytest.MonkeyPatch) -> None:
    """Wait for a due time, however far ahead a wrong clock has set it."""
    patch.setattr(due, "_exceeded", lambda *_, **__: None)


def _plain_earliest_deadline(patch: pytest.MonkeyPatch) -> None:
    """Call the earliest deadline first, past saving or not."""
    _call_in_order(patch, col(Voice.anchored_at))


def _first_come_first_served(patch: pytest.MonkeyPatch) -> None:
    """Put voices that can all be saved in the order of their names."""
    _call_in_order(patch, claims.IN_ORDER[0], col(Voice.name))


def _call_in_order(patch: pytest.MonkeyPatch, *order: Any) -> None:  # noqa: ANN401 - of columns
    calls = claims._CALLS  # noqa: SLF001 - nothing else puts voices in order
    patch.setattr(claims, "_CALLS", calls.order_by(None).order_by(*order))


def _backoff_without_a_deadline(patch: pytest.MonkeyPatch) -> None:
    """Back off as though there were no deadline."""
    retry_at = schedule.retry_at

    def unhurried(name: str, **given: Any) -> datetime:  # noqa: ANN401 - all that it takes
        return retry_at(name, **given | {"anchor": None})

    patch.setattr(schedule, "retry_at", unhurried)


def _condemn_without_control(patch: pytest.MonkeyPatch) -> None:
    """Call a voice lost when it was blamed twice."""
    patch.setattr(
        keepalive, "_is_condemned", lambda voice, *_, **__: voice.suspected_at is not None
    )


def _control_with_built_in_voices(patch: pytest.MonkeyPatch) -> None:
    """Let a built-in voice bear witness for the account."""
    patch.setattr(control_rows, "_control_voice", lambda *_, **__: "longanlang_v3")
    patch.setattr(control_rows, "_is_ours", lambda _: True)


def _no_breaker(patch: pytest.MonkeyPatch) -> None:
    """Go on calling whatever the account says."""
    patch.setattr(breaker, "after_fault", lambda *_, **__: {})


def _intent_after_the_call(patch: pytest.MonkeyPatch) -> None:
    """Write an enrollment down when its answer has come."""
    submit = GatewayClient.submit

    async def late(self: GatewayClient, request: Any, model: str, *, on_turn: Any = None) -> Any:  # noqa: ANN401
        accepted = await submit(self, request, model)
        if on_turn is not None:
            await on_turn()
        return accepted

    patch.setattr(GatewayClient, "submit", late)


def _repeat_the_unknown(patch: pytest.MonkeyPatch) -> None:
    """Request an enrollment again whose answer was lost."""
    unknown = enrollment._unknown  # noqa: SLF001 - the rule that is taken out

    def again(voice: Voice, task: Task, fault: Any, *, now: datetime) -> transitions.Transition:  # noqa: ANN401
        change = unknown(voice, task, fault, now=now)
        return replace(change, voice={"status": Status.NEW, "next_at": now}, entries=())

    patch.setattr(enrollment, "_unknown", again)


def _never_settled(patch: pytest.MonkeyPatch) -> None:
    """Leave the calls that a predecessor made in flight for ever, and their voices with them."""
    patch.setattr(results, "settle_interrupted", lambda *_, **__: {})
    calls = claims.calls

    def only_free(session: Any, *given: Any, busy: Any = (), **more: Any) -> Any:  # noqa: ANN401
        taken = session.scalars(sa.select(col(Task.voice_pk)).where(jobs.IS_INTENT)).all()
        return calls(session, *given, busy=[*busy, *filter(None, taken)], **more)

    patch.setattr(claims, "calls", only_free)


def _forget_open_tasks(patch: pytest.MonkeyPatch) -> None:
    """Begin without the tasks that a predecessor left open."""
    take_over = Worklist.take_over

    def forgetful(self: Worklist, **given: Any) -> Any:  # noqa: ANN401 - all that it takes
        with self._database.writing() as session:
            session.execute(
                sa.update(Task)
                .where(jobs.IS_RUNNING)
                .values(state=TaskState.UNKNOWN, next_poll_at=None)
            )
        return take_over(self, **given)

    patch.setattr(Worklist, "take_over", forgetful)


def _count_what_was_accepted(patch: pytest.MonkeyPatch) -> None:
    """Take a voice for used when its keepalive is accepted."""

    def used(
        voice: Voice, _: Task, *, now: datetime, policy: schedule.Policy
    ) -> transitions.VoiceFields:
        return {
            "status": Status.OK,
            "last_used_at": now,
            "anchored_at": now,
            "next_at": schedule.due(now, voice.name, policy),
        }

    def ended(voice: Voice, task: Task, *given: Any, **more: Any) -> transitions.Transition:  # noqa: ANN401
        change = reported(voice, task, *given, **more)
        return replace(change, voice={}, entries=())

    reported = keepalive.reported
    patch.setattr(keepalive, "submitted", used)
    patch.setattr(keepalive, "reported", ended)


def _probe_without_end(patch: pytest.MonkeyPatch) -> None:
    """Give up a control call whose end nobody tells, as though it had told nothing."""
    reported = transitions._control_reported  # noqa: SLF001 - the rule that is taken out

    def never(*given: Any, **more: Any) -> transitions.Transition:  # noqa: ANN401 - all that it takes
        return replace(reported(*given, **more), success=False, only_accepted=False)

    patch.setattr(transitions, "_control_reported", never)


def _calls_go_on(patch: pytest.MonkeyPatch) -> None:
    """Open the breaker, and make all calls."""
    patch.setattr(breaker_rows, "opened", lambda _: [])


def _alert_never_marked(patch: pytest.MonkeyPatch) -> None:
    """Take no alert for logged."""
    patch.setattr(alert_rows, "mark", lambda *_, **__: None)


def _alert_logged_once(patch: pytest.MonkeyPatch) -> None:
    """Log no alert again."""
    mark = alert_rows.mark

    def for_good(session: Session, lines: Iterable[LogLine], *, now: datetime) -> None:
        mark(session, lines, now=now + 365 * DAY)

    patch.setattr(alert_rows, "mark", for_good)
    patch.setattr(alerting, "latest_turn", lambda now: now + 3650 * DAY)


def _no_look_for_risks(patch: pytest.MonkeyPatch) -> None:
    """Tell what happened, and not what comes near."""
    patch.setattr(alert_rows, "_open_risks", lambda *_, **__: None)


ABLATIONS: dict[str, tuple[Remove, Campaign, int]] = {
    "conservative anchor": (_anchor_at_the_answer, cut_short, 3),
    "future-due guard": (_trust_any_due_time, ahead_at_first, 1),
    "salvageable-first order": (_plain_earliest_deadline, down_for_a_week, 5),
    "earliest deadline first": (_first_come_first_served, down_for_days, 1),
    "deadline-capped backoff": (_backoff_without_a_deadline, long_outages, 1),
    "control call": (_condemn_without_control, key_of_another_account, 1),
    "control call by a voice of ours": (_control_with_built_in_voices, key_of_another_account, 1),
    "circuit breaker": (_no_breaker, empty_account, 1),
    "pause of all calls": (_calls_go_on, empty_for_hours, 1),
    "probe that ends the pause": (_probe_without_end, empty_account, 1),
    "intent row": (_intent_after_the_call, enrolling, 2),
    "UNKNOWN instead of repeat": (_repeat_the_unknown, enrolling, 1),
    "interrupted calls settled": (_never_settled, enrolling, 1),
    "watch over the clocks": (_no_watch_over_the_clocks, set_back, 1),
    "resumed polling": (_forget_open_tasks, enrolling, 1),
    "success-only counting": (_count_what_was_accepted, failing_tasks, 1),
    "mark of an alert": (_alert_never_marked, empty_for_hours, 1),
    "daily alert": (_alert_logged_once, empty_account, 1),
    "look for risks": (_no_look_for_risks, empty_account, 1),
}
"""How a safeguard is taken out; the campaign, and the first of its seeds, that notices."""

CAMPAIGNS = sorted(
    {(campaign, seed) for _, campaign, seed in ABLATIONS.values()},
    key=lambda each: (each[0].__name__, each[1]),
)


@pytest.mark.parametrize("safeguard", ABLATIONS)
def test_without_the_safeguard_the_promise_is_broken(
    safeguard: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove, campaign, seed = ABLATIONS[safeguard]
    remove(monkeypatch)
    assert not campaign(seed).kept_its_promise


@pytest.mark.parametrize(("campaign", "seed"), CAMPAIGNS)
def test_with_all_safeguards_it_is_kept(campaign: Campaign, seed: int) -> None:
    report = campaign(seed)
    assert (report.saveable_lost, list(report.broken)) == (0, [])


def test_the_ten_safeguards_and_more_are_all_taken_out_once() -> None:
    assert len({remove for remove, _, _ in ABLATIONS.values()}) == len(ABLATIONS) >= 10
