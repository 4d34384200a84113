"""What an answer of the gateway means: whose fault it is, and how far a task has come.

Only an answer that names the voice counts against the voice. What could as well be the
account's or the gateway's trouble is blamed there, and what the page does not list is blamed on
nobody, or, as a fail code, on the gateway: a voice is never given up for a word we do not know.

Sources: the page's sections *HTTP errors* and *Task failure cases*; further fail codes from
other public pages of the vendor.
"""

from dataclasses import dataclass
from enum import Enum

from voicekeeper.answers import Report
from voicekeeper.errors import CallFailed
from voicekeeper.terms import Kind


class Blame(Enum):
    """Whose fault a failure is; it decides who pauses."""

    VOICE = "voice"
    """The answer names the voice: 400 on speech, VALIDATION_ERROR, UNDEPLOYED."""
    REQUEST = "request"
    """The enrollment itself is wrong; repeating it cannot help."""
    ACCOUNT = "account"
    """Key, balance or permission: it concerns every call, so one is enough to know."""
    UPSTREAM = "upstream"
    """The gateway or the way to it: a run of these concerns every call."""
    NOBODY = "nobody"
    """It says nothing of voice, account or gateway: a task that is not known, an odd code."""


UNDEPLOYED = "UNDEPLOYED"

_ACCOUNT_CODES = {401, 402, 403}
_REQUEST_CODES = {400, 405, 413, 415, 422}
_FAIL_CODES = {
    "VALIDATION_ERROR": Blame.VOICE,
    UNDEPLOYED: Blame.VOICE,
    "INSUFFICIENT_CREDITS": Blame.ACCOUNT,
}


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a call or a task did not succeed.

    Attributes:
        blame: whose fault it is.
        code: the HTTP status or fail code, or words of ours such as ``no answer``.
        message: one sentence for people.
        retry_after: seconds that the gateway asked for, or None.
        ambiguous: True when it may have been done, and charged, all the same.
    """

    blame: Blame
    code: str
    message: str
    retry_after: float | None = None
    ambiguous: bool = False


class Outcome(Enum):
    """How far a task has come, as far as its voice is concerned."""

    OPEN = "open"
    """Not ended, or ended without saying what we need."""
    SUCCESS = "success"
    DEPLOYED_LATER = "deployed later"
    """The enrollment ended, the voice exists, and whether it speaks is not known."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a report means; ``fault`` is set when the outcome is not OPEN or SUCCESS."""

    outcome: Outcome
    fault: Fault | None = None


def of_submission(kind: Kind, failure: CallFailed) -> Fault:
    """Judge a POST to ``generateTask`` that was not accepted."""
    if failure.code in _ACCOUNT_CODES:
        blame = Blame.ACCOUNT
    elif kind.is_enrollment and failure.code in _REQUEST_CODES:
        blame = Blame.REQUEST
    elif not kind.is_enrollment and failure.code == 400:  # noqa: PLR2004 - HTTP's number
        blame = Blame.VOICE
    else:
        blame = _of_the_rest(failure.code)
    return _fault(blame, failure)


def of_poll(failure: CallFailed) -> Fault:
    """Judge a GET of ``statusTask`` that brought no report."""
    account = failure.code in _ACCOUNT_CODES
    return _fault(Blame.ACCOUNT if account else _of_the_rest(failure.code), failure)


def of_report(kind: Kind, report: Report) -> Verdict:
    """Judge what ``statusTask`` says of a task."""
    if kind.is_enrollment:
        return _of_enrollment(report)
    if report.state == "success":
        return Verdict(Outcome.SUCCESS)
    if report.state == "failed":
        return Verdict(Outcome.FAILED, _failed(report, default=Blame.UPSTREAM))
    return Verdict(Outcome.OPEN)


def _of_enrollment(report: Report) -> Verdict:
    ended = report.state in ("success", "failed")
    if ended and UNDEPLOYED in (report.fail_code, report.voice_status):
        return Verdict(Outcome.FAILED, _failed(report, code=UNDEPLOYED))
    if report.state == "success" and report.voice_id:
        if report.voice_status in (None, "OK"):
            return Verdict(Outcome.SUCCESS)
        return Verdict(Outcome.DEPLOYED_LATER, _failed(report))
    if report.state == "failed":
        fault = _failed(report, default=Blame.REQUEST)
        may_live = report.fail_code != "VALIDATION_ERROR" or report.voice_status is not None
        if report.voice_id and may_live:
            return Verdict(Outcome.DEPLOYED_LATER, fault)
        return Verdict(Outcome.FAILED, fault)
    return Verdict(Outcome.OPEN)  # also a success without a voice_id: paid for, so ask again


def _failed(report: Report, *, default: Blame = Blame.NOBODY, code: str | None = None) -> Fault:
    code = code or report.fail_code or report.voice_status or "no fail code"
    words = report.fail_message or f"the gateway ended the task with {code}"
    return Fault(_FAIL_CODES.get(code, default), code, words)


def _of_the_rest(code: int | None) -> Blame:
    """Blame the gateway for 429, 5xx and silence; any other code says nothing of it."""
    its_own = code is None or code == 429 or code >= 500  # noqa: PLR2004 - HTTP's numbers
    return Blame.UPSTREAM if its_own else Blame.NOBODY


def _fault(blame: Blame, failure: CallFailed) -> Fault:
    code = "no answer" if failure.code is None else str(failure.code)
    return Fault(blame, code, str(failure), failure.retry_after, failure.ambiguous)
