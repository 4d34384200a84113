"""The webhook: how the gateway is asked to call back, which calls are believed, and their way here.

No signature is documented, so each enrollment has an address of its own that nobody can guess.
Only that address is believed: a call to it makes its task due for polling, and ``statusTask``
alone has the outcome. (Page sections *Parameters* and *Webhook callback mode*.)

Whether calls arrive, `check` finds out by two trial calls that the receiver answers in words of
its own: one to its own port, one to the public address. Their replies show on which side of the
proxy the trouble is.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

from voicekeeper.core.health import Finding, Severity

PATH: Final = "/webhook"
"""Served beside the path of the public address, for a proxy that hands that on to this one."""

BODY_MOST: Final = 64 * 1024
"""Bytes of a body; the page's have some hundred, and nothing in it is used."""

UNKNOWN_PATH: Final = "no such webhook"
"""The receiver's own words, with 404, for a call whose path ends in no token."""

TRIAL: Final = "check"
"""Stands in place of the token in a trial call, which only asks whether the receiver is there."""

_NOT_FOUND = 404
_NOT_REACHED: Final = (502, 503, 504)
"""A proxy's answers while nobody answers behind it."""

_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class Callbacks:
    """The means to ask for a call: our address for it, and what makes a token of 256 bits."""

    public_url: str
    new_token: Callable[[], str]


def address(public_url: str, token: str) -> str:
    """Return the ``callback_url`` of one task."""
    return f"{public_url}/{token}"


def path(public_url: str) -> str:
    """Return the path of the public address, as it stands there, without a slash at its end."""
    return urlsplit(public_url).path


def is_token(text: str) -> bool:
    """Return whether a text could be a token."""
    return _TOKEN.fullmatch(text) is not None


def digest(token: str) -> str:
    """Return the digest of a token for the registry: who reads a copy of it cannot call."""
    return hashlib.sha256(token.encode()).hexdigest()


def is_the_receivers(status: int, body: bytes) -> bool:
    """Return whether an answer to a trial call is the receiver's own."""
    return status == _NOT_FOUND and body.strip() == UNKNOWN_PATH.encode()


class Trouble(StrEnum):
    """Why a call was not answered."""

    NAME = "name"
    """The host's name is not known."""
    TLS = "tls"
    """No secure connection came to be: there is no certificate that is valid for the name."""
    CONNECTION = "connection"
    """No connection came to be, or it broke."""
    TIME = "time"
    """It took too long."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The result of a trial call.

    Attributes:
        status: of HTTP; None where nothing answered.
        is_ours: whether the receiver itself answered, and no proxy or other program.
        trouble: why nothing answered, with the library's reason where it says more.
    """

    status: int | None = None
    is_ours: bool = False
    trouble: Trouble | None = None
    reason: str = ""


def judged(near: Reply, far: Reply, *, public_url: str, listen: str, runs: bool) -> Finding:
    """Judge whether the gateway's calls reach the receiver, by two trial calls from this host.

    Trouble that may look otherwise from outside, or passes with a daemon's start, is a warning:
    without a webhook an enrollment is polled all the same, some minutes later.

    Args:
        near: of a call to ``listen``, the port of the receiver.
        far: of a call to ``public_url``, the address that the gateway calls.
        runs: whether a daemon has made a pass lately.
    """
    if near.is_ours and far.is_ours:
        return Finding(
            Severity.OK,
            f"{public_url} leads to the daemon at {listen}, as seen from this host; that it does "
            "from outside too, only the gateway's next call shows",
        )
    found = [_of_receiver(near, listen=listen, runs=runs), _of_way(near, far, public_url, listen)]
    troubles = [each for each in found if each is not None]
    worst = max(severity for severity, _ in troubles)
    return Finding(worst, "; and ".join(sentence for _, sentence in troubles))


_Trouble = tuple[Severity, str]


def _of_receiver(near: Reply, *, listen: str, runs: bool) -> _Trouble | None:
    """Judge what answers where the receiver listens."""
    if near.is_ours:
        return None
    if near.status is not None:
        return Severity.CRITICAL, (
            f"another program answers at {listen} ({near.status}); end it, or set webhook.listen "
            "to a port of its own and restart the daemon"
        )
    if runs:
        return Severity.CRITICAL, (
            f"nothing answers at {listen}, though a daemon made a pass lately; restart it, for it "
            "takes the webhook's settings only then; 'listener.failed' in its log says more"
        )
    return Severity.WARNING, (
        f"nothing answers at {listen}, as no daemon runs; start it and check again"
    )


def _of_way(near: Reply, far: Reply, public_url: str, listen: str) -> _Trouble | None:
    """Judge the way from the public address to the receiver."""
    handed_on = f"that it hands {public_url}/ on to http://{listen}{path(public_url)}/"
    if far.is_ours:
        return Severity.WARNING, (
            f"{public_url} leads to a voicekeeper all the same: to one on another host, or by a "
            f"way past {listen}; see that its name and its proxy lead here"
        )
    if far.trouble is not None:
        return _unanswered(far, public_url)
    if far.status in _NOT_REACHED:
        if not near.is_ours:
            return None  # the proxy cannot do better
        return Severity.CRITICAL, (
            f"the proxy at {public_url} answers {far.status}: it does not reach the daemon; see "
            f"{handed_on}"
        )
    return Severity.CRITICAL, (
        f"{public_url} leads to another program, which answers {far.status}; see that the proxy "
        f"lets POST through, and {handed_on}"
    )


def _unanswered(far: Reply, public_url: str) -> _Trouble:
    """Judge why nothing answers at the public address."""
    if far.trouble is Trouble.NAME:
        return Severity.CRITICAL, (
            f"the name in {public_url} is not known to this host's resolver; give it an address in "
            "the DNS, or mend webhook.public_url"
        )
    if far.trouble is Trouble.TLS:
        return Severity.CRITICAL, (
            f"{public_url} has no certificate that can be trusted ({far.reason}), so the gateway "
            "will not call it; renew it, or see that the proxy shows the right one and all between"
        )
    why = "no answer in time" if far.trouble is Trouble.TIME else far.reason or "it broke off"
    return Severity.WARNING, (
        f"{public_url} is not reached from this host ({why}); see that the proxy runs and the "
        "firewall lets it be called; a router that lets nobody call its own address from within "
        "looks the same, then ask from elsewhere"
    )
