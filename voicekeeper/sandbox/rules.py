"""The rules of the page for the body of ``generateTask``, and the prices.

Written from the page (sections *Overview*, *Parameters*, *Billing* and *Common validation rules*)
and on purpose not from the client: the stand-in must not repeat its mistakes. What the page does
not mention passes.
"""

import ipaddress
import re
from typing import Any, NamedTuple
from urllib.parse import urlsplit

CLONE_MICROS = 2_000
DESIGN_MICROS = 30_000
CHARACTER_MICROS = 10
"""$0.10 for 10,000 characters."""

_INSTRUCTION_MOST = 100
_PREFIX = re.compile(r"[A-Za-z0-9]{1,10}")


class RefusedError(Exception):
    """The gateway refuses the call, with an HTTP status (or the ``code`` of its JSON body)."""

    def __init__(self, code: int, message: str) -> None:
        self.code, self.message = code, message
        super().__init__(f"{code} {message}")


class Order(NamedTuple):
    """A valid body; its subject is the voice to speak with, or the prefix of the voice to make."""

    mode: str
    subject: str
    audio: str
    cost_micros: int
    callback_url: str | None = None


def read(body: object) -> Order:
    """Validate the JSON of a request, which may be anything at all.

    Raises:
        RefusedError: 400, with the rule that is broken.
    """
    if not isinstance(body, dict):
        raise RefusedError(400, "The request body must be a JSON object.")
    url = None
    match body.get("request_type"):
        case "async":
            pass
        case "callback":
            url = _callback(body.get("callback_url"))
        case _:
            raise RefusedError(400, "request_type is required: async or callback.")
    asked = body.get("input")
    if not isinstance(asked, dict):
        raise RefusedError(400, "input is required and must be an object.")
    match asked.get("mode"):
        case "speech":
            return _speech(asked)._replace(callback_url=url)
        case "clone":
            return _clone(asked)._replace(callback_url=url)
        case "design":
            return _design(asked)._replace(callback_url=url)
        case _:
            raise RefusedError(400, "input.mode must be speech, clone or design.")


def _speech(asked: dict[str, Any]) -> Order:
    voice = asked.get("voice", asked.get("voice_id"))
    if not isinstance(voice, str) or not voice.strip():
        raise RefusedError(400, "voice is required for speech.")
    prompt = _text(asked, "prompt", 20_000)
    instruction = asked.get("instruction", "")
    if not isinstance(instruction, str) or len(instruction) > _INSTRUCTION_MOST:
        raise RefusedError(400, f"instruction must be at most {_INSTRUCTION_MOST} characters.")
    rate = asked.get("sample_rate")
    if rate is not None and (isinstance(rate, bool) or not isinstance(rate, int) or rate <= 0):
        raise RefusedError(400, "sample_rate must be a positive integer.")
    return Order("speech", voice, _audio(asked, "mp3"), CHARACTER_MICROS * len(prompt))


def _clone(asked: dict[str, Any]) -> Order:
    match asked.get("audio_urls"):
        case [str(url)] if url.strip():
            return Order("clone", _prefix(asked), "wav", CLONE_MICROS)
    raise RefusedError(400, "audio_urls must be an array with exactly one non-empty URL.")


def _design(asked: dict[str, Any]) -> Order:
    _text(asked, "prompt", 500)
    _text(asked, "preview_text", 200)
    return Order("design", _prefix(asked), _audio(asked, "wav"), DESIGN_MICROS)


def _prefix(asked: dict[str, Any]) -> str:
    prefix = asked.get("prefix")
    if not isinstance(prefix, str) or not _PREFIX.fullmatch(prefix):
        raise RefusedError(400, "prefix must be 1-10 letters or digits.")
    return prefix


def _text(asked: dict[str, Any], field: str, most: int) -> str:
    text = asked.get(field)
    if not isinstance(text, str) or not 1 <= len(text) <= most:
        raise RefusedError(400, f"{field} must be 1-{most} characters.")
    return text


def _audio(asked: dict[str, Any], default: str) -> str:
    audio = asked.get("format", default)
    if not isinstance(audio, str) or not audio:
        raise RefusedError(400, "format must be a string.")
    return audio


def _callback(url: object) -> str:
    """Return an address that the gateway can reach over public HTTPS."""
    refusal = RefusedError(400, "callback_url must be a public HTTPS URL.")
    if not isinstance(url, str):
        raise refusal
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        raise refusal from None
    try:
        public = ipaddress.ip_address(host).is_global
    except ValueError:
        public = "." in host and not host.endswith((".localhost", ".local", ".internal"))
    if parts.scheme != "https" or not public:
        raise refusal
    return url
