"""The gateway's calls over HTTP, with faults, and the sandbox's own control calls.

The gateway's calls lie under ``/api/v1``, as on the page (section *Endpoint and authentication*).
The control calls lie beside it, need no key, and take and give JSON:

- ``GET /books``: `Gateway.books`, and how often each fault struck.
- ``POST /voices`` with ``voice_id`` and ``model``: add a voice that was made elsewhere.
- ``DELETE /voices/VOICE_ID``: delete a voice for no reason.
- ``PUT /faults`` with a list of faults: replace the faults.
"""

import asyncio
import json
from dataclasses import asdict
from datetime import timedelta
from email.utils import format_datetime
from functools import partial
from threading import Lock
from typing import Any, Literal

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from voicekeeper.core.clock import Clock
from voicekeeper.core.duration import rfc3339
from voicekeeper.errors import InvalidInput
from voicekeeper.sandbox.faults import Call, Fault, Faults
from voicekeeper.sandbox.gateway import FLASH, Gateway
from voicekeeper.sandbox.records import Answer

BASE = "/api/v1"

ErrorStyle = Literal["http", "body"]
"""Where a refusal's code stands: in the HTTP status too, or in the JSON body alone."""

_PAGE = "<!doctype html><title>Maintenance</title><p>We will be back soon.</p>"
_HANG_LIMIT_S = 600.0


class App:
    """The answers to all calls.

    Args:
        lock: held while the gateway or the faults are used.
        error_style: where the code of the gateway's own refusals stands.
        closing: set when the server stops, which ends the calls that hang.
    """

    def __init__(
        self,
        gateway: Gateway,
        *,
        lock: Lock,
        clock: Clock,
        faults: Faults,
        error_style: ErrorStyle,
        closing: asyncio.Event,
    ) -> None:
        self._gateway = gateway
        self._lock = lock
        self._clock = clock
        self._faults = faults
        self._error_style = error_style
        self._closing = closing

    def starlette(self) -> Starlette:
        """Return the application."""
        calls: tuple[Call, ...] = ("submit", "status", "balance")
        submit, status, balance = (partial(self._answer, call) for call in calls)
        return Starlette(
            routes=[
                Route(f"{BASE}/generateTask/{{model}}", submit, methods=["POST"]),
                Route(f"{BASE}/statusTask/{{model}}", status),
                Route(f"{BASE}/apikeys/current-balance", balance),
                Route("/books", self._get_books),
                Route("/voices", self._post_voice, methods=["POST"]),
                Route("/voices/{voice_id}", self._delete_voice, methods=["DELETE"]),
                Route("/faults", self._put_faults, methods=["PUT"]),
            ]
        )

    async def _answer(self, call: Call, request: Request) -> Response:
        body = await request.body()
        with self._lock:
            fault = self._faults.choose(call)
            if fault is not None and not fault.spares_the_work:
                return self._instead(fault)
            doom = None if fault is None else fault.doom
            answer = self._ask(request, call, body, doom)
        status = answer.code if self._error_style == "http" else 200
        response = self._json(answer, status)
        match None if fault is None else fault.kind:
            case "lost":
                return _Broken()
            case "garbage":
                response.body = b"\x00\xff" + bytes(reversed(response.body))[2:]
            case "truncated":
                return _Broken(half_of=response)
        return response

    def _ask(self, request: Request, call: Call, body: bytes, doom: str | None) -> Answer:
        """Have the gateway do the work."""
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
                is_json = request.headers.get("content-type", "").startswith("application/json")
                asked = _parsed(body) if is_json else None  # which is refused as no object
                model = request.path_params["model"]
                return self._gateway.generate(model, asked, now, key, doom=doom)

    def _instead(self, fault: Fault) -> Response:
        """Return what the client meets instead of the gateway's answer."""
        match fault.kind:
            case "drop":
                return _Broken()
            case "hang":
                return _Broken(until=self._closing)
            case "html":
                return Response(_PAGE, media_type="text/html", headers={"date": self._date()})
        code = fault.code or 500
        answer = Answer(code, "Struck by the sandbox's order.")
        response = self._json(answer, 200 if fault.in_body else code)
        if fault.retry_after is not None:
            wait = self._date(fault.retry_after) if fault.as_date else str(fault.retry_after)
            response.headers["retry-after"] = wait
        return response

    def _json(self, answer: Answer, status: int) -> Response:
        return JSONResponse(answer.body(), status, headers={"date": self._date()})

    def _date(self, ahead: int = 0) -> str:
        return format_datetime(self._clock.now() + timedelta(seconds=ahead), usegmt=True)

    async def _get_books(self, _: Request) -> Response:
        with self._lock:
            books, struck = asdict(self._gateway.books(self._clock.now())), self._faults.struck
            books["voices"] = {key: book._asdict() for key, book in books["voices"].items()}
            for voice in books["voices"].values():
                for name in ("last_used_at", "deleted_at"):
                    voice[name] = voice[name] and rfc3339(voice[name])
            books["refused"] = {str(code): count for code, count in books["refused"].items()}
            return JSONResponse(books | {"struck": dict(struck)})

    async def _post_voice(self, request: Request) -> Response:
        asked = _parsed(await request.body())
        voice_id = asked.get("voice_id") if isinstance(asked, dict) else None
        model = asked.get("model", FLASH) if isinstance(asked, dict) else None
        if not (isinstance(voice_id, str) and voice_id and isinstance(model, str)):
            return _error(400, "the body must be an object with voice_id and model")
        try:
            with self._lock:
                self._gateway.import_voice(voice_id, model, self._clock.now())
        except ValueError as error:
            return _error(409, str(error))
        return Response(status_code=204)

    async def _delete_voice(self, request: Request) -> Response:
        voice_id = request.path_params["voice_id"]
        try:
            with self._lock:
                self._gateway.delete_voice(voice_id, self._clock.now())
        except KeyError:
            return _error(404, f"no living voice has the id {voice_id}")
        return Response(status_code=204)

    async def _put_faults(self, request: Request) -> Response:
        asked = _parsed(await request.body())
        if not (isinstance(asked, list) and all(isinstance(spec, str) for spec in asked)):
            return _error(400, 'the body must be a list of faults such as ["500=0.1@status"]')
        try:
            with self._lock:
                self._faults.replace(asked)
        except InvalidInput as error:
            return _error(400, str(error))
        return Response(status_code=204)


