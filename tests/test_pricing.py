"""What calls cost: the prices of the page (section *Billing*)."""

import pytest

from voicekeeper.pricing import billed_characters, cost_micros, usd
from voicekeeper.request import Clone, Design, Request, Speech


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
    ],
)
def test_an_amount_shows_as_many_places_as_it_needs(micros: int, written: str) -> None:
    assert usd(micros) == written
