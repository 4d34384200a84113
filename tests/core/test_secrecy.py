"""Secrets are cut out of words in whatever way they are quoted, and words without them stay."""

import base64
import html
import json
import re
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicekeeper.core.secrecy import Secrets, parts_of, passwords_of_proxies
from voicekeeper.core.secret import SecretStr

KEY = "sk-7Hq2Zu9Xv/LanternKd4+Harbor77wq"


def each(form: str) -> Callable[[str], str]:
    return lambda text: "".join(form.format(ord(character)) for character in text)


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


SPELLINGS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "percent-encoded": lambda text: quote(text, safe=""),
    "percent-encoded in small letters": lambda text: re.sub(
        "%..", lambda code: code[0].lower(), quote(text, safe="")
    ),
    "percent-encoded twice": lambda text: quote(quote(text, safe=""), safe=""),
    "each character percent-encoded": each("%{:02X}"),
    "with JSON's escapes": lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    "with Python's escapes": lambda text: repr(text)[1:-1],
    "each character an escape of JSON": each("\\u{:04x}"),
    "that quoted again": lambda text: json.dumps(each("\\u{:04x}")(text)),
    "each character an escape of Python": each("\\x{:02x}"),
    "entities of HTML": lambda text: html.escape(text).replace("-", "&#45;").replace("/", "&#x2F;"),
    "each character an entity": each("&#{};"),
    "each character a long entity": each("&#{:09};"),
    "base64": b64,
    "base64 of a header": lambda text: b64(f"Bearer {text}"),
    "base64 among others": lambda text: b64(f"key={text}, and more"),
    "base64 for URLs": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "base64 percent-encoded": lambda text: quote(b64(text), safe=""),
    "base64 over two lines": lambda text: f"{b64(text)[:20]}\n{b64(text)[20:]}",
    "over two lines": lambda text: f"{text[:9]}\n    {text[9:]}",
    "with what nobody sees in it": lambda text: f"{text[:9]}\u200b{text[9:12]}\u3164{text[12:]}",
    "over two lines, escaped": lambda text: f"{text[:9]}\\n{text[9:]}",
}


def trails(secret: str) -> list[str]:
    """Return pieces that give a secret away wherever they stand."""
    return [secret[:12], secret[-12:], b64(secret)[4:-4], secret[5:17]]


@pytest.mark.parametrize("name", SPELLINGS)
@pytest.mark.parametrize("secret", [KEY, 'sk-7f/"Lantern4\\%Harbor9', "sk-'Lantern\\\\nHarbor%41"])
def test_a_secret_is_cut_out_however_it_is_quoted(name: str, secret: str) -> None:
    secrets = Secrets(["", "another-0123", secret])
    spelled = SPELLINGS[name](secret)
    for text in (spelled, f"Not taken: {spelled}.", f'{{"error": "{spelled}"}}'):
        cut = secrets.cut(text)
        assert secrets.are_in(text)
        assert "[redacted]" in cut
        assert not secrets.are_in(cut)
        assert not [trail for trail in trails(secret) if trail in cut]
        assert spelled not in cut


@pytest.mark.parametrize(
    "name", ["as it is", "percent-encoded", "with Python's escapes", "base64", "base64 for URLs"]
)
def test_the_words_around_a_common_spelling_stay(name: str) -> None:
    cut = Secrets([KEY]).cut(f"Not taken: {SPELLINGS[name](KEY)}. Try again.")
    assert cut.startswith("Not taken: [redacted]")
    assert cut.endswith(". Try again.")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "100 %",
        "%zz %4 &amp &#; &#x110000; &#999999999;",
        f"&#{'1' * 5_000}; &#{'0' * 5_000}",
        "\\u12 \\x \\",
        "\ud800",
        "a" * 99,
    ],
)
def test_what_holds_no_secret_stays_as_it_is(text: str) -> None:
    assert Secrets([KEY]).cut(text) == text
    assert Secrets([]).cut(text) == text
    assert Secrets([""]).cut(text) == text


def test_a_short_secret_is_cut_out_only_as_it_is() -> None:
    assert Secrets(["pass"]).cut("pass, pa ss, cGFzcw==") == "[redacted], pa ss, cGFzcw=="


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "piece",
    ["\\", "%25", "&", "&amp;", "&#38;", "\\u005c", "%26%23%33%38%3b", "&#x0", "\u200b", '"'],
)
@pytest.mark.parametrize("secret", [KEY, f'"{KEY}', f"\\'{KEY}"])
def test_a_long_text_that_was_made_for_it_holds_nothing_up(piece: str, secret: str) -> None:
    # what grows with the square of this takes a minute
    assert secret not in Secrets([secret]).cut(piece * (65_536 // len(piece)) + secret)


@given(st.text(min_size=6), st.text(), st.text(), st.sampled_from(list(SPELLINGS)))
def test_any_secret_in_any_text_is_cut_out(secret: str, before: str, after: str, name: str) -> None:
    secrets = Secrets([secret])
    try:
        text = f"{before} {SPELLINGS[name](secret)} {after}"
    except UnicodeEncodeError:
        return
    assert secret not in secrets.cut(text) or secret in "[redacted]"


@pytest.mark.parametrize(
    ("address", "hidden", "shown"),
    [
        ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#general",
         ["T1JJ3T3L2", "TIiajkdnlazkcOXrIdevi7FQ"], []),
        ("mailto://me:pass%20word1@example.com", ["pass%20word1", "pass word1"], ["example.com"]),
        ("https://hc-ping.com/00-11-22?x=abcdefgh", ["00-11-22", "abcdefgh"], ["hc-ping.com"]),
        ("mailto://voicekeeper:pw@example.com", [], ["voicekeeper"]),
        ("json://127.0.0.1:8080/abc", [], ["127.0.0.1", "8080", "abc"]),
    ],
)  # fmt: skip
def test_the_parts_of_an_address_that_may_be_secrets(
    address: str, hidden: list[str], shown: list[str]
) -> None:
    parts = {part.get_secret_value() for part in parts_of(SecretStr(address))}
    assert {address, *hidden} <= parts
    assert parts.isdisjoint(shown)


def test_the_passwords_of_the_environments_proxies_are_known_however_they_are_written() -> None:
    environ = {
        "https_proxy": "http://me:p%40ss@proxy:1",
        "ALL_PROXY": "me:second@proxy",
        "HTTP_PROXY": "http://me:third@[::bad",
        "http_proxy": "http://me@proxy",
        "no_proxy": "a:b@c",
    }
    found = {secret.get_secret_value() for secret in passwords_of_proxies(environ)}
    assert found == {"p%40ss", "p@ss", "second", "third"}
    assert not passwords_of_proxies(environ, shortest=7)
