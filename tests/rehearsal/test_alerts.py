"""The invariants of alerts can fail: not given, too often, not again, or without an end."""

from datetime import timedelta

import pytest

from tests.rehearsal.forged import OURS, Forged, taken
from tests.rehearsal.stage import DAY, HOUR, MINUTE, SECOND
from voicekeeper.core.events import Event, Level
from voicekeeper.core.models import Kind, Status
from voicekeeper.core.requests import FLASH
from voicekeeper.rehearsal import faults

HINDRANCES = sorted({faults.HOST_DOWN, faults.SUSPENDED, faults.DISK_FULL, faults.DATABASE_LOCKED})
LOST = {"name": "anna", "voice_id": OURS}
BLOCKED = {"model": FLASH, "error": "402: the account is empty"}


def checked(forged: Forged) -> list[str]:
    forged.invariants.check()
    overdue = "is overdue though all is well"
    return [sentence for sentence in forged.broken if overdue not in sentence]


def die(forged: Forged, away: timedelta = 5 * SECOND) -> None:
    forged.invariants.killed()
    if away:
        forged.wait(away)
    forged.invariants.started()


def lose(forged: Forged) -> None:
    """Delete our voice, and let the host be told what it takes to know that."""
    forged.use()
    forged.gateway.import_voice("id-ben-", FLASH, forged.clock.true)
    forged.gateway.delete_voice(OURS, forged.clock.true)
    blame(forged)
    control(forged)
    blame(forged)


def blame(forged: Forged) -> None:
    forged.wait(MINUTE)
    task_id = forged.speak()
    forged.wait(MINUTE)
    forged.poll(task_id)


def control(forged: Forged) -> None:
    """Let another voice bear witness."""
    forged.wait(MINUTE)
    task_id = forged.speak("id-ben-", kind=Kind.CONTROL)
    forged.log(Event.CONTROL_SUBMITTED, task_id=task_id, voice_id="id-ben-")
    forged.wait(MINUTE)
    forged.poll(task_id)


# A risk.


def test_a_risk_that_nobody_was_told_of_for_hours_is_named(forged: Forged) -> None:
    forged.use()
    forged.wait(5 * DAY + HOUR)
    assert checked(forged) == []
    forged.wait(HOUR)
    (sentence,) = checked(forged)
    assert f"{OURS} is at risk and nobody was told" in sentence
    forged.wait(HOUR)
    assert len(checked(forged)) == 1


def test_a_risk_that_was_told_is_told_louder_under_twelve_hours(forged: Forged) -> None:
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


def test_an_error_at_the_first_word_is_enough(forged: Forged) -> None:
    forged.use()
    forged.wait(6 * DAY + 13 * HOUR)
    forged.log(Event.VOICE_AT_RISK, "error", **LOST)
    forged.wait(3 * HOUR)
    assert checked(forged) == []


def test_a_voice_used_at_the_last_moment_was_at_risk_all_the_same(forged: Forged) -> None:
    forged.use()
    forged.wait(5 * DAY + 3 * HOUR)
    forged.use()
    (sentence,) = checked(forged)
    assert f"{OURS} is at risk and nobody was told" in sentence


@pytest.mark.parametrize("kind", HINDRANCES)
def test_a_host_that_could_not_work_is_excused(forged: Forged, kind: str) -> None:
    forged.use()
    forged.period(kind, 5 * DAY, 20 * HOUR)
    forged.wait(5 * DAY + 20 * HOUR)
    assert checked(forged) == []


@pytest.mark.parametrize("kind", sorted(faults.ACCOUNT | {faults.OUTAGE, faults.STORM}))
def test_what_is_wrong_elsewhere_is_no_reason_not_to_tell(forged: Forged, kind: str) -> None:
    forged.use()
    forged.period(kind, 5 * DAY, 20 * HOUR)
    forged.wait(5 * DAY + 20 * HOUR)
    assert len(checked(forged)) == 1


@pytest.mark.parametrize(("each", "named"), [(HOUR, 0), (3 * HOUR, 1)])
def test_a_process_that_dies_every_hour_has_no_time_to_tell(
    forged: Forged, each: timedelta, named: int
) -> None:
    forged.use()
    forged.wait(5 * DAY)
    for _ in range(6):
        die(forged)
        forged.wait(each)
    assert len(checked(forged)) == named


def test_a_host_whose_clock_was_set_may_not_know_of_a_risk(forged: Forged) -> None:
    forged.use()
    forged.set_clock()
    forged.wait(6 * DAY)
    assert checked(forged) == []


def test_a_voice_that_is_told_lost_is_not_at_risk(forged: Forged) -> None:
    forged.use()
    forged.wait(5 * DAY)
    forged.log(Event.VOICE_LOST, "error", **LOST)
    forged.wait(12 * HOUR)
    assert checked(forged) == []


# A loss.


