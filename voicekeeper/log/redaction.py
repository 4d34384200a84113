"""Making the values of a log line plain, and cutting the secrets out of them.

A secret can hide in a nested value, in a key or in an exception's text. So each value is first
reduced to what JSON has, each text in it is searched, and the finished line is searched again.
"""

import json
import math
from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from enum import Enum
from pathlib import PurePath

from voicekeeper import duration
from voicekeeper.secrecy import REDACTED, Secrets

Plain = None | bool | int | float | str | list["Plain"] | dict[str, "Plain"]

_NAMES = frozenset({"authorization", "proxy_authorization", "api_key", "apikey", "x_api_key"})
_DEEPEST = 8


class Redactor:
    """Makes values plain, and lets no secret pass.

    Args:
        secrets: texts that no line may hold; an empty one is no secret.
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        self.text = Secrets(secrets).cut

    def __repr__(self) -> str:
        return f"{type(self).__name__}({REDACTED})"

    def json_line(self, line: str, head: Mapping[str, Plain]) -> str:
        """Return the finished line without any secret, still one JSON object.

        Args:
            line: one JSON object.
            head: what to write in place of a line that the cut would break.
        """
        cut = self.text(line)
        if cut == line:
            return line
        try:
            json.loads(cut)
        except ValueError:
            return json.dumps({**head, "event": REDACTED})
        return cut

    def plain_fields(self, fields: Mapping[str, object]) -> dict[str, Plain]:
        """Return the fields with plain values; one that is named like a key is cut out."""
        return {self.text(name): self._field(name, value, 0) for name, value in fields.items()}

    def plain(self, value: object, depth: int = 0) -> Plain:
        """Reduce any value to what JSON has, without secrets; never raises."""
        try:
            return self._reduced(value, depth)
        except Exception:  # noqa: BLE001 - a value's own code failed, and a log line must not
            return f"<{type(value).__name__} that cannot be shown>"

    def _field(self, name: str, value: object, depth: int) -> Plain:
        secret = name.lower().replace("-", "_") in _NAMES
        return REDACTED if secret else self.plain(value, depth)

    def _reduced(self, value: object, depth: int) -> Plain:
        if isinstance(value, (Mapping, list, tuple, AbstractSet)):
            return self._nested(value, depth + 1)
        if isinstance(value, Enum):
            value = value.value
        if value is None or isinstance(value, bool):
            return value
        written = _written(value)
        cut = self.text(written)
        if isinstance(value, (int, float)) and math.isfinite(value) and cut == written:
            return value
        return cut

    def _nested(self, value: Collection[object], depth: int) -> Plain:
        if depth > _DEEPEST:
            return "…"
        if isinstance(value, Mapping):
            pairs = [(str(key), inner) for key, inner in value.items()]
            return {self.text(key): self._field(key, inner, depth) for key, inner in pairs}
        return [self.plain(inner, depth) for inner in value]


def _written(value: object) -> str:
    """Write a single value as the commands write it, else as Python does."""
    match value:
        case str() | int() | float() | PurePath():
            return str(value)
        case datetime() if value.tzinfo is not None:
            return duration.rfc3339(value)
        case timedelta() if value >= timedelta(0):
            return duration.compact(value)
        case BaseException():
            return f"{type(value).__name__}: {value}"
        case _:
            return repr(value)
