"""The gateway's JSON, read tolerantly into values.

Only two fields are needed: the task id of a submission and the state of a report. Any other that
is missing, or not of the type the page gives it, reads as missing, and an unknown one is passed
over; so an answer can surprise us without stopping us. (Page section *Response format*.)
"""

import json
import math
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from voicekeeper.core.outcome import Report
from voicekeeper.core.secrecy import Secrets, unescaped

OK = 200
"""The only ``code`` of a body that means success."""

MESSAGE_MOST = 200
"""Characters of the gateway's prose that are worth a place in a log."""

_WORD_MOST = 4_096
_PROSE_MOST = 65_536
_AMOUNT_MOST = 1_000_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_CODE = re.compile(r"\d{1,9}", re.ASCII)
_CODE_END = 10**9
_PAGE_MOST = 16_384
_MARKUP = re.compile(r"<(script|style)\b.*?(</\1>|\Z)|<[^>]*(>|\Z)", re.DOTALL | re.IGNORECASE)
_MILLISECONDS = re.compile(r"\d{1,18}(\.\d{1,18})?", re.ASCII)


class Envelope(NamedTuple):
    """The object that every body of the gateway is.

    Attributes:
        code: the API status; None when missing or no number.
        message: the gateway's sentence, fit for a log.
        data: the members of ``data``; empty when that is a number or missing.
        amount_micros: ``data`` where it is a bare number of US dollars, in millionths.
    """

    code: int | None
    message: str | None
    data: dict[str, Any]
    amount_micros: int | None = None


def read_envelope(body: bytes, *, secret: Secrets) -> Envelope | None:
    """Read a body; None when it is not a JSON object.

    Args:
        body: as it came.
        secret: what must not come out again, should the gateway repeat it.
    """
    value = _json(body)
    if not isinstance(value, dict):
        return None
    data = value.get("data")
    return Envelope(
        code=_code(value.get("code")),
        message=_prose(value.get("message"), secret),
        data=data if isinstance(data, dict) else {},
        amount_micros=_micros(data),
    )


def read_page(body: bytes, *, secret: Secrets) -> str | None:
    """Read what a page for people says, fit for a log; None when it says nothing.

    Args:
        body: as it came.
        secret: what must not come out again, should the gateway repeat it.
    """
    text = body[:_PAGE_MOST].decode(errors="replace")
    return _prose(unescaped(_MARKUP.sub(" ", text)), secret)


def read_task_id(data: dict[str, Any], *, secret: Secrets) -> str | None:
    """Return the id of the task that an answer is about; None when there is none.

    A number is taken as well: the id is opaque, and losing it would lose what was paid for.

    Args:
        data: the members of the body's ``data``.
        secret: what must not come out again, should the gateway repeat it.
    """
    task_id = data.get("taskId")
    is_number = isinstance(task_id, int) and not isinstance(task_id, bool)
    return _word(str(task_id) if is_number else task_id, secret)


def read_report(
    data: dict[str, Any], *, answered_at: datetime | None, secret: Secrets
) -> Report | None:
    """Return what ``statusTask`` says of a task; None when it names no state.

    Args:
        data: the members of the body's ``data``.
        answered_at: the answer's ``Date``.
        secret: what must not come out again, should the gateway repeat it.
    """
    state = _word(data.get("state"), secret)
    if state is None:
        return None
    return Report(
        state=state,
        voice_id=_word(data.get("voice_id"), secret),
        voice_status=_word(data.get("voice_status"), secret),
        fail_code=_word(data.get("failCode"), secret),
        fail_message=_prose(data.get("failMsg"), secret),
        created_at=_instant(data.get("createTime")),
        completed_at=_instant(data.get("completeTime")),
        result_urls=_result_urls(data.get("resultJson"), secret),
        answered_at=answered_at,
    )


def _json(text: str | bytes) -> object:
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):  # RecursionError: brackets nested thousands deep
        return None
    return value


def _code(value: object) -> int | None:
    match value:
        case bool():
            return None
        case int() | float() if abs(value) < _CODE_END and value == int(value):
            return int(value)
        case str() if _CODE.fullmatch(value):
            return int(value)
        case _:
            return None


def _word(value: object, secret: Secrets) -> str | None:
    """Return an identifier or a keyword as it came; None for what no column could or may hold.

    A lone surrogate or a NUL, both legal in JSON, would fail much later: in the database, or in
    the URL of the next call.
    """
    if not isinstance(value, str) or not value.strip() or len(value) > _WORD_MOST:
        return None
    return value if value.isprintable() and not secret.are_in(value) else None


def _prose(value: object, secret: Secrets) -> str | None:
    """Return a sentence for people on one line, without control characters, trimmed."""
    if not isinstance(value, str):
        return None
    value = value[:_PROSE_MOST]
    if not value.isprintable():
        value = "".join(c if c.isprintable() else " " for c in value)
    text = secret.cut(" ".join(value.split()))
    if len(text) > MESSAGE_MOST:
        text = text[: MESSAGE_MOST - 1] + "…"
    return text or None


def _micros(value: object) -> int | None:
    """Return US dollars in millionths, rounded down; None for what no balance can be."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not -_AMOUNT_MOST < value < _AMOUNT_MOST:  # nor is "not a number"
        return None
    return math.floor(Decimal(str(value)) * 1_000_000)


def _instant(value: object) -> datetime | None:
    """Return Unix milliseconds as an instant; None for what no task's time can be.

    Before 2000 means zero, or seconds in place of milliseconds: read as a voice's last use,
    it would put the voice's deadline decades into the past.
    """
    if isinstance(value, str) and _MILLISECONDS.fullmatch(value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        instant = _EPOCH + timedelta(milliseconds=value)
    except (OverflowError, ValueError):  # ValueError: not a number
        return None
    return instant if instant >= _EARLIEST else None


def _result_urls(value: object, secret: Secrets) -> tuple[str, ...]:
    """Return the URLs inside ``resultJson``, which is JSON in a string."""
    result = _json(value) if isinstance(value, str) else value
    urls = result.get("resultUrls") if isinstance(result, dict) else None
    if not isinstance(urls, list):
        return ()
    words = (_word(url, secret) for url in urls)
    return tuple(word for word in words if word is not None)
