"""What a failed call means: the table of codes, and who may have been charged."""

import socket
import ssl

import httpx
import pytest

from voicekeeper.core.secrecy import Secrets
from voicekeeper.gateway import failure, reply
from voicekeeper.gateway.reply import Reply


def _reply(status: int, body_code: int | None = None, message: str | None = None) -> Reply:
    return Reply(status, body_code, message, {}, 7.0, None, Secrets([]))


@pytest.mark.parametrize(
    ("status", "body_code", "code", "ambiguous", "words"),
    [
        (400, 400, 400, False, "fix the request before retrying"),
        (401, 401, 401, False, "missing or invalid API key"),
        (402, 402, 402, False, "insufficient balance or quota; add balance or switch the key"),
        (403, 403, 403, False, "check permissions and route strategy"),
        (404, None, 404, False, "check base_url and the model"),
        (429, 429, 429, False, "rate or concurrency limit reached; retry with backoff"),
        (500, 500, 500, True, "server error; retry with backoff"),
        (599, None, 599, True, "a code that its documentation does not list"),
        (301, None, 301, False, "base_url looks wrong"),
        (307, 200, 307, False, "base_url looks wrong"),
        (200, 401, 401, False, "missing or invalid API key"),
        (200, 429, 429, False, "rate or concurrency limit"),
        (201, 500, 500, True, "server error"),
        (200, 302, 302, True, "a code that its documentation does not list"),
        (200, 1001, 1001, True, "a code that its documentation does not list"),
        (200, None, None, True, "not with its JSON; check base_url"),
        (500, 200, 500, True, "server error"),
        (402, 200, 402, False, "insufficient balance"),
    ],
)
def test_a_code_says_what_to_do_and_who_may_have_been_charged(
    status: int,
    body_code: int | None,
    code: int | None,
    *,
    ambiguous: bool,
    words: str,
) -> None:
    reply = _reply(status, body_code)
    paid = failure.of_reply(reply, paid=True)
    read = failure.of_reply(reply, paid=False)
    assert paid is not None
    assert read is not None
    assert (paid.code, paid.ambiguous, paid.retry_after) == (code, ambiguous, 7.0)
    assert (read.code, read.ambiguous) == (code, False)
    assert words in str(paid)


@pytest.mark.parametrize("status", [200, 201, 202])
def test_success_is_told_by_the_status_and_the_body(status: int) -> None:
    assert failure.of_reply(_reply(status, 200, "ok"), paid=True) is None
    assert failure.of_reply(_reply(status), paid=True) is not None


def test_the_gateways_own_words_stand_in_quotes_behind_ours() -> None:
    failed = failure.of_reply(_reply(402, 402, 'pay "now"'), paid=True)
    assert str(failed) == (
        "the gateway answered 402: insufficient balance or quota; add balance or switch the key "
        "(\"pay 'now'\")"
    )


def _caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = RuntimeError("between")
    error.__cause__.__context__ = ExceptionGroup("attempts", [cause])
    return error


@pytest.mark.parametrize(
    ("error", "ambiguous", "sentence"),
    [
        (
            _caused(httpx.ConnectError("x"), ConnectionRefusedError(111, "x")),
            False,
            "could not reach the gateway at HOST: connection refused",
        ),
        (
            _caused(httpx.ConnectError("x"), socket.gaierror(-2, "x")),
            False,
            "could not reach the gateway at HOST: its name cannot be resolved",
        ),
        (
            _caused(httpx.ConnectError("x"), ssl.SSLError(1, "x")),
            False,
            "could not reach the gateway at HOST: TLS failed: no handshake",
        ),
        (httpx.ConnectError("x"), False, "could not reach the gateway at HOST: it was closed"),
        (
            httpx.ConnectTimeout("x"),
            False,
            "could not reach the gateway at HOST: no connection within 10 s",
        ),
        (
            httpx.PoolTimeout("x"),
            False,
            "no free connection to the gateway at HOST within 30 s",
        ),
        (
            httpx.ProxyError("x"),
            False,
            "could not reach the gateway at HOST: the proxy refused to connect",
        ),
        (httpx.ReadTimeout("x"), True, "no answer from the gateway at HOST within 30 s"),
        (TimeoutError(), True, "no complete answer from the gateway at HOST within 60 s"),
        (httpx.WriteTimeout("x"), True, "the gateway at HOST took no data for 30 s"),
        (
            _caused(httpx.WriteError("x"), BrokenPipeError(32, "x")),
            True,
            "the connection to the gateway at HOST broke: broken pipe",
        ),
        (ConnectionResetError(104, "x"), True, "broke: connection reset by peer"),
        (httpx.RemoteProtocolError("x"), True, "closed the connection before its answer"),
        (httpx.UnsupportedProtocol("x"), False, "failed: UnsupportedProtocol"),
        (httpx.LocalProtocolError("x"), True, "failed: LocalProtocolError"),
        (reply.BodyTooLarge(), True, "sent more than any of its answers holds"),
        (reply.BodyUnreadable(), True, "cannot be unpacked"),
        (KeyError("x"), True, "the call to the gateway at HOST failed: KeyError"),
    ],
)
def test_an_exception_is_one_sentence_and_ambiguous_unless_nothing_was_sent(
    error: Exception,
    *,
    ambiguous: bool,
    sentence: str,
) -> None:
    paid = failure.of_error(error, host="HOST", timeout=30, paid=True)
    read = failure.of_error(error, host="HOST", timeout=30, paid=False)
    assert (paid.ambiguous, read.ambiguous) == (ambiguous, False)
    assert (paid.code, paid.retry_after) == (None, None)
    assert sentence in str(paid)


def test_a_certificate_that_is_not_trusted_says_why() -> None:
    untrusted = ssl.SSLCertVerificationError(1, "x")
    untrusted.verify_message = "self-signed certificate"
    failed = failure.of_error(
        _caused(httpx.ConnectError("x"), untrusted), host="HOST", timeout=30, paid=True
    )
    assert str(failed).endswith("its certificate is not trusted: self-signed certificate")
    assert not failed.ambiguous


def test_errors_that_caused_each_other_are_read_to_an_end() -> None:
    error, cause = httpx.ReadError("x"), RuntimeError("x")
    error.__cause__, cause.__cause__ = cause, error
    failed = failure.of_error(error, host="HOST", timeout=30, paid=True)
    assert str(failed) == "the connection to the gateway at HOST broke: it was closed"
