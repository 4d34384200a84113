"""The sandbox on a loopback port: the gateway's calls over real HTTP, and its own control calls.

The gateway's calls lie under ``/api/v1``, as on the page (section *Endpoint and
authentication*). The sandbox's own lie beside it, need no key, and take and give JSON:

- ``GET /books``: what `Gateway.books` tells, and how often each fault struck.
- ``POST /voices`` with ``voice_id`` and ``model``: let a voice exist that was made elsewhere.
- ``DELETE /voices/VOICE_ID``: delete a voice for no reason.
- ``PUT /faults`` with a list of faults: put these in force, instead of those before.
"""

import asyncio
import json
import queue
import random
import signal
import socket
import ssl
import threading
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import timedelta
from email.utils import format_datetime
from types import FrameType, TracebackType
from typing import Any, Literal, Self

import click
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from voicekeeper import duration
from voicekeeper.clock import Clock, SystemClock
from voicekeeper.errors import InvalidInput, VoicekeeperError, reason
from voicekeeper.sandbox.breakage import Broken, Truncated
from voicekeeper.sandbox.faults import Call, Fault, Faults
from voicekeeper.sandbox.gateway import FLASH, Gateway
from voicekeeper.sandbox.messenger import Messenger
from voicekeeper.sandbox.records import Answer, Books, Callback
from voicekeeper.sandbox.running import Running

BASE = "/api/v1"

ErrorStyle = Literal["http", "body"]
"""Where a refusal's code stands: in the HTTP status too, or in the JSON body alone."""

_PAGE = "<!doctype html><title>Maintenance</title><p>We will be back soon.</p>"


