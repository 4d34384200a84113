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


OURS = Reply(404, is_ours=True)
REFUSED = Reply(trouble=Trouble.CONNECTION, reason="connection refused")
OK, WARNING, CRITICAL = Severity.OK, Severity.WARNING, Severity.CRITICAL


def judged(near: Reply, far: Reply, *, runs: bool = True) -> tuple[Severity, str]:
    finding = webhook.judged(
        near,
        far,
        public_url="https://voices.example.com/webhook",
        listen="127.0.0.1:8470",
        runs=runs,
    )
    return finding.severity, finding.sentence


def test_a_way_that_leads_to_the_receiver_is_well_as_far_as_this_host_can_tell() -> None:
    severity, sentence = judged(OURS, OURS)
    assert severity is OK
    assert "as seen from this host" in sentence


@pytest.mark.parametrize(
    ("far", "severity", "words"),
    [
        (Reply(trouble=Trouble.NAME), CRITICAL, ["not known", "DNS", "webhook.public_url"]),
        (
            Reply(trouble=Trouble.TLS, reason="certificate has expired"),
            CRITICAL,
            ["(certificate has expired)", "renew it"],
        ),
        (REFUSED, WARNING, ["(connection refused)", "firewall", "from elsewhere"]),
        (Reply(trouble=Trouble.TIME), WARNING, ["(no answer in time)", "firewall"]),
        (Reply(trouble=Trouble.CONNECTION), WARNING, ["(it broke off)"]),
        (Reply(502), CRITICAL, ["answers 502", "http://127.0.0.1:8470/webhook/"]),
        (Reply(504), CRITICAL, ["answers 504", "does not reach the daemon"]),
        (Reply(404), CRITICAL, ["another program", "404", "http://127.0.0.1:8470/webhook/"]),
        (Reply(200), CRITICAL, ["another program", "200"]),
        (Reply(301), CRITICAL, ["another program", "301"]),
        (Reply(403), CRITICAL, ["another program", "403", "lets POST through"]),
    ],
)
def test_what_is_wrong_before_the_receiver_is_told_with_its_mend(
    far: Reply, severity: Severity, words: list[str]
) -> None:
    found, sentence = judged(OURS, far)
    assert found is severity
    assert [word for word in words if word not in sentence] == []


def test_the_mend_names_the_path_of_the_public_url() -> None:
    url = "https://voices.example.com/team/hooks"
    found = webhook.judged(OURS, Reply(404), public_url=url, listen="127.0.0.1:8470", runs=True)
    assert f"that it hands {url}/ on to http://127.0.0.1:8470/team/hooks/" in found.sentence


@pytest.mark.parametrize(
    ("near", "runs", "severity", "words"),
    [
        (REFUSED, False, WARNING, ["nothing answers at 127.0.0.1:8470", "no daemon runs"]),
        (REFUSED, True, CRITICAL, ["though a daemon made a pass", "restart it", "listener.failed"]),
        (Reply(trouble=Trouble.TIME), True, CRITICAL, ["though a daemon made a pass"]),
        (Reply(200), True, CRITICAL, ["another program answers at 127.0.0.1:8470 (200)"]),
        (Reply(404), False, CRITICAL, ["another program answers", "webhook.listen"]),
    ],
)
def test_what_is_wrong_at_the_receiver_is_told_alone_where_its_proxy_only_follows(
    near: Reply, *, runs: bool, severity: Severity, words: list[str]
) -> None:
    found, sentence = judged(near, Reply(502), runs=runs)
    assert found is severity
    assert [word for word in words if word not in sentence] == []
    assert "502" not in sentence


def test_trouble_on_both_sides_is_told_with_both_mends_and_as_the_worse() -> None:
    severity, sentence = judged(REFUSED, Reply(trouble=Trouble.NAME), runs=False)
    assert severity is CRITICAL
    assert "no daemon runs; start it and check again; and the name in " in sentence


def test_a_voicekeeper_of_another_host_is_not_taken_for_this_one() -> None:
    severity, sentence = judged(REFUSED, OURS, runs=False)
    assert severity is WARNING
    assert "one on another host" in sentence