class OpenProtocol(H11Protocol):
    """uvicorn's protocol in pure Python, with its transport in a request's scope."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Keep the transport, so that an answer can break the connection."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


class _Broken(Response):
    """An answer that breaks off: at once, after half of a whole, or when a side leaves."""

    def __init__(
        self, half_of: Response | None = None, *, until: asyncio.Event | None = None
    ) -> None:
        super().__init__()
        self._half_of = half_of
        self._until = until

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        transport: asyncio.Transport = scope["state"]["transport"]
        if self._until is not None:
            waits = [asyncio.ensure_future(each) for each in (_gone(receive), self._until.wait())]
            await asyncio.wait(waits, timeout=_HANG_LIMIT_S, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        whole = self._half_of
        if whole is None:
            transport.abort()
        else:
            head = {"status": whole.status_code, "headers": whole.raw_headers}
            await send({"type": "http.response.start", **head})
            half = bytes(whole.body[: len(whole.body) // 2])
            await send({"type": "http.response.body", "body": half, "more_body": True})
            transport.close()
        await _gone(receive)  # only then does uvicorn not answer 500


async def _gone(receive: Receive) -> None:
    """Wait until the connection is closed, by whichever side."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _parsed(body: bytes) -> Any:  # noqa: ANN401 - JSON from anyone
    try:
        return json.loads(body)
    except ValueError:
        return None


def _error(status: int, sentence: str) -> Response:
    return JSONResponse({"error": sentence}, status)
