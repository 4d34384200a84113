"""Answers of the gateway and their meaning: how far a task has come, and whose fault a failure is.

Only an answer that names the voice counts against the voice. Trouble that could as well be the
account's or the gateway's is put down to those, and a code that the page does not list to nobody,
or, as a fail code, to the gateway: a voice is never given up for a word we do not know. A refusal
of an enrollment is its own, such as a 403 by the gateway's content policy, unless it is the
account's or passes by itself.

Sources: the page's sections *HTTP errors* and *Task failure cases*; further fail codes from
other public pages of the vendor.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final, NamedTuple

from voicekeeper.core.enums import Kind
from voicekeeper.errors import CallFailed


@dataclass(frozen=True, slots=True)
class Accepted:
    """The gateway accepted a task (page section *Submit task response*)."""

    task_id: str


class Report(NamedTuple):
    """The answer of ``statusTask`` (page section *Status response fields*).

    Every field but ``state`` may be missing, and an unknown value is passed on as it came. All
    times are the gateway's.

    Attributes:
        state: ``pending``, ``processing``, ``success``, ``failed``, or something new.
        voice_status: ``DEPLOYING``, ``OK``, ``UNDEPLOYED``, or something new.
        fail_code, fail_message: present when the state is ``failed``.
        result_urls: audio of the result; they expire after 24 hours.
        answered_at: the answer's ``Date`` header.
    """

    state: str
    voice_id: str | None = None
    voice_status: str | None = None
    fail_code: str | None = None
    fail_message: str | None = None
    created_at: datetime | None = None
    completed_at: datetime | None = None
    result_urls: tuple[str, ...] = ()
    answered_at: datetime | None = None


class Culprit(Enum):
    """Whose fault a failure is; it decides which calls pause."""

    VOICE = "voice"
    """The answer names the voice: 400 on speech, VALIDATION_ERROR, UNDEPLOYED."""
    REQUEST = "request"
    """The enrollment itself is wrong; repeating it cannot help."""
    ACCOUNT = "account"
    """Key, balance or permission: it concerns every call, so one is enough to know."""
    UPSTREAM = "upstream"
    """The gateway or the way to it: a run of these concerns every call."""
    NOBODY = "nobody"
    """Unknown: a task that is not known, an odd code. Only a run of these, of different
    voices, concerns every call."""


UNDEPLOYED = "UNDEPLOYED"

_ACCOUNT_CODES = {401, 402}
_FORBIDDEN = 403
_PASSING_CODES = {408, 425, 429}
_REQUEST_CODES = {400, 405, 413, 415, 422}

NO_ANSWER: Final = "no answer"

WAITS: Final = frozenset({*map(str, _ACCOUNT_CODES), *map(str, _PASSING_CODES), NO_ANSWER})
"""The codes of an enrollment that was certainly not made, for reasons that are not its own."""

TRIES: Final = 3
"""So often an enrollment is requested that the gateway refuses for its own sake."""

_FAIL_CODES = {
    "VALIDATION_ERROR": Culprit.VOICE,
    UNDEPLOYED: Culprit.VOICE,
    "INSUFFICIENT_CREDITS": Culprit.ACCOUNT,
}


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a call or a task did not succeed.

    Attributes:
        code: the HTTP status or fail code, or words of ours such as ``no answer``.
        retry_after: seconds that the gateway asked for, or None.
        ambiguous: True when it may have been done, and charged, all the same.
    """

    culprit: Culprit
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


def of_submission(kind: Kind, failure: CallFailed, *, refusals: int = 0) -> Fault:
    """Judge a POST to ``generateTask`` that was not accepted.

    An enrollment may have been refused for its own sake before, so many times (``refusals``).
    """
    culprit = _of_any(failure.code)
    if kind.is_enrollment:
        last = culprit is Culprit.NOBODY and refusals + 1 >= TRIES
        if last or failure.code in _REQUEST_CODES:
            culprit = Culprit.REQUEST
    elif failure.code == _FORBIDDEN:
        culprit = Culprit.ACCOUNT
    elif failure.code == 400:  # noqa: PLR2004 - HTTP's number
        culprit = Culprit.VOICE
    return _fault(culprit, failure)


def of_poll(failure: CallFailed) -> Fault:
    """Judge a GET of ``statusTask`` that brought no report."""
    return _fault(Culprit.ACCOUNT if failure.code == _FORBIDDEN else _of_any(failure.code), failure)


def of_report(kind: Kind, report: Report) -> tuple[Outcome, Fault | None]:
    """Judge a report: how far its task has come, and the fault unless it is OPEN or SUCCESS."""
    if kind.is_enrollment:
        return _of_enrollment(report)
    if report.state == "success":
        return Outcome.SUCCESS, None
    if report.state == "failed":
        return Outcome.FAILED, _failed(report, default=Culprit.UPSTREAM)
    return Outcome.OPEN, None


def _of_enrollment(report: Report) -> tuple[Outcome, Fault | None]:
    ended = report.state in ("success", "failed")
    if ended and UNDEPLOYED in (report.fail_code, report.voice_status):
        return Outcome.FAILED, _failed(report, code=UNDEPLOYED)
    if report.state == "success" and report.voice_id:
        if report.voice_status in (None, "OK"):
            return Outcome.SUCCESS, None
        return Outcome.DEPLOYED_LATER, _failed(report)
    if report.state == "failed":
        fault = _failed(report, default=Culprit.REQUEST)
        may_live = report.fail_code != "VALIDATION_ERROR" or report.voice_status is not None
        if report.voice_id and may_live:
            return Outcome.DEPLOYED_LATER, fault
        return Outcome.FAILED, fault
    return Outcome.OPEN, None  # also a success without a voice_id: paid for, so ask again


def _failed(report: Report, *, default: Culprit = Culprit.NOBODY, code: str | None = None) -> Fault:
    code = code or report.fail_code or report.voice_status or "no fail code"
    words = report.fail_message or f"the gateway ended the task with {code}"
    return Fault(_FAIL_CODES.get(code, default), code, words)


def _of_any(code: int | None) -> Culprit:
    """Return the account for 401 and 402, the gateway for 429, 5xx and no answer."""
    if code in _ACCOUNT_CODES:
        return Culprit.ACCOUNT
    passes = code is None or code in _PASSING_CODES or code >= 500  # noqa: PLR2004 - HTTP's number
    return Culprit.UPSTREAM if passes else Culprit.NOBODY


def _fault(culprit: Culprit, failure: CallFailed) -> Fault:
    code = NO_ANSWER if failure.code is None else str(failure.code)
    return Fault(culprit, code, str(failure), failure.retry_after, failure.ambiguous)
