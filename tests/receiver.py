"""A receiver of messages: a real HTTP server on loopback that keeps what it was sent.

apprise posts to it by ``json://127.0.0.1:PORT/PATH``, or by ``ntfy://127.0.0.1:PORT/TOPIC/TOPIC``
to several recipients; a ping is a GET.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Received:
    """One message: as the service saw it."""

    path: str
    title: str
    body: str
    type: str
    topic: str = ""


class Receiver:
    """The service at the other end.

    Attributes:
        messages, pings: what was taken, in order.
        came, refused: how many came, and were answered by 300 or more.
        status: what it answers, but for topics of ntfy that it ``refuses``, and paths that
            ``moved``.
        is_endless, poured: whether bodies of answers go on, up to 64 MiB, and bytes of them sent.
        flows: cleared, answers are held back until it is set; the message has come all the same.
    """

    def __init__(self) -> None:
        self.messages: list[Received] = []
        self.pings: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.refused = 0
        self.status = 200
        self.refuses: set[str] = set()
        self.moved: dict[str, str] = {}
        self.is_endless = False
        self.poured = 0
        self.flows = threading.Event()
        self.flows.set()
        self.came = 0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                receiver._take(self, json.loads(self.rfile.read(length)))

            def do_GET(self) -> None:
                receiver._take(self, None)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401
                """Keep quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.flows.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def port(self) -> int:
        port: int = self._server.server_address[1]
        return port

    def url(self, path: str = "hook-0123456789") -> str:
        """Return an address for messages."""
        return f"json://127.0.0.1:{self.port}/{path}"

    def topics(self, *topics: str) -> str:
        """Return an address for messages to several recipients."""
        return f"ntfy://127.0.0.1:{self.port}/{'/'.join(topics)}"

    def web_url(self, path: str = "ping-0123456789") -> str:
        """Return an address for pings."""
        return f"http://127.0.0.1:{self.port}/{path}"

    def about(self, words: str) -> list[Received]:
        """Return the messages whose title holds these words."""
        return [message for message in self.messages if words in message.title]

    def _take(self, request: BaseHTTPRequestHandler, body: dict[str, str] | None) -> None:
        self.headers.append(dict(request.headers))
        location = self.moved.get(request.path)
        status = self.status if location is None else 301
        if body is not None and body.get("topic") in self.refuses:
            status = 403
        if status >= 300:
            self.refused += 1
        elif body is None:
            self.pings.append(request.path)
        else:
            self.messages.append(
                Received(
                    request.path,
                    body["title"],
                    body["message"],
                    body.get("type", ""),
                    body.get("topic", ""),
                )
            )
        self.came += 1
        self.flows.wait()
        try:
            request.send_response(status)
            if not self.is_endless:
                request.send_header("Content-Length", "0")
            if location is not None:
                request.send_header("Location", location)
            request.end_headers()
            while self.is_endless and self.poured < 64 * 1024 * 1024:
                self.poured += request.wfile.write(b"-" * 65_536)
        except OSError:
            return  # who asked has gone


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve the files of a folder on loopback; give the URL of the folder."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
