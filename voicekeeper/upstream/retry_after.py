"""How long the gateway asks us to wait: the ``Retry-After`` header in both of its forms.

The page documents no such header and does not rule it out; proxies in front of an API send it
with 429 and 503 (RFC 9110, 10.2.3).
"""

import re
from datetime import datetime

from voicekeeper.upstream import http_date

MOST = 86_400.0
"""One day: a header that asks for more is a mistake, and a voice has only seven."""

_SECONDS = re.compile(r"[+-]?\d+(\.\d+)?", re.ASCII)


def seconds(header: str | None, *, answered_at: datetime | None, now: datetime) -> float | None:
    """Return the seconds to wait, from 0 to `MOST`; None when nothing usable is asked.

    Args:
        header: the value of ``Retry-After``, a number of seconds or an HTTP date.
        answered_at: the gateway's wall time in the same answer (``Date``), if it gave one. A
            date is read against it, so that a host with a wrong clock waits the right time.
        now: the host's wall time, for an answer without a ``Date``.
    """
    if header is None:
        return None
    if _SECONDS.fullmatch(header.strip()):
        wait = float(header)
    else:
        until = http_date.parse(header)
        if until is None:
            return None
        wait = (until - (answered_at or now)).total_seconds()
    return min(max(wait, 0.0), MOST)
