"""An event's fields as a person reads them: words such as ``to=OK``, laid out in lines.

The console form of the log and ``voicekeeper history`` share it, so that an event looks the
same in both.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from voicekeeper.core.visible import is_visible, visible

WIDTH: Final = 80
INDENT: Final = "    "


def words(fields: Mapping[str, object]) -> list[str]:
    """Write each field as ``key=value``, the value in quotes where its end would not be plain.

    Args:
        fields: values that JSON has.
    """
    return [f"{visible(key)}={_value(value)}" for key, value in fields.items()]


def filled(head: str, words: Iterable[str], *, width: int = WIDTH) -> Iterator[str]:
    """Yield lines that hold as many of the words as fit, after the first the others indented.

    A word that is longer than a whole line is broken at its spaces, and stands in further from
    its second line on; one without any, such as an address, stays whole, to be copied.

    Args:
        head: what the first line begins with.
        words: in order; one may hold spaces.
        width: columns of a line.
    """
    line = head
    for word in words:
        if len(line) + 1 + len(word) <= width:
            line += f" {word}"
            continue
        if line.strip():
            yield line
        *full, line = _broken(word, width) or [INDENT]
        yield from full
    yield line


def json_text(value: object, *, indent: int | None = None) -> str:
    """Write a value as JSON, with an escape for each character that does not print."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    if is_visible(text):
        return text
    # A line break that is left is one of the layout's: JSON escapes all others.
    return "".join(c if c == "\n" or is_visible(c) else json.dumps(c)[1:-1] for c in text)


def _broken(word: str, width: int) -> list[str]:
    import textwrap  # noqa: PLC0415 - a pipe does without, and commands wait for it

    return textwrap.wrap(
        word,
        width,
        initial_indent=INDENT,
        subsequent_indent=INDENT + "  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _value(value: object) -> str:
    if not isinstance(value, str):
        return visible(json.dumps(value, ensure_ascii=False))
    if value and not any(c in value for c in ' ="'):
        return visible(value)
    quoted = value.replace('"', '\\"')
    return f'"{visible(quoted)}"'
