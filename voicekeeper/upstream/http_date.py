"""An HTTP date (RFC 9110, 5.6.7), in any of its three forms, as an aware instant.

The gateway writes one in ``Date`` and may write one in ``Retry-After``.
"""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def parse(text: str | None) -> datetime | None:
    """Read an HTTP date; None when there is none or it is nonsense.

    A date without a zone is in UTC, as the standard says of all three forms.
    """
    if text is None:
        return None
    try:
        instant = parsedate_to_datetime(text)
        return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