class SandboxServer:
    """A gateway behind a port of this machine, in a thread of its own.

    Use it in ``with``. A stopped server can be started again on the same port, which is how an
    outage is played in which connections are refused.

    Args:
        gateway: whose calls are served; while the server runs, reach it only through here.
        clock: the gateway's time. Answers carry it in their ``Date`` header.
        faults: what goes wrong, in the form of `voicekeeper.sandbox.faults`.
        seed: of the dice that say when a fault strikes.
        host: a loopback address.
        port: 0 takes a free one.
        error_style: where the code of the gateway's own refusals stands.
        callback_to: scheme, host and port of this machine that webhooks are delivered to, in
            place of the public ones; None to deliver none.
        callback_tls: whom to trust there, where that is https.

    Raises:
        InvalidInput: a fault cannot be read.
        VoicekeeperError: on start, when the port cannot be had.
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
        self._running: Running | None = None
        self._callback_to = callback_to
        self._callback_tls = callback_tls
        self._messenger: Messenger | None = None

    @property
    def base_url(self) -> str:
        """The address to give to a client, e.g. ``http://127.0.0.1:8765/api/v1``."""
        return self.url + BASE

    @property
    def url(self) -> str:
        """The address that the sandbox's own control calls lie under."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    def start(self) -> None:
        """Listen and serve; returns when connections are taken.

        Raises:
            VoicekeeperError: the port cannot be had.
        """
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        try:
            listener = socket.create_server((self._host, self._port), family=family)
        except OSError as error:
            raise VoicekeeperError(
                f"the sandbox cannot listen on {self._host}, port {self._port}"
                f" ({reason(error)}); choose another with --port,"
                " where 0 takes a free one"
            ) from error
        self._port = listener.getsockname()[1]
        self._running = Running(self._app, listener)
        if self._callback_to is not None:
            self._messenger = Messenger(
                self._callback_to, due=self._callbacks, called=self._called, tls=self._callback_tls
            )

    def stop(self) -> None:
        """Break what still hangs, finish the other answers, and close the port."""
        if self._messenger is not None:
            self._messenger.stop()
            self._messenger = None
        if self._running is not None:
            self._running.stop()
            self._running = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def books(self) -> Books:
        """Return what the gateway did and knows, now."""
        with self._lock:
            return self._gateway.books(self._clock.now())

    def import_voice(self, voice_id: str, model: str = FLASH) -> None:
        """Let a voice exist that was made elsewhere.

        Raises:
            ValueError: a living voice has the id.
        """
        with self._lock:
            self._gateway.import_voice(voice_id, model, self._clock.now())

    def delete_voice(self, voice_id: str) -> None:
        """Delete a voice for no reason.

        Raises:
            KeyError: no living voice has the id.
        """
        with self._lock:
            self._gateway.delete_voice(voice_id, self._clock.now())

    def set_faults(self, specs: Iterable[str]) -> None:
        """Put other faults in force; none at all with an empty list.

        Raises:
            InvalidInput: a fault cannot be read; those before stay in force.
        """
        with self._lock:
            self._faults.replace(specs)

    def struck(self) -> Mapping[str, int]:
        """Return how often each fault struck, by its written form."""
        with self._lock:
            return dict(self._faults.struck)

    def _callbacks(self) -> list[Callback]:
        with self._lock:
            return self._gateway.callbacks(self._clock.now())

    def _called(self, callback: Callback, taken: bool) -> None:  # noqa: FBT001 - what came of it
        with self._lock:
            self._gateway.called(callback.task_id, self._clock.now(), taken=taken)

    def _app(self, closing: asyncio.Event) -> Starlette:
        async def submit(request: Request) -> Response:
            body = await request.body()
            return self._serve(request, "submit", closing, body)

        async def status(request: Request) -> Response:
            return self._serve(request, "status", closing)

        async def balance(request: Request) -> Response:
            return self._serve(request, "balance", closing)

        return Starlette(
            routes=[
                Route(f"{BASE}/generateTask/{{model}}", submit, methods=["POST"]),
                Route(f"{BASE}/statusTask/{{model}}", status, methods=["GET"]),
                Route(f"{BASE}/apikeys/current-balance", balance, methods=["GET"]),
                Route("/books", self._get_books, methods=["GET"]),
                Route("/voices", self._post_voice, methods=["POST"]),
                Route("/voices/{voice_id}", self._delete_voice, methods=["DELETE"]),
                Route("/faults", self._put_faults, methods=["PUT"]),
            ]
        )

    def _serve(
        self, request: Request, call: Call, closing: asyncio.Event, body: bytes = b""
    ) -> Response:
        with self._lock:
            fault = self._faults.choose(call)
            if fault is not None and not fault.spares_the_work:
                return self._instead(fault, closing)
            doom = None if fault is None else fault.doom
            response = self._json(self._ask(request, call, body, doom))
        match None if fault is None else fault.kind:
            case "lost":
                return Broken()
            case "garbage":
                response.body = b"\x00\xff" + bytes(reversed(response.body))[2:]
            case "truncated":
                return Truncated(response)
        return response

    def _ask(self, request: Request, call: Call, body: bytes, doom: str | None) -> Answer:
        """Hand the call to the gateway, as the HTTP of it says."""
        now = self._clock.now()
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        key = token.strip() if scheme.lower() == "bearer" else None
        match call:
            case "balance":
                return self._gateway.balance(key)
            case "status":
                task_id = request.query_params.get("taskId")
                return self._gateway.status(request.path_params["model"], task_id, now, key)
            case "submit":
                asked: object = None  # what is no JSON is refused as what is no object
                if request.headers.get("content-type", "").startswith("application/json"):
                    try:
                        asked = json.loads(body)
                    except ValueError:
                        asked = None
                model = request.path_params["model"]
                return self._gateway.generate(model, asked, now, key, doom=doom)

    def _instead(self, fault: Fault, closing: asyncio.Event) -> Response:
        """Return what the client meets instead of the gateway."""
        match fault.kind:
            case "drop":
                return Broken()
            case "hang":
                return Broken(closing)
            case "html":
                return Response(_PAGE, media_type="text/html", headers=self._date())
        code = fault.code or 500
        response = self._json(Answer(code, "Struck by the sandbox's order."))
        response.status_code = 200 if fault.in_body else code
        if fault.retry_after is not None:
            wait = str(fault.retry_after)
            if fault.as_date:
                wait = self._date(fault.retry_after)["date"]
            response.headers["retry-after"] = wait
        return response

    def _json(self, answer: Answer) -> Response:
        status = answer.code if self._error_style == "http" else 200
        return JSONResponse(answer.body(), status, headers=self._date())

    def _date(self, ahead: int = 0) -> dict[str, str]:
        """Return the ``Date`` header by the gateway's clock, which need not be the host's."""
        instant = self._clock.now() + timedelta(seconds=ahead)
        return {"date": format_datetime(instant, usegmt=True)}

    async def _get_books(self, _: Request) -> Response:
        books = asdict(self.books())
        books["voices"] = {key: book._asdict() for key, book in books["voices"].items()}
        for voice in books["voices"].values():
            for name in ("last_used_at", "deleted_at"):
                voice[name] = voice[name] and duration.rfc3339(voice[name])
        books["refused"] = {str(code): count for code, count in books["refused"].items()}
        return JSONResponse(books | {"struck": self.struck()})

    async def _post_voice(self, request: Request) -> Response:
        asked = await _read(request)
        voice_id = asked.get("voice_id") if isinstance(asked, dict) else None
        model = asked.get("model", FLASH) if isinstance(asked, dict) else None
        if not (isinstance(voice_id, str) and voice_id and isinstance(model, str)):
            return _told(400, "the body must be an object with voice_id and model")
        try:
            self.import_voice(voice_id, model)
        except ValueError as error:
            return _told(409, str(error))
        return Response(status_code=204)

    async def _delete_voice(self, request: Request) -> Response:
        voice_id = request.path_params["voice_id"]
        try:
            self.delete_voice(voice_id)
        except KeyError:
            return _told(404, f"no living voice has the id {voice_id}")
        return Response(status_code=204)

    async def _put_faults(self, request: Request) -> Response:
        asked = await _read(request)
        if not (isinstance(asked, list) and all(isinstance(spec, str) for spec in asked)):
            return _told(400, 'the body must be a list of faults such as ["500=0.1@status"]')
        try:
            self.set_faults(asked)
        except InvalidInput as error:
            return _told(400, str(error))
        return Response(status_code=204)


def serve(server: SandboxServer, *, key_is_set: bool = False) -> None:
    """Serve until SIGINT or SIGTERM; the command ``voicekeeper sandbox``.

    The base URL goes to stdout, for a script, and how to use it to stderr, for a person.

    Args:
        server: not started yet.
        key_is_set: whether the gateway takes one key only.

    Raises:
        VoicekeeperError: the port cannot be had.
    """
    asked_to_stop: queue.SimpleQueue[None] = queue.SimpleQueue()

    def stop(_signum: int, _frame: FrameType | None) -> None:
        asked_to_stop.put(None)  # may come in the middle of itself, as an event's `set` may not

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
            asked_to_stop.get()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


async def _read(request: Request) -> Any:  # noqa: ANN401 - JSON from anyone
    try:
        return await request.json()
    except ValueError:
        return None


def _told(status: int, sentence: str) -> Response:
    return JSONResponse({"error": sentence}, status)
