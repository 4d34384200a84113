"""An answer of the gateway as HTTP brings it: its status, two of its headers, and its body."""

import re
import zlib
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from voicekeeper.core.secrecy import Secrets
from voicekeeper.gateway import wire
from voicekeeper.gateway.http_client import httpx

LONGEST_WAIT = 86_400.0
"""Seconds of a ``Retry-After``: more is a mistake, as a voice has only seven days."""

_BODY_MOST = 1024 * 1024
"""Bytes of a body; the page's answers have some hundred."""

_GZIP_OR_ZLIB = 32
"""Added to ``wbits``, it has zlib tell them apart itself."""

_SECONDS = re.compile(r"[+-]?\d+(\.\d+)?", re.ASCII)


class BodyTooLarge(Exception):  # noqa: N818 - it ends as a CallFailed, never leaves the package
    """The body goes on beyond any answer of the gateway."""


class BodyUnreadable(Exception):  # noqa: N818 - as above
    """The body is packed in a way that is unknown, or is damaged."""


class Reply(NamedTuple):
    """An answer whose head came whole.

    Attributes:
        status: the HTTP status.
        envelope: the body; None when it is not the gateway's JSON.
        retry_after: seconds to wait, if the gateway asked for that.
        answered_at: the ``Date`` of the answer.
        page: what it says to people where it is not the gateway's JSON, nor a success.
    """

    status: int
    envelope: wire.Envelope | None
    retry_after: float | None
    answered_at: datetime | None
    page: str | None = None

    @property
    def code(self) -> int | None:
        """The code that counts: the HTTP status if that is no success, else the body's."""
        if not httpx.codes.is_success(self.status):
            return self.status
        return self.envelope.code if self.envelope else None


def read_reply(response: httpx.Response, body: bytes, *, secret: Secrets, now: datetime) -> Reply:
    """Read an answer.

    Args:
        response: its head.
        body: from `read_body`; empty where it was cut short.
        secret: what must not come out again.
        now: the host's wall time.
    """
    envelope = wire.read_envelope(body, secret=secret)
    is_page = envelope is None and not response.is_success
    answered_at = date(response.headers.get("date"))
    asked = response.headers.get("retry-after")
    return Reply(
        status=response.status_code,
        envelope=envelope,
        retry_after=retry_after(asked, answered_at=answered_at, now=now),
        answered_at=answered_at,
        page=wire.read_page(body, secret=secret) if is_page else None,
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
    return bytes(body) if coding in ("", "identity") else _unpacked(bytes(body), coding)


def _unpacked(body: bytes, coding: str) -> bytes:
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


def retry_after(header: str | None, *, answered_at: datetime | None, now: datetime) -> float | None:
    """Return the seconds that ``Retry-After`` asks to wait, from 0 to `LONGEST_WAIT`.

    The page documents no such header and does not rule it out; proxies in front of an API send it
    with 429 and 503 (RFC 9110, 10.2.3).

    Args:
        header: its value, a number of seconds or an HTTP date.
        answered_at: the gateway's wall time in the same answer (``Date``), if it gave one. A
            date is read against it, so that a host with a wrong clock waits the right time.
        now: the host's wall time, for an answer without a ``Date``.

    Returns:
        None when nothing usable is asked.
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
