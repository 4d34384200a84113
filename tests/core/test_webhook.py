"""The webhook's addresses and tokens, and what trial calls tell of the way to it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicekeeper.core import webhook
from voicekeeper.core.health import Severity
from voicekeeper.core.webhook import Reply, Trouble


@given(st.from_regex(r"[A-Za-z0-9_-]{43}", fullmatch=True))
def test_an_address_ends_in_its_token_which_the_registry_keeps_a_digest_of(token: str) -> None:
    assert webhook.is_token(token)
    assert webhook.address("https://example.com/hook", token) == f"https://example.com/hook/{token}"
    assert token not in webhook.digest(token)


def test_a_digest_is_the_same_in_every_release() -> None:
    assert webhook.digest("0" * 43) == (
        "b918b22a1581fedd39058065f00e6aad35bd561f20257151131a1ddcd21803de"
    )


@pytest.mark.parametrize(
    "text", ["", "a" * 42, "a" * 44, "a" * 42 + "/", "a" * 42 + "\n", "ä" * 43, webhook.TRIAL]
)
def test_what_has_another_form_is_no_token(text: str) -> None:
    assert not webhook.is_token(text)


WORDS = webhook.UNKNOWN_PATH.encode()


@pytest.mark.parametrize(
    ("status", "body", "ours"),
    [
        (404, WORDS, True),
        (404, b"\r\n" + WORDS + b" ", True),
        (200, WORDS, False),
        (405, WORDS, False),
        (404, b"", False),
        (404, WORDS.upper(), False),
        (404, WORDS + b" here", False),
        (404, b"\xff\xfe", False),
    ],
)
def test_the_receiver_is_known_by_its_words(status: int, body: bytes, *, ours: bool) -> None:
    assert webhook.is_the_receivers(status, body) is ours


# the way to it


URL, LISTEN = "https://voices.example.com/webhook", "127.0.0.1:8470"
OURS = Reply(404, is_ours=True)
REFUSED = Reply(trouble=Trouble.CONNECTION, reason="connection refused")
OK, WARNING, CRITICAL = Severity.OK, Severity.WARNING, Severity.CRITICAL


def judged(near: Reply, far: Reply, *, runs: bool = True) -> tuple[Severity, str]:
    finding = webhook.judged(near, far, public_url=URL, listen=LISTEN, runs=runs)
    return finding.severity, finding.sentence


WELL = (
    f"{URL} leads to the daemon at {LISTEN}, as seen from this host; that it does from outside "
    "too, only the gateway's next call shows"
)
UNKNOWN_NAME = (
    f"the name in {URL} is not known to this host's resolver; give it an address in the DNS, or "
    "mend webhook.public_url"
)
EXPIRED = (
    f"{URL} has no certificate that can be trusted (certificate has expired), so the gateway will "
    "not call it; renew it, or see that the proxy shows the right one and all between"
)
HANDED_ON = f"that it hands {URL}/ on to http://{LISTEN}/webhook/"
NO_DAEMON = f"nothing answers at {LISTEN}, as no daemon runs; start it and check again"
MISSED = (
    f"nothing answers at {LISTEN}, though a daemon made a pass lately; restart it, for it takes "
    "the webhook's settings only then; 'listener.failed' in its log says more"
)
ANOTHER = "end it, or set webhook.listen to a port of its own and restart the daemon"


def test_a_way_that_leads_to_the_receiver_is_well_as_far_as_this_host_can_tell() -> None:
    assert judged(OURS, OURS) == (OK, WELL)


def not_reached(why: str) -> str:
    return (
        f"{URL} is not reached from this host ({why}); see that the proxy runs and the firewall "
        "lets it be called; a router that lets nobody call its own address from within looks the "
        "same, then ask from elsewhere"
    )


def nobody_behind(status: int) -> str:
    return f"the proxy at {URL} answers {status}: it does not reach the daemon; see {HANDED_ON}"


def another_program(status: int) -> str:
    return (
        f"{URL} leads to another program, which answers {status}; see that the proxy lets POST "
        f"through, and {HANDED_ON}"
    )


@pytest.mark.parametrize(
    ("far", "severity", "sentence"),
    [
        (Reply(trouble=Trouble.NAME), CRITICAL, UNKNOWN_NAME),
        (Reply(trouble=Trouble.TLS, reason="certificate has expired"), CRITICAL, EXPIRED),
        (REFUSED, WARNING, not_reached("connection refused")),
        (Reply(trouble=Trouble.TIME), WARNING, not_reached("no answer in time")),
        (Reply(trouble=Trouble.CONNECTION), WARNING, not_reached("it broke off")),
        *((Reply(status), CRITICAL, nobody_behind(status)) for status in (502, 503, 504)),
        *((Reply(status), CRITICAL, another_program(status)) for status in (200, 301, 403, 404)),
    ],
)
def test_what_is_wrong_before_the_receiver_is_told_with_its_mend(
    far: Reply, severity: Severity, sentence: str
) -> None:
    assert judged(OURS, far) == (severity, sentence)


def test_the_mend_names_the_path_of_the_public_url() -> None:
    url = "https://voices.example.com/team/hooks"
    found = webhook.judged(OURS, Reply(404), public_url=url, listen=LISTEN, runs=True)
    assert f"that it hands {url}/ on to http://127.0.0.1:8470/team/hooks/" in found.sentence


@pytest.mark.parametrize(
    ("near", "runs", "severity", "sentence"),
    [
        (REFUSED, False, WARNING, NO_DAEMON),
        (REFUSED, True, CRITICAL, MISSED),
        (Reply(trouble=Trouble.TIME), True, CRITICAL, MISSED),
        (Reply(200), True, CRITICAL, f"another program answers at {LISTEN} (200); {ANOTHER}"),
        (Reply(404), False, CRITICAL, f"another program answers at {LISTEN} (404); {ANOTHER}"),
    ],
)
def test_what_is_wrong_at_the_receiver_is_told_alone_where_its_proxy_only_follows(
    near: Reply, *, runs: bool, severity: Severity, sentence: str
) -> None:
    assert judged(near, Reply(502), runs=runs) == (severity, sentence)


def test_trouble_on_both_sides_is_told_with_both_mends_and_as_the_worse() -> None:
    severity, sentence = judged(REFUSED, Reply(trouble=Trouble.NAME), runs=False)
    assert severity is CRITICAL
    assert "no daemon runs; start it and check again; and the name in " in sentence


def test_a_voicekeeper_of_another_host_is_not_taken_for_this_one() -> None:
    severity, sentence = judged(REFUSED, OURS, runs=False)
    assert severity is WARNING
    assert "one on another host" in sentence
