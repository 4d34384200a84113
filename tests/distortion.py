"""Distorting JSON, bytes and HTTP as a broken gateway, proxy or editor would: for fuzzing.

Everything is drawn by Hypothesis, so that what breaks a rule shrinks to its core. Distortions
know the structure of what they distort: they rename keys, change types, nest, double and drop,
and put the words that matter where they do not belong.
"""

import json
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st


class Raw(str):
    """Text that stands in a JSON document as it is, without quotes."""

    __slots__ = ()


class Members(list[tuple[str, Any]]):
    """The members of a JSON object, in which a key may come twice."""

    __slots__ = ()


WORDS = (
    *("pending", "processing", "success", "failed", "Failed", "failed ", "archived"),
    *("VALIDATION_ERROR", "validation_error", "VALIDATION_ERROR\u200b", "[VALIDATION_ERROR]"),
    *("UNDEPLOYED", "undeployed", "NOT UNDEPLOYED", "\uff35NDEPLOYED", "OK", "DEPLOYING", "UN"),
    *("TASK_TIMEOUT", "UpstreamError", "INSUFFICIENT_CREDITS", "400", "200", "clone", "imported"),
    *("2026-04-30T12:00:00Z", "0001-01-01T00:00:00+14:00", "2027-01-01\x1b12:00:00Z", "2026-W18"),
    *("0s", "-1d", "1d1d", "36500d", "1e3d", "0.0000001s", "1h 30m", "9" * 400 + "d"),
    *("sqlite:///x.db", "sqlite:////", "postgresql://a:b@c/d", "http://127.0.0.1", "https://a:b@c"),
)
"""What the gateway and our own files say, and what nearly says it."""

_TEXTS = (
    *("", " ", "\0", "a\0b", "\ud800", "\x1b[31m", "\u202e", "\ufeff", "1e400", "NaN"),
    *("A" * 5_000, "好" * 70_000, "0" * 5_000, "-1", "{", "null", '{"resultUrls":[', "%s{0}"),
    *("9999-12-31T23:59:59-23:59", "https://[::1", "../../x", "'; --"),
)
_NAMES = ("", "\ud800", "\x1b[31m", "a\nb", "A" * 5_000, "api_key")
_PLACES = ("state", "failCode", "voice_status", "voice_id", "code", "data", "taskId")
_NUMBERS = (
    *(Raw("NaN"), Raw("Infinity"), Raw("1e400"), Raw("-1e400"), Raw("-0.0"), Raw("4e2")),
    *(Raw("1" + "0" * 400), Raw("9" * 5_000), 0, 1, -1, 0.5, 200, 201, 400, 401, 402, 404, 429),
    *(500, 999, 2**31, 2**63, 946_684_800_000, -1_767_965_610_929, 253_402_300_799_999, 10**18),
)
_NESTED = (
    *(Raw("[" * 600 + "]" * 600), Raw('{"a":' * 600 + "1" + "}" * 600), Raw("[" * 100_000)),
    *(Raw("[" * 20_000 + "]" * 20_000), Raw(""), Raw("undefined"), Raw("'x'"), Raw("nan")),
    *(Raw("1979-05-27T07:32:00Z"), Raw("0xdead_beef"), Raw("1_000"), Raw("{a.b = 1}")),
)

ODD: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from([None, True, False, (), Members()]),
    st.sampled_from(WORDS),
    st.sampled_from(_NUMBERS),
    st.sampled_from(_TEXTS),
    st.sampled_from(_NESTED),
    st.text(max_size=5),
)
"""Values that stand nowhere in a sound document."""

_NEARLY: tuple[Callable[[str], Any], ...] = (
    str.lower,
    str.upper,
    lambda text: text + " ",
    lambda text: text[:-1],
    lambda text: text + "\0",
    lambda text: text + "\ud83d",
    lambda text: text.replace("e", "\u0435"),
    lambda text: [text],
    lambda text: Members([(text, text)]),
    json.dumps,
)
_ALMOST: tuple[Callable[[Any], Any], ...] = (
    str,
    float,
    lambda number: -number,
    lambda number: number + 1,
    lambda number: number * 1_000,
    lambda number: Raw(f"{number}0" + "0" * 300),
    lambda number: Raw(f"{number}.5"),
)


def opened(value: object) -> Any:  # noqa: ANN401 - any JSON
    """Return a JSON value whose objects can be distorted."""
    match value:
        case dict():
            return Members((key, opened(member)) for key, member in value.items())
        case list():
            return [opened(item) for item in value]
        case _:
            return value


def written(value: object) -> str:
    """Return the text of a JSON value, broken as it may be."""
    match value:
        case Raw():
            return str(value)
        case Members():
            members = (f"{json.dumps(key)}: {written(member)}" for key, member in value)
            return "{" + ", ".join(members) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(written, value)) + "]"
        case _:
            return json.dumps(value)


@st.composite
def distorted(draw: st.DrawFn, value: Any) -> Any:  # noqa: ANN401 - any JSON
    """Return an opened JSON value with one thing wrong in it, at any depth."""
    members = isinstance(value, Members)
    if (members or isinstance(value, list)) and value and draw(st.integers(0, 9)):
        place = draw(st.integers(0, len(value) - 1))
        below = value[place][1] if members else value[place]
        # A leaf is distorted in its place, or its place itself is.
        if draw(st.booleans()):
            changed = draw(distorted(below))
            kept = (value[place][0], changed) if members else changed
            return type(value)([*value[:place], kept, *value[place + 1 :]])
        if members:
            return draw(_with_a_wrong_member(value, place))
        return draw(st.sampled_from([value[:place], [*value, below], value * 3]))
    return draw(_wrong(value))


