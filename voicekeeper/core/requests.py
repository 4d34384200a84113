"""The rules for what a person asks for: names, ids and times of voices, and the gateway's requests.

What breaks a rule raises `InvalidInput`, in the same sentence for a command line, a line of an
import and a row that another version wrote. The rules of ``generateTask`` are the page's.
(Page sections *Request body*, *Overview* and *Common validation rules*.)
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from voicekeeper.core.duration import parse_instant, rfc3339
from voicekeeper.core.enums import Kind, Origin
from voicekeeper.core.visible import is_unicode, is_visible
from voicekeeper.errors import InvalidInput, quoted

FLASH = "cosyvoice-3-flash"
"""The model that has built-in voices; the page says no other has."""

CONTROL_VOICE = "longanlang_v3"
"""The built-in voice of the page's first example."""

_BUILT_IN = re.compile(r"loo?ng[a-z]+(_v\d+)?")
_INSTRUCTION_MOST = 100
_PREFIX = re.compile(r"[A-Za-z0-9]{1,10}")
_NAME_MOST = 64
_ID_MOST = 200
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_NAMED_MODEL = re.compile(r"cosyvoice-v(\d+(?:\.\d+)?-(?:flash|plus))-")
_NOT_IN_AN_ID = re.compile("[\"'`\u00b4,;\u2010-\u2015\u2018-\u201f\u2212\u00ab\u00bb\u2039\u203a]")
"""Quotes, commas, and the dashes that a document makes of a hyphen."""
_CLOCKS_DIFFER = timedelta(minutes=5)
"""A time this far ahead is still taken as now: other hosts' clocks are not ours."""

_FIRST_YEAR = 2000
"""Before it there was no gateway: year 1 or 1970 is how some programs write "not known"."""

_FIELDS = ("voice_id", "name", "model", "last_used_at", "origin", "recipe", "paused")


def is_built_in(voice_id: str) -> bool:
    """Return whether a voice is the gateway's own; the page names longanlang_v3 and its like."""
    return _BUILT_IN.fullmatch(voice_id) is not None


@dataclass(frozen=True, slots=True)
class Speech:
    """A speech task."""

    voice: str
    prompt: str
    format: str = "mp3"
    instruction: str | None = None

    def __post_init__(self) -> None:
        if not self.voice.strip():
            raise InvalidInput("voice is required for speech and must not be empty")
        _within("prompt", self.prompt, 20_000)
        if self.instruction is not None and len(self.instruction) > _INSTRUCTION_MOST:
            raise InvalidInput(f"instruction must be at most {_INSTRUCTION_MOST} characters")

    def body(self) -> dict[str, Any]:
        """Return the ``input`` object."""
        body = {
            "mode": "speech",
            "voice": self.voice,
            "prompt": self.prompt,
            "format": self.format,
        }
        return body if self.instruction is None else body | {"instruction": self.instruction}


@dataclass(frozen=True, slots=True)
class Clone:
    """A voice made from one reference recording."""

    prefix: str
    audio_url: str

    def __post_init__(self) -> None:
        _check_prefix(self.prefix)
        url = self.audio_url
        try:
            parts = urlsplit(url)
            reachable = parts.scheme in ("http", "https") and bool(parts.hostname)
        except ValueError:
            reachable = False
        if not reachable or not url.isprintable() or " " in url:
            raise InvalidInput(f"the audio URL must be an http or https URL, not {quoted(url)}")

    def body(self) -> dict[str, Any]:
        """Return the ``input`` object."""
        return {"mode": "clone", "prefix": self.prefix, "audio_urls": [self.audio_url]}


@dataclass(frozen=True, slots=True)
class Design:
    """A voice made from a description."""

    prefix: str
    prompt: str
    preview_text: str

    def __post_init__(self) -> None:
        _check_prefix(self.prefix)
        _within("prompt", self.prompt, 500)
        _within("preview text", self.preview_text, 200)

    def body(self) -> dict[str, Any]:
        """Return the ``input`` object."""
        return {
            "mode": "design",
            "prefix": self.prefix,
            "prompt": self.prompt,
            "preview_text": self.preview_text,
            "format": "wav",
        }


Request = Speech | Clone | Design


def from_recipe(kind: Kind, recipe: dict[str, str]) -> Clone | Design:
    """Make the enrollment request that a voice's recipe describes, field by field.

    Raises:
        InvalidInput: a field is missing, unknown, or breaks a rule of the page.
    """
    make: type[Clone | Design] = Clone if kind is Kind.CLONE else Design
    fields = make.__match_args__
    if set(recipe) != set(fields) or not all(isinstance(v, str) for v in recipe.values()):
        raise InvalidInput(f"the recipe of a {kind} holds exactly {', '.join(fields)} as texts")
    return make(**recipe)


def _check_prefix(prefix: str) -> None:
    if not _PREFIX.fullmatch(prefix):
        raise InvalidInput(f"prefix must be 1 to 10 letters or digits, not {quoted(prefix)}")


