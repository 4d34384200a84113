"""Whose fault: each answer of the page, and those that it does not list."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicekeeper import verdict
from voicekeeper.answers import Report
from voicekeeper.errors import CallFailed
from voicekeeper.models import Kind
from voicekeeper.verdict import Blame, Outcome

ACCOUNT, NOBODY, REQUEST, UPSTREAM, VOICE = (
    Blame.ACCOUNT,
    Blame.NOBODY,
    Blame.REQUEST,
    Blame.UPSTREAM,
    Blame.VOICE,
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
        (413, NOBODY, REQUEST, NOBODY),
        (415, NOBODY, REQUEST, NOBODY),
        (422, NOBODY, REQUEST, NOBODY),
        (428, NOBODY, NOBODY, NOBODY),
        (429, UPSTREAM, UPSTREAM, UPSTREAM),
        (430, NOBODY, NOBODY, NOBODY),
        (499, NOBODY, NOBODY, NOBODY),
        (500, UPSTREAM, UPSTREAM, UPSTREAM),
        (502, UPSTREAM, UPSTREAM, UPSTREAM),
        (503, UPSTREAM, UPSTREAM, UPSTREAM),
        (504, UPSTREAM, UPSTREAM, UPSTREAM),
        (204, NOBODY, NOBODY, NOBODY),
        (302, NOBODY, NOBODY, NOBODY),
        (1001, UPSTREAM, UPSTREAM, UPSTREAM),
        (None, UPSTREAM, UPSTREAM, UPSTREAM),
    ],
)
def test_a_failed_call_is_blamed_by_its_code(
    code: int | None, speech: Blame, enrollment: Blame, poll: Blame
) -> None:
    failure = CallFailed("it failed", code=code)
    assert [verdict.of_submission(kind, failure).blame for kind in SPEECH] == [speech] * 2
    assert [verdict.of_submission(kind, failure).blame for kind in ENROLLMENT] == [enrollment] * 2
    assert verdict.of_poll(failure).blame is poll


def test_a_fault_passes_on_what_the_call_told() -> None:
    failure = CallFailed("the gateway answered 504", code=504, retry_after=7.0, ambiguous=True)
    for fault in (verdict.of_submission(Kind.CLONE, failure), verdict.of_poll(failure)):
        assert fault.code == "504"
        assert fault.message == "the gateway answered 504"
        assert (fault.retry_after, fault.ambiguous) == (7.0, True)


@pytest.mark.parametrize("code", [301, 403, 404, 409, 451])
@pytest.mark.parametrize("kind", ENROLLMENT)
def test_an_enrollment_that_is_refused_for_the_third_time_is_wrong(kind: Kind, code: int) -> None:
    failure = CallFailed("it failed", code=code)
    blamed = [verdict.of_submission(kind, failure, refusals=n).blame for n in range(3)]
    assert blamed == [NOBODY, NOBODY, REQUEST]


@pytest.mark.parametrize("code", [401, 402, 408, 429, None])
def test_what_is_not_the_enrollments_own_is_never_held_against_it(code: int | None) -> None:
    fault = verdict.of_submission(Kind.CLONE, CallFailed("it failed", code=code), refusals=99)
    assert fault.blame is not REQUEST
    assert fault.code in verdict.WAITS


def test_a_call_without_an_answer_says_so_in_place_of_a_code() -> None:
    assert verdict.of_poll(CallFailed("no answer within 30 s")).code == "no answer"


@given(st.integers(), st.booleans())
def test_only_a_400_on_speech_blames_a_voice(code: int, ambiguous: bool) -> None:  # noqa: FBT001
    failure = CallFailed("it failed", code=code, ambiguous=ambiguous)
    blamed = {kind for kind in Kind if verdict.of_submission(kind, failure).blame is VOICE}
    assert blamed == (set(SPEECH) if code == 400 else set())
    assert verdict.of_poll(failure).blame is not VOICE


@given(st.none() | st.integers(100, 1100), st.sampled_from(Kind))
def test_only_silence_and_the_codes_that_pass_blame_the_gateway(
    code: int | None, kind: Kind
) -> None:
    failure = CallFailed("it failed", code=code)
    its_own = code is None or code in (408, 425, 429) or code >= 500
    assert (verdict.of_submission(kind, failure).blame is UPSTREAM) is its_own
    assert (verdict.of_poll(failure).blame is UPSTREAM) is its_own


@pytest.mark.parametrize("state", ["pending", "processing", "queued", "SUCCESS", "cancelled"])
@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("voice_status", [None, "DEPLOYING", "OK", "UNDEPLOYED"])
def test_a_state_that_is_no_end_leaves_the_task_open(
    state: str, kind: Kind, voice_status: str | None
) -> None:
    report = Report(state, voice_id=ID, voice_status=voice_status)
    assert verdict.of_report(kind, report) == verdict.Verdict(Outcome.OPEN)


@pytest.mark.parametrize("kind", SPEECH)
def test_speech_that_ended_in_success_needs_no_other_field(kind: Kind) -> None:
    assert verdict.of_report(kind, Report("success")) == verdict.Verdict(Outcome.SUCCESS)


@pytest.mark.parametrize(
    ("fail_code", "voice_status", "blame", "code"),
    [
        ("VALIDATION_ERROR", None, VOICE, "VALIDATION_ERROR"),
        ("UNDEPLOYED", "UNDEPLOYED", VOICE, "UNDEPLOYED"),
        (None, "UNDEPLOYED", VOICE, "UNDEPLOYED"),
        ("INSUFFICIENT_CREDITS", None, ACCOUNT, "INSUFFICIENT_CREDITS"),
        ("UpstreamError", None, UPSTREAM, "UpstreamError"),
        ("UpstreamError", "UNDEPLOYED", UPSTREAM, "UpstreamError"),
        ("TASK_TIMEOUT", None, UPSTREAM, "TASK_TIMEOUT"),
        ("PROCESSING_TIMEOUT", None, UPSTREAM, "PROCESSING_TIMEOUT"),
        ("MODEL_UNAVAILABLE", None, UPSTREAM, "MODEL_UNAVAILABLE"),
        ("CONTENT_VIOLATION", None, UPSTREAM, "CONTENT_VIOLATION"),
        ("a word nobody knows", None, UPSTREAM, "a word nobody knows"),
        (None, None, UPSTREAM, "no fail code"),
    ],
)
@pytest.mark.parametrize("kind", SPEECH)
def test_speech_that_failed_is_blamed_by_its_fail_code(
    kind: Kind, fail_code: str | None, voice_status: str | None, blame: Blame, code: str
) -> None:
    report = Report("failed", fail_code=fail_code, voice_status=voice_status)
    judged = verdict.of_report(kind, report)
    assert judged.outcome is Outcome.FAILED
    assert judged.fault is not None
    assert (judged.fault.blame, judged.fault.code) == (blame, code)


ENROLLMENTS: list[tuple[dict[str, Any], Outcome, Blame | None, str | None]] = [
    ({"state": "success", "voice_id": ID}, Outcome.SUCCESS, None, None),
    ({"state": "success", "voice_id": ID, "voice_status": "OK"}, Outcome.SUCCESS, None, None),
    (
        {"state": "success", "voice_id": ID, "voice_status": "DEPLOYING"},
        Outcome.DEPLOYED_LATER,
        NOBODY,
        "DEPLOYING",
    ),
    (
        {"state": "success", "voice_id": ID, "voice_status": "something new"},
        Outcome.DEPLOYED_LATER,
        NOBODY,
        "something new",
    ),
    (
        {"state": "success", "voice_id": ID, "voice_status": "UNDEPLOYED"},
        Outcome.FAILED,
        VOICE,
        "UNDEPLOYED",
    ),
    ({"state": "success"}, Outcome.OPEN, None, None),
    ({"state": "success", "voice_status": "OK"}, Outcome.OPEN, None, None),
    (
        {
            "state": "failed",
            "fail_code": "UNDEPLOYED",
            "voice_id": ID,
            "voice_status": "UNDEPLOYED",
        },
        Outcome.FAILED,
        VOICE,
        "UNDEPLOYED",
    ),
    ({"state": "failed", "fail_code": "UNDEPLOYED"}, Outcome.FAILED, VOICE, "UNDEPLOYED"),
    ({"state": "failed", "voice_status": "UNDEPLOYED"}, Outcome.FAILED, VOICE, "UNDEPLOYED"),
    (
        {"state": "failed", "fail_code": "TASK_TIMEOUT", "voice_id": ID},
        Outcome.DEPLOYED_LATER,
        REQUEST,
        "TASK_TIMEOUT",
    ),
    ({"state": "failed", "fail_code": "TASK_TIMEOUT"}, Outcome.FAILED, REQUEST, "TASK_TIMEOUT"),
    (
        {
            "state": "failed",
            "fail_code": "UpstreamError",
            "voice_id": ID,
            "voice_status": "DEPLOYING",
        },
        Outcome.DEPLOYED_LATER,
        REQUEST,
        "UpstreamError",
    ),
    (
        {"state": "failed", "fail_code": "UpstreamError", "voice_id": ID, "voice_status": "OK"},
        Outcome.DEPLOYED_LATER,
        REQUEST,
        "UpstreamError",
    ),
    ({"state": "failed", "fail_code": "UpstreamError"}, Outcome.FAILED, REQUEST, "UpstreamError"),
    (
        {"state": "failed", "fail_code": "VALIDATION_ERROR"},
        Outcome.FAILED,
        VOICE,
        "VALIDATION_ERROR",
    ),
    (
        {"state": "failed", "fail_code": "VALIDATION_ERROR", "voice_id": ID},
        Outcome.FAILED,
        VOICE,
        "VALIDATION_ERROR",
    ),
    (
        {
            "state": "failed",
            "fail_code": "VALIDATION_ERROR",
            "voice_id": ID,
            "voice_status": "DEPLOYING",
        },
        Outcome.DEPLOYED_LATER,
        VOICE,
        "VALIDATION_ERROR",
    ),
    (
        {
            "state": "failed",
            "fail_code": "TASK_TIMEOUT",
            "voice_id": ID,
            "voice_status": "UNDEPLOYED",
        },
        Outcome.FAILED,
        VOICE,
        "UNDEPLOYED",
    ),
    (
        {"state": "failed", "fail_code": "INSUFFICIENT_CREDITS"},
        Outcome.FAILED,
        ACCOUNT,
        "INSUFFICIENT_CREDITS",
    ),
    ({"state": "failed"}, Outcome.FAILED, REQUEST, "no fail code"),
]


@pytest.mark.parametrize(("fields", "outcome", "blame", "code"), ENROLLMENTS)
@pytest.mark.parametrize("kind", ENROLLMENT)
def test_an_enrollment_is_judged_by_its_state_its_fail_code_and_its_voice(
    kind: Kind,
    fields: dict[str, Any],
    outcome: Outcome,
    blame: Blame | None,
    code: str | None,
) -> None:
    judged = verdict.of_report(kind, Report(**fields))
    assert judged.outcome is outcome
    assert (judged.fault.blame if judged.fault else None) is blame
    assert (judged.fault.code if judged.fault else None) == code


def test_the_gateways_own_words_are_passed_on() -> None:
    words = "Voice review failed. This custom voice is unavailable (UNDEPLOYED)."
    judged = verdict.of_report(
        Kind.CLONE, Report("failed", fail_code="UNDEPLOYED", fail_message=words)
    )
    assert judged.fault is not None
    assert judged.fault.message == words


def test_a_failure_without_words_is_told_with_its_code() -> None:
    judged = verdict.of_report(Kind.KEEPALIVE, Report("failed", fail_code="UpstreamError"))
    assert judged.fault is not None
    assert judged.fault.message == "the gateway ended the task with UpstreamError"


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
def test_whatever_is_reported_the_verdict_holds_what_the_rules_need(
    kind: Kind, report: Report
) -> None:
    judged = verdict.of_report(kind, report)
    failed = judged.outcome in (Outcome.FAILED, Outcome.DEPLOYED_LATER)
    assert (judged.fault is not None) == failed
    if judged.outcome is Outcome.DEPLOYED_LATER:
        assert report.voice_id is not None
    if judged.outcome is Outcome.SUCCESS:
        assert report.state == "success"
        assert report.voice_id is not None or not kind.is_enrollment
    if judged.fault is not None and judged.fault.blame is VOICE:
        assert {report.fail_code, report.voice_status} & {"VALIDATION_ERROR", "UNDEPLOYED"}
