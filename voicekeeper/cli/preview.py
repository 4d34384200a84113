"""Saving the preview of a new voice, which the gateway has for 24 hours, to a file."""

import asyncio
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from voicekeeper.cli import owner, prose
from voicekeeper.cli.session import Session
from voicekeeper.errors import ConfigError, FetchFailed
from voicekeeper.gateway import http_client
from voicekeeper.store.registry import Registry

WITHIN_S: Final = 60.0
"""For the whole download."""
_WAIT_S = 15.0
"""For each step of it."""
_MOST = 20_000_000
"""Bytes of a preview."""
_OK = 200
_NO_AUDIO = ("text/", "application/json", "application/xml")
_HEADERS = {"Accept": "audio/*, */*;q=0.1", "Accept-Encoding": "identity"}


def saving(session: Session, file: Path, name: str, make: Callable[[], Registry]) -> None:
    """Make a voice and save its preview to a new file of mode 0600, whole or not at all.

    The folder is opened before anything is paid for, and by root where root asks; the rest is then
    done by whom root becomes.

    Args:
        session: of the command.
        file: to write.
        name: of the voice.
        make: makes the voice; returns the registry that has it.

    Raises:
        BackupFailed: there is such a file already, or it cannot be written.
        FetchFailed: the preview cannot be downloaded.
        VoicekeeperError: raised by ``make``.
    """
    with owner.new_file(file) as given:
        fill = partial(_fill, given, name, make)
        if session.owner is None:
            fill()
        else:
            owner.in_child(fill)
    prose.say(f"{file} is the preview of {name}.")


def _fill(descriptor: int, name: str, make: Callable[[], Registry]) -> None:
    registry = make()
    url = registry.preview_url(registry.get(name))
    if url is None:
        raise FetchFailed(f"the preview of {name} is not saved: the gateway named none")
    try:
        audio = asyncio.run(download(url))
    except FetchFailed as error:
        raise FetchFailed(f"the preview of {name} is not saved: {error}") from None
    with os.fdopen(descriptor, "wb", closefd=False) as given:
        given.write(audio)


async def download(url: str, *, most: int = _MOST) -> bytes:
    """Download at most so many bytes of audio. Neither the API key nor a cookie is sent.

    The URL is the gateway's word, as is where it redirects to. The words of a FetchFailed hold no
    more of it than its host.
    """
    if not url.lower().startswith(("http://", "https://")):
        raise FetchFailed("its URL is neither http nor https")
    try:
        async with asyncio.timeout(WITHIN_S):
            return await _audio(url, most)
    except FetchFailed:
        raise
    except ConfigError as error:
        raise FetchFailed("; ".join(error.problems)) from None
    except TimeoutError:
        raise FetchFailed(f"it took longer than {WITHIN_S:g} s") from None
    except Exception as error:  # noqa: BLE001 - whatever a URL or a host of others leads to
        raise FetchFailed(f"its host is not reached ({type(error).__name__})") from None


async def _audio(url: str, most: int) -> bytes:
    async with http_client.get(url, timeout_s=_WAIT_S, headers=_HEADERS) as answer:
        host, kind = answer.url.host, answer.headers.get("content-type", "").lower()
        if answer.status_code != _OK:
            raise FetchFailed(f"{host} answered {answer.status_code}")
        if kind.startswith(_NO_AUDIO):
            raise FetchFailed(f"{host} sent no audio but {kind.partition(';')[0][:40]}")
        audio = bytearray()
        async for piece in answer.aiter_raw():
            audio += piece
            if len(audio) > most:
                raise FetchFailed(f"it is larger than {most // 1_000_000} MB")
    if not audio:
        raise FetchFailed(f"{host} sent nothing")
    return bytes(audio)
