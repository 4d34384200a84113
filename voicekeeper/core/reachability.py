"""Whether the gateway's calls reach the receiver of webhooks, as far as this host can tell.

Two calls are made that the receiver answers in words of its own: one to where it listens, one to
where the gateway calls. What came of them tells on which side of the proxy the trouble is.

Pure: what came of the calls in, a finding out.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from voicekeeper.core.health import Finding, Severity
from voicekeeper.core.webhook import path

_NOT_REACHED: Final = (502, 503, 504)
"""What a proxy answers while nobody does behind it."""


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
    """What came of a call to the receiver, or to where it should be.

    Attributes:
        status: of HTTP; None where nothing answered.
        is_ours: whether the receiver itself answered, and no proxy or other program.
        trouble: why nothing answered; None where something did.
        reason: the words of the library for it, where they say more.
    """

    status: int | None = None
    is_ours: bool = False
    trouble: Trouble | None = None
    reason: str = ""


def judged(near: Reply, far: Reply, *, public_url: str, listen: str, runs: bool) -> Finding:
    """Judge whether the gateway's calls reach the receiver, by two calls from this host.

    A warning is what may look otherwise from outside, or passes when the daemon is started; an
    enrollment that is not told of is asked for all the same, some minutes later.

    Args:
        near: what came of a call to the address it listens on.
        far: what came of a call to the public one.
        public_url: that address.
        listen: and the one before.
        runs: whether a daemon has made a pass lately.
    """
    if near.is_ours and far.is_ours:
        return Finding(
            Severity.OK,
            f"{public_url} leads to the daemon at {listen}, as seen from this host; that it does "
            "from outside too, only the gateway's next call shows",
        )
    found = [_of_receiver(near, listen=listen, runs=runs), _of_way(near, far, public_url, listen)]
    troubles = [finding for finding in found if finding is not None]
    worst = max(finding.severity for finding in troubles)
    return Finding(worst, "; and ".join(finding.sentence for finding in troubles))


def _of_receiver(near: Reply, *, listen: str, runs: bool) -> Finding | None:
    """Judge what answers where the receiver listens."""
    if near.is_ours:
        return None
    if near.status is not None:
        return Finding(
            Severity.CRITICAL,
            f"another program answers at {listen} ({near.status}); end it, or set webhook.listen "
            "to a port of its own and restart the daemon",
        )
    if runs:
        return Finding(
            Severity.CRITICAL,
            f"nothing answers at {listen}, though a daemon made a pass lately; restart it, for it "
            "takes the webhook's settings only then; 'listener.failed' in its log says more",
        )
    return Finding(
        Severity.WARNING,
        f"nothing answers at {listen}, as no daemon runs; start it and check again",
    )


def _of_way(near: Reply, far: Reply, public_url: str, listen: str) -> Finding | None:
    """Judge the way from the public address to the receiver."""
    handed_on = f"that it hands {public_url}/ on to http://{listen}{path(public_url)}/"
    if far.is_ours:
        return Finding(
            Severity.WARNING,
            f"{public_url} leads to a voicekeeper all the same: to one on another host, or by a "
            f"way past {listen}; see that its name and its proxy lead here",
        )
    if far.trouble is not None:
        return _unanswered(far, public_url)
    if far.status in _NOT_REACHED:
        if not near.is_ours:
            return None  # the proxy cannot do better
        return Finding(
            Severity.CRITICAL,
            f"the proxy at {public_url} answers {far.status}: it does not reach the daemon; see "
            f"{handed_on}",
        )
    return Finding(
        Severity.CRITICAL,
        f"{public_url} leads to another program, which answers {far.status}; see that the proxy "
        f"lets POST through, and {handed_on}",
    )


def _unanswered(far: Reply, public_url: str) -> Finding:
    """Judge why nothing answers at the public address."""
    if far.trouble is Trouble.NAME:
        return Finding(
            Severity.CRITICAL,
            f"the name in {public_url} is not known to this host's resolver; give it an address in "
            "the DNS, or mend webhook.public_url",
        )
    if far.trouble is Trouble.TLS:
        why = f" ({far.reason})" if far.reason else ""
        return Finding(
            Severity.CRITICAL,
            f"{public_url} has no certificate that can be trusted{why}, so the gateway will not "
            "call it; renew it, or see that the proxy shows the right one and all between",
        )
    why = "no answer in time" if far.trouble is Trouble.TIME else far.reason or "it broke off"
    return Finding(
        Severity.WARNING,
        f"{public_url} is not reached from this host ({why}); see that the proxy runs and the "
        "firewall lets it be called; a router that lets nobody call its own address from within "
        "looks the same, then ask from elsewhere",
    )
