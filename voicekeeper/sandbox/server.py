"""The sandbox on a loopback port, over real HTTP, in a thread; and another that calls webhooks."""

import asyncio
import json
import queue
import random
import signal
import socket
import ssl
import threading
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from http.client import HTTPException
from types import FrameType
from typing import Final, Self
from urllib.parse import urlsplit

import click
import uvicorn

from voicekeeper.core.clock import Clock, SystemClock
from voicekeeper.errors import VoicekeeperError, reason
from voicekeeper.sandbox.app import BASE, App, ErrorStyle, OpenProtocol
from voicekeeper.sandbox.faults import Faults
from voicekeeper.sandbox.gateway import FLASH, Gateway
from voicekeeper.sandbox.records import Answer, Books

CALLBACK_WITHIN_S: Final = 30.0
"""Within this time the receiver of a webhook has to answer 200."""

_LOOK_EVERY_S = 0.05


class SandboxServer:
    """A gateway on a port of this machine. Use it in ``with``.

    A stopped server can be started again on the same port: an outage in which connections are
    refused.

    Args:
        gateway: use it only through this server while that runs.
        faults: in the form of `voicekeeper.sandbox.faults`; ``seed`` says when they strike.
        port: 0 takes a free one.
        callback_to: scheme, host and port of this machine that webhooks are delivered to, in
            place of the public ones; None to deliver none.

    Raises:
        InvalidInput: a fault cannot be read.
        VoicekeeperError: on start: cannot listen on the port.
    """

    def __init__(
        self,
        gateway: Gateway,
        *,
        clock: Clock | None = None,
        faults: Iterable[str] = (),
        seed: int = 0,
        host: str = "127.0.0.1",
        port: int = 0,
        error_style: ErrorStyle = "http",
        callback_to: str | None = None,
        callback_tls: ssl.SSLContext | None = None,
    ) -> None:
        self._gateway = gateway
        self._clock: Clock = SystemClock() if clock is None else clock
        self._faults = Faults(faults, random.Random(seed))
        self._host = host
        self._port = port
        self._error_style = error_style
        self._lock = threading.Lock()
        self._callback_to = callback_to and callback_to.rstrip("/")
        # No proxy of the environment: webhooks go to this machine.
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=callback_tls)
        )
        self._threads: list[threading.Thread] = []
        self._stopping = threading.Event()
        self._server: _Server | None = None

    @property
    def base_url(self) -> str:
        """The address to give to a client, e.g. ``http://127.0.0.1:8765/api/v1``."""
        return self.url + BASE

    @property
    def url(self) -> str:
        """The address of the control calls."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    def start(self) -> None:
        """Listen and serve; return when connections are taken."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        try:
            listener = socket.create_server((self._host, self._port), family=family)
        except OSError as error:
            raise VoicekeeperError(
                f"the sandbox cannot listen on {self._host}, port {self._port}"
                f" ({reason(error)}); choose another with --port, where 0 takes a free one"
            ) from error
        self._port = listener.getsockname()[1]
        self._stopping.clear()
        closing = asyncio.Event()
        app = App(
            self._gateway,
            lock=self._lock,
            clock=self._clock,
            faults=self._faults,
            error_style=self._error_style,
            closing=closing,
        )
        self._server = _Server(app, closing)
        works: list[Callable[[], None]] = [partial(self._server.serve_on, listener)]
        if self._callback_to is not None:
            works.append(self._deliver_all)
        self._threads = [threading.Thread(target=work, daemon=True) for work in works]
        for thread in self._threads:
            thread.start()
        self._server.ready.wait()

    def stop(self) -> None:
        """Break what still hangs, finish the other answers, and close the port."""
        self._stopping.set()
        if self._server is not None:
            self._server.stop()
            self._server = None
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def books(self) -> Books:
        """Return what the gateway did and knows, now."""
        with self._lock:
            return self._gateway.books(self._clock.now())

    def import_voice(self, voice_id: str, model: str = FLASH) -> None:
        """Add a voice that was made elsewhere; ValueError if a living voice has the id."""
        with self._lock:
            self._gateway.import_voice(voice_id, model, self._clock.now())

    def delete_voice(self, voice_id: str) -> None:
        """Delete a voice for no reason; KeyError if no living voice has the id."""
        with self._lock:
            self._gateway.delete_voice(voice_id, self._clock.now())

    def set_faults(self, specs: Iterable[str]) -> None:
        """Replace the faults; InvalidInput if one cannot be read, and all stay as they are."""
        with self._lock:
            self._faults.replace(specs)

    def struck(self) -> Mapping[str, int]:
        """Return how often each fault struck, by its written form."""
        with self._lock:
            return dict(self._faults.struck)

    def _deliver_all(self) -> None:
        while not self._stopping.wait(_LOOK_EVERY_S):
            with self._lock:
                callbacks = self._gateway.callbacks(self._clock.now())
            for callback, answer in callbacks:
                taken = self._deliver(callback.url, answer)
                with self._lock:
                    self._gateway.called(callback, self._clock.now(), taken=taken)

    def _deliver(self, public_url: str, answer: Answer) -> bool:
        """Call a webhook at this machine, as through a proxy; return whether it answered 200."""
        url = urlsplit(public_url)
        request = urllib.request.Request(  # noqa: S310 - the address is the operator's own
            f"{self._callback_to}{url.path}",
            data=json.dumps(answer.body()).encode(),
            headers={"Content-Type": "application/json", "Host": url.netloc},
            method="POST",
        )
        with (
            suppress(OSError, HTTPException),
            self._opener.open(request, timeout=CALLBACK_WITHIN_S) as response,
        ):
            return bool(response.status == 200)  # noqa: PLR2004 - as the page says
        return False


