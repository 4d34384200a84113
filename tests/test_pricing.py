"""What calls cost: the prices of the page (section *Billing*)."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicekeeper.core.models import Kind
from voicekeeper.core.pricing import (
    Spent,
    about_usd,
    billed_characters,
    cost_micros,
    dollars,
    price,
    usd,
)
from voicekeeper.core.requests import Clone, Design, Request, Speech


@pytest.mark.parametrize(
    ("text", "characters"),
    [
        ("Hello.", 6),
        ("你好", 4),
        ("你好, Anna", 10),
        ("ひらがな", 4),
        ("한국", 2),
        ("\t\x00", 2),
        ("", 0),
    ],
)
def test_a_han_character_counts_as_two(text: str, characters: int) -> None:
    assert billed_characters(text) == characters


@pytest.mark.parametrize(
    ("request_", "micros"),
    [
        (Speech("v", "Hello."), 60),
        (Speech("v", "x" * 10_000), 100_000),
        (Clone("a", "https://example.com/a.wav"), 2_000),
        (Design("a", "x" * 500, "y" * 200), 30_000),
    ],
)
def test_a_call_costs_what_the_page_says(request_: Request, micros: int) -> None:
    assert cost_micros(request_) == micros


@pytest.mark.parametrize(
    ("micros", "written"),
    [
        (0, "$0.00"),
        (10, "$0.00001"),
        (2_100, "$0.0021"),
        (30_000, "$0.03"),
        (100_000, "$0.10"),
        (1_000_000, "$1.00"),
        (10_000_000, "$10.00"),
        (1_234_567, "$1.234567"),
        (100_000_000_000, "$100000.00"),
        (123_456_789_012_345_678, "$123456789012.345678"),
        (-250_000, "-$0.25"),
    ],
)
def test_an_amount_shows_as_many_places_as_it_needs(micros: int, written: str) -> None:
    assert usd(micros) == written


@pytest.mark.parametrize(
    ("micros", "written"),
    [
        (0, "$0.00"),
        (1, "$0.000001"),
        (99, "$0.000099"),
        (104, "$0.0001"),
        (7_964, "$0.008"),
        (8_460, "$0.0085"),
        (99_900, "$0.10"),
        (123_456, "$0.12"),
        (1_235_000, "$1.24"),
        (12_345_678, "$12.35"),
    ],
)
def test_an_estimate_is_rounded_to_two_digits_or_the_cent_and_never_to_nothing(
    micros: int, written: str
) -> None:
    assert about_usd(micros) == written


@given(st.integers(-(10**15), 10**15))
def test_an_amount_survives_json(micros: int) -> None:
    assert round(json.loads(json.dumps(dollars(micros))) * 1_000_000) == micros


@pytest.mark.parametrize(
    ("kind", "micros"),
    [
        (Kind.KEEPALIVE, 60),
        (Kind.CONTROL, 60),
        (Kind.CLONE, 2_000),
        (Kind.DESIGN, 30_000),
    ],
)
def test_a_task_has_its_price_before_it_is_sent(kind: Kind, micros: int) -> None:
    assert price(kind, "Hello.") == micros


def test_speech_that_says_nothing_costs_nothing() -> None:
    assert price(Kind.KEEPALIVE) == 0


def test_what_may_have_been_charged_is_told_apart() -> None:
    assert str(Spent(60, 0)) == "$0.00006"
    assert str(Spent(60, 30_000)) == "$0.00006, and possibly $0.03 more"
    assert Spent(60, 30_000).at_most == 30_060