def test_a_loss_that_the_host_knows_of_and_does_not_tell_is_named(forged: Forged) -> None:
    lose(forged)
    forged.wait(HOUR)
    assert checked(forged) == []
    forged.wait(HOUR)
    (sentence,) = checked(forged)
    assert f"{OURS} is gone, which the host knew, and nobody was told" in sentence


@pytest.mark.parametrize("event", [Event.VOICE_LOST, Event.VOICE_UNDEPLOYED])
def test_a_loss_that_was_told_is_not(forged: Forged, event: Event) -> None:
    lose(forged)
    forged.log(event, "error", **LOST)
    forged.wait(12 * HOUR)
    assert checked(forged) == []


def test_without_a_control_call_between_the_host_does_not_know(forged: Forged) -> None:
    forged.use()
    forged.gateway.delete_voice(OURS, forged.clock.true)
    for _ in range(3):
        blame(forged)
    forged.wait(12 * HOUR)
    assert checked(forged) == []


def test_a_process_that_died_with_its_suspicion_begins_anew(forged: Forged) -> None:
    forged.use()
    forged.gateway.import_voice("id-ben-", FLASH, forged.clock.true)
    forged.gateway.delete_voice(OURS, forged.clock.true)
    blame(forged)
    die(forged)
    control(forged)
    blame(forged)
    forged.wait(12 * HOUR)
    assert checked(forged) == []


def test_a_crash_after_the_last_blame_loses_no_alert(forged: Forged) -> None:
    lose(forged)
    forged.wait(10 * MINUTE)
    die(forged)
    forged.wait(12 * HOUR)
    assert "nobody was told" in checked(forged)[0]


# A pause of the calls.


@pytest.mark.parametrize("code", [401, 402, 403])
def test_a_refusal_of_the_account_is_told_at_once(forged: Forged, code: int) -> None:
    forged.speak(refused=code)
    assert checked(forged) == []
    forged.wait(3 * MINUTE)
    (sentence,) = checked(forged)
    assert f"the account was refused for {FLASH} and nobody was told" in sentence


def test_the_next_pass_finds_that_out_too(forged: Forged) -> None:
    for _ in range(2):
        forged.speak(refused=402)
        forged.wait(3 * MINUTE)
    assert "nobody was told" in forged.broken[0]


@pytest.mark.parametrize("code", [401, 402, 403])
def test_what_refuses_an_enrollment_may_take_keepalives(forged: Forged, code: int) -> None:
    forged.enroll("ben", refused=code)
    forged.wait(HOUR)
    assert checked(forged) == []


@pytest.mark.parametrize("code", [400, 404, 429, 500])
def test_other_refusals_are_not_the_account_s(forged: Forged, code: int) -> None:
    forged.speak(refused=code)
    forged.wait(HOUR)
    assert checked(forged) == []


def test_a_pause_that_was_told_or_died_with_its_process_is_none_untold(forged: Forged) -> None:
    forged.speak(refused=402)
    die(forged)
    forged.wait(HOUR)
    forged.speak(refused=402)
    forged.log(Event.UPSTREAM_BLOCKED, "error", **BLOCKED)
    forged.log(Event.UPSTREAM_RECOVERED, model=FLASH)
    forged.wait(HOUR)
    assert checked(forged) == []


# Again, daily.

ALERTS: list[tuple[Event, Level, dict[str, str]]] = [
    (Event.VOICE_LOST, "error", LOST),
    (Event.VOICE_UNDEPLOYED, "warning", LOST),
    (Event.VOICE_AT_RISK, "warning", LOST),
    (Event.UPSTREAM_BLOCKED, "error", BLOCKED),
]
alerts = pytest.mark.parametrize(
    ("event", "level", "about"), ALERTS, ids=[str(event) for event, *_ in ALERTS]
)


@alerts
def test_what_lasts_and_is_not_told_again_in_a_day_is_named(
    forged: Forged, event: Event, level: Level, about: dict[str, str]
) -> None:
    forged.log(event, level, **about)
    forged.wait(DAY + HOUR)
    assert checked(forged) == []
    forged.wait(HOUR)
    (sentence,) = checked(forged)
    assert sentence.endswith("still, and was not told again in a day")


@alerts
def test_what_is_told_again_within_the_day_is_named(
    forged: Forged, event: Event, level: Level, about: dict[str, str]
) -> None:
    for again in range(3):
        forged.log(event, level, **about, told=again + 1)
        forged.wait(DAY if again == 0 else HOUR)
    (sentence,) = forged.broken
    assert " again after " in sentence


@alerts
def test_what_is_told_daily_breaks_nothing(
    forged: Forged, event: Event, level: Level, about: dict[str, str]
) -> None:
    for again in range(3):
        forged.log(event, level, **about, told=again + 1)
        forged.wait(DAY + MINUTE)
        assert checked(forged) == []


