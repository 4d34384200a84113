"""Delivering webhooks: what the gateway wants to be called, really called, in a thread.

Nothing leaves this machine: as a proxy would, the messenger calls an address of this machine in
place of the public one, and keeps the path.
"""

import json
import ssl
import threading
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPException
from typing import Final
from urllib.parse import urlsplit

from voicekeeper.sandbox.records import Callback

PATIENCE_S: Final = 30.0
"""Within which the receiver has to answer 200."""

_LOOK_EVERY_S = 0.05


class Messenger:
    """A thread that delivers.

    Args:
        to: scheme, host and port that are called in place of the public ones.
        due: returns what is to be delivered now.
        called: told of each delivery whether it was taken.
        tls: whom to trust, where that is https.
    """

    def __init__(
        self,
        to: str,
        *,
        due: Callable[[], list[Callback]],
        called: Callable[[Callback, bool], None],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._to = to.rstrip("/")
        self._due = due
        self._called = called
        # No proxy of the environment: what is called is this machine.
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=tls)
        )
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="messenger", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Deliver no more."""
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ending.wait(_LOOK_EVERY_S):
            for callback in self._due():
                self._called(callback, self._deliver(callback))

    def _deliver(self, callback: Callback) -> bool:
        """Make the call; return whether it was answered with 200."""
        request = urllib.request.Request(  # noqa: S310 - the address is the operator's own
            self._to + urlsplit(callback.url).path,
            data=json.dumps(callback.body).encode(),
            headers={"Content-Type": "application/json", "Host": urlsplit(callback.url).netloc},
            method="POST",
        )
        with (
            suppress(OSError, HTTPException),
            self._opener.open(request, timeout=PATIENCE_S) as answer,
        ):
            return bool(answer.status == 200)  # noqa: PLR2004 - as the page says
        return False
