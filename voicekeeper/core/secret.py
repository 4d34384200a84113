"""A secret text; pydantic has the same, but every command would wait for the import of pydantic.

For the same reason it does not stand in `secrecy`, which imports more than `resolve` needs.
"""

from typing import Final

_SHOWN: Final = "**********"


class SecretStr:
    """A secret that neither ``str()`` nor ``repr()`` shows."""

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