@pytest.mark.parametrize("excuse", ["death", "death-of-no-time", "clock", *HINDRANCES])
def test_a_word_whose_noting_was_hindered_is_told_twice(forged: Forged, excuse: str) -> None:
    forged.log(Event.VOICE_LOST, "error", **LOST)
    if excuse == "death":
        die(forged)
    elif excuse == "death-of-no-time":
        die(forged, timedelta(0))
    elif excuse == "clock":
        forged.set_clock()
    else:
        forged.period(excuse, SECOND, HOUR)
    forged.wait(2 * HOUR)
    forged.log(Event.VOICE_LOST, "error", **LOST, told=2)
    assert forged.broken == []
    forged.wait(HOUR)
    forged.log(Event.VOICE_LOST, "error", **LOST, told=3)
    assert len(forged.broken) == 1


def test_a_death_long_after_excuses_no_word(forged: Forged) -> None:
    forged.log(Event.VOICE_LOST, "error", **LOST)
    forged.wait(HOUR)
    die(forged)
    forged.log(Event.VOICE_LOST, "error", **LOST, told=2)
    assert len(forged.broken) == 1


def test_a_risk_may_grow_louder_at_any_time_and_not_quieter(forged: Forged) -> None:
    for level in ("warning", "error"):
        forged.log(Event.VOICE_AT_RISK, level, **LOST)
        forged.wait(HOUR)
    assert forged.broken == []
    forged.log(Event.VOICE_AT_RISK, "warning", **LOST)
    assert len(forged.broken) == 1


def test_what_a_new_process_mentions_is_no_telling(forged: Forged) -> None:
    forged.wait(HOUR)
    forged.log(Event.UPSTREAM_BLOCKED, "error", **BLOCKED)
    forged.wait(20 * HOUR)
    die(forged)
    forged.log(Event.UPSTREAM_BLOCKED, "error", **BLOCKED)
    assert forged.broken == []
    forged.wait(7 * HOUR)
    assert "was not told again in a day" in checked(forged)[0]


def test_what_a_new_process_mentions_for_the_first_time_may_be_told_soon(forged: Forged) -> None:
    """The telling before was lost in the crash."""
    die(forged)
    forged.log(Event.UPSTREAM_BLOCKED, "error", **BLOCKED)
    forged.wait(10 * MINUTE)
    forged.log(Event.UPSTREAM_BLOCKED, "error", **BLOCKED, told=2)
    forged.wait(10 * MINUTE)
    assert forged.broken == []
    forged.log(Event.UPSTREAM_BLOCKED, "error", **BLOCKED, told=3)
    assert len(forged.broken) == 1


def test_a_person_who_dealt_with_a_voice_needs_no_more_words(forged: Forged) -> None:
    forged.log(Event.VOICE_LOST, "error", **LOST)
    forged.invariants.retried("anna")
    forged.wait(3 * DAY)
    assert checked(forged) == []
    forged.log(Event.VOICE_LOST, "error", **LOST)  # the new one
    assert forged.broken == []


# And its end.


@pytest.mark.parametrize(
    ("event", "level", "about"), ALERTS[:3], ids=["lost", "undeployed", "risk"]
)
def test_an_end_that_the_host_heard_of_and_does_not_tell_is_named(
    forged: Forged, event: Event, level: Level, about: dict[str, str]
) -> None:
    forged.log(event, level, **about)
    forged.use()
    forged.wait(HOUR)
    assert checked(forged) == []
    forged.wait(HOUR)
    (sentence,) = checked(forged)
    assert sentence.endswith("no more, and nobody was told")


@pytest.mark.parametrize(
    ("event", "was"),
    [
        (Event.VOICE_LOST, "lost"),
        (Event.VOICE_UNDEPLOYED, "undeployed"),
        (Event.VOICE_AT_RISK, "risk"),
    ],
)
def test_an_end_is_told_once(forged: Forged, event: Event, was: str) -> None:
    forged.log(event, "warning", **LOST)
    forged.use()
    forged.log(Event.VOICE_RECOVERED, "info", **LOST, was=was)
    forged.wait(DAY + 3 * HOUR)
    assert checked(forged) == []
    forged.log(Event.VOICE_RECOVERED, "info", **LOST, was=was)
    (sentence,) = checked(forged)
    assert f"anna was told to be {was} no more, and was not told before" in sentence


def test_an_end_may_be_told_again_where_the_process_died(forged: Forged) -> None:
    forged.log(Event.VOICE_LOST, "error", **LOST)
    forged.log(Event.VOICE_RECOVERED, "info", **LOST, was="lost")
    die(forged)
    forged.wait(HOUR)
    forged.log(Event.VOICE_RECOVERED, "info", **LOST, was="lost")
    assert checked(forged) == []


def test_a_process_that_died_as_it_heard_of_an_end_hears_of_it_again(forged: Forged) -> None:
    forged.log(Event.VOICE_LOST, "error", **LOST)
    forged.use()
    die(forged)
    forged.wait(3 * HOUR)
    assert checked(forged) == []


def test_calls_that_flow_again_without_a_word_are_named(forged: Forged) -> None:
    forged.log(Event.UPSTREAM_BLOCKED, "error", **BLOCKED)
    die(forged)  # and it mentions no pause as it begins again
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
