"""The settings of earlier versions that are gone, and what to do instead of each."""

from typing import Final

INSTEAD: Final[dict[str, str]] = {
    "recovery.recreate": "make a lost voice again with 'voicekeeper retry NAME'",
}
"""By dotted path, the rest of the sentence ``PATH: is gone; …``, such as ``use retry NAME``."""
