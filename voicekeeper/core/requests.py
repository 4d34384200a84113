"""The three requests of ``generateTask``, and the rules the page sets for them.

A request that breaks a rule cannot be made: its construction raises `InvalidInput`, in words for
the person at the terminal.
(Page sections *Request body*, *Overview* and *Common validation rules*.)
"""

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from voicekeeper.core.enums import Kind
from voicekeeper.core.visible import is_unicode
from voicekeeper.errors import InvalidInput, quoted

FLASH = "cosyvoice-3-flash"
"""The model that has built-in voices; the page says no other has."""

CONTROL_VOICE = "longanlang_v3"
"""The built-in voice of the page's first example."""

_BUILT_IN = re.compile(r"loo?ng[a-z]+(_v\d+)?")
_INSTRUCTION_MOST = 100
_PREFIX = re.compile(r"[A-Za-z0-9]{1,10}")


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
