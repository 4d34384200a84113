"""The invariants of alerts can fail: not given, too often, not again, or without an end."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest

from tests.rehearsal.forged import OURS, Forged, taken
from tests.rehearsal.stage import DAY, HOUR, MINUTE, SECOND
from voicekeeper.core.events import Event, Level
from voicekeeper.core.models import Kind, Status
from voicekeeper.core.requests import FLASH
from voicekeeper.rehearsal import faults

HINDRANCES = sorted({faults.HOST_DOWN, faults.SUSPENDED, faults.DISK_FULL, faults.DATABASE_LOCKED})
ELSEWHERE = sorted(faults.ACCOUNT | {faults.OUTAGE, faults.STORM})
LOST = {"name": "anna", "voice_id": OURS}
BLOCKED = {"model": FLASH, "error": "402: the account is empty"}


def checked(forged: Forged) -> list[str]:
    forged.invariants.check()
    overdue = "is overdue though all is well"
    return [sentence for sentence in forged.broken if overdue not in sentence]


def lose(forged: Forged) -> None:
    """Delete our voice while another lives."""
    forged.use()
    forged.import_voice("ben")
    forged.gateway.delete_voice(OURS, forged.clock.true)


def fail(forged: Forged) -> None:
    forged.wait(MINUTE)
    forged.fail(None)


def control(forged: Forged) -> None:
    """Let another voice work as a control call."""
    forged.wait(MINUTE)
    task_id = forged.speak("id-ben-", kind=Kind.CONTROL)
    forged.log(Event.CONTROL_SUBMITTED, task_id=task_id, voice_id="id-ben-")
    forged.wait(MINUTE)
    forged.poll(task_id)


def prove(forged: Forged) -> None:
    """Give the host all evidence that our voice is gone."""
    lose(forged)
    for evidence in (fail, control, fail):
        evidence(forged)


# A risk.


def test_a_risk_without_an_alert_for_hours_is_named_once(forged: Forged) -> None:
    forged.use()
    forged.wait(5 * DAY + HOUR)
    assert checked(forged) == []
    for _ in range(2):
        forged.wait(HOUR)
        (sentence,) = checked(forged)
        assert f"{OURS} is at risk and nobody was told" in sentence


def test_a_risk_is_alerted_as_an_error_under_twelve_hours(forged: Forged) -> None:
    forged.use()
    forged.wait(5 * DAY + HOUR)
    forged.log(Event.VOICE_AT_RISK, "warning", **LOST)
    forged.wait(DAY)
    forged.log(Event.VOICE_AT_RISK, "warning", **LOST, told=2)
    forged.wait(12 * HOUR)
    assert checked(forged) == []
    forged.wait(HOUR)
    (sentence,) = checked(forged)
    assert f"{OURS} is nearly lost and nobody was told" in sentence


@pytest.mark.parametrize(
    ("after", "event"),
    [
        (6 * DAY + 13 * HOUR, Event.VOICE_AT_RISK),
        (5 * DAY, Event.VOICE_LOST),
        (5 * DAY, Event.VOICE_UNDEPLOYED),
    ],
)
def test_a_first_alert_that_is_an_error_or_of_the_loss_is_enough(
    forged: Forged, after: timedelta, event: Event
) -> None:
    forged.use()
    forged.wait(after)
    forged.log(event, "error", **LOST)
    forged.wait(3 * HOUR)
    assert checked(forged) == []


def test_a_voice_used_at_the_last_moment_was_at_risk_all_the_same(forged: Forged) -> None:
    forged.use()
    forged.wait(5 * DAY + 3 * HOUR)
    forged.use()
    (sentence,) = checked(forged)
    assert f"{OURS} is at risk and nobody was told" in sentence


@pytest.mark.parametrize(
    ("kind", "named"), [*((kind, 0) for kind in HINDRANCES), *((kind, 1) for kind in ELSEWHERE)]
)
def test_a_host_that_could_not_work_is_excused_and_faults_elsewhere_are_no_excuse(
    forged: Forged, kind: str, named: int
) -> None:
    forged.use()
    forged.period(kind, 5 * DAY, 20 * HOUR)
    forged.wait(5 * DAY + 20 * HOUR)
    assert len(checked(forged)) == named


@pytest.mark.parametrize(("each", "named"), [(HOUR, 0), (3 * HOUR, 1)])
def test_a_process_that_dies_every_hour_has_no_time_for_an_alert(
    forged: Forged, each: timedelta, named: int
) -> None:
    forged.use()
    forged.wait(5 * DAY)
    for _ in range(6):
        forged.die()
        forged.wait(each)
    assert len(checked(forged)) == named


def test_a_host_whose_clock_was_set_may_not_know_of_a_risk(forged: Forged) -> None:
    forged.use()
    forged.set_clock()
    forged.wait(6 * DAY)
    assert checked(forged) == []


# A loss.


def test_a_loss_that_the_host_knows_of_without_an_alert_is_named(forged: Forged) -> None:
    prove(forged)
    forged.wait(10 * MINUTE)
    forged.die()  # a crash loses no alert
    forged.wait(HOUR)
    assert checked(forged) == []
    forged.wait(HOUR)
    (sentence,) = checked(forged)
    assert f"{OURS} is gone, which the host knew, and nobody was told" in sentence


@pytest.mark.parametrize("event", [Event.VOICE_LOST, Event.VOICE_UNDEPLOYED])
def test_a_loss_with_an_alert_is_not(forged: Forged, event: Event) -> None:
    prove(forged)
    forged.log(event, "error", **LOST)
    forged.wait(12 * HOUR)
    assert checked(forged) == []


@pytest.mark.parametrize("steps", [(fail, fail, fail), (fail, Forged.die, control, fail)])
def test_without_a_control_call_between_or_after_a_death_the_host_does_not_know(
    forged: Forged, steps: tuple[Callable[[Forged], None], ...]
) -> None:
    lose(forged)
    for step in steps:
        step(forged)
    forged.wait(12 * HOUR)
    assert checked(forged) == []


# An open breaker.


@pytest.mark.parametrize("code", [401, 402, 403])
def test_a_refusal_of_the_account_is_alerted_at_once(forged: Forged, code: int) -> None:
    forged.speak(refused=code)
    assert checked(forged) == []
    forged.wait(3 * MINUTE)
    forged.invariants.claimed(taken())  # the next pass checks that too
    (sentence,) = forged.broken
    assert f"the account was refused for {FLASH} and nobody was told" in sentence


@pytest.mark.parametrize("code", [401, 402, 403])
def test_a_refusal_of_an_enrollment_may_be_its_own(forged: Forged, code: int) -> None:
    forged.enroll("ben", refused=code)
    forged.wait(HOUR)
    assert checked(forged) == []


@pytest.mark.parametrize("code", [400, 404, 429, 500])
def test_other_refusals_are_not_the_account_s(forged: Forged, code: int) -> None:
    forged.speak(refused=code)
    forged.wait(HOUR)
    assert checked(forged) == []


def test_an_open_breaker_that_was_alerted_or_died_with_its_process_is_not_missed(
    forged: Forged,
) -> None:
    forged.speak(refused=402)
    forged.die()
    forged.wait(HOUR)
    forged.speak(refused=402)
    forged.log(Event.UPSTREAM_BLOCKED, "error", **BLOCKED)
    forged.log(Event.UPSTREAM_RECOVERED, model=FLASH)
    forged.wait(HOUR)
    assert checked(forged) == []


# Again, daily.


@pytest.mark.parametrize(
    ("event", "level", "about", "was"),
    [
        (Event.VOICE_LOST, "error", LOST, "lost"),
        (Event.VOICE_UNDEPLOYED, "warning", LOST, "undeployed"),
        (Event.VOICE_AT_RISK, "warning", LOST, "risk"),
        (Event.UPSTREAM_BLOCKED, "error", BLOCKED, "blocked"),
    ],
)
def test_an_alert_is_repeated_after_a_day_and_not_before(
    forged: Forged, event: Event, level: Level, about: dict[str, str], was: str
) -> None:
    for times in range(3):
        forged.log(event, level, **about, told=times + 1)
        forged.wait(DAY + MINUTE)
        assert checked(forged) == []
    forged.wait(2 * HOUR)
    (late,) = checked(forged)
    assert late.endswith("still, and was not told again in a day")
    for _ in range(2):
        forged.log(event, level, **about, told=4)
        forged.wait(HOUR)
    assert f"was told {was} again after 1:00:00" in forged.broken[-1]
    assert len(forged.broken) == 2


@pytest.mark.parametrize(
    "excuse",
    [
        *(Forged.die, lambda forged: forged.die(timedelta(0)), Forged.set_clock),
        *(partial(Forged.period, kind=kind, start=SECOND, length=HOUR) for kind in HINDRANCES),
    ],
)
def test_an_alert_whose_record_was_hindered_is_given_twice(
    forged: Forged, excuse: Callable[[Forged], None]
) -> None:
    forged.log(Event.VOICE_LOST, "error", **LOST)
    excuse(forged)
    forged.wait(2 * HOUR)
    forged.log(Event.VOICE_LOST, "error", **LOST, told=2)
    assert forged.broken == []
    forged.wait(HOUR)
    forged.die()  # long after: it excuses nothing
    forged.log(Event.VOICE_LOST, "error", **LOST, told=3)
    assert len(forged.broken) == 1


def test_a_risk_may_grow_louder_at_any_time_and_not_quieter(forged: Forged) -> None:
    for level in ("warning", "error"):
        forged.log(Event.VOICE_AT_RISK, level, **LOST)
        forged.wait(HOUR)
    assert forged.broken == []
    forged.log(Event.VOICE_AT_RISK, "warning", **LOST)
    assert len(forged.broken) == 1


def test_what_a_new_process_mentions_is_no_alert(forged: Forged) -> None:
    forged.wait(HOUR)
    forged.log(Event.UPSTREAM_BLOCKED, "error", **BLOCKED)
    forged.wait(20 * HOUR)
    forged.die()
    forged.log(Event.UPSTREAM_BLOCKED, "error", **BLOCKED)
    assert forged.broken == []
    forged.wait(7 * HOUR)
    assert "was not told again in a day" in checked(forged)[0]


def test_what_a_new_process_mentions_for_the_first_time_may_be_alerted_soon(forged: Forged) -> None:
    """The alert before was lost in the crash."""
    forged.die()
    forged.log(Event.UPSTREAM_BLOCKED, "error", **BLOCKED)
    for count in (2, 3):
        assert forged.broken == []
        forged.wait(10 * MINUTE)
        forged.log(Event.UPSTREAM_BLOCKED, "error", **BLOCKED, told=count)
    assert len(forged.broken) == 1


def test_a_person_who_dealt_with_a_voice_needs_no_more_alerts(forged: Forged) -> None:
    forged.log(Event.VOICE_LOST, "error", **LOST)
    forged.invariants.retried("anna")
    forged.wait(3 * DAY)
    assert checked(forged) == []
    forged.log(Event.VOICE_LOST, "error", **LOST)  # the new one
    assert forged.broken == []


# And its end.


@pytest.mark.parametrize(
    ("event", "was"),
    [
        (Event.VOICE_LOST, "lost"),
        (Event.VOICE_UNDEPLOYED, "undeployed"),
        (Event.VOICE_AT_RISK, "risk"),
    ],
)
def test_an_end_that_the_host_heard_of_is_logged_and_once(
    forged: Forged, event: Event, was: str
) -> None:
    for _ in range(2):
        forged.log(event, "error", **LOST)
        forged.use()
        forged.wait(HOUR)
        assert checked(forged) == []
        forged.log(Event.VOICE_RECOVERED, "info", **LOST, was=was)
        forged.wait(3 * DAY + HOUR)
    forged.log(Event.VOICE_RECOVERED, "info", **LOST, was=was)
    (sentence,) = checked(forged)
    assert f"anna was told to be {was} no more, and was not told before" in sentence
    forged.log(event, "error", **LOST)
    forged.use()
    forged.wait(2 * HOUR)
    assert checked(forged)[-1].endswith(f"anna is {was} no more, and nobody was told")


def test_an_end_may_be_logged_again_where_the_process_died(forged: Forged) -> None:
    forged.log(Event.VOICE_LOST, "error", **LOST)
    forged.log(Event.VOICE_RECOVERED, "info", **LOST, was="lost")
    forged.die()
    forged.wait(HOUR)
    forged.log(Event.VOICE_RECOVERED, "info", **LOST, was="lost")
    assert checked(forged) == []


def test_a_process_that_died_as_it_heard_of_an_end_hears_of_it_again(forged: Forged) -> None:
    forged.log(Event.VOICE_LOST, "error", **LOST)
    forged.use()
    forged.die()
    forged.wait(3 * HOUR)
    assert checked(forged) == []


def test_a_breaker_that_closes_without_an_event_is_named(forged: Forged) -> None:
    forged.log(Event.UPSTREAM_BLOCKED, "error", **BLOCKED)
    forged.die()  # and it mentions no open breaker as it begins again
    forged.invariants.claimed(taken((Kind.KEEPALIVE, OURS)))
    forged.wait(3 * HOUR)
    (sentence,) = checked(forged)
    assert f"{FLASH} is blocked no more, and nobody was told" in sentence


def test_a_risk_that_became_a_loss_needs_no_end(forged: Forged) -> None:
    forged.log(Event.VOICE_AT_RISK, "error", **LOST)
    forged.gateway.delete_voice(OURS, forged.clock.true)
    forged.turned(Status.OK, Status.LOST)
    forged.log(Event.VOICE_LOST, "error", **LOST)
    forged.wait(12 * HOUR)
    assert checked(forged) == []
