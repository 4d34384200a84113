"""Keeping the audio of voices in files, for the day when one has to be made again.

Apart from the passes, one piece after the other: no keepalive waits for it, and nothing that goes
wrong here is of any weight for a voice. What it takes is bounded: each piece, and all of them.
"""

import asyncio
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

from voicekeeper.clock import Clock
from voicekeeper.errors import FetchFailed
from voicekeeper.keeper import Logger, Offload, say
from voicekeeper.schedule import Policy
from voicekeeper.store.recordings import Recordings, Wanted
from voicekeeper.terms import AudioKind

MOST: Final = {AudioKind.PREVIEW: 20_000_000, AudioKind.SOURCE: 50_000_000}
"""Bytes of one piece."""

MOST_IN_ALL: Final = 1_000_000_000
"""Bytes of all that is kept."""

_SPARE = 256_000_000
"""Bytes that are left on the disk."""

_AT_ONCE = 20
"""Pieces that are fetched in one look; the next look goes on."""

_NAME = re.compile(r"[0-9]+-[A-Za-z0-9_.-]+")
"""Of a file as `_file_name` makes it: it leads to no other folder."""

_FORMATS = ("wav", "mp3", "pcm", "opus", "m4a", "aac", "flac", "ogg", "webm")


def directory_of(registry: Path) -> Path:
    """Return where the audio of a registry's voices is kept."""
    return registry.with_name(f"{registry.name}.audio")


def kept_file(registry: Path, name: str) -> Path | None:
    """Return the file of that name in a row; None where it is no name of ours."""
    return directory_of(registry) / name if _NAME.fullmatch(name) else None


class Fetcher(Protocol):
    """What fetches audio."""

    async def fetch(self, url: str, sink: Callable[[bytes], object], *, most: int) -> None:
        """Fetch a URL, piece by piece.

        Raises:
            FetchFailed: it cannot be had.
        """


class Archive:
    """The audio that is kept, in a directory beside the database.

    Args:
        directory: made when it is needed.
        recordings: the rows.
        fetcher: the way to the audio.
        clock: the host's.
        policy: the settings.
        log: where events are told.
        offload: runs the store's blocking functions.
    """

    def __init__(
        self,
        directory: Path,
        *,
        recordings: Recordings,
        fetcher: Fetcher,
        clock: Clock,
        policy: Policy,
        log: Logger,
        offload: Offload[Any],
    ) -> None:
        self._directory = directory
        self._recordings = recordings
        self._fetcher = fetcher
        self._clock = clock
        self._policy = policy
        self._log = log
        self._offload = offload

    async def begin(self) -> None:
        """Want what the settings want, and let go of what a kill left unfinished.

        Raises:
            VoicekeeperError: the database cannot be used.
        """
        now = self._clock.now()
        await self._offload(partial(self._recordings.begin, now=now, policy=self._policy))
        for unfinished in self._directory.glob(".*"):
            _forget(unfinished)

    async def look(self) -> None:
        """Fetch what is due.

        Raises:
            VoicekeeperError: the database cannot be used.
        """
        due = partial(self._recordings.due, now=self._clock.now(), most=_AT_ONCE)
        wanted: list[Wanted] = await self._offload(due)
        for each in wanted:
            file = self._directory / _file_name(each)
            now = self._clock.now
            try:
                await self._fetch(each, file)
            except Exception as error:  # noqa: BLE001 - one piece's trouble stops no other
                expected = isinstance(error, (FetchFailed, OSError))
                words = str(error) if expected else f"it failed ({type(error).__name__})"
                permanent = isinstance(error, FetchFailed) and error.permanent
                failed = partial(self._recordings.failed, each, words, permanent=permanent)
                say(self._log, await self._offload(partial(failed, now=now())))
            else:
                fetched = partial(self._recordings.fetched, each, file.name)
                lines = await self._offload(partial(fetched, now=now()))
                say(self._log, lines)
                if not lines:  # its voice was removed meanwhile
                    file.unlink(missing_ok=True)

    async def _fetch(self, wanted: Wanted, file: Path) -> None:
        """Fetch one piece into a file, which appears whole or not at all."""
        most = MOST[wanted.kind]
        descriptor, unfinished = self._unfinished(most)
        try:
            with os.fdopen(descriptor, "wb") as sink:
                await self._fetcher.fetch(wanted.url, sink.write, most=most)
                sink.flush()
                await asyncio.to_thread(os.fsync, descriptor)
            unfinished.rename(file)
        finally:
            _forget(unfinished)

    def _unfinished(self, size: int) -> tuple[int, Path]:
        """Return a file to fill, open, and its path."""
        self._directory.mkdir(mode=0o700, exist_ok=True)
        self._leave_room(size)
        descriptor, name = tempfile.mkstemp(prefix=".", dir=self._directory)
        return descriptor, Path(name)

    def _leave_room(self, size: int) -> None:
        kept = sum(file.stat().st_size for file in self._directory.iterdir())
        if kept + size > MOST_IN_ALL:
            raise FetchFailed(
                f"{self._directory} holds {kept // 1_000_000} MB, and no more than "
                f"{MOST_IN_ALL // 1_000_000} MB are kept there"
            )
        if shutil.disk_usage(self._directory).free < size + _SPARE:
            raise FetchFailed(f"the disk of {self._directory} is nearly full")


def _forget(unfinished: Path) -> None:
    with suppress(OSError):
        unfinished.unlink()


def _file_name(wanted: Wanted) -> str:
    """Return a name that any file system takes, e.g. ``12-narrator-preview.wav``."""
    plain = re.sub(r"[^A-Za-z0-9_.]+", "_", wanted.name)[:40]
    ending = wanted.url.partition("?")[0].partition("#")[0].rpartition(".")[2].lower()
    return f"{wanted.key}-{plain}-{wanted.kind}.{ending if ending in _FORMATS else 'audio'}"