def _within(field: str, value: str, most: int) -> None:
    if not value.strip():
        raise InvalidInput(f"{field} must be 1 to {most} characters and not blank")
    if not is_unicode(value):
        raise InvalidInput(f"{field} must be text, and holds bytes that are none")
    if len(value) > most:
        raise InvalidInput(f"{field} must be 1 to {most} characters, not {len(value)}")


def name(text: str) -> str:
    """Return a voice's local name, composed (NFC), so that it is the same however it was typed.

    A command would take one that begins with a hyphen for an option.
    """
    composed = unicodedata.normalize("NFC", text)
    if not 1 <= len(composed) <= _NAME_MOST or not _is_word(text) or text.startswith("-"):
        raise InvalidInput(
            f"a name must be 1 to {_NAME_MOST} printable characters without white space and "
            f"must not begin with a hyphen, not {quoted(text)}"
        )
    return composed


def voice_id(text: str) -> str:
    """Return a custom voice's id, without what comes along when it is copied from a document."""
    if not 1 <= len(text) <= _ID_MOST or not _is_word(text):
        raise InvalidInput(
            f"a voice_id must be 1 to {_ID_MOST} printable characters without white space, "
            f"not {quoted(text)}"
        )
    if found := _NOT_IN_AN_ID.search(text):
        raise InvalidInput(
            f"a voice_id holds no {quoted(found[0])}, unlike {quoted(text)}; copy it as the "
            "gateway told it"
        )
    if is_built_in(text):
        raise InvalidInput(
            f"{text} is a built-in voice; the gateway never deletes those, so it needs no keeping"
        )
    return text


def model(text: str) -> str:
    """Return a model's name, which can stand in the gateway's address."""
    if not _MODEL.fullmatch(text):
        raise InvalidInput(
            "a model is letters, digits, '-', '_' and '.', 100 at most, the first a letter or "
            f"digit; not {quoted(text)}"
        )
    return text


def other_model(voice_id: str, model: str) -> str | None:
    """Return the model that a voice_id names, if that is not the one it is registered for.

    The gateway's ids begin with theirs: ``cosyvoice-v3-flash-…`` is of ``cosyvoice-3-flash``.
    """
    named = _NAMED_MODEL.match(voice_id)
    if named is None or model.replace("cosyvoice-v", "cosyvoice-") == f"cosyvoice-{named[1]}":
        return None
    return f"cosyvoice-{named[1]}"


def used_at(text: str, *, now: datetime) -> datetime:
    """Return the time of a voice's last use."""
    try:
        instant = parse_instant(text)
    except ValueError as error:
        raise InvalidInput(f"a last use {error}") from None
    if instant.year < _FIRST_YEAR:
        raise InvalidInput(
            f"{rfc3339(instant)} is before the year {_FIRST_YEAR}; leave a last use out where it "
            "is not known"
        )
    if instant > now + _CLOCKS_DIFFER:
        raise InvalidInput(f"{rfc3339(instant)} lies ahead; a last use is in the past")
    return min(instant, now)


def facts(record: object, *, default_model: str, now: datetime) -> dict[str, Any]:
    """Return the columns of one voice from a record of an import, such as an export writes."""
    if not isinstance(record, Mapping):
        raise InvalidInput("must be a JSON object")
    if unknown := [key for key in record if key not in _FIELDS]:
        raise InvalidInput(f"unknown field {quoted(unknown[0])}; known are {', '.join(_FIELDS)}")
    for field in ("voice_id", "name"):
        if field not in record:
            raise InvalidInput(f"{field} is missing")
    paused = record.get("paused", False)
    if not isinstance(paused, bool):
        raise InvalidInput("paused must be true or false")
    used = _text(record, "last_used_at")
    origin = _origin(_text(record, "origin") or Origin.IMPORTED)
    return {
        "name": name(_text(record, "name") or ""),
        "voice_id": voice_id(_text(record, "voice_id") or ""),
        "model": model(_text(record, "model") or default_model),
        "last_used_at": None if used is None else used_at(used, now=now),
        "origin": origin,
        "recipe": _recipe(record.get("recipe"), origin),
        "paused": paused,
    }


def _is_word(text: str) -> bool:
    return is_visible(text) and " " not in text  # the one white space that prints


def _text(record: Mapping[str, Any], field: str) -> str | None:
    value = record.get(field)
    if value is not None and not isinstance(value, str):
        raise InvalidInput(f"{field} must be a text")
    return value


def _origin(text: str) -> Origin:
    try:
        return Origin(text)
    except ValueError:
        raise InvalidInput(
            f"origin must be one of {', '.join(Origin)}, not {quoted(text)}"
        ) from None


def _recipe(value: object, origin: Origin) -> dict[str, str] | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise InvalidInput("recipe must be a JSON object")
    if origin is Origin.IMPORTED:
        raise InvalidInput('a recipe goes with "origin": "clone" or "design"')
    from_recipe(Kind(origin), value)
    return value
