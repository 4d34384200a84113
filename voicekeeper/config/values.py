"""The rules of single values: each turns the written value of a setting into the one in use.

Every rule raises ValueError with the rest of a sentence whose subject is the setting's path,
as in ``must be a whole number from 1 to 1024, not 0``. No library's checks are used: their words
are for programmers. Addresses are never repeated in a sentence, since a password
or a key may have been pasted into them.
"""

# ruff: noqa: TRY004 - a ValueError is a problem of the settings, a TypeError would be a bug

import os
import re
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import SplitResult, urlsplit

from voicekeeper.core import duration, hosts
from voicekeeper.core.secret import SecretStr
from voicekeeper.core.visible import is_unicode
from voicekeeper.errors import InvalidInput, quoted

Number = TypeVar("Number", int, float, Decimal)

SQLITE = "sqlite:///"
POSTGRES = "postgresql+psycopg://"
FOREVER = "forever"

_FASTEST = 10_000
_WIDEST = 1024
_RICHEST = 1_000_000
_KINDS = {bool: "a yes or no", int: "a number", float: "a number", list: "a list", dict: "a table"}
_URL = re.compile(r"[!#-;=?-\[\]_a-z~]+")
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://[!-~]+", re.IGNORECASE)
_HOST_NAME = re.compile(r"(?=.{1,253}?\.*$)([a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.*", re.IGNORECASE)
_IPV6 = 6
_PORT = re.compile(r"[1-9][0-9]{0,4}", re.ASCII)


def text(value: object) -> str:
    """Read a text that can be written to any file or sent over any wire."""
    if not isinstance(value, str):
        raise ValueError(f"must be a text in quotes, not {_KINDS.get(type(value), 'a date')}")
    if "\0" in value or not is_unicode(value):
        raise ValueError("must be plain UTF-8 text")
    return value


def one_of(*words: str) -> Callable[[object], str]:
    """Make the rule of a setting that is one of a few words."""

    def read(value: object) -> str:
        word = text(value)
        if word not in words:
            listed = f"{', '.join(words[:-1])} or {words[-1]}"
            raise ValueError(f"must be {listed}, not {quoted(word)}")
        return word

    return read


def span(*, most: timedelta | None = None, zero: bool = False) -> Callable[[object], timedelta]:
    """Make the rule of a duration, ``most`` long at most; with ``zero``, ``0s`` is allowed."""

    def read(value: object) -> timedelta:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            raise ValueError(
                f'must be a duration in quotes with its unit, such as "30s", not {quoted(value)}'
            )
        length = duration.parse(text(value))
        if not length and not zero:
            raise ValueError("must be longer than 0s")
        if most is not None and length > most:
            written = duration.compact(length)
            raise ValueError(f"must be at most {duration.compact(most)}, not {written}")
        return length

    return read


def span_or_forever(value: object) -> timedelta | None:
    """Read a duration, or ``forever``, which is None."""
    if value == FOREVER:
        return None
    length = span(zero=True)(value)
    if not length:  # which may have been meant either way
        raise ValueError(f'must be longer than 0s, or "{FOREVER}"')
    return length


def rate(value: object) -> float:
    """Read a number of requests a second."""
    rule = f"must be a number above 0 and up to {_FASTEST}"
    number = _number(float, value, rule)
    if not 0 < number <= _FASTEST:
        raise ValueError(f"{rule}, not {number:g}")
    return number


def in_flight(value: object) -> int:
    """Read a number of calls that may be under way at once."""
    rule = f"must be a whole number from 1 to {_WIDEST}"
    if isinstance(value, float):
        raise ValueError(rule)
    number = _number(int, value, rule)
    if not 1 <= number <= _WIDEST:
        raise ValueError(f"{rule}, not {quoted(number)}")
    return number


def dollars(value: object) -> Decimal:
    """Read an amount of US dollars, to the millionth."""
    rule = f"must be US dollars from 0 to {_RICHEST:,}, to six places, such as 0.50"
    # the text of a float has the digits that were written
    amount = _number(lambda given: Decimal(str(given)), value, rule)
    is_within = amount.is_finite() and 0 <= amount <= _RICHEST
    if not is_within or amount != round(amount, 6):
        raise ValueError(f"{rule}, not {quoted(str(value))}")
    return amount


def _number(read: Callable[[Any], Number], value: object, rule: str) -> Number:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(rule)
    try:
        return read(value)
    except (ValueError, ArithmeticError):  # ValueError: an integer of thousands of digits too
        raise ValueError(rule) from None


def base_url(value: object) -> str:
    """Read the gateway's address; the key travels there, so in the clear only to this host."""
    url = text(value)
    parts = _apart(url, "http", "https")
    if parts is None or not _URL.fullmatch(url):
        raise ValueError("must be an https URL such as https://api.apixo.ai/api/v1")
    if "@" in parts.netloc or "?" in url or "#" in url:
        raise ValueError("must hold no user, password, query or fragment")
    if parts.scheme == "http" and not _is_loopback(parts.hostname or ""):
        raise ValueError("must be https, since the API key is sent there; http only to loopback")
    return url.rstrip("/")


def public_url(value: object) -> str:
    """Read under which address the gateway reaches the webhook (page, *Parameters*)."""
    url = text(value)
    parts = _apart(url, "https")
    if parts is None or not _is_public(parts.hostname or "") or not _URL.fullmatch(url):
        raise ValueError(
            "must be a public https URL such as https://voices.example.com/webhook, since the"
            " gateway calls it from outside"
        )
    if "@" in parts.netloc or any(mark in url.lower() for mark in ("?", "#", "%7b")):
        raise ValueError("must hold no user, password, query, fragment or brace")
    return url.rstrip("/")


