"""The voices one by one."""

# ruff: noqa: S608 - queries are made of constants, and what is given is bound

from typing import Final

from voicekeeper.core.facts import VoiceFacts, spellings
from voicekeeper.store.quick.columns import VOICE, record
from voicekeeper.store.quick.file import File, Unsure

MOST: Final = 1_000
"""A longer list is the registry's, which hands out one voice after the other."""


class Voices(File):
    """The voices of a registry."""

    def get(self, name: str) -> VoiceFacts:
        """Return a voice."""
        for spelling in spellings(name):
            for voice in self._voices("WHERE name = :name", name=spelling):
                return voice
        raise Unsure

    def all(self) -> list[VoiceFacts]:
        """Return every voice by name."""
        return self._every("name")

    def _every(self, order: str, **given: object) -> list[VoiceFacts]:
        voices = self._voices(f"ORDER BY {order} LIMIT :most", most=MOST + 1, **given)
        if len(voices) > MOST:
            raise Unsure
        return voices

    def _voices(self, rest: str, **given: object) -> list[VoiceFacts]:
        recipes = f"SELECT recipe FROM (SELECT * FROM voice {rest}) WHERE recipe IS NOT NULL"
        if self.ask(f"SELECT 1 FROM ({recipes}) WHERE NOT json_valid(recipe)", **given):
            raise Unsure
        return [record(row) for row in self.rows("voice", VOICE, rest, **given)]
