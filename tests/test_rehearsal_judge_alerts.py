"""The judge can fail an alert: untold, told once too often or not again, or without an end."""

from datetime import timedelta

import pytest

from tests.court import OURS, Court, taken
from tests.rehearsal_support import DAY, HOUR, MINUTE, SECOND
from voicekeeper.events import Event, Level
from voicekeeper.models import Kind, Status
from voicekeeper.rehearsal import troubles
from voicekeeper.request import FLASH

HINDRANCES = sorted(
    {troubles.HOST_DOWN, troubles.SUSPENDED, troubles.DISK_FULL, troubles.DATABASE_LOCKED}
)
LOST = {"name": "anna", "voice_id": OURS}
BLOCKED = {"model": FLASH, "error": "402: the account is empty"}


def checked(court: Court) -> list[str]:
    court.judge.check()
    overdue = "is overdue though all is well"
    return [sentence for sentence in court.judge.broken if overdue not in sentence]


def die(court: Court, away: timedelta = 5 * SECOND) -> None:
    court.judge.killed()
    if away:
        court.wait(away)
    court.judge.started()


def lose(court: Court) -> None:
    """Delete our voice, and let the host be told what it takes to know that."""
    court.use()
    court.gateway.import_voice("id-ben-", FLASH, court.clock.true)
    court.gateway.delete_voice(OURS, court.clock.true)
    blame(court)
    control(court)
    blame(court)


def blame(court: Court) -> None:
    court.wait(MINUTE)
    task_id = court.speak()
    court.wait(MINUTE)
    court.poll(task_id)


def control(court: Court) -> None:
    """Let another voice bear witness."""
    court.wait(MINUTE)
    task_id = court.speak("id-ben-", kind=Kind.CONTROL)
    court.tell(Event.CONTROL_SUBMITTED, task_id=task_id, voice_id="id-ben-")
    court.wait(MINUTE)
    court.poll(task_id)


# A risk.


def test_a_risk_that_nobody_was_told_of_for_hours_is_named(court: Court) -> None:
    court.use()
    court.wait(5 * DAY + HOUR)
    assert checked(court) == []
    court.wait(HOUR)
    (sentence,) = checked(court)
    assert f"{OURS} is at risk and nobody was told" in sentence
    court.wait(HOUR)
    assert len(checked(court)) == 1


def test_a_risk_that_was_told_is_told_louder_under_twelve_hours(court: Court) -> None:
    court.use()
    court.wait(5 * DAY + HOUR)
    court.tell(Event.VOICE_AT_RISK, "warning", **LOST)
    court.wait(DAY)
    court.tell(Event.VOICE_AT_RISK, "warning", **LOST, told=2)
    court.wait(12 * HOUR)
    assert checked(court) == []
    court.wait(HOUR)
    (sentence,) = checked(court)
    assert f"{OURS} is nearly lost and nobody was told" in sentence


def test_an_error_at_the_first_word_is_enough(court: Court) -> None:
    court.use()
    court.wait(6 * DAY + 13 * HOUR)
    court.tell(Event.VOICE_AT_RISK, "error", **LOST)
    court.wait(3 * HOUR)
    assert checked(court) == []


def test_a_voice_used_at_the_last_moment_was_at_risk_all_the_same(court: Court) -> None:
    court.use()
    court.wait(5 * DAY + 3 * HOUR)
    court.use()
    (sentence,) = checked(court)
    assert f"{OURS} is at risk and nobody was told" in sentence


@pytest.mark.parametrize("kind", HINDRANCES)
def test_a_host_that_could_not_work_is_excused(court: Court, kind: str) -> None:
    court.use()
    court.spell(kind, 5 * DAY, 20 * HOUR)
    court.wait(5 * DAY + 20 * HOUR)
    assert checked(court) == []


@pytest.mark.parametrize("kind", sorted(troubles.ACCOUNT | {troubles.OUTAGE, troubles.STORM}))
def test_what_is_wrong_elsewhere_is_no_reason_not_to_tell(court: Court, kind: str) -> None:
    court.use()
    court.spell(kind, 5 * DAY, 20 * HOUR)
    court.wait(5 * DAY + 20 * HOUR)
    assert len(checked(court)) == 1


@pytest.mark.parametrize(("each", "named"), [(HOUR, 0), (3 * HOUR, 1)])
def test_a_process_that_dies_every_hour_has_no_time_to_tell(
    court: Court, each: timedelta, named: int
) -> None:
    court.use()
    court.wait(5 * DAY)
    for _ in range(6):
        die(court)
        court.wait(each)
    assert len(checked(court)) == named


def test_a_host_whose_clock_was_set_may_not_know_of_a_risk(court: Court) -> None:
    court.use()
    court.judge.clock_touched()
    court.wait(6 * DAY)
    assert checked(court) == []


def test_a_voice_that_is_told_lost_is_not_at_risk(court: Court) -> None:
    court.use()
    court.wait(5 * DAY)
    court.tell(Event.VOICE_LOST, "error", **LOST)
    court.wait(12 * HOUR)
    assert checked(court) == []


