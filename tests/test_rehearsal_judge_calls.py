"""The judge can fail the order of the calls, and any call that is made while they are paused."""

from datetime import timedelta

import pytest

from tests.court import OURS, Court, taken
from tests.rehearsal_support import DAY, HOUR, MINUTE, SECOND
from voicekeeper import breaker
from voicekeeper.events import Event
from voicekeeper.models import Kind
from voicekeeper.rehearsal.network import Call
from voicekeeper.request import CONTROL_VOICE, FLASH

OURS_TAKEN = (Kind.KEEPALIVE, OURS)
PROBE = (Kind.CONTROL, CONTROL_VOICE)
SPEECH = Call("speech", FLASH, OURS, None)


def pause(court: Court, why: str = "402: the account is empty") -> None:
    court.tell(Event.UPSTREAM_BLOCKED, "error", model=FLASH, error=why)


# While calls are paused, none is made but the probe.


@pytest.mark.parametrize("kind", [Kind.KEEPALIVE, Kind.CLONE, Kind.DESIGN])
def test_a_call_that_is_taken_while_calls_are_paused_is_named(court: Court, kind: Kind) -> None:
    pause(court)
    court.judge.claimed(taken((kind, OURS)))

    (sentence,) = court.judge.broken
    assert f"{OURS} was taken though calls for {FLASH} are paused" in sentence


@pytest.mark.parametrize("kind", [Kind.KEEPALIVE, Kind.CLONE])
def test_so_is_a_task_that_is_asked_for(court: Court, kind: Kind) -> None:
    pause(court)
    court.judge.claimed(taken(polls=(kind,)))

    assert len(court.judge.broken) == 1


def test_the_probe_and_its_task_are_not(court: Court) -> None:
    pause(court)
    court.judge.claimed(taken(PROBE, polls=(Kind.CONTROL,)))
    court.judge.posted(Call("speech", FLASH, CONTROL_VOICE, None))

    assert court.judge.broken == []


def test_a_call_that_was_taken_before_still_has_its_turn_once(court: Court) -> None:
    court.judge.claimed(taken(OURS_TAKEN))
    pause(court)
    court.judge.posted(SPEECH)
    assert court.judge.broken == []

    court.judge.posted(SPEECH)
    (sentence,) = court.judge.broken
    assert f"a speech call with {OURS} was made that no pass chose" in sentence


def test_a_pause_of_one_model_stops_no_other(court: Court) -> None:
    pause(court)
    court.judge.claimed(taken(OURS_TAKEN, model="cosyvoice-v3-plus"))

    assert court.judge.broken == []


def test_after_the_pause_calls_flow(court: Court) -> None:
    pause(court)
    court.tell(Event.UPSTREAM_RECOVERED, model=FLASH)
    court.judge.claimed(taken(OURS_TAKEN))

    assert court.judge.broken == []


@pytest.mark.parametrize("mentions", [False, True])
def test_a_new_process_says_whether_calls_are_paused_still(court: Court, *, mentions: bool) -> None:
    pause(court)
    court.judge.killed()
    court.judge.started()
    if mentions:
        pause(court)
    court.judge.claimed(taken(OURS_TAKEN))

    assert len(court.judge.broken) == mentions


def test_what_a_dead_process_chose_no_other_calls(court: Court) -> None:
    court.judge.claimed(taken(OURS_TAKEN))
    court.judge.killed()
    court.judge.started()
    court.judge.posted(SPEECH)

    assert len(court.judge.broken) == 1


@pytest.mark.parametrize(("after", "named"), [(20 * SECOND, 1), (30 * SECOND, 0), (HOUR, 0)])
def test_probes_keep_the_shortest_backoff(court: Court, after: timedelta, named: int) -> None:
    pause(court)
    court.judge.claimed(taken(PROBE))
    court.wait(after)
    court.judge.claimed(taken(PROBE))

    assert len(court.judge.broken) == named


def test_two_probes_at_once_are_named(court: Court) -> None:
    pause(court)
    court.judge.claimed(taken(PROBE, PROBE))

    assert "was probed again after 0:00:00" in court.judge.broken[0]


