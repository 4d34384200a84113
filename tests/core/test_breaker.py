"""The circuit breaker: what opens it, what probes it, what closes it."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import DAY, HOUR, MINUTE, NOW, POLICY, SECOND, policies, spans
from voicekeeper.core import breaker as breakers
from voicekeeper.core.breaker import TRIP_AFTER, BreakerFields
from voicekeeper.core.models import Breaker
from voicekeeper.core.outcome import Culprit, Fault
from voicekeeper.core.schedule import Policy

ACCOUNT = Fault(Culprit.ACCOUNT, "402", "the gateway answered 402: insufficient balance")
UPSTREAM = Fault(Culprit.UPSTREAM, "502", "the gateway answered 502")
VOICE = Fault(Culprit.VOICE, "VALIDATION_ERROR", "the voice is not known")
NOBODY = Fault(Culprit.NOBODY, "404", "no such task")
REQUEST = Fault(Culprit.REQUEST, "400", "the request is wrong")


def closed(**columns: Any) -> Breaker:  # noqa: ANN401 - any column
    row: dict[str, Any] = {"model": "cosyvoice-3-flash", "run": 0, "probes": 0}
    return Breaker(**row | columns)


def opened(**columns: Any) -> Breaker:  # noqa: ANN401
    row: dict[str, Any] = {"opened_at": NOW - HOUR, "cause": "402", "run": 1, "probe_at": NOW}
    return closed(**row | columns)


def applied(breaker: Breaker, fields: BreakerFields) -> Breaker:
    after = Breaker(**breaker.model_dump())
    for column, value in fields.items():
        setattr(after, column, value)
    return after


def after_fault(
    breaker: Breaker, fault: Fault, voice_pk: int | None = 1, *, others_accepted: bool = False
) -> BreakerFields:
    return breakers.after_fault(
        breaker,
        fault,
        voice_pk=voice_pk,
        others_accepted=others_accepted,
        anchor=NOW - 3 * DAY,
        now=NOW,
        policy=POLICY,
    )


def after_control_fault(
    breaker: Breaker, fault: Fault, *, is_ours: bool = False, anchor: datetime | None = None
) -> BreakerFields:
    return breakers.after_control_fault(
        breaker, fault, is_ours=is_ours, anchor=anchor, now=NOW, policy=POLICY
    )


def test_one_fault_of_the_account_opens_it() -> None:
    fields = after_fault(closed(), ACCOUNT)
    assert fields["opened_at"] == NOW
    assert fields["cause"] == ACCOUNT.message
    assert fields["probes"] == 0
    assert fields["probe_at"] is not None
    assert 30 * SECOND <= fields["probe_at"] - NOW <= 38 * SECOND


@pytest.mark.parametrize("fault", [UPSTREAM, NOBODY])
def test_five_faults_in_a_row_of_different_voices_open_it(fault: Fault) -> None:
    breaker = closed()
    for voice_pk in (1, 2, 3, 4):
        breaker = applied(breaker, after_fault(breaker, fault, voice_pk))
        assert (breaker.run, breaker.opened_at) == (voice_pk, None)
    breaker = applied(breaker, after_fault(breaker, fault, 5))
    assert (breaker.opened_at, breaker.cause) == (NOW, fault.message)
    assert (breaker.run, breaker.last_voice_pk) == (5, 5)


def test_faults_between_calls_that_are_taken_do_not_open_it_until_none_is_taken() -> None:
    breaker = closed()
    for voice_pk in range(1, 100):
        breaker = applied(breaker, after_fault(breaker, UPSTREAM, voice_pk, others_accepted=True))
    assert (breaker.run, breaker.opened_at) == (TRIP_AFTER - 1, None)
    assert after_fault(breaker, UPSTREAM, 100)["opened_at"] == NOW


def test_a_fault_of_the_account_opens_it_whatever_else_is_taken() -> None:
    assert after_fault(closed(), ACCOUNT, others_accepted=True)["opened_at"] == NOW


def test_one_voice_that_fails_again_and_again_does_not_open_it() -> None:
    breaker = closed()
    for _ in range(100):
        breaker = applied(breaker, after_fault(breaker, UPSTREAM, 7))
    assert (breaker.run, breaker.last_voice_pk, breaker.opened_at) == (1, 7, None)


def test_neither_faults_of_voices_nor_any_of_late_calls_while_it_is_open_count() -> None:
    for fault in (VOICE, REQUEST):
        assert after_fault(closed(run=4, last_voice_pk=9), fault) == {}
    for fault in (ACCOUNT, UPSTREAM, VOICE, NOBODY, REQUEST):
        assert after_fault(opened(), fault) == {}


@pytest.mark.parametrize(
    ("fault", "run", "opens"),
    [
        (ACCOUNT, 0, True),
        (UPSTREAM, 0, False),
        (UPSTREAM, TRIP_AFTER - 2, False),
        (UPSTREAM, TRIP_AFTER - 1, True),
        (NOBODY, TRIP_AFTER - 2, False),
        (NOBODY, TRIP_AFTER - 1, True),
    ],
)
def test_a_control_call_opens_a_closed_breaker_by_an_accounts_fault_or_a_run_of_others(
    fault: Fault, run: int, *, opens: bool
) -> None:
    fields = after_control_fault(closed(run=run), fault)
    assert fields.get("opened_at") == (NOW if opens else None)
    assert fields.get("cause") == (fault.message if opens else None)
    assert fields["probe_at"] is not None
    assert fields["probe_at"] > NOW


@pytest.mark.parametrize(
    ("breaker", "fault"),
    [
        (closed(probes=3), VOICE),
        (closed(run=TRIP_AFTER - 1, probes=3), VOICE),
        *((opened(probes=3), fault) for fault in (ACCOUNT, UPSTREAM, VOICE, NOBODY)),
    ],
)
def test_a_control_call_that_blames_its_voice_or_a_probe_only_puts_off_the_next_one(
    breaker: Breaker, fault: Fault
) -> None:
    fields = after_control_fault(breaker, fault)
    assert set(fields) == {"probes", "probe_at", "judged_at"}
    assert fields["probes"] == 4
    assert fields["probe_at"] is not None
    assert 3 * MINUTE <= fields["probe_at"] - NOW <= 5 * MINUTE


def test_control_calls_that_blame_built_in_voices_never_open_it() -> None:
    breaker = closed(run=TRIP_AFTER - 1, last_voice_pk=1)
    for _ in range(100):
        breaker = applied(breaker, after_control_fault(breaker, VOICE))
    assert (breaker.opened_at, breaker.cause) == (None, None)
    assert (breaker.run, breaker.last_voice_pk, breaker.probes) == (TRIP_AFTER - 1, 1, 100)


def test_three_of_our_voices_in_a_row_that_are_not_known_blame_the_account() -> None:
    breaker = closed()
    for turn in range(3):
        assert breaker.opened_at is None, turn
        breaker = applied(breaker, after_control_fault(breaker, VOICE, is_ours=True))
    assert (breaker.opened_at, breaker.distrusted) == (NOW, True)
    assert breaker.cause is not None
    assert "API key" in breaker.cause


def test_a_control_call_that_failed_counts_in_the_run() -> None:
    fields = after_control_fault(closed(run=2, last_voice_pk=1), UPSTREAM)
    assert (fields["run"], fields["last_voice_pk"]) == (3, None)


@pytest.mark.parametrize(
    ("breaker", "fault"),
    [(opened(probes=20), ACCOUNT), (closed(probes=9), VOICE), (closed(), ACCOUNT)],
)
def test_probes_hurry_when_a_deadline_is_near(breaker: Breaker, fault: Fault) -> None:
    anchor = NOW - POLICY.window + 40 * MINUTE
    slow = replace(POLICY, retry_base=10 * MINUTE)
    fields = breakers.after_control_fault(
        breaker, fault, is_ours=True, anchor=anchor, now=NOW, policy=slow
    )
    assert fields["probe_at"] == NOW + 5 * MINUTE
    opening = breakers.after_fault(
        closed(), ACCOUNT, voice_pk=1, others_accepted=False, anchor=anchor, now=NOW, policy=slow
    )
    assert opening["probe_at"] == NOW + 5 * MINUTE


def test_the_probes_of_two_models_do_not_go_out_at_one_moment() -> None:
    one, other = (after_fault(closed(model=model), ACCOUNT) for model in ("plus", "flash"))
    assert one["probe_at"] != other["probe_at"]


def test_a_probe_obeys_the_gateways_wish() -> None:
    fields = after_control_fault(opened(), replace(UPSTREAM, retry_after=1800.0))
    assert fields["probe_at"] == NOW + 30 * MINUTE


@given(
    policies(),
    st.sampled_from([ACCOUNT, UPSTREAM, VOICE, NOBODY]),
    st.integers(0, 5000),
    st.none() | spans(-40 * DAY, 40 * DAY),
    st.none() | st.floats(0, 1e8),
)
def test_the_next_probe_is_always_ahead_and_never_beyond_the_interval(
    policy: Policy,
    fault: Fault,
    probes: int,
    age: timedelta | None,
    asked: float | None,
) -> None:
    fields = breakers.after_control_fault(
        opened(probes=probes),
        replace(fault, retry_after=asked),
        is_ours=True,
        anchor=None if age is None else NOW - age,
        now=NOW,
        policy=policy,
    )
    at = fields["probe_at"]
    assert at is not None
    assert NOW < at <= NOW + policy.interval


@pytest.mark.parametrize(
    ("columns", "is_ours", "sent_at", "fields"),
    [
        ({"opened_at": NOW - HOUR}, False, NOW - MINUTE, None),
        ({"opened_at": NOW - MINUTE}, False, NOW - MINUTE, None),  # of the pass that opened it
        ({"opened_at": NOW - MINUTE}, True, NOW - 2 * MINUTE, {"probes": 0}),  # sent before that
        ({"opened_at": NOW}, False, NOW - SECOND, {"probes": 0}),
        ({"opened_at": NOW - HOUR, "distrusted": True}, True, NOW - MINUTE, None),
        ({"opened_at": NOW - HOUR, "distrusted": True}, False, NOW - MINUTE, {}),
    ],
)
def test_a_control_call_sent_since_it_opened_closes_it_and_one_of_ours_what_ours_opened(
    columns: dict[str, Any], sent_at: datetime, fields: BreakerFields | None, *, is_ours: bool
) -> None:
    breaker = opened(probes=3, last_voice_pk=1, **columns)
    found = breakers.after_control_success(breaker, is_ours=is_ours, sent_at=sent_at)
    if fields is None:
        assert applied(breaker, found) == closed()
    else:
        assert found == fields


def test_whatever_sets_the_time_of_a_probe_tells_when() -> None:
    begun = breakers.probing(opened(), now=NOW, policy=POLICY)
    failed = breakers.after_control_fault(
        opened(), UPSTREAM, is_ours=False, anchor=None, now=NOW, policy=POLICY
    )
    tripped = after_fault(closed(), ACCOUNT)
    assert [fields["judged_at"] for fields in (begun, failed, tripped)] == [NOW] * 3
    assert begun["probe_at"] == breakers.control_ends(opened(), now=NOW, policy=POLICY)


QUICK = replace(POLICY, speech_first=SECOND / 10, speech_interval=SECOND / 10, give_up=DAY)


@pytest.mark.parametrize(
    ("policy", "probes", "patience"),
    [
        (POLICY, 0, MINUTE),  # as long as a few polls take
        (POLICY, 1, 2 * MINUTE),
        (POLICY, 5, 32 * MINUTE),
        (POLICY, 6, POLICY.give_up),
        (POLICY, 5000, POLICY.give_up),
        # never less than a few polls take, nor than a second; doubled ten times at most
        (replace(POLICY, give_up=30 * SECOND), 0, MINUTE),
        (replace(POLICY, give_up=30 * SECOND), 20, MINUTE),
        (QUICK, 0, SECOND),
        (QUICK, 10, 1024 * SECOND),
        (QUICK, 11, 1024 * SECOND),
        # nor longer than the interval
        (replace(POLICY, interval=HOUR, give_up=2 * HOUR), 20, HOUR - POLICY.timeout),
    ],
)
def test_patience_with_control_calls_doubles_with_each_until_any_task_is_given_up(
    policy: Policy, probes: int, patience: timedelta
) -> None:
    for breaker in (closed(probes=probes), opened(probes=probes)):
        ends = breakers.control_ends(breaker, now=NOW, policy=policy)
        assert ends == NOW + POLICY.timeout + patience


@given(policies(), st.integers(0, 5000))
def test_waiting_for_a_control_call_ends_within_the_interval_and_no_sooner_than_the_last_time(
    policy: Policy, probes: int
) -> None:
    ends = breakers.control_ends(opened(probes=probes), now=NOW, policy=policy)
    assert NOW < ends <= NOW + policy.interval
    assert ends <= breakers.control_ends(opened(probes=probes + 1), now=NOW, policy=policy)