# A loss.


def test_a_loss_that_the_host_knows_of_and_does_not_tell_is_named(court: Court) -> None:
    lose(court)
    court.wait(HOUR)
    assert checked(court) == []
    court.wait(HOUR)
    (sentence,) = checked(court)
    assert f"{OURS} is gone, which the host knew, and nobody was told" in sentence


@pytest.mark.parametrize("event", [Event.VOICE_LOST, Event.VOICE_UNDEPLOYED])
def test_a_loss_that_was_told_is_not(court: Court, event: Event) -> None:
    lose(court)
    court.tell(event, "error", **LOST)
    court.wait(12 * HOUR)
    assert checked(court) == []


def test_without_a_control_call_between_the_host_does_not_know(court: Court) -> None:
    court.use()
    court.gateway.delete_voice(OURS, court.clock.true)
    for _ in range(3):
        blame(court)
    court.wait(12 * HOUR)
    assert checked(court) == []


def test_a_process_that_died_with_its_suspicion_begins_anew(court: Court) -> None:
    court.use()
    court.gateway.import_voice("id-ben-", FLASH, court.clock.true)
    court.gateway.delete_voice(OURS, court.clock.true)
    blame(court)
    die(court)
    control(court)
    blame(court)
    court.wait(12 * HOUR)
    assert checked(court) == []


def test_a_crash_after_the_last_blame_loses_no_alert(court: Court) -> None:
    lose(court)
    court.wait(10 * MINUTE)
    die(court)
    court.wait(12 * HOUR)
    assert "nobody was told" in checked(court)[0]


# A pause of the calls.


@pytest.mark.parametrize("code", [401, 402, 403])
def test_a_refusal_of_the_account_is_told_at_once(court: Court, code: int) -> None:
    court.speak(refused=code)
    assert checked(court) == []
    court.wait(3 * MINUTE)
    (sentence,) = checked(court)
    assert f"the account was refused for {FLASH} and nobody was told" in sentence


def test_the_next_pass_finds_that_out_too(court: Court) -> None:
    for _ in range(2):
        court.speak(refused=402)
        court.wait(3 * MINUTE)
    assert "nobody was told" in court.judge.broken[0]


@pytest.mark.parametrize("code", [401, 402, 403])
def test_what_refuses_an_enrollment_may_take_keepalives(court: Court, code: int) -> None:
    court.enroll("ben", refused=code)
    court.wait(HOUR)
    assert checked(court) == []


@pytest.mark.parametrize("code", [400, 404, 429, 500])
def test_other_refusals_are_not_the_account_s(court: Court, code: int) -> None:
    court.speak(refused=code)
    court.wait(HOUR)
    assert checked(court) == []


def test_a_pause_that_was_told_or_died_with_its_process_is_none_untold(court: Court) -> None:
    court.speak(refused=402)
    die(court)
    court.wait(HOUR)
    court.speak(refused=402)
    court.tell(Event.UPSTREAM_BLOCKED, "error", **BLOCKED)
    court.tell(Event.UPSTREAM_RECOVERED, model=FLASH)
    court.wait(HOUR)
    assert checked(court) == []


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
    court: Court, event: Event, level: Level, about: dict[str, str]
) -> None:
    court.tell(event, level, **about)
    court.wait(DAY + HOUR)
    assert checked(court) == []
    court.wait(HOUR)
    (sentence,) = checked(court)
    assert sentence.endswith("still, and was not told again in a day")


@alerts
def test_what_is_told_again_within_the_day_is_named(
    court: Court, event: Event, level: Level, about: dict[str, str]
) -> None:
    for again in range(3):
        court.tell(event, level, **about, told=again + 1)
        court.wait(DAY if again == 0 else HOUR)
    (sentence,) = court.judge.broken
    assert " again after " in sentence


@alerts
def test_what_is_told_daily_breaks_nothing(
    court: Court, event: Event, level: Level, about: dict[str, str]
) -> None:
    for again in range(3):
        court.tell(event, level, **about, told=again + 1)
        court.wait(DAY + MINUTE)
        assert checked(court) == []


@pytest.mark.parametrize("excuse", ["death", "death-of-no-time", "clock", *HINDRANCES])
def test_a_word_whose_noting_was_hindered_is_told_twice(court: Court, excuse: str) -> None:
    court.tell(Event.VOICE_LOST, "error", **LOST)
    if excuse == "death":
        die(court)
    elif excuse == "death-of-no-time":
        die(court, timedelta(0))
    elif excuse == "clock":
        court.judge.clock_touched()
    else:
        court.spell(excuse, SECOND, HOUR)
    court.wait(2 * HOUR)
    court.tell(Event.VOICE_LOST, "error", **LOST, told=2)
    assert court.judge.broken == []
    court.wait(HOUR)
    court.tell(Event.VOICE_LOST, "error", **LOST, told=3)
    assert len(court.judge.broken) == 1


