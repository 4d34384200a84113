"""Words from outside are made visible, and laid out in lines."""

import json
import sys
import unicodedata

import pytest

from voicekeeper.core.visible import filled, is_visible, json_text, visible, words

HEAD = "2026-05-01T12:00:00Z  keepalive.failed "


def test_whatever_is_written_shows_and_hides_nothing() -> None:
    # from the last character to the first, so that no two surrogates make a pair
    every_character = "".join(map(chr, range(sys.maxunicode, -1, -1)))
    shown = set(visible(every_character))
    assert all(map(is_visible, shown))
    categories = {unicodedata.category(c) for c in shown}
    assert categories.isdisjoint({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
    assert shown <= set(every_character)


def test_words_that_show_are_left_as_they_are() -> None:
    for text in ("", "anna", "Zoë", "日本語の声", "पन्ना", "a \\n 'b' \"c\"", "❤️"):
        assert visible(text) == text


def test_what_does_not_show_is_spelled_out() -> None:
    assert visible("a\x1b[31m\n\t\x9b\u2028\u202e\ud800\u3164b") == (
        r"a\x1b[31m\n\t\x9b\u2028\u202e\ud800\u3164b"
    )


@pytest.mark.parametrize(
    ("value", "word"),
    [
        ("OK", "to=OK"),
        ("a few words", 'to="a few words"'),
        ('he said "no"', 'to="he said \\"no\\""'),
        ("https://example.com/a?b=c", 'to="https://example.com/a?b=c"'),
        ("", 'to=""'),
        ("two\nlines", "to=two\\nlines"),
        ("\x1b[2J", "to=\\x1b[2J"),
        ("日本語", "to=日本語"),
        (3, "to=3"),
        (None, "to=null"),
        ([1, "a"], 'to=[1, "a"]'),
        (["日本語"], 'to=["日本語"]'),
    ],
)
def test_a_field_is_one_word_whose_end_is_plain(value: object, word: str) -> None:
    assert words({"from": "NEW", "to": value}) == ["from=NEW", word]


@pytest.mark.parametrize(
    ("given", "lines"),
    [
        ([], [HEAD]),
        (["a=1", "b=2"], [f"{HEAD} a=1 b=2"]),
        (["a=1", "b=" + "x" * 60], [f"{HEAD} a=1", "    b=" + "x" * 60]),
        (["b=" + "x" * 37, "c=3"], [f"{HEAD} b=" + "x" * 37, "    c=3"]),
        (["b=" + "x" * 38, "c=3"], [f"{HEAD} b=" + "x" * 38, "    c=3"]),
        (["b=" + "x" * 39, "c=3"], [HEAD, "    b=" + "x" * 39 + " c=3"]),
        (["a=1", "b=" + "x" * 90, "c=3"], [f"{HEAD} a=1", "    b=" + "x" * 90, "    c=3"]),
        (
            ['a="' + "on-air " * 12 + '"'],
            [HEAD, '    a="' + "on-air " * 9 + "on-air", "      " + "on-air " * 2 + '"'],
        ),
        (
            ['a="' + "word " * 20 + '"', "b=2"],
            [HEAD, '    a="' + "word " * 13 + "word", "      " + "word " * 6 + '" b=2'],
        ),
    ],
)
def test_lines_hold_as_many_words_as_fit(given: list[str], lines: list[str]) -> None:
    assert list(filled(HEAD, given)) == lines


@pytest.mark.parametrize("width", [40, 60, 80])
def test_a_line_is_no_wider_than_asked_for(width: int) -> None:
    given = ["word", "", 'error="a b c d e f g h i j k l m n o p q r s t u v w x y z"', "x=1"] * 9
    assert max(len(line) for line in filled("", given, width=width)) <= width


@pytest.mark.parametrize("indent", [None, 2])
def test_json_shows_whatever_it_holds_and_means_the_same(indent: int | None) -> None:
    # from the last character to the first, so that no two surrogates make a pair
    every_character = "".join(map(chr, range(sys.maxunicode, -1, -1)))
    document = {"words": every_character, every_character[-40:]: ["日本語", 1]}
    text = json_text(document, indent=indent)
    assert all(map(is_visible, text.split("\n")))
    assert len(text.split("\n")) == (1 if indent is None else 7)
    assert json.loads(text) == document
    assert "日本語" in text