class _Server(uvicorn.Server):
    """A uvicorn that runs in a thread, and is ``ready`` when it takes connections, or failed."""

    def __init__(self, app: App, closing: asyncio.Event) -> None:
        config = uvicorn.Config(
            app.starlette(),
            http=OpenProtocol,
            loop="asyncio",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            date_header=False,
            server_header=False,
            # Longer than any client keeps an idle connection: the server must not be the one
            # to close it, just when the client sends on it again.
            timeout_keep_alive=3600,
            timeout_graceful_shutdown=5,
        )
        super().__init__(config)
        self.ready = threading.Event()
        self._closing = closing
        self._loop: asyncio.AbstractEventLoop | None = None

    def serve_on(self, listener: socket.socket) -> None:
        try:
            self.run(sockets=[listener])
        finally:
            listener.close()
            self.ready.set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        self.ready.set()

    def stop(self) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._closing.set)
        self.should_exit = True


def serve(server: SandboxServer, *, key_is_set: bool = False) -> None:
    """Serve until SIGINT or SIGTERM; the command ``voicekeeper sandbox``.

    The base URL goes to stdout, for a script, and how to use it to stderr, for a person.
    """
    # A signal handler may interrupt itself, which the `set` of an event does not survive.
    stops: queue.SimpleQueue[int] = queue.SimpleQueue()

    def stop(number: int, _frame: FrameType | None) -> None:
        stops.put(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with server:
            key = "...  # what you gave as --key" if key_is_set else "anything"
            click.echo(
                "The sandbox stands in for the gateway until Ctrl-C. To use it:\n"
                f"  export VOICEKEEPER_UPSTREAM__BASE_URL={server.base_url}\n"
                f"  export VOICEKEEPER_API_KEY={key}\n"
                "  export VOICEKEEPER_DATABASE__URL=sqlite:///sandbox.db\n"
                "With a short --window, set VOICEKEEPER_KEEPALIVE__WINDOW and __INTERVAL too.\n"
                f"What it did: curl -s {server.url}/books",
                err=True,
            )
            click.echo(server.base_url)
            stops.get()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
