"""A text that shows itself to nobody who does not ask for it.

Pydantic has the same, and takes six times as long to import as an interpreter takes to start:
every command would wait for it.
"""

from typing import Final

_SHOWN: Final = "**********"


class SecretStr:
    """A secret; neither ``str()`` nor ``repr()`` of it, nor of what holds it, tells it."""

    __slots__ = ("_secret",)

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def get_secret_value(self) -> str:
        """Return the secret itself."""
        return self._secret

    def __repr__(self) -> str:
        return f"SecretStr({str(self)!r})"

    def __str__(self) -> str:
        return _SHOWN if self._secret else ""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretStr) and self._secret == other._secret

    def __hash__(self) -> int:
        return hash(self._secret)
