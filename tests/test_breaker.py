"""The circuit breaker: what opens it, what probes it, what closes it."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import DAY, HOUR, MINUTE, NOW, POLICY, SECOND, policies, spans
from voicekeeper import breaker as breakers
from voicekeeper.breaker import TRIP_AFTER, BreakerFields
from voicekeeper.models import Breaker
from voicekeeper.schedule import Policy
from voicekeeper.verdict import Blame, Fault

ACCOUNT = Fault(Blame.ACCOUNT, "402", "the gateway answered 402: insufficient balance")
UPSTREAM = Fault(Blame.UPSTREAM, "502", "the gateway answered 502")
VOICE = Fault(Blame.VOICE, "VALIDATION_ERROR", "the voice is not known")
NOBODY = Fault(Blame.NOBODY, "404", "no such task")
REQUEST = Fault(Blame.REQUEST, "400", "the request is wrong")


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
    breaker: Breaker, fault: Fault, voice_pk: int | None = 1, *, flows: bool = False
) -> BreakerFields:
    return breakers.after_fault(
        breaker,
        fault,
        voice_pk=voice_pk,
        flows=flows,
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


def test_five_of_the_gateways_faults_in_a_row_of_different_voices_open_it() -> None:
    breaker = closed()
    for voice_pk in (1, 2, 3, 4):
        breaker = applied(breaker, after_fault(breaker, UPSTREAM, voice_pk))
        assert (breaker.run, breaker.opened_at) == (voice_pk, None)
    breaker = applied(breaker, after_fault(breaker, UPSTREAM, 5))
    assert (breaker.opened_at, breaker.cause) == (NOW, UPSTREAM.message)
    assert (breaker.run, breaker.last_voice_pk) == (5, 5)


def test_faults_between_calls_that_are_taken_do_not_open_it_until_none_is_taken() -> None:
    breaker = closed()
    for voice_pk in range(1, 100):
        breaker = applied(breaker, after_fault(breaker, UPSTREAM, voice_pk, flows=True))
    assert (breaker.run, breaker.opened_at) == (TRIP_AFTER - 1, None)
    assert after_fault(breaker, UPSTREAM, 100)["opened_at"] == NOW


def test_a_fault_of_the_account_opens_it_whatever_else_is_taken() -> None:
    assert after_fault(closed(), ACCOUNT, flows=True)["opened_at"] == NOW


def test_one_voice_that_fails_again_and_again_does_not_open_it() -> None:
    breaker = closed()
    for _ in range(100):
        breaker = applied(breaker, after_fault(breaker, UPSTREAM, 7))
    assert (breaker.run, breaker.last_voice_pk, breaker.opened_at) == (1, 7, None)


def test_a_run_of_failures_that_nobody_can_name_opens_it_too() -> None:
    breaker = closed()
    for voice_pk in range(TRIP_AFTER):
        assert breaker.opened_at is None
        breaker = applied(breaker, after_fault(breaker, NOBODY, voice_pk))
    assert (breaker.opened_at, breaker.cause) == (NOW, NOBODY.message)


@pytest.mark.parametrize("fault", [VOICE, REQUEST])
def test_what_is_the_fault_of_a_voice_or_its_request_does_not_count(fault: Fault) -> None:
    assert after_fault(closed(run=4, last_voice_pk=9), fault) == {}


@pytest.mark.parametrize("fault", [ACCOUNT, UPSTREAM, VOICE, NOBODY, REQUEST])
def test_an_open_breaker_stays_as_it_is_whatever_late_calls_bring(fault: Fault) -> None:
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
    fault: Fault,
    run: int,
    opens: bool,  # noqa: FBT001 - a column of the table
) -> None:
    fields = after_control_fault(closed(run=run), fault)
    assert fields.get("opened_at") == (NOW if opens else None)
    assert fields.get("cause") == (fault.message if opens else None)
    assert fields["probe_at"] is not None
    assert fields["probe_at"] > NOW


@pytest.mark.parametrize("run", [0, TRIP_AFTER - 1])
def test_a_control_call_that_blames_its_voice_only_puts_off_the_next_one(run: int) -> None:
    fields = after_control_fault(closed(run=run, probes=3), VOICE)
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


def test_a_breaker_that_our_own_voices_opened_is_probed_in_a_hurry_when_a_deadline_is_near() -> (
    None
):
    anchor = NOW - POLICY.window + 8 * MINUTE
    fields = after_control_fault(closed(probes=9), VOICE, is_ours=True, anchor=anchor)
    assert fields["opened_at"] == NOW
    assert fields["probe_at"] == NOW + MINUTE


@pytest.mark.parametrize("is_ours", [True, False])
def test_what_one_of_our_voices_opened_only_one_of_our_voices_closes(*, is_ours: bool) -> None:
    breaker = opened(opened_at=NOW - HOUR, distrusted=True, probes=2)
    fields = breakers.after_control_success(breaker, is_ours=is_ours, sent_at=NOW - MINUTE, now=NOW)
    assert (applied(breaker, fields).opened_at is None) is is_ours


def test_a_control_call_that_failed_counts_in_the_run() -> None:
    fields = after_control_fault(closed(run=2, last_voice_pk=1), UPSTREAM)
    assert (fields["run"], fields["last_voice_pk"]) == (3, None)


@pytest.mark.parametrize("fault", [ACCOUNT, UPSTREAM, VOICE, NOBODY])
def test_a_probe_that_failed_only_puts_off_the_next_one(fault: Fault) -> None:
    breaker = opened(probes=3)
    fields = after_control_fault(breaker, fault)
    assert set(fields) == {"probes", "probe_at", "judged_at"}
    assert fields["probes"] == 4
    assert fields["probe_at"] is not None
    assert 3 * MINUTE <= fields["probe_at"] - NOW <= 5 * MINUTE


def test_probes_hurry_when_a_deadline_is_near() -> None:
    anchor = NOW - POLICY.window + 40 * MINUTE
    fields = after_control_fault(opened(probes=20), ACCOUNT, anchor=anchor)
    assert fields["probe_at"] == NOW + 5 * MINUTE


def test_the_first_probe_hurries_too_when_a_deadline_is_near() -> None:
    anchor = NOW - POLICY.window + 4 * MINUTE
    slow = replace(POLICY, retry_base=10 * MINUTE)
    opening = breakers.after_fault(
        closed(), ACCOUNT, voice_pk=1, flows=False, anchor=anchor, now=NOW, policy=slow
    )
    failed = breakers.after_control_fault(
        closed(), ACCOUNT, is_ours=False, anchor=anchor, now=NOW, policy=slow
    )
    assert opening["probe_at"] == failed["probe_at"] == NOW + 30 * SECOND


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


def test_a_control_call_that_succeeded_closes_it() -> None:
    breaker = applied(
        opened(probes=3, last_voice_pk=1),
        breakers.after_control_success(
            opened(probes=3), is_ours=False, sent_at=NOW - MINUTE, now=NOW
        ),
    )
    assert breaker == closed()


def test_a_control_call_sent_before_it_opened_does_not_close_it() -> None:
    breaker = opened(opened_at=NOW - MINUTE, probes=3)
    fields = breakers.after_control_success(
        breaker, is_ours=True, sent_at=NOW - 2 * MINUTE, now=NOW
    )
    assert applied(breaker, fields).opened_at == NOW - MINUTE
    assert applied(breaker, fields).probes == 0


def test_a_control_call_sent_before_it_opened_does_not_close_it_at_that_instant() -> None:
    breaker = opened(opened_at=NOW)
    assert breakers.after_control_success(
        breaker, is_ours=False, sent_at=NOW - SECOND, now=NOW
    ) == {"probes": 0}


def test_a_control_call_of_the_pass_that_opened_it_closes_it() -> None:
    breaker = opened(opened_at=NOW - MINUTE)
    fields = breakers.after_control_success(breaker, is_ours=False, sent_at=NOW - MINUTE, now=NOW)
    assert applied(breaker, fields).opened_at is None


def test_a_breaker_that_a_wrong_clock_opened_in_the_future_is_closed() -> None:
    breaker = opened(opened_at=NOW + DAY)
    fields = breakers.after_control_success(breaker, is_ours=False, sent_at=NOW - MINUTE, now=NOW)
    assert applied(breaker, fields).opened_at is None


@pytest.mark.parametrize(
    ("probe_at", "may"),
    [
        (None, True),
        (NOW, True),
        (NOW - 30 * DAY, True),
        (NOW + SECOND, False),
        (NOW + 3 * DAY, False),
        (NOW + 30 * DAY, True),
    ],
)
def test_a_probe_waits_for_its_time_unless_a_wrong_clock_set_it(
    probe_at: datetime | None,
    may: bool,  # noqa: FBT001 - a column of the table
) -> None:
    assert breakers.may_probe(opened(probe_at=probe_at), now=NOW, policy=POLICY) is may


@pytest.mark.parametrize(("judged_at", "may"), [(NOW, False), (NOW + SECOND, True)])
def test_a_clock_that_was_set_back_by_however_little_holds_off_no_probe(
    judged_at: datetime,
    may: bool,  # noqa: FBT001 - a column of the table
) -> None:
    breaker = opened(probe_at=judged_at + HOUR, judged_at=judged_at)
    assert breakers.may_probe(breaker, now=NOW, policy=POLICY) is may


def test_whatever_sets_the_time_of_a_probe_tells_when() -> None:
    begun = breakers.probing(opened(), now=NOW, policy=POLICY)
    failed = breakers.after_control_fault(
        opened(), UPSTREAM, is_ours=False, anchor=None, now=NOW, policy=POLICY
    )
    tripped = after_fault(closed(), ACCOUNT)
    assert [fields["judged_at"] for fields in (begun, failed, tripped)] == [NOW] * 3
    assert begun["probe_at"] == breakers.control_ends(opened(), now=NOW, policy=POLICY)


def test_the_first_control_call_is_waited_for_as_long_as_a_call_and_a_few_polls_take() -> None:
    assert breakers.control_ends(closed(), now=NOW, policy=POLICY) == NOW + 90 * SECOND


@pytest.mark.parametrize(
    ("probes", "patience"),
    [
        (0, MINUTE),
        (1, 2 * MINUTE),
        (2, 4 * MINUTE),
        (5, 32 * MINUTE),
        (6, POLICY.give_up),
        (5000, POLICY.give_up),
    ],
)
def test_patience_with_control_calls_doubles_with_each_until_any_task_is_given_up(
    probes: int, patience: timedelta
) -> None:
    for breaker in (closed(probes=probes), opened(probes=probes)):
        ends = breakers.control_ends(breaker, now=NOW, policy=POLICY)
        assert ends == NOW + POLICY.timeout + patience


def test_patience_with_control_calls_is_never_less_than_a_few_polls_take() -> None:
    policy = replace(POLICY, give_up=30 * SECOND)
    for probes in (0, 1, 20):
        ends = breakers.control_ends(opened(probes=probes), now=NOW, policy=policy)
        assert ends == NOW + 90 * SECOND


def test_patience_with_control_calls_is_a_second_at_least_and_doubles_ten_times() -> None:
    policy = replace(POLICY, speech_first=SECOND / 10, speech_interval=SECOND / 10, give_up=DAY)
    for probes, patience in ((0, 1), (10, 1024), (11, 1024), (5000, 1024)):
        ends = breakers.control_ends(opened(probes=probes), now=NOW, policy=policy)
        assert ends == NOW + POLICY.timeout + patience * SECOND


def test_patience_with_control_calls_does_not_exceed_the_interval() -> None:
    policy = replace(POLICY, interval=HOUR, give_up=2 * HOUR)
    assert breakers.control_ends(opened(probes=20), now=NOW, policy=policy) == NOW + HOUR


@given(policies(), st.integers(0, 5000))
def test_waiting_for_a_control_call_ends_within_the_interval_and_no_sooner_than_the_last_time(
    policy: Policy, probes: int
) -> None:
    ends = breakers.control_ends(opened(probes=probes), now=NOW, policy=policy)
    assert NOW < ends <= NOW + policy.interval
    assert ends <= breakers.control_ends(opened(probes=probes + 1), now=NOW, policy=policy)
