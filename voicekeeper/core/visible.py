"""Words from outside: read from a file, made visible, and laid out in lines.

Names, the gateway's words and all else that others wrote may hold characters that move a cursor,
set a terminal's title, forge a line, hide, or reverse the order of letters. Each line for a person
passes through here where it is printed or laid out.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

INDENT: Final = "    "

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


def json_text(value: object, *, indent: int | None = None) -> str:
    """Write a value as JSON, with an escape for each character that does not print."""
    import json  # noqa: PLC0415 - `resolve` waits for none

    text = json.dumps(value, ensure_ascii=False, indent=indent)
    if is_visible(text):
        return text
    # A line break that is left is one of the layout's: JSON escapes all others.
    return "".join(c if c == "\n" or is_visible(c) else json.dumps(c)[1:-1] for c in text)


def words(fields: Mapping[str, object]) -> list[str]:
    """Write each field of an event as ``key=value``, in quotes where its end would not be plain.

    The console form of the log and ``voicekeeper history`` share it.
    """
    return [f"{visible(key)}={_value(value)}" for key, value in fields.items()]


def _value(value: object) -> str:
    if not isinstance(value, str):
        return json_text(value)
    if value and not any(c in value for c in ' ="'):
        return visible(value)
    quoted = value.replace('"', '\\"')
    return f'"{visible(quoted)}"'


def filled(head: str, words: Iterable[str], *, width: int = 80) -> Iterator[str]:
    """Yield lines that hold as many of the words as fit, after the first the others indented.

    A word that is longer than a whole line is broken at its spaces, and stands in further from
    its second line on; one without any, such as an address, stays whole, to be copied.

    Args:
        head: the beginning of the first line.
        words: in order; one may hold spaces.
        width: columns of a line.
    """
    import textwrap  # noqa: PLC0415 - a pipe does without, and commands wait for it

    line = head
    for word in words:
        if len(line) + 1 + len(word) <= width:
            line += f" {word}"
            continue
        if line.strip():
            yield line
        broken = textwrap.wrap(
            word,
            width,
            initial_indent=INDENT,
            subsequent_indent=INDENT + "  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        *full, line = broken or [INDENT]
        yield from full
    yield line
