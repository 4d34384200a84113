"""The invariants of calls can fail: their order, and any call while a breaker is open."""

from datetime import timedelta

import pytest

from tests.rehearsal.forged import OURS, Forged, taken
from tests.rehearsal.stage import DAY, HOUR, MINUTE, SECOND
from voicekeeper.core import breaker
from voicekeeper.core.events import Event
from voicekeeper.core.models import Kind
from voicekeeper.core.requests import CONTROL_VOICE, FLASH
from voicekeeper.rehearsal.network import Call

OURS_TAKEN = (Kind.KEEPALIVE, OURS)
PROBE = (Kind.CONTROL, CONTROL_VOICE)
SPEECH = Call("speech", FLASH, OURS, None)


def pause(forged: Forged, why: str = "402: the account is empty") -> None:
    forged.log(Event.UPSTREAM_BLOCKED, "error", model=FLASH, error=why)


# While calls are paused, none is made but the probe.


@pytest.mark.parametrize("kind", [Kind.KEEPALIVE, Kind.CLONE, Kind.DESIGN])
def test_a_call_that_is_taken_while_calls_are_paused_is_named(forged: Forged, kind: Kind) -> None:
    pause(forged)
    forged.invariants.claimed(taken((kind, OURS)))
    (sentence,) = forged.broken
    assert f"{OURS} was taken though calls for {FLASH} are paused" in sentence


@pytest.mark.parametrize("kind", [Kind.KEEPALIVE, Kind.CLONE])
def test_so_is_a_task_that_is_asked_for(forged: Forged, kind: Kind) -> None:
    pause(forged)
    forged.invariants.claimed(taken(polls=(kind,)))
    assert len(forged.broken) == 1


def test_the_probe_and_its_task_are_not(forged: Forged) -> None:
    pause(forged)
    forged.invariants.claimed(taken(PROBE, polls=(Kind.CONTROL,)))
    forged.invariants.posted(Call("speech", FLASH, CONTROL_VOICE, None))
    assert forged.broken == []


def test_a_call_that_was_taken_before_still_has_its_turn_once(forged: Forged) -> None:
    forged.invariants.claimed(taken(OURS_TAKEN))
    pause(forged)
    forged.invariants.posted(SPEECH)
    assert forged.broken == []
    forged.invariants.posted(SPEECH)
    (sentence,) = forged.broken
    assert f"a speech call with {OURS} was made that no pass chose" in sentence


def test_a_pause_of_one_model_stops_no_other(forged: Forged) -> None:
    pause(forged)
    forged.invariants.claimed(taken(OURS_TAKEN, model="cosyvoice-v3-plus"))
    assert forged.broken == []


def test_after_the_pause_calls_flow(forged: Forged) -> None:
    pause(forged)
    forged.log(Event.UPSTREAM_RECOVERED, model=FLASH)
    forged.invariants.claimed(taken(OURS_TAKEN))
    assert forged.broken == []


@pytest.mark.parametrize("mentions", [False, True])
def test_a_new_process_says_whether_calls_are_paused_still(
    forged: Forged, *, mentions: bool
) -> None:
    pause(forged)
    forged.invariants.killed()
    forged.invariants.started()
    if mentions:
        pause(forged)
    forged.invariants.claimed(taken(OURS_TAKEN))
    assert len(forged.broken) == mentions


def test_what_a_dead_process_chose_no_other_calls(forged: Forged) -> None:
    forged.invariants.claimed(taken(OURS_TAKEN))
    forged.invariants.killed()
    forged.invariants.started()
    forged.invariants.posted(SPEECH)
    assert len(forged.broken) == 1


@pytest.mark.parametrize(("after", "named"), [(20 * SECOND, 1), (30 * SECOND, 0), (HOUR, 0)])
def test_probes_keep_the_shortest_backoff(forged: Forged, after: timedelta, named: int) -> None:
    pause(forged)
    forged.invariants.claimed(taken(PROBE))
    forged.wait(after)
    forged.invariants.claimed(taken(PROBE))
    assert len(forged.broken) == named


def test_two_probes_at_once_are_named(forged: Forged) -> None:
    pause(forged)
    forged.invariants.claimed(taken(PROBE, PROBE))
    assert "was probed again after 0:00:00" in forged.broken[0]


@pytest.mark.parametrize(("used", "named"), [(6 * DAY, 1), (8 * DAY, 0)])
def test_where_no_voice_of_ours_is_left_to_ask_the_waiting_calls_ask(
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
        voice_id = f"id-{name}-"
        forged.gateway.import_voice(voice_id, FLASH, now, last_used_at=now - age)
        forged.invariants.registered(name, voice_id)
        known = forged.invariants.evidence.known[voice_id]
        known.used_at, known.heard_at = now - age, now - age
    forged.wait(MINUTE)


def take(forged: Forged, *names: str, left: tuple[str, ...] = ()) -> list[str]:
    """Let a pass take voices, and leave others; return the violations."""
    calls = taken(*((Kind.KEEPALIVE, f"id-{name}-") for name in names))
    ready = [f"id-{name}-" for name in left]
    forged.invariants.claimed(calls._replace(more_calls=bool(left)), ready)
    return forged.broken


def test_an_order_by_deadline_breaks_nothing(forged: Forged) -> None:
    fleet(forged, old=6 * DAY, young=4 * DAY, dead=8 * DAY)
    assert take(forged, "old", "young", "dead") == []


def test_a_voice_past_saving_that_is_called_before_another_is_named(forged: Forged) -> None:
    fleet(forged, dead=8 * DAY, young=DAY)
    (sentence,) = take(forged, "dead", "young")
    assert "id-dead- was past saving and called before id-young-" in sentence


def test_a_less_urgent_voice_that_is_called_before_another_is_named(forged: Forged) -> None:
    fleet(forged, old=6 * DAY, mid=5 * DAY, young=4 * DAY)
    (sentence,) = take(forged, "mid", "young", "old")
    assert "id-young- was called before id-old-, which is more urgent" in sentence


def test_a_more_urgent_voice_that_is_left_behind_is_named(forged: Forged) -> None:
    fleet(forged, old=6 * DAY, mid=5 * DAY, young=4 * DAY)
    assert take(forged, "old", "mid", left=("young",)) == []
    (sentence,) = take(forged, "old", "young", left=("mid",))
    assert "id-young- was taken before id-mid-, which is more urgent" in sentence


def test_a_voice_past_saving_is_not_taken_where_another_is_left_behind(forged: Forged) -> None:
    fleet(forged, dead=8 * DAY, young=4 * DAY)
    assert take(forged, "young", left=("dead",)) == []
    (sentence,) = take(forged, "dead", left=("young",))
    assert "id-dead- was past saving and taken before id-young-" in sentence


def test_a_minute_between_two_deadlines_is_not_judged(forged: Forged) -> None:
    """The host counts from when it meant to use a voice, the gateway from when it was used."""
    fleet(forged, one=5 * DAY, other=5 * DAY + MINUTE)
    assert take(forged, "one", "other") == []


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
