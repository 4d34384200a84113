"""The invariants of calls can fail: paid twice, in a wrong order, under an open breaker, untrue."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tests.rehearsal.forged import OURS, Forged, taken
from tests.rehearsal.stage import DAY, HOUR, MINUTE, SECOND
from voicekeeper.core import breaker
from voicekeeper.core.events import Event
from voicekeeper.core.models import Kind, Status
from voicekeeper.core.requests import CONTROL_VOICE, FLASH
from voicekeeper.rehearsal import faults
from voicekeeper.rehearsal.invariants.calls import TRANSITIONS
from voicekeeper.rehearsal.invariants.evidence import Call

OURS_TAKEN = (Kind.KEEPALIVE, OURS)
PROBE = (Kind.CONTROL, CONTROL_VOICE)
SPEECH = Call("speech", FLASH, OURS, None)


# No voice is used again within its interval.


def test_a_voice_used_again_though_its_last_use_is_known_is_paid_for_twice(forged: Forged) -> None:
    forged.use()
    forged.wait(DAY)
    forged.use()
    (sentence,) = forged.settled()
    assert f"{OURS} was used again after 1 day, 0:01:00" in sentence


def test_one_lost_answer_excuses_one_use_and_no_second(forged: Forged) -> None:
    forged.speak()
    forged.wait(DAY)
    forged.use()
    assert forged.settled() == []
    forged.wait(DAY)
    forged.use()
    assert len(forged.settled()) == 1


@pytest.mark.parametrize(
    ("excuse", "later", "named"),
    [(Forged.set_clock, 0 * HOUR, 0), (Forged.die, 0 * HOUR, 0), (Forged.die, HOUR, 1)],
)
def test_a_clock_that_was_set_or_a_death_just_then_excuses_a_use(
    forged: Forged, excuse: Callable[[Forged], None], later: timedelta, named: int
) -> None:
    forged.use()
    forged.wait(later)
    excuse(forged)
    forged.wait(DAY)
    forged.use()
    assert len(forged.settled()) == named


@pytest.mark.parametrize(
    ("after", "event", "named"),
    [
        (0 * SECOND, Event.CONTROL_SUBMITTED, 0),
        (30 * SECOND, Event.CONTROL_FAILED, 0),  # whose answer was lost
        (HOUR, Event.CONTROL_FAILED, 1),
    ],
)
def test_a_control_call_is_no_keepalive_but_excuses_none_of_an_hour_ago(
    forged: Forged, after: timedelta, event: Event, named: int
) -> None:
    forged.use()
    forged.wait(DAY)
    task_id = forged.speak()
    forged.wait(after)
    about: dict[str, Any] = (
        {"task_id": task_id} if event is Event.CONTROL_SUBMITTED else {"voice_id": OURS}
    )
    forged.log(event, name="anna", **about)
    assert len(forged.settled()) == named


# No enrollment is paid for twice.


def test_an_enrollment_accepted_twice_is_paid_for_again_unless_a_person_retried_it(
    forged: Forged,
) -> None:
    forged.enroll("ben")
    forged.invariants.retried("cleo")
    forged.invariants.retried("ben")
    forged.enroll("ben")
    assert forged.settled() == []
    forged.enroll("ben")
    (sentence,) = forged.settled()
    assert "the enrollment of ben was paid for again" in sentence


# A voice is called LOST or UNDEPLOYED by the gateway's evidence alone; legal transitions only.


@pytest.mark.parametrize("refused", [None, 400])
def test_a_voice_called_lost_because_another_account_does_not_know_it_is_named(
    forged: Forged, refused: int | None
) -> None:
    forged.import_voice("ben")
    forged.period(faults.WRONG_ACCOUNT, 0 * DAY, DAY)
    for _ in range(3):
        forged.fail(refused=refused)
    forged.turned(Status.OK, Status.LOST)
    (sentence,) = forged.settled()
    assert "anna was called LOST and lives" in sentence


@pytest.mark.parametrize("clock", ["right", "days ahead"])
def test_of_voices_whose_windows_are_over_for_the_host_none_can_test_the_account(
    forged: Forged, clock: str
) -> None:
    """A call that the host never heard of may have kept them, but the host cannot know."""
    forged.import_voice("ben")
    forged.period(faults.WRONG_ACCOUNT, 5 * DAY, 4 * DAY)
    if clock == "right":
        forged.wait(4.5 * DAY)
        for voice_id in ("id-anna-", "id-ben-"):
            forged.speak(voice_id)  # and nobody asks how that ended
        forged.wait(3 * DAY)
    else:
        forged.clock.wrong_by = 3 * DAY
        forged.wait(5 * DAY)
    for _ in range(2):
        forged.fail(refused=400)
    forged.turned(Status.OK, Status.LOST)
    assert not any("called LOST" in sentence for sentence in forged.settled())


@pytest.mark.parametrize("after", [Status.LOST, Status.UNDEPLOYED])
def test_a_voice_that_no_answer_named_is_not_called_gone(forged: Forged, after: Status) -> None:
    forged.turned(Status.OK, after)
    (sentence,) = forged.settled()
    assert f"anna was called {after} and lives" in sentence


def test_one_failure_is_not_enough_and_a_success_takes_it_back(forged: Forged) -> None:
    for _ in range(2):
        forged.fail()
        forged.use()
    forged.turned(Status.OK, Status.LOST)
    assert any("was called LOST" in sentence for sentence in forged.settled())


@pytest.mark.parametrize(
    ("code", "named"),
    [
        *(("VALIDATION_ERROR", 0), ("UNDEPLOYED", 0)),
        *(("GENERATION_FAILED", 1), ("TASK_TIMEOUT", 1), ("INSUFFICIENT_CREDITS", 1)),
    ],
)
def test_two_failures_that_name_the_voice_are_enough_and_others_are_not(
    forged: Forged, code: str, named: int
) -> None:
    for _ in range(2):
        forged.fail(code)
    forged.turned(Status.OK, Status.LOST)
    assert len(forged.settled()) == named


def test_a_failure_that_never_arrived_is_no_evidence(forged: Forged) -> None:
    for _ in range(3):
        forged.speak(doom="VALIDATION_ERROR")
        forged.wait(MINUTE)
    forged.turned(Status.OK, Status.LOST)
    assert len(forged.settled()) == 1


def test_a_voice_that_is_gone_or_that_the_review_took_may_be_called_so(forged: Forged) -> None:
    forged.gateway.undeploy_voice(OURS, forged.clock.true)
    forged.turned(Status.OK, Status.UNDEPLOYED)
    forged.gateway.delete_voice(OURS, forged.clock.true)
    forged.turned(Status.OK, Status.LOST)
    assert forged.settled() == []


def test_every_other_transition_of_a_status_is_named(forged: Forged) -> None:
    steps = [(before, after) for before in Status for after in Status]
    for step in steps:
        forged.turned(*step, voice_id=None)
    assert [sentence.partition(": ")[2] for sentence in forged.settled()] == [
        f"anna went from {before} to {after}"
        for before, after in steps
        if (before, after) not in TRANSITIONS
    ]
    assert len(TRANSITIONS) == 20


# While a breaker is open, no call is made but the probe.


def pause(forged: Forged, why: str = "402: the account is empty") -> None:
    forged.log(Event.UPSTREAM_BLOCKED, "error", model=FLASH, error=why)


@pytest.mark.parametrize(
    ("kind", "is_poll"),
    [
        *((kind, False) for kind in Kind),
        *((Kind.KEEPALIVE, True), (Kind.CONTROL, True)),
    ],
)
def test_while_a_breaker_is_open_only_the_probe_and_its_task_are_taken(
    forged: Forged, kind: Kind, *, is_poll: bool
) -> None:
    pause(forged)
    forged.invariants.claimed(taken(polls=(kind,)) if is_poll else taken((kind, OURS)))
    if kind is Kind.CONTROL:
        assert forged.broken == []
    else:
        (sentence,) = forged.broken
        assert f"{OURS} was taken though calls for {FLASH} are paused" in sentence


def test_a_call_that_was_taken_before_is_still_made_once(forged: Forged) -> None:
    forged.invariants.claimed(taken(OURS_TAKEN))
    pause(forged)
    forged.invariants.posted(SPEECH)
    assert forged.broken == []
    forged.invariants.posted(SPEECH)
    (sentence,) = forged.broken
    assert f"a speech call with {OURS} was made that no pass chose" in sentence


def test_a_breaker_concerns_its_model_alone_and_only_until_it_closes(forged: Forged) -> None:
    pause(forged)
    forged.invariants.claimed(taken(OURS_TAKEN, model="cosyvoice-v3-plus"))
    forged.log(Event.UPSTREAM_RECOVERED, model=FLASH)
    forged.invariants.claimed(taken(OURS_TAKEN))
    assert forged.broken == []


@pytest.mark.parametrize("mentions", [False, True])
def test_a_new_process_logs_whether_a_breaker_is_still_open(
    forged: Forged, *, mentions: bool
) -> None:
    pause(forged)
    forged.die(0 * SECOND)
    if mentions:
        pause(forged)
    forged.invariants.claimed(taken(OURS_TAKEN))
    assert len(forged.broken) == mentions


def test_what_a_dead_process_chose_no_other_calls(forged: Forged) -> None:
    forged.invariants.claimed(taken(OURS_TAKEN))
    forged.die(0 * SECOND)
    forged.invariants.posted(SPEECH)
    assert len(forged.broken) == 1


@pytest.mark.parametrize(("after", "named"), [(0 * SECOND, 1), (20 * SECOND, 1), (30 * SECOND, 0)])
def test_probes_keep_the_shortest_backoff(forged: Forged, after: timedelta, named: int) -> None:
    pause(forged)
    forged.invariants.claimed(taken(PROBE))
    forged.wait(after)
    forged.invariants.claimed(taken(PROBE))
    assert ["was probed again after" in sentence for sentence in forged.broken] == [True] * named


@pytest.mark.parametrize(("used", "named"), [(6 * DAY, 1), (8 * DAY, 0)])
def test_where_no_voice_of_ours_is_left_as_a_probe_the_waiting_calls_are_the_probe(
    forged: Forged, used: timedelta, named: int
) -> None:
    forged.use()
    forged.wait(used)
    pause(forged, breaker.UNKNOWN_HERE)
    forged.invariants.claimed(taken(OURS_TAKEN))
    assert len([s for s in forged.broken if "are paused" in s]) == named


# The most urgent first.


def fleet(forged: Forged, **ages: timedelta) -> None:
    """Let voices be known, last used so long ago, and the host know that."""
    now = forged.clock.true
    for name, age in ages.items():
        forged.import_voice(name, now - age)
        known = forged.invariants.evidence.known[f"id-{name}-"]
        known.used_at, known.heard_at = now - age, now - age
    forged.wait(MINUTE)


def take(forged: Forged, *names: str, left: tuple[str, ...] = ()) -> list[str]:
    """Let a pass take voices, and leave others; return the violations."""
    calls = taken(*((Kind.KEEPALIVE, f"id-{name}-") for name in names))
    ids = [f"id-{name}-" for name in left]
    forged.invariants.claimed(calls._replace(more_calls=bool(left)), ids)
    return [sentence.partition(": ")[2] for sentence in forged.broken]


@pytest.mark.parametrize(
    ("names", "left", "sentence"),
    [
        (["old", "young", "dead"], [], None),
        (["dead", "young"], [], "id-dead- was past saving and called before id-young-"),
        (["mid", "young", "old"], [], "id-young- was called before id-old-, which is more urgent"),
        (["old", "mid"], ["young"], None),
        (["old", "young"], ["mid"], "id-young- was taken before id-mid-, which is more urgent"),
        (["young"], ["dead"], None),
        (["dead"], ["young"], "id-dead- was past saving and taken before id-young-"),
        (["mid", "twin"], [], None),  # a minute apart: the host counts from when it meant to call
    ],
)
def test_a_pass_takes_the_most_urgent_first_and_those_past_saving_last(
    forged: Forged, names: list[str], left: list[str], sentence: str | None
) -> None:
    fleet(forged, dead=8 * DAY, old=6 * DAY, mid=5 * DAY, twin=5 * DAY + MINUTE, young=4 * DAY)
    assert take(forged, *names, left=tuple(left)) == ([] if sentence is None else [sentence])


@pytest.mark.parametrize("which", ["old", "young"])
def test_a_use_of_which_the_host_may_not_know_is_not_judged(forged: Forged, which: str) -> None:
    fleet(forged, old=6 * DAY, young=4 * DAY)
    forged.invariants.evidence.known[f"id-{which}-"].used_at = None
    assert take(forged, "young", "old") == []


def test_by_a_clock_that_is_wrong_or_was_no_order_is_judged(forged: Forged) -> None:
    fleet(forged, old=6 * DAY, young=4 * DAY)
    forged.clock.wrong_by = DAY
    assert take(forged, "young", "old") == []
    forged.clock.wrong_by = timedelta(0)
    forged.set_clock()
    assert take(forged, "young", "old") == []
