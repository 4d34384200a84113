"""What a failed call means: the sentence for people, and whether the gateway may have done it.

The second is what the money hangs on. A call counts as *not done* only where that is certain:
nothing was sent, or the gateway said no. Everything else is ambiguous.
"""

import os
import socket
import ssl

from voicekeeper.errors import CallFailed
from voicekeeper.gateway.http_client import httpx, root_cause
from voicekeeper.gateway.reply import OK, BodyTooLarge, BodyUnreadable, Reply

ACTIONS = {
    400: "invalid request body or parameter shape; fix the request before retrying",
    401: "missing or invalid API key; check the key",
    402: "insufficient balance or quota; add balance or switch the key",
    403: "the key or its route cannot access the model; check permissions and route strategy",
    404: "no such address or task; check base_url and the model",
    429: "rate or concurrency limit reached; retry with backoff",
    500: "server error; retry with backoff",
    502: "error of the provider behind the gateway; retry with backoff",
    503: "service unavailable; retry with backoff",
    504: "timeout behind the gateway; retry with backoff",
}
"""The page's table *HTTP errors* in our words; 404 and 503 are from older pages."""

REDIRECTION = range(300, 400)
REFUSAL = range(400, 500)
FAULT = range(500, 600)

_NOTHING_SENT = (
    httpx.ConnectError,  # TLS failures are among these
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)

_UNREACHED = "could not reach the gateway at {host}: "

_SENTENCES: tuple[tuple[type[Exception], str], ...] = (
    (httpx.ConnectTimeout, _UNREACHED + "no connection within {connect:g} s"),
    (httpx.ConnectError, _UNREACHED + "{reason}"),
    (httpx.ProxyError, _UNREACHED + "the proxy refused to connect"),
    (httpx.PoolTimeout, "no free connection to the gateway at {host} within {step:g} s"),
    (httpx.ReadTimeout, "no answer from the gateway at {host} within {step:g} s"),
    (httpx.WriteTimeout, "the gateway at {host} took no data for {step:g} s"),
    (TimeoutError, "no complete answer from the gateway at {host} within {whole:g} s"),
    (BodyTooLarge, "the gateway at {host} sent more than any of its answers holds"),
    (
        httpx.RemoteProtocolError,
        "the gateway at {host} closed the connection before its answer was whole, or broke HTTP",
    ),
    (BodyUnreadable, "the gateway at {host} sent an answer that cannot be unpacked"),
    (httpx.NetworkError, "the connection to the gateway at {host} broke: {reason}"),
    (OSError, "the connection to the gateway at {host} broke: {reason}"),
    (Exception, "the call to the gateway at {host} failed: {kind}"),
)
"""What to say of an exception, by the first kind that it is of."""


def of_reply(reply: Reply, *, paid: bool) -> CallFailed | None:
    """Return the failure that an answer reports; None when it reports success.

    Success is reported twice: by the HTTP status and by the body's ``code``. A call that is
    ``paid`` costs money if it was done.
    """
    code = reply.code
    if code == OK:
        return None
    redirected = reply.status in REDIRECTION
    if code is None:
        sentence = f"the gateway answered {reply.status}, but not with its JSON; check base_url"
    elif redirected:
        sentence = (
            f"the gateway answered {code}: a redirect, which is not followed; base_url looks wrong"
        )
    else:
        action = ACTIONS.get(code, "a code that its documentation does not list")
        sentence = f"the gateway answered {code}: {action}"
    if reply.message is not None:
        quoted = reply.message.replace('"', "'")
        sentence += f' ("{quoted}")'
    return CallFailed(
        sentence,
        code=code,
        retry_after=reply.retry_after,
        ambiguous=paid and not (redirected or code in REFUSAL),
    )


def of_error(error: Exception, *, host: str, timeout: float, paid: bool) -> CallFailed:
    """Return the failure that an exception of the HTTP library reports.

    Its text is never taken over: it may quote a header, and one of them holds the key.
    """
    sentence = next(sentence for kind, sentence in _SENTENCES if isinstance(error, kind))
    return CallFailed(
        sentence.format(
            host=host,
            step=timeout,
            connect=connect_timeout(timeout),
            whole=whole_timeout(timeout),
            reason=_reason(error),
            kind=type(error).__name__,
        ),
        ambiguous=paid and not isinstance(error, _NOTHING_SENT),
    )


def connect_timeout(timeout: float) -> float:
    """Return how many seconds of a call's timeout a connection may take to open."""
    return min(timeout, 10.0)


def whole_timeout(timeout: float) -> float:
    """Return how many seconds a call may take in all, however steadily its answer drips."""
    return 2 * timeout


def _reason(error: BaseException) -> str:
    """Return in words what the operating system or TLS said at the root of an error."""
    match root_cause(error):
        case ssl.SSLCertVerificationError() as cause:
            return f"its certificate is not trusted: {cause.verify_message}"
        case ssl.SSLError() as cause:
            reason = getattr(cause, "reason", None) or "no handshake"
            return f"TLS failed: {reason.lower().replace('_', ' ')}"
        case socket.gaierror() | UnicodeError():
            return "its name cannot be resolved"
        case OSError() as cause:
            return os.strerror(cause.errno or 0).lower()
    return "it was closed"
