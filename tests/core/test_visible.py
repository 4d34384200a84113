"""Words from outside are made visible, and those that are stay as they are."""

import sys
import unicodedata

from voicekeeper.core.visible import is_visible, visible


def test_whatever_is_written_shows_and_hides_nothing() -> None:
    # from the last character to the first, so that no two surrogates make a pair
    every_character = "".join(map(chr, range(sys.maxunicode, -1, -1)))
    shown = set(visible(every_character))
    assert all(map(is_visible, shown))
    categories = {unicodedata.category(c) for c in shown}
    assert categories.isdisjoint({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
    assert shown <= set(every_character)


def test_words_that_show_are_left_as_they_are() -> None:
    for words in ("", "anna", "Zoë", "日本語の声", "पन्ना", "a \\n 'b' \"c\"", "❤️"):
        assert visible(words) == words


def test_what_does_not_show_is_spelled_out() -> None:
    assert visible("a\x1b[31m\n\t\x9b\u2028\u202e\ud800\u3164b") == (
        r"a\x1b[31m\n\t\x9b\u2028\u202e\ud800\u3164b"
    )
