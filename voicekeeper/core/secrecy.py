"""Cutting secrets out of words from outside, wherever these are stored, logged or shown.

A secret may come back quoted, once or several times: percent-encoded, with escapes of JSON or
Python, with entities of HTML, in base64, or broken over two lines. A common spelling is cut out of
its text. Where the secret still shows once all quoting is undone, nothing of the text is kept.
"""

import json
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Iterator, Mapping
from html import unescape
from typing import Final
from urllib.parse import quote, unquote

from voicekeeper.core.secret import SecretStr
from voicekeeper.core.visible import is_visible

REDACTED: Final = "[redacted]"

_SHORTEST: Final = 6
"""Characters. What is shorter is cut out only as it is: else it would be found by chance."""

_SHORTEST_PART: Final = 8
"""Characters. A shorter part of an address is no token, and to cut it out would cut words."""

_BETWEEN: Final = re.compile(r"[/@:?&=;,#]+")
_USER: Final = re.compile(r"([^/?#:]*:([^/?#]+))@")
_PASSWORD_OF: Final = re.compile(
    r"[?&][^=&]*(?:pass|pw|secret|token|key)[^=&]*=([^&#]+)", re.IGNORECASE
)
_OWN_NAME: Final = "voicekeeper"
_HOST: Final = re.compile(r"(localhost|[a-z0-9-]+(\.[a-z0-9-]+)+)", re.IGNORECASE)
_PROXIES: Final = tuple(
    name for kind in ("http", "https", "all") for name in (f"{kind}_proxy", f"{kind}_proxy".upper())
)

_DEEPEST: Final = 8
_NUMBERED: Final = re.compile(r"&#0*([0-9]{1,7})[0-9]*")
"""An entity of HTML; no character has more digits, and Python reads no number of thousands."""

_ESCAPE: Final = re.compile(r"(?<!\\)\\++(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|[nrtvf])")


class Secrets:
    """Knows secrets, and puts a mark in the place of each; an empty text is none."""

    def __init__(self, texts: Iterable[str], *, mark: str = REDACTED) -> None:
        known = {text for text in texts if text}
        spellings = {spelling for text in known for spelling in _spellings(text)}
        # longest first: an escaped spelling may hold a part of the bare one
        self._spellings = sorted(spellings, key=len, reverse=True)
        bare = {bare for text in known for bare in (_unquoted(text), *_encoded(text))}
        self._bare = {each for each in bare if len(each) >= _SHORTEST}
        # a spelling that is long enough once it is bare is found by that
        self._plain = known | {s for s in spellings if len(_unquoted(s)) < _SHORTEST}
        self._shortest = min(map(len, self._plain | self._bare), default=0)
        self._mark = mark

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._mark})"

    def are_in(self, text: str) -> bool:
        """Return whether a text holds any of them, however it is spelled."""
        if not self._plain or len(text) < self._shortest:
            return False
        if any(each in text for each in self._plain):
            return True
        bare = _unquoted(text)
        return any(each in bare for each in self._bare)

    def cut(self, text: str) -> str:
        """Return the text without any of them."""
        if not self.are_in(text):
            return text
        for spelling in self._spellings:
            text = text.replace(spelling, self._mark)
        return self._mark if self.are_in(text.replace(self._mark, "\0")) else text


def unescaped(text: str) -> str:
    """Return a text with its entities of HTML undone."""
    return unescape(_NUMBERED.sub(r"&#\1", text))


def parts_of(address: SecretStr) -> list[SecretStr]:
    """Return an address, and what in it may be a secret, as written and as meant.

    The name of a host is none; but many services put a token where a host would stand.
    """
    whole = address.get_secret_value()
    _, _, rest = whole.partition("://")
    found = {whole, rest}
    for part in _BETWEEN.split(rest):
        if len(part) >= _SHORTEST_PART and part != _OWN_NAME and not _HOST.fullmatch(part):
            found |= {part, unquote(part)}
    return [SecretStr(text) for text in sorted(found, key=len, reverse=True) if text]


def passwords_of(address: SecretStr) -> list[SecretStr]:
    """Return what of an address is a password for certain, of any length, as written and as meant.

    With them comes what base64 makes of each: of a password, of ``user:password`` as a header of
    HTTP holds it, and of both as SMTP does.
    """
    _, _, rest = address.get_secret_value().partition("://")
    found = set(_PASSWORD_OF.findall(rest))
    if user := _USER.match(rest):
        found |= {user[1], user[2]}
    found |= {unquote(each) for each in found}
    found |= {f"\0{each.replace(':', chr(0), 1)}" for each in found if ":" in each}
    found |= {b64encode(each.encode()).decode().rstrip("=") for each in found}
    return [SecretStr(each) for each in sorted(found)]


def passwords_of_proxies(environ: Mapping[str, str], *, shortest: int = 1) -> list[SecretStr]:
    """Return the passwords of the environment's proxies, of so many characters, in both forms."""
    values = (environ.get(name, "") for name in _PROXIES)
    written = [v.rpartition("@")[0].rpartition("//")[2].partition(":")[2] for v in values]
    found = {*written, *map(unquote, written)}
    return [SecretStr(each) for each in sorted(found) if len(each) >= shortest]


def _spellings(text: str) -> Iterator[str]:
    """Yield how a secret is commonly written."""
    yield from (text, json.dumps(text)[1:-1], repr(text)[1:-1], quote(text, safe=""))
    yield from (each for each in _encoded(text) if len(each) >= _SHORTEST)


def _encoded(text: str) -> Iterator[str]:
    """Yield what base64 makes of a secret, at each of the three places of a group it begins at."""
    secret = text.encode(errors="surrogatepass")
    for before in range(3):
        first, end = -(-before * 8 // 6), (before + len(secret)) * 8 // 6
        for code in (b64encode, urlsafe_b64encode):
            yield code(b"\0" * before + secret)[first:end].decode()


def _unquoted(text: str) -> str:
    """Undo all quoting of a text; take white space, backslashes and what is invisible away."""
    for _ in range(_DEEPEST):
        before = text
        if "\\" in text:
            text = _ESCAPE.sub(_character, text)
        text = unescaped(unquote(text))
        if text == before:
            break
    text = "".join(text.replace("\\", "").split())
    return text if is_visible(text) else "".join(filter(is_visible, text))


def _character(escape: re.Match[str]) -> str:
    code = escape[1] or escape[2]
    return chr(int(code, 16)) if code else " "
