"""Words from outside: read from a file, and made visible.

Names, the gateway's words and all else that others wrote may hold characters that move a cursor,
set a terminal's title, forge a line, hide, or reverse the order of letters. Each line for a person
passes through here where it is printed or laid out.
"""

import re
from typing import Final

_BLANK: Final = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0]")
"""Letters and marks that look like nothing; Python takes them for printable."""


_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")
"""How a text of Windows begins where it is no UTF-8."""


def decoded(data: bytes) -> str:
    """Return a file's text: UTF-8, or UTF-16 where it begins with the mark of that.

    Raises:
        UnicodeDecodeError: it is neither.
    """
    return data.decode("utf-16" if data.startswith(_UTF_16) else "utf-8-sig")


def is_unicode(text: str) -> bool:
    """Return whether a text holds no half of a character, which no file and no wire takes."""
    return not any("\ud800" <= c <= "\udfff" for c in text)


def is_visible(text: str) -> bool:
    """Return whether a text holds no character that hides, moves or reorders another."""
    return text.isprintable() and (text.isascii() or not _BLANK.search(text))


def visible(text: str) -> str:
    """Spell out what does not print, line breaks too."""
    if is_visible(text):
        return text
    return "".join(c if is_visible(c) else c.encode("unicode_escape").decode() for c in text)