@st.composite
def _with_a_wrong_member(draw: st.DrawFn, members: Members, place: int) -> Any:  # noqa: ANN401
    key, value = members[place]
    near = st.sampled_from([*_NAMES, key.upper(), key.lower(), key + " ", key[:-1]])
    instead = draw(
        st.one_of(
            st.just([]),
            st.just([(key, Members([(key, value)]))]),
            near.map(lambda name: [(name, value)]),
            st.sampled_from(members).map(lambda other: [(key, other[1])]),
            st.sampled_from(members).map(lambda other: [(other[0], value)]),
            ODD.map(lambda odd: [(key, odd), (key, value)]),
            ODD.map(lambda odd: [(key, value), (key, odd)]),
            st.tuples(st.sampled_from(_PLACES), ODD).map(lambda added: [(key, value), added]),
        )
    )
    # At times a member takes the place of the whole, as when an envelope is left out.
    lifted = draw(st.integers(0, 9)) == 0
    return value if lifted else Members([*members[:place], *instead, *members[place + 1 :]])


@st.composite
def _wrong(draw: st.DrawFn, value: Any) -> Any:  # noqa: ANN401
    if draw(st.booleans()):
        return draw(ODD)
    match value:
        case bool() | None:
            return draw(ODD)
        case str() if not isinstance(value, Raw):
            return draw(st.sampled_from(_NEARLY))(value)
        case int() | float():
            return draw(st.sampled_from(_ALMOST))(value)
        case _:
            return [value]


@st.composite
def mangled(draw: st.DrawFn, content: bytes) -> bytes:
    """Return bytes with something wrong in one place: cut, lost, flipped, put in, repeated."""
    at = draw(st.integers(0, len(content)))
    head, tail = content[:at], content[at:]
    some = st.integers(1, 40)
    wrong: st.SearchStrategy[bytes] = st.one_of(
        st.just(head),
        st.just(tail),
        st.integers(0, 7).map(lambda bit: head + bytes(b ^ 1 << bit for b in tail[:1]) + tail[1:]),
        st.binary(min_size=1, max_size=8).map(lambda put_in: head + put_in + tail),
        some.map(lambda length: head + tail[length:]),
        some.map(lambda length: head + tail[:length] * 2 + tail),
        some.map(lambda length: head + tail[:length] * 50 + tail),
        st.sampled_from(_FRAMES).map(lambda frame: frame[0] + content + frame[1]),
    )
    return draw(wrong)


_FRAMES = (
    *((b"\xef\xbb\xbf", b""), (b"\xff\xfe", b""), (b"\xfe\xff\x00", b""), (b")]}',\n", b"")),
    *((b"callback(", b");"), (b"\0" * 4, b"\0" * 4), (b" " * 100, b"\r\n" * 100), (b"", b"}")),
    *((b"", b"\x1a"), (b"[", b"]"), (b"<html>", b"</html>")),
)

_CHARSETS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32", "utf-7", "cp037")


def charsets(text: str) -> st.SearchStrategy[bytes]:
    """Return an ASCII text as bytes: mostly as it should be, sometimes in another charset."""
    usual = st.just("utf-8")
    return st.one_of(usual, usual, usual, st.sampled_from(_CHARSETS)).map(text.encode)


_DATES = (
    *(b"Fri, 01 May 2026 12:00:00 GMT", b"Fri, 01 May 2026 12:00:00 +2359", b"yesterday", b""),
    *(b"Fri, 31 Dec 9999 23:59:59 GMT", b"Mon, 01 Jan 0001 00:00:00 +2359", b"Fri May  1 2026"),
    *(b"Fri, 99 Foo 2026 99:99:99 XYZ", b"1 Jan 99999999999 1:1", b",,,,", b"\xff\xfe"),
)
_WAITS = (
    *(b"0", b"120", b"-1", b"1.5", b"1e400", b"nan", b"inf", b"9" * 5_000, b"0x10", b"\xb2"),
    *(b"+7", b"30\t", b"\xd9\xa3", b"P1D", b"120; q=1", b"5, 10"),
)
_OTHERS = (
    *(b"Location: http://x:port/", b"Location: \xff", b"Link: <", b"Upgrade: h2c"),
    b"Set-Cookie: a=b; Expires=Fri, 99 Foo 0000 99:99:99 GMT; Max-Age=9e99; Domain=.; Port=x",
    *(b"X: " + b"\x80" * 3_000, b"Content-Type: application/json; charset=\xff"),
    *(b"Content-Encoding: gzip", b"Content-Encoding: deflate, gzip", b"Content-Encoding: zstd"),
    *(b"Connection: close", b"Connection: upgrade", b"Content-Length: 3", b"Content-Length: 99999"),
    *(b"Content-Length: -1", b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"),
)
_NAMED = (b"Date: ", b"Retry-After: ", b"Content-Encoding: ", b"Set-Cookie: ")

HEADERS: st.SearchStrategy[bytes] = st.one_of(
    st.sampled_from(_DATES).map(lambda value: b"Date: " + value),
    st.sampled_from(_DATES + _WAITS).map(lambda value: b"Retry-After: " + value),
    st.sampled_from(_OTHERS),
    st.builds(
        lambda name, value: name + value.translate(None, b"\r\n\0"),
        st.sampled_from(_NAMED),
        st.binary(max_size=12),
    ),
)
"""Lines of an HTTP head that are wrong, or that nobody asked for."""
