"""The settings of earlier versions that are gone, and what to do instead of each."""

from typing import Final

INSTEAD: Final[dict[str, str]] = {}
"""By dotted path, the rest of the sentence ``PATH: is gone; …``, such as ``use retry NAME``."""