def web_address(value: object) -> SecretStr:
    """Read an http or https URL that may hold a secret."""
    address = text(value).strip()
    if _apart(address, "http", "https") is None or not _ADDRESS.fullmatch(address):
        raise ValueError("must be an http or https URL; leave it out if there is none")
    return SecretStr(address)


def addresses(value: object) -> tuple[SecretStr, ...]:
    """Read where messages go: a list, or in one text with white space between them."""
    read = _listed(value, _ADDRESS, 'addresses such as "mailto://user:password@example.com"')
    return tuple(map(SecretStr, read))


def host_names(value: object) -> tuple[str, ...]:
    """Read names of hosts: a list, or in one text with white space between them."""
    read = _listed(value, _HOST_NAME, 'names without a port such as "voices.example.com"')
    return tuple(each.lower().rstrip(".") for each in read)


def _listed(value: object, form: re.Pattern[str], kind: str) -> list[str]:
    given = value if isinstance(value, (list, tuple)) else text(value).split()
    read = [text(each).strip() for each in given]
    for number, each in enumerate(read, 1):
        if not form.fullmatch(each):
            raise ValueError(f"must be a list of {kind}; number {number} is none")
    return read


class Address(NamedTuple):
    """Where to listen: an IP address of this machine, and a port from 1 on."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def address(value: object) -> Address:
    """Read an address of this machine with a port."""
    rule = "must be an IP address and a port such as 127.0.0.1:9464 or [::1]:9464"
    host, _, port = text(value).rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        ip = ip_address(host[1:-1] if bracketed else host)
    except ValueError:
        raise ValueError(rule) from None
    is_port = _PORT.fullmatch(port) and int(port) in hosts.PORTS
    if bracketed != (ip.version == _IPV6) or not is_port:
        raise ValueError(rule)
    return Address(str(ip), int(port))


def model(value: object) -> str:
    """Read a model ID, which becomes a part of a path."""
    from voicekeeper.core import requests  # noqa: PLC0415 - most commands do without

    try:
        return requests.model(text(value))
    except InvalidInput:
        raise ValueError("must be a model ID such as cosyvoice-3-flash") from None


def prompt(value: object) -> str:
    """Read the text of a keepalive, by the page's rule for a speech prompt."""
    from voicekeeper.core.requests import Speech  # noqa: PLC0415 - most commands do without

    words = text(value)
    try:
        Speech(voice="any", prompt=words)
    except InvalidInput as error:
        raise ValueError(str(error).removeprefix("prompt ")) from None
    return words


def file_path(value: object) -> Path:
    """Read the path of a file."""
    written = text(value)
    if not written.strip():
        raise ValueError("must be the path of a file; leave it out if there is none")
    return at_home(written)


def at_home(path: str | Path) -> Path:
    """Return a path with the home directory in place of a leading ``~/``, as a shell reads it."""
    written = str(path)
    if written.startswith("~/"):
        written = os.path.expanduser(written)  # noqa: PTH111 - pathlib's raises without a home
    return Path(written)


def database_url(value: object) -> SecretStr:
    """Read where the registry lives; the address may hold a password."""
    url = text(value)
    kind = re.split(r"[:+]", url, maxsplit=1)[0].lower()
    if kind in ("postgresql", "postgres"):
        return SecretStr(_server_url(url))
    if kind != "sqlite":
        raise ValueError(f"must be {SQLITE}PATH or {POSTGRES}USER@HOST/DATABASE")
    path = url.removeprefix(SQLITE)
    if path == url and url != "sqlite://":
        raise ValueError(f"must be {SQLITE}PATH, with a fourth slash where PATH is absolute")
    if path in ("", "sqlite://", ":memory:") or path.startswith("file:"):
        raise ValueError(f"must be {SQLITE}PATH; a registry in memory would be lost with a restart")
    if "?" in path:
        raise ValueError(f"must be {SQLITE}PATH without options after a question mark")
    if path.endswith("/"):
        raise ValueError("must name a file, not a directory")
    return SecretStr(f"{SQLITE}{at_home(path)}" if path.startswith("~/") else url)


def _server_url(url: str) -> str:
    """Read the address of a database on a server."""
    form = f"{POSTGRES}USER@HOST/DATABASE"
    if not url.startswith(POSTGRES):
        raise ValueError(f"must be {form}: psycopg is the only driver for PostgreSQL here")
    try:
        parts = urlsplit(url)
        complete = len(parts.path) > 1 and "/" not in parts.path[1:] and parts.port != 0
    except ValueError:
        complete = False
    if not complete or not _URL.fullmatch(url) or "#" in url:
        raise ValueError(f"must be {form}, special characters of it percent-encoded")
    from voicekeeper.core import extras  # noqa: PLC0415 - no command should wait for what few need

    if lacking := extras.missing(extras.POSTGRES):
        raise ValueError(lacking)
    return url


def _apart(url: str, *schemes: str) -> SplitResult | None:
    """Return the parts of a URL; None where it has another scheme, no host or no usable port."""
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in schemes and parts.hostname and parts.port != 0
    except ValueError:
        return None
    return parts if is_usable else None


def _is_loopback(host: str) -> bool:
    """Tell whether a host is this machine for certain; any resolver may answer for a.localhost."""
    address = hosts.read(host)
    return host == "localhost" if address is None else address.is_loopback


def _is_public(host: str) -> bool:
    if hosts.read(host) is not None:
        return hosts.is_public(host)
    return "." in host and not host.endswith((".local", ".localhost", ".internal"))
