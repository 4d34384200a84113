"""One run of the web server, in a thread of its own, on a socket that listens already."""

import asyncio
import socket
import threading
from collections.abc import Callable

import uvicorn
from starlette.applications import Starlette

from voicekeeper.sandbox.breakage import OpenProtocol


class Running:
    """A run that begins when this is made; by then the server takes connections.

    Args:
        app: makes the application, given the event that says that the server stops.
        listener: closed in the end.
    """

    def __init__(self, app: Callable[[asyncio.Event], Starlette], listener: socket.socket) -> None:
        self._closing = asyncio.Event()
        self._ready = threading.Event()
        self._listener = listener
        config = uvicorn.Config(
            app(self._closing),
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
        self._server = _Server(config, self._ready)
        self._thread = threading.Thread(target=self._run, name="sandbox", daemon=True)
        self._thread.start()
        self._ready.wait()

    def stop(self) -> None:
        """Break what hangs, finish the rest, and wait for the thread to end."""
        loop = self._server.loop
        if loop is not None:
            loop.call_soon_threadsafe(self._closing.set)
        self._server.should_exit = True
        self._thread.join()

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._listener])
        finally:
            self._listener.close()
            self._ready.set()


class _Server(uvicorn.Server):
    """A uvicorn that says when it takes connections, and in which loop."""

    def __init__(self, config: uvicorn.Config, ready: threading.Event) -> None:
        super().__init__(config)
        self.loop: asyncio.AbstractEventLoop | None = None
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        await super().startup(sockets)
        self._ready.set()
