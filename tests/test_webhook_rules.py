"""The webhook's rules: what an address is made of, what is a token, and whose answer that is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicekeeper.core import webhook

OURS = webhook.UNKNOWN_PATH.encode()


@pytest.mark.parametrize(
    "body", [OURS, OURS + b"\n", b"\r\n" + OURS + b" "], ids=["bare", "sent", "as a proxy has it"]
)
def test_the_receiver_is_known_by_its_words_whatever_blank_is_around_them(body: bytes) -> None:
    assert webhook.is_the_receivers(404, body)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, OURS),
        (403, OURS),
        (405, OURS),
        (404, b""),
        (404, b"Not Found"),
        (404, OURS.upper()),
        (404, OURS + b" here"),
        (404, b"<p>" + OURS + b"</p>"),
        (404, b"\xff\xfe"),
        (200, b"ok"),
    ],
)
def test_any_other_answer_is_somebody_elses(status: int, body: bytes) -> None:
    assert not webhook.is_the_receivers(status, body)


def test_a_trial_call_ends_in_no_token() -> None:
    assert not webhook.is_token(webhook.TRIAL)


@given(st.from_regex(r"[A-Za-z0-9_-]{43}", fullmatch=True))
def test_an_address_ends_in_its_token_which_the_registry_keeps_a_digest_of(token: str) -> None:
    assert webhook.is_token(token)
    assert webhook.address("https://example.com/hook", token) == f"https://example.com/hook/{token}"
    assert token not in webhook.digest(token)


def test_a_digest_is_the_same_in_every_release() -> None:
    assert webhook.digest("0" * 43) == (
        "b918b22a1581fedd39058065f00e6aad35bd561f20257151131a1ddcd21803de"
    )
