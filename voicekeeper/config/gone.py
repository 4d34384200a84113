"""The settings of earlier versions that are gone, and what to do instead of each."""

from typing import Final

INSTEAD: Final[dict[str, str]] = {
    "recovery.recreate": "make a lost voice again with 'voicekeeper retry NAME'",
    "recovery.archive_sources": (
        "keep the recordings that you clone from, and save the preview of a new voice by 'clone', "
        "'design' or 'retry' with --wait --save-preview FILE"
    ),
}
"""By dotted path, the rest of the sentence ``PATH: is gone; …``, such as ``use retry NAME``."""