@pytest.mark.parametrize(("used", "named"), [(6 * DAY, 1), (8 * DAY, 0)])
def test_where_no_voice_of_ours_is_left_to_ask_the_waiting_calls_ask(
    court: Court, used: timedelta, named: int
) -> None:
    court.use()
    court.wait(used)
    pause(court, breaker.UNKNOWN_HERE)
    court.judge.claimed(taken(OURS_TAKEN))

    assert len([s for s in court.judge.broken if "are paused" in s]) == named


# The most urgent first.


def fleet(court: Court, **ages: timedelta) -> None:
    """Let voices be known, last used so long ago, and the host know that."""
    now = court.clock.true
    for name, age in ages.items():
        voice_id = f"id-{name}-"
        court.gateway.import_voice(voice_id, FLASH, now, last_used_at=now - age)
        court.judge.registered(name, voice_id)
        known = court.judge.seen.known[voice_id]
        known.used_at, known.told_at = now - age, now - age
    court.wait(MINUTE)


def take(court: Court, *names: str, left: tuple[str, ...] = ()) -> list[str]:
    """Let a pass take voices, and leave others; return what the judge says."""
    calls = taken(*((Kind.KEEPALIVE, f"id-{name}-") for name in names))
    ready = [f"id-{name}-" for name in left]
    court.judge.claimed(calls._replace(more_calls=bool(left)), ready)
    return court.judge.broken


def test_an_order_by_deadline_breaks_nothing(court: Court) -> None:
    fleet(court, old=6 * DAY, young=4 * DAY, dead=8 * DAY)

    assert take(court, "old", "young", "dead") == []


def test_a_voice_past_saving_that_is_called_before_another_is_named(court: Court) -> None:
    fleet(court, dead=8 * DAY, young=DAY)

    (sentence,) = take(court, "dead", "young")
    assert "id-dead- was past saving and called before id-young-" in sentence


def test_a_less_urgent_voice_that_is_called_before_another_is_named(court: Court) -> None:
    fleet(court, old=6 * DAY, mid=5 * DAY, young=4 * DAY)

    (sentence,) = take(court, "mid", "young", "old")
    assert "id-young- was called before id-old-, which is more urgent" in sentence


def test_a_more_urgent_voice_that_is_left_behind_is_named(court: Court) -> None:
    fleet(court, old=6 * DAY, mid=5 * DAY, young=4 * DAY)

    assert take(court, "old", "mid", left=("young",)) == []
    (sentence,) = take(court, "old", "young", left=("mid",))
    assert "id-young- was taken before id-mid-, which is more urgent" in sentence


def test_a_voice_past_saving_is_not_taken_where_another_is_left_behind(court: Court) -> None:
    fleet(court, dead=8 * DAY, young=4 * DAY)

    assert take(court, "young", left=("dead",)) == []
    (sentence,) = take(court, "dead", left=("young",))
    assert "id-dead- was past saving and taken before id-young-" in sentence


def test_a_minute_between_two_deadlines_is_not_judged(court: Court) -> None:
    """The host counts from when it meant to use a voice, the gateway from when it was used."""
    fleet(court, one=5 * DAY, other=5 * DAY + MINUTE)

    assert take(court, "one", "other") == []


@pytest.mark.parametrize("which", ["old", "young"])
def test_a_use_of_which_the_host_may_not_know_is_not_judged(court: Court, which: str) -> None:
    fleet(court, old=6 * DAY, young=4 * DAY)
    court.judge.seen.known[f"id-{which}-"].used_at = None

    assert take(court, "young", "old") == []


def test_by_a_clock_that_is_wrong_or_was_no_order_is_judged(court: Court) -> None:
    fleet(court, old=6 * DAY, young=4 * DAY)
    court.clock.wrong_by = DAY
    assert take(court, "young", "old") == []

    court.clock.wrong_by = timedelta(0)
    court.judge.clock_touched()
    assert take(court, "young", "old") == []
