"""The webhook: how the gateway is told to call back, and what is believed of a call.

No signature is documented, so each enrollment has an address of its own that nobody can guess.
Nothing but that address is believed: a call to it says that its task is worth asking for, and
what became of the task is told by ``statusTask`` alone. (Page sections *Parameters* and
*Webhook callback mode*; the redeliveries stand in the vendor's other pages.)
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from urllib.parse import urlsplit

PATH: Final = "/webhook"
"""Served beside the path of the public address, for a proxy that hands that on to this one."""

BODY_MOST: Final = 64 * 1024
"""Bytes of a body; the page's have some hundred, and nothing in it is used."""

UNKNOWN_PATH: Final = "no such webhook"
"""What the receiver alone says, with 404, to a call whose path ends in no token."""

TRIAL: Final = "check"
"""What a call's path ends in that only asks whether the receiver is there: it is no token."""

LAST_REDELIVERY: Final = timedelta(minutes=13)
"""Until the gateway's last try: it calls again after 30 s, 2 min and 10 min, then no more."""

_NOT_FOUND = 404
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class Callbacks:
    """What is needed to ask for a call.

    Attributes:
        public_url: how the gateway reaches this host, without a slash at its end.
        new_token: makes a token of 256 bits, in 43 characters of a URL.
    """

    public_url: str
    new_token: Callable[[], str]


def address(public_url: str, token: str) -> str:
    """Return the ``callback_url`` of one task."""
    return f"{public_url}/{token}"


def path(public_url: str) -> str:
    """Return the path of the public address, as it stands there, without a slash at its end."""
    return urlsplit(public_url).path


def is_token(text: str) -> bool:
    """Tell whether a text could be a token."""
    return _TOKEN.fullmatch(text) is not None


def digest(token: str) -> str:
    """Return what the registry keeps of a token: who reads a copy of it cannot call."""
    return hashlib.sha256(token.encode()).hexdigest()


def is_the_receivers(status: int, body: bytes) -> bool:
    """Tell whether an answer to a `TRIAL` is the receiver's own."""
    return status == _NOT_FOUND and body.strip() == UNKNOWN_PATH.encode()