def test_a_death_long_after_excuses_no_word(court: Court) -> None:
    court.tell(Event.VOICE_LOST, "error", **LOST)
    court.wait(HOUR)
    die(court)
    court.tell(Event.VOICE_LOST, "error", **LOST, told=2)
    assert len(court.judge.broken) == 1


def test_a_risk_may_grow_louder_at_any_time_and_not_quieter(court: Court) -> None:
    for level in ("warning", "error"):
        court.tell(Event.VOICE_AT_RISK, level, **LOST)
        court.wait(HOUR)
    assert court.judge.broken == []
    court.tell(Event.VOICE_AT_RISK, "warning", **LOST)
    assert len(court.judge.broken) == 1


def test_what_a_new_process_mentions_is_no_telling(court: Court) -> None:
    court.wait(HOUR)
    court.tell(Event.UPSTREAM_BLOCKED, "error", **BLOCKED)
    court.wait(20 * HOUR)
    die(court)
    court.tell(Event.UPSTREAM_BLOCKED, "error", **BLOCKED)
    assert court.judge.broken == []
    court.wait(7 * HOUR)
    assert "was not told again in a day" in checked(court)[0]


def test_what_a_new_process_mentions_for_the_first_time_may_be_told_soon(court: Court) -> None:
    """The telling before was lost in the crash."""
    die(court)
    court.tell(Event.UPSTREAM_BLOCKED, "error", **BLOCKED)
    court.wait(10 * MINUTE)
    court.tell(Event.UPSTREAM_BLOCKED, "error", **BLOCKED, told=2)
    court.wait(10 * MINUTE)
    assert court.judge.broken == []
    court.tell(Event.UPSTREAM_BLOCKED, "error", **BLOCKED, told=3)
    assert len(court.judge.broken) == 1


def test_a_person_who_dealt_with_a_voice_needs_no_more_words(court: Court) -> None:
    court.tell(Event.VOICE_LOST, "error", **LOST)
    court.judge.retried("anna")
    court.wait(3 * DAY)
    assert checked(court) == []
    court.tell(Event.VOICE_LOST, "error", **LOST)  # the new one
    assert court.judge.broken == []


# And its end.


@pytest.mark.parametrize(
    ("event", "level", "about"), ALERTS[:3], ids=["lost", "undeployed", "risk"]
)
def test_an_end_that_the_host_heard_of_and_does_not_tell_is_named(
    court: Court, event: Event, level: Level, about: dict[str, str]
) -> None:
    court.tell(event, level, **about)
    court.use()
    court.wait(HOUR)
    assert checked(court) == []
    court.wait(HOUR)
    (sentence,) = checked(court)
    assert sentence.endswith("no more, and nobody was told")


@pytest.mark.parametrize(
    ("event", "was"),
    [
        (Event.VOICE_LOST, "lost"),
        (Event.VOICE_UNDEPLOYED, "undeployed"),
        (Event.VOICE_AT_RISK, "risk"),
    ],
)
def test_an_end_is_told_once(court: Court, event: Event, was: str) -> None:
    court.tell(event, "warning", **LOST)
    court.use()
    court.tell(Event.VOICE_RECOVERED, "info", **LOST, was=was)
    court.wait(DAY + 3 * HOUR)
    assert checked(court) == []
    court.tell(Event.VOICE_RECOVERED, "info", **LOST, was=was)
    (sentence,) = checked(court)
    assert f"anna was told to be {was} no more, and was not told before" in sentence


def test_an_end_may_be_told_again_where_the_process_died(court: Court) -> None:
    court.tell(Event.VOICE_LOST, "error", **LOST)
    court.tell(Event.VOICE_RECOVERED, "info", **LOST, was="lost")
    die(court)
    court.wait(HOUR)
    court.tell(Event.VOICE_RECOVERED, "info", **LOST, was="lost")
    assert checked(court) == []


def test_a_process_that_died_as_it_heard_of_an_end_hears_of_it_again(court: Court) -> None:
    court.tell(Event.VOICE_LOST, "error", **LOST)
    court.use()
    die(court)
    court.wait(3 * HOUR)
    assert checked(court) == []


def test_calls_that_flow_again_without_a_word_are_named(court: Court) -> None:
    court.tell(Event.UPSTREAM_BLOCKED, "error", **BLOCKED)
    die(court)  # and it mentions no pause as it begins again
    court.judge.claimed(taken((Kind.KEEPALIVE, OURS)))
    court.wait(3 * HOUR)
    (sentence,) = checked(court)
    assert f"{FLASH} is blocked no more, and nobody was told" in sentence


def test_a_risk_that_became_a_loss_needs_no_end(court: Court) -> None:
    court.tell(Event.VOICE_AT_RISK, "error", **LOST)
    court.gateway.delete_voice(OURS, court.clock.true)
    court.turned(Status.OK, Status.LOST)
    court.tell(Event.VOICE_LOST, "error", **LOST)
    court.wait(12 * HOUR)
    assert checked(court) == []
