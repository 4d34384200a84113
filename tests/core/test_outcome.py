"""Whose fault: each answer of the page, and those that it does not list."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicekeeper.core import outcome
from voicekeeper.core.models import Kind
from voicekeeper.core.outcome import Culprit, Outcome, Report
from voicekeeper.errors import CallFailed

ACCOUNT, NOBODY, REQUEST, UPSTREAM, VOICE = (
    Culprit.ACCOUNT,
    Culprit.NOBODY,
    Culprit.REQUEST,
    Culprit.UPSTREAM,
    Culprit.VOICE,
)
ID = "cosyvoice-v3-flash-anna"
SPEECH = (Kind.KEEPALIVE, Kind.CONTROL)
ENROLLMENT = (Kind.CLONE, Kind.DESIGN)


@pytest.mark.parametrize(
    ("code", "speech", "enrollment", "poll"),
    [
        (400, VOICE, REQUEST, NOBODY),
        (401, ACCOUNT, ACCOUNT, ACCOUNT),
        (402, ACCOUNT, ACCOUNT, ACCOUNT),
        (403, ACCOUNT, NOBODY, ACCOUNT),
        (404, NOBODY, NOBODY, NOBODY),
        (405, NOBODY, REQUEST, NOBODY),
        (408, UPSTREAM, UPSTREAM, UPSTREAM),
        (425, UPSTREAM, UPSTREAM, UPSTREAM),
        (413, NOBODY, REQUEST, NOBODY),
        (415, NOBODY, REQUEST, NOBODY),
        (422, NOBODY, REQUEST, NOBODY),
        (429, UPSTREAM, UPSTREAM, UPSTREAM),
        (499, NOBODY, NOBODY, NOBODY),
        (500, UPSTREAM, UPSTREAM, UPSTREAM),
        (504, UPSTREAM, UPSTREAM, UPSTREAM),
        (302, NOBODY, NOBODY, NOBODY),
        (1001, UPSTREAM, UPSTREAM, UPSTREAM),
        (None, UPSTREAM, UPSTREAM, UPSTREAM),
    ],
)
def test_a_failed_call_is_blamed_by_its_code(
    code: int | None, speech: Culprit, enrollment: Culprit, poll: Culprit
) -> None:
    failure = CallFailed("it failed", code=code)
    assert [outcome.of_submission(kind, failure).culprit for kind in SPEECH] == [speech] * 2
    assert [outcome.of_submission(kind, failure).culprit for kind in ENROLLMENT] == [enrollment] * 2
    assert outcome.of_poll(failure).culprit is poll


def test_a_fault_passes_on_what_the_call_told() -> None:
    failure = CallFailed("the gateway answered 504", code=504, retry_after=7.0, ambiguous=True)
    for fault in (outcome.of_submission(Kind.CLONE, failure), outcome.of_poll(failure)):
        assert fault.code == "504"
        assert fault.message == "the gateway answered 504"
        assert (fault.retry_after, fault.ambiguous) == (7.0, True)


@pytest.mark.parametrize("code", [301, 403, 404, 409, 451])
@pytest.mark.parametrize("kind", ENROLLMENT)
def test_an_enrollment_that_is_refused_for_the_third_time_is_wrong(kind: Kind, code: int) -> None:
    failure = CallFailed("it failed", code=code)
    blamed = [outcome.of_submission(kind, failure, refusals=n).culprit for n in range(3)]
    assert blamed == [NOBODY, NOBODY, REQUEST]


@pytest.mark.parametrize("code", [401, 402, 408, 429, None])
def test_what_is_not_the_enrollments_own_is_never_held_against_it(code: int | None) -> None:
    fault = outcome.of_submission(Kind.CLONE, CallFailed("it failed", code=code), refusals=99)
    assert fault.culprit is not REQUEST
    assert fault.code in outcome.WAITS
    assert fault.code == str(code or "no answer")


@given(st.integers(), st.booleans())
def test_only_a_400_on_speech_blames_a_voice(code: int, ambiguous: bool) -> None:  # noqa: FBT001
    failure = CallFailed("it failed", code=code, ambiguous=ambiguous)
    blamed = {kind for kind in Kind if outcome.of_submission(kind, failure).culprit is VOICE}
    assert blamed == (set(SPEECH) if code == 400 else set())
    assert outcome.of_poll(failure).culprit is not VOICE


@pytest.mark.parametrize("state", ["pending", "processing", "queued", "SUCCESS", "cancelled"])
@pytest.mark.parametrize("kind", Kind)
def test_a_state_that_is_no_end_leaves_the_task_open(state: str, kind: Kind) -> None:
    for voice_status in (None, "DEPLOYING", "OK", "UNDEPLOYED"):
        report = Report(state, voice_id=ID, voice_status=voice_status)
        assert outcome.of_report(kind, report) == (Outcome.OPEN, None)


def test_speech_that_ended_in_success_needs_no_other_field() -> None:
    for kind in SPEECH:
        assert outcome.of_report(kind, Report("success")) == (Outcome.SUCCESS, None)


@pytest.mark.parametrize(
    ("fail_code", "voice_status", "culprit", "code"),
    [
        ("VALIDATION_ERROR", None, VOICE, "VALIDATION_ERROR"),
        ("UNDEPLOYED", "UNDEPLOYED", VOICE, "UNDEPLOYED"),
        (None, "UNDEPLOYED", VOICE, "UNDEPLOYED"),
        ("INSUFFICIENT_CREDITS", None, ACCOUNT, "INSUFFICIENT_CREDITS"),
        ("UpstreamError", None, UPSTREAM, "UpstreamError"),
        ("UpstreamError", "UNDEPLOYED", UPSTREAM, "UpstreamError"),
        ("CONTENT_VIOLATION", None, UPSTREAM, "CONTENT_VIOLATION"),
        ("a word nobody knows", None, UPSTREAM, "a word nobody knows"),
        (None, None, UPSTREAM, "no fail code"),
    ],
)
def test_speech_that_failed_is_blamed_by_its_fail_code(
    fail_code: str | None, voice_status: str | None, culprit: Culprit, code: str
) -> None:
    report = Report("failed", fail_code=fail_code, voice_status=voice_status)
    for kind in SPEECH:
        result, fault = outcome.of_report(kind, report)
        assert result is Outcome.FAILED
        assert fault is not None
        assert (fault.culprit, fault.code) == (culprit, code)


FAILED, LATER, OPEN = Outcome.FAILED, Outcome.DEPLOYED_LATER, Outcome.OPEN
TAKEN, INVALID, TIMEOUT = "UNDEPLOYED", "VALIDATION_ERROR", "TASK_TIMEOUT"
BROKEN, NO_CREDIT = "UpstreamError", "INSUFFICIENT_CREDITS"


@pytest.mark.parametrize(
    ("state", "voice_id", "voice_status", "fail_code", "judged"),
    [
        ("success", ID, None, None, (Outcome.SUCCESS, None, None)),
        ("success", ID, "OK", None, (Outcome.SUCCESS, None, None)),
        ("success", ID, "DEPLOYING", None, (LATER, NOBODY, "DEPLOYING")),
        ("success", ID, "something new", None, (LATER, NOBODY, "something new")),
        ("success", ID, TAKEN, None, (FAILED, VOICE, TAKEN)),
        ("success", None, None, None, (OPEN, None, None)),
        ("success", None, "OK", None, (OPEN, None, None)),
        ("failed", ID, TAKEN, TAKEN, (FAILED, VOICE, TAKEN)),
        ("failed", None, None, TAKEN, (FAILED, VOICE, TAKEN)),
        ("failed", None, TAKEN, None, (FAILED, VOICE, TAKEN)),
        ("failed", ID, TAKEN, TIMEOUT, (FAILED, VOICE, TAKEN)),
        ("failed", ID, None, TIMEOUT, (LATER, REQUEST, TIMEOUT)),
        ("failed", None, None, TIMEOUT, (FAILED, REQUEST, TIMEOUT)),
        ("failed", ID, "DEPLOYING", BROKEN, (LATER, REQUEST, BROKEN)),
        ("failed", ID, "OK", BROKEN, (LATER, REQUEST, BROKEN)),
        ("failed", None, None, BROKEN, (FAILED, REQUEST, BROKEN)),
        ("failed", None, None, INVALID, (FAILED, VOICE, INVALID)),
        ("failed", ID, None, INVALID, (FAILED, VOICE, INVALID)),
        ("failed", ID, "DEPLOYING", INVALID, (LATER, VOICE, INVALID)),
        ("failed", None, None, NO_CREDIT, (FAILED, ACCOUNT, NO_CREDIT)),
        ("failed", ID, None, None, (LATER, REQUEST, "no fail code")),
        ("failed", None, None, None, (FAILED, REQUEST, "no fail code")),
    ],
)
def test_an_enrollment_is_judged_by_its_state_its_fail_code_and_its_voice(
    *,
    state: str,
    voice_id: str | None,
    voice_status: str | None,
    fail_code: str | None,
    judged: tuple[Outcome, Culprit | None, str | None],
) -> None:
    for kind in ENROLLMENT:
        result, fault = outcome.of_report(kind, Report(state, voice_id, voice_status, fail_code))
        assert (result, fault and fault.culprit, fault and fault.code) == judged


@pytest.mark.parametrize(
    ("kind", "words", "told"),
    [
        (Kind.CLONE, "Voice review failed.", "Voice review failed."),
        (Kind.KEEPALIVE, None, "the gateway ended the task with UNDEPLOYED"),
    ],
)
def test_the_gateways_own_words_are_passed_on_else_its_code(
    kind: Kind, words: str | None, told: str
) -> None:
    _, fault = outcome.of_report(kind, Report("failed", fail_code=TAKEN, fail_message=words))
    assert fault is not None
    assert fault.message == told


WORDS = st.none() | st.sampled_from(
    ["OK", "DEPLOYING", "UNDEPLOYED", "TASK_TIMEOUT", "VALIDATION_ERROR", "UpstreamError", "new"]
)


@given(
    st.sampled_from(Kind),
    st.builds(
        Report,
        st.sampled_from(["pending", "processing", "success", "failed", "new"]),
        voice_id=st.none() | st.just(ID),
        voice_status=WORDS,
        fail_code=WORDS,
    ),
)
def test_whatever_is_reported_the_outcome_holds_all_that_the_rules_need(
    kind: Kind, report: Report
) -> None:
    result, fault = outcome.of_report(kind, report)
    assert (fault is not None) == (result in (Outcome.FAILED, Outcome.DEPLOYED_LATER))
    if result is Outcome.DEPLOYED_LATER:
        assert report.voice_id is not None
    if result is Outcome.SUCCESS:
        assert report.state == "success"
        assert report.voice_id is not None or not kind.is_enrollment
    if fault is not None and fault.culprit is VOICE:
        assert {report.fail_code, report.voice_status} & {"VALIDATION_ERROR", "UNDEPLOYED"}
