"""An answer of the gateway: its status, two of its headers, and its JSON, read tolerantly.

Only two fields are needed: the task id of a submission and the state of a report. Any other that
is missing, or not of the type the page gives it, reads as missing, and an unknown one is passed
over; so an answer can surprise us without stopping us. (Page section *Response format*.)
"""

import json
import math
import re
import zlib
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from voicekeeper.core.outcome import Report
from voicekeeper.core.secrecy import Secrets, unescaped
from voicekeeper.gateway.http_client import httpx

OK = 200
"""The only ``code`` of a body that means success."""

LONGEST_WAIT = 86_400.0
"""Seconds of a ``Retry-After``: more is a mistake, as a voice has only seven days."""

_BODY_MOST = 1024 * 1024
"""Bytes of a body; the page's answers have some hundred."""

_GZIP_OR_ZLIB = 32
"""Added to ``wbits``, it has zlib tell them apart itself."""

_MESSAGE_MOST = 200
"""Characters of the gateway's prose that are worth a place in a log."""

_WORD_MOST = 4_096
_PROSE_MOST = 65_536
_PAGE_MOST = 16_384
_AMOUNT_MOST = 1_000_000_000_000
_CODE_END = 10**9
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_CODE = re.compile(r"\d{1,9}", re.ASCII)
_SECONDS = re.compile(r"[+-]?\d+(\.\d+)?", re.ASCII)
_MILLISECONDS = re.compile(r"\d{1,18}(\.\d{1,18})?", re.ASCII)
_MARKUP = re.compile(r"<(script|style)\b.*?(</\1>|\Z)|<[^>]*(>|\Z)", re.DOTALL | re.IGNORECASE)


class BodyTooLarge(Exception):  # noqa: N818 - it ends as a CallFailed, never leaves the package
    """The body goes on beyond any answer of the gateway."""


class BodyUnreadable(Exception):  # noqa: N818 - as above
    """The body is packed in a way that is unknown, or is damaged."""


class Reply(NamedTuple):
    """An answer whose head came whole.

    Attributes:
        body_code: the ``code`` of its JSON; None where it has none, or is no JSON object.
        message: its sentence for people, fit for a log; of a page that is no JSON, its text.
        retry_after: seconds to wait, if the gateway asked for that.
        answered_at: the ``Date`` of the answer.
        secret: what the call was sent with, which must not come out again.
    """

    status: int
    body_code: int | None
    message: str | None
    data: object
    retry_after: float | None
    answered_at: datetime | None
    secret: Secrets

    @property
    def code(self) -> int | None:
        """The code that counts: the HTTP status if that is no success, else the body's."""
        return self.body_code if httpx.codes.is_success(self.status) else self.status

    @property
    def amount_micros(self) -> int | None:
        """``data`` where it is a number of US dollars: in millionths, rounded down."""
        dollars = self.data
        if isinstance(dollars, bool) or not isinstance(dollars, int | float):
            return None
        if not -_AMOUNT_MOST < dollars < _AMOUNT_MOST:  # nor is "not a number"
            return None
        return math.floor(Decimal(str(dollars)) * 1_000_000)


def read_reply(response: httpx.Response, body: bytes, *, secret: Secrets, now: datetime) -> Reply:
    """Read an answer, by its head and its body, which is empty where it was cut short."""
    value, message = _json(body), None
    if isinstance(value, dict):
        message = _prose(value.get("message"), secret)
    elif not response.is_success:
        page = body[:_PAGE_MOST].decode(errors="replace")
        message = _prose(unescaped(_MARKUP.sub(" ", page)), secret)
    answered_at = date(response.headers.get("date"))
    asked = response.headers.get("retry-after")
    return Reply(
        status=response.status_code,
        body_code=_code(_member(value, "code")),
        message=message,
        data=_member(value, "data"),
        retry_after=retry_after(asked, answered_at=answered_at, now=now),
        answered_at=answered_at,
        secret=secret,
    )


async def read_body(response: httpx.Response) -> bytes:
    """Read the body of an answer, and unpack one that was packed although nobody asked for that.

    Raises:
        BodyTooLarge: it has more bytes, packed or unpacked, than any answer of the gateway.
        BodyUnreadable: it is packed in a way that is unknown, or is damaged.
    """
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > _BODY_MOST:
            raise BodyTooLarge
    coding = response.headers.get("content-encoding", "").strip().lower()
    if coding in ("", "identity"):
        return bytes(body)
    if coding not in ("gzip", "x-gzip", "deflate"):
        raise BodyUnreadable
    unpacking = zlib.decompressobj(wbits=zlib.MAX_WBITS | _GZIP_OR_ZLIB)
    try:
        unpacked = unpacking.decompress(body, _BODY_MOST)
    except zlib.error:
        raise BodyUnreadable from None
    if unpacking.unconsumed_tail:
        raise BodyTooLarge
    return unpacked


def read_task_id(data: object, *, secret: Secrets) -> str | None:
    """Return the id of the task that an answer's ``data`` is about; None when there is none.

    A number is taken as well: the id is opaque, and losing it would lose what was paid for.
    """
    task_id = _member(data, "taskId")
    is_number = isinstance(task_id, int) and not isinstance(task_id, bool)
    return _word(str(task_id) if is_number else task_id, secret)


def read_report(data: object, *, answered_at: datetime | None, secret: Secrets) -> Report | None:
    """Return what the ``data`` of ``statusTask`` says of a task; None when it names no state."""
    state = _word(_member(data, "state"), secret)
    if state is None:
        return None
    return Report(
        state=state,
        voice_id=_word(_member(data, "voice_id"), secret),
        voice_status=_word(_member(data, "voice_status"), secret),
        fail_code=_word(_member(data, "failCode"), secret),
        fail_message=_prose(_member(data, "failMsg"), secret),
        created_at=_instant(_member(data, "createTime")),
        completed_at=_instant(_member(data, "completeTime")),
        result_urls=_result_urls(_member(data, "resultJson"), secret),
        answered_at=answered_at,
    )


def retry_after(header: str | None, *, answered_at: datetime | None, now: datetime) -> float | None:
    """Return the seconds that ``Retry-After`` asks to wait, from 0 to `LONGEST_WAIT`.

    The page documents no such header and does not rule it out; proxies in front of an API send it
    with 429 and 503 (RFC 9110, 10.2.3): a number of seconds, or an HTTP date. A date is read
    against the ``Date`` of the same answer, so that a host with a wrong clock waits the right time.
    """
    if header is not None and _SECONDS.fullmatch(header.strip()):
        wait = float(header.strip())
    else:
        until = date(header)
        if until is None:
            return None
        wait = (until - (answered_at or now)).total_seconds()
    return min(max(wait, 0.0), LONGEST_WAIT)


def date(text: str | None) -> datetime | None:
    """Return the instant of an HTTP date; None if there is none or it is nonsense.

    A date without a zone is in UTC, as RFC 9110, 5.6.7, says of all three forms.
    """
    if text is None:
        return None
    try:
        instant = parsedate_to_datetime(text)
        return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _json(text: str | bytes) -> object:
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):  # RecursionError: brackets nested thousands deep
        return None
    return value


def _member(value: object, name: str) -> object:
    return value.get(name) if isinstance(value, dict) else None


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
    if len(text) > _MESSAGE_MOST:
        text = text[: _MESSAGE_MOST - 1] + "…"
    return text or None


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
    urls = _member(_json(value) if isinstance(value, str) else value, "resultUrls")
    if not isinstance(urls, list):
        return ()
    words = (_word(url, secret) for url in urls)
    return tuple(word for word in words if word is not None)
