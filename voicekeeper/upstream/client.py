"""The HTTP client of the gateway's two endpoints (page section *Endpoint and authentication*).

And of a third that is not on the page: the account's balance.

It makes one call for one question and never repeats one: when and whether to try again is the
keeper's to decide, who is told by `CallFailed` all it needs for that.
"""

import asyncio
import json
import zlib
from collections.abc import AsyncIterable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import quote

import httpcore

from voicekeeper.answers import Accepted, Report
from voicekeeper.clock import Clock
from voicekeeper.errors import CallFailed, KeyRefused
from voicekeeper.outbound import USER_AGENT
from voicekeeper.request import FLASH, Request, Speech
from voicekeeper.secrecy import Secrets
from voicekeeper.upstream import failure, http_date, retry_after, wire
from voicekeeper.upstream.address import Address
from voicekeeper.upstream.connections import Connections, Line
from voicekeeper.upstream.limiter import Limiter
from voicekeeper.upstream.port import OnTurn

_BODY_MOST = 1024 * 1024
"""Bytes of a body; the page's answers have some hundred."""

_GZIP_OR_ZLIB = 32
"""Added to ``wbits``, it has zlib tell them apart itself."""

_MADE_UP_TASK = "voicekeeper-check"

_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))

_NO_HEADERS: dict[bytes, str] = {}

_LEAVE_THE_KEY_IN_DOUBT = (402, 403, 429)

_HEADERS = (
    (b"Accept", b"application/json"),
    # A body that is not packed costs no unpacking; that one is packed all the same is borne.
    (b"Accept-Encoding", b"identity"),
    (b"Content-Type", b"application/json"),
    (b"User-Agent", USER_AGENT.encode()),
    (b"Connection", b"keep-alive"),
)
"""Of every request."""


@dataclass(frozen=True, slots=True)
class _Route:
    """What one call goes by, from its first byte to the reading of its answer."""

    address: Address
    headers: list[tuple[bytes, bytes]] = field(repr=False)
    secret: Secrets
    timeout: float
    steps: dict[str, float]
    connections: Connections

    def request(self, method: str, target: str, body: bytes | None) -> httpcore.Request:
        """Write a request down.

        Args:
            method: of HTTP.
            target: of the endpoint, quoted.
            body: JSON.
        """
        request = httpcore.Request(
            method, self.address.url(target), content=body, extensions={"timeout": self.steps}
        )
        # Not by its constructor, which looks at each of them anew.
        request.headers = self.headers
        if body is not None:
            request.headers = [*self.headers, (b"Content-Length", b"%d" % len(body))]
        return request


class GatewayClient:
    """An `Upstream` over HTTP. Use it as an async context manager, or call `aclose`.

    Args:
        base_url: such as ``https://api.apixo.ai/api/v1``.
        api_key: goes into the ``Authorization`` header and nowhere else.
        timeout: seconds for each of connecting (10 at most), sending, and waiting for an answer;
            one call takes twice that at most, waiting for its turn not counted.
        requests_per_second: the client's own limit.
        max_in_flight: calls at once.
        clock: paces the calls, and dates an answer that does not date itself.
        line: makes a line in place of the network's, for a rehearsal and for tests of pure logic.

    Raises:
        KeyRefused: the key is empty, or no HTTP header can carry it.
        ConfigError: ``base_url`` is none, or the environment names a proxy or certificates that
            cannot be used.
    """

    def __init__(
        self,
        *,
        base_url: str,
        api_key: str,
        timeout: float,
        requests_per_second: float,
        max_in_flight: int,
        clock: Clock,
        line: Callable[[], Line] | None = None,
    ) -> None:
        self._clock = clock
        self._line = line
        self._closed = False
        self._route = self._route_to(base_url, api_key, timeout)
        self._retiring: dict[asyncio.Task[None], Connections] = {}
        self._share = 1.0
        self._limits = (requests_per_second, max_in_flight)
        self._limiter = Limiter(
            requests_per_second=requests_per_second, max_in_flight=max_in_flight, clock=clock
        )

    def change(
        self,
        *,
        base_url: str,
        api_key: str,
        timeout: float,
        requests_per_second: float,
        max_in_flight: int,
    ) -> None:
        """Go by other settings from the next call on, one that waits for its turn included.

        A call that is under way ends as it began, and its connections are closed after it.

        Raises:
            KeyRefused: the key cannot be one; the old settings stay.
            ConfigError: ``base_url`` is none, or the environment names a proxy or certificates
                that cannot be used; the old settings stay.
        """
        old, self._route = self._route, self._route_to(base_url, api_key, timeout)
        self._limits = (requests_per_second, max_in_flight)
        self._limit()
        retiring = asyncio.create_task(old.connections.retire())
        self._retiring[retiring] = old.connections
        retiring.add_done_callback(self._retiring.pop)

    def pace(self, share: float) -> None:
        """Allow itself this share of the requests a second that the settings give."""
        if share != self._share:
            self._share = share
            self._limit()

    def _limit(self) -> None:
        rate, most = self._limits
        self._limiter.change(requests_per_second=rate * self._share, max_in_flight=most)

    def __repr__(self) -> str:
        return f"<GatewayClient of {self._route.address.host}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection; a call made afterwards fails and sends nothing."""
        self._closed = True
        retiring, left = [*self._retiring], [*self._retiring.values(), self._route.connections]
        for task in retiring:
            task.cancel()
        await asyncio.gather(*retiring, return_exceptions=True)
        for connections in left:
            await connections.aclose()

    async def submit(
        self,
        request: Request,
        model: str,
        *,
        on_turn: OnTurn | None = None,
        callback_url: str | None = None,
    ) -> Accepted:
        """Start a task with ``generateTask``; this is what costs money.

        An enrollment gets a connection of its own, because it is never repeated on a doubt.

        Args:
            request: what to make.
            model: whose endpoint.
            on_turn: run when the limiter lets the call go out, just before its first byte; what
                it raises is raised here, and nothing is sent.
            callback_url: what the gateway is to call when the task has ended.

        Raises:
            CallFailed: no task id came back. ``ambiguous`` tells whether the task may exist,
                and be charged, all the same.
        """
        delivery = {"request_type": "async"}
        if callback_url is not None:
            delivery = {"request_type": "callback", "callback_url": callback_url}
        reply, secret = await self._call(
            "POST",
            "generateTask",
            model,
            body={**delivery, "input": request.body()},
            fresh=not isinstance(request, Speech),
            on_turn=on_turn,
        )
        data = self._data(reply, paid=True)
        task_id = wire.read_task_id(data, secret=secret)
        if task_id is None:
            raise CallFailed("the gateway accepted the task but gave no taskId", ambiguous=True)
        return Accepted(task_id)

    async def status(self, task_id: str, model: str) -> Report:
        """Ask ``statusTask`` how a task stands; free.

        Raises:
            CallFailed: no report came back; never ``ambiguous``, because asking changes nothing.
        """
        reply, secret = await self._ask(task_id, model)
        data = self._data(reply, paid=False)
        report = wire.read_report(data, answered_at=reply.answered_at, secret=secret)
        if report is None:
            raise CallFailed("the gateway answered 200 but named no state of the task")
        return report

    async def check_key(self) -> datetime | None:
        """Find out whether the gateway takes the key, by asking for a task that never was.

        It costs nothing. An answer that blames the request (400, 404 or a code of the gateway's
        own) means that the key was taken.

        Returns:
            The gateway's own time, to the second; None where its answer has no ``Date``.

        Raises:
            KeyRefused: the gateway answered 401.
            CallFailed: the gateway was not reached, is not at ``base_url``, or answered what
                leaves the key in doubt: 402, 403, 429, 5xx.
        """
        reply, _ = await self._ask(_MADE_UP_TASK, FLASH)
        failed = failure.of_reply(reply, paid=False)
        if failed is None:
            return reply.answered_at
        if failed.code == 401:  # noqa: PLR2004 - the page's own number
            raise KeyRefused(str(failed))
        told = reply.envelope is not None and reply.envelope.code is not None
        doubtful = (
            reply.status in failure.REDIRECTION
            or failed.code in failure.FAULT
            or failed.code in _LEAVE_THE_KEY_IN_DOUBT
        )
        # A web server that is not the gateway also answers 404, but not in the gateway's form.
        if doubtful or not told:
            raise failed
        return reply.answered_at

    async def balance_micros(self) -> int | None:
        """Ask what the account holds, in millionths of a US dollar; free.

        It takes no turn at the limiter, and a connection of its own, so that no call that keeps a
        voice waits for it.

        Returns:
            None where the gateway does not tell: the call is not on the page, and may be gone.

        Raises:
            CallFailed: the gateway was not reached, or answered what leaves it open.
        """
        reply, _ = await self._send("GET", "apikeys/current-balance", fresh=True)
        failed = failure.of_reply(reply, paid=False)
        if failed is not None and failed.code != 404:  # noqa: PLR2004 - HTTP's number
            raise failed
        told = reply.envelope if failed is None else None
        return told.amount_micros if told is not None else None

    def _data(self, reply: failure.Reply, *, paid: bool) -> dict[str, Any]:
        failed = failure.of_reply(reply, paid=paid)
        if failed is not None:
            raise failed
        return reply.envelope.data if reply.envelope is not None else {}

    def _route_to(self, base_url: str, api_key: str, timeout: float) -> _Route:
        if not (api_key.isascii() and api_key.isprintable() and api_key.split() == [api_key]):
            raise KeyRefused(
                "the API key is empty, or holds a space or a character that no HTTP header can "
                "carry; check the file or variable it comes from"
            )
        address = Address.read(base_url)
        steps = dict.fromkeys(("pool", "write", "read"), timeout)
        return _Route(
            address=address,
            headers=[
                (b"Host", address.authority),
                *_HEADERS,
                (b"Authorization", b"Bearer " + api_key.encode("ascii")),
            ],
            secret=Secrets([api_key], mark="[API key]"),
            timeout=timeout,
            steps={"connect": failure.connect_timeout(timeout), **steps},
            connections=Connections(address, make=self._line),
        )

    async def _ask(self, task_id: str, model: str) -> tuple[failure.Reply, Secrets]:
        return await self._call("GET", "statusTask", model, task_id=task_id)

    async def _call(
        self,
        method: str,
        endpoint: str,
        model: str,
        *,
        task_id: str | None = None,
        body: dict[str, Any] | None = None,
        fresh: bool = False,
        on_turn: OnTurn | None = None,
    ) -> tuple[failure.Reply, Secrets]:
        """Make one call in its turn; return what `_send` does."""
        async with self._limiter.turn():
            return await self._send(
                method, endpoint, model, task_id=task_id, body=body, fresh=fresh, on_turn=on_turn
            )

    async def _send(
        self,
        method: str,
        endpoint: str,
        model: str | None = None,
        *,
        task_id: str | None = None,
        body: dict[str, Any] | None = None,
        fresh: bool = False,
        on_turn: OnTurn | None = None,
    ) -> tuple[failure.Reply, Secrets]:
        """Make one call now.

        Returns:
            Any answer whose head came whole, whatever it says; and the key it was sent with, which
            must not come out again.
        """
        if self._closed:
            raise _closed()
        route = self._route
        try:
            target = f"/{endpoint}"
            if model is not None:
                target += f"/{quote(model, safe='')}"
            if task_id is not None:
                target += f"?taskId={quote(task_id, safe='')}"
            request = route.request(method, target, _written(body))
        except ValueError:
            request = None
        if request is None:
            raise failure.of_no_unicode()
        line = route.connections.take(fresh=fresh)
        outcome: failure.Reply | CallFailed | None = None
        try:
            if on_turn is not None:
                await on_turn()
                if self._closed:
                    raise _closed()
            outcome = await self._outcome(route, line, request, paid=body is not None)
        finally:
            again = not fresh and isinstance(outcome, failure.Reply)
            route.connections.give_back(line, again=again)
        # Raised only here: inside an except block it would carry the library's exception as its
        # context, whose text may quote a header.
        if isinstance(outcome, CallFailed):
            raise outcome
        return outcome, route.secret

    async def _outcome(
        self, route: _Route, line: Line, request: httpcore.Request, *, paid: bool
    ) -> failure.Reply | CallFailed:
        try:
            return await self._exchange(route, line, request)
        except Exception as error:  # noqa: BLE001 - what an HTTP stack raises has no one root
            if failure.is_of_trust(error):
                route.connections.renew()
            return failure.of_error(
                error, host=route.address.host, timeout=route.timeout, paid=paid
            )

    async def _exchange(
        self, route: _Route, line: Line, request: httpcore.Request
    ) -> failure.Reply:
        status, headers, body = 0, _NO_HEADERS, b""
        try:
            async with asyncio.timeout(failure.whole_timeout(route.timeout)):
                head = await line.handle_async_request(request)
                status, headers = head.status, _read_headers(head)
                try:
                    body = await _read_body(head, headers)
                finally:
                    await head.aclose()
        except Exception:
            # A refusal is one even if its words are cut short.
            if not status or status in failure.SUCCESS:
                raise
        answered_at = http_date.parse(headers.get(b"date"))
        envelope = wire.read_envelope(body, secret=route.secret)
        is_page = envelope is None and status not in failure.SUCCESS
        return failure.Reply(
            status=status,
            envelope=envelope,
            page=wire.read_page(body, secret=route.secret) if is_page else None,
            retry_after=retry_after.seconds(
                headers.get(b"retry-after"), answered_at=answered_at, now=self._clock.now()
            ),
            answered_at=answered_at,
        )


def _closed() -> CallFailed:
    return CallFailed("the client of the gateway is closed; nothing was sent")


def _written(body: dict[str, Any] | None) -> bytes | None:
    return None if body is None else _ENCODER.encode(body).encode()


def _read_headers(head: httpcore.Response) -> dict[bytes, str]:
    """Return the header fields by their names in small letters; several of a name are joined."""
    headers: dict[bytes, str] = {}
    for raw, value in head.headers:
        name, text = raw.lower(), value.decode("latin-1")
        headers[name] = f"{headers[name]}, {text}" if name in headers else text
    return headers


async def _read_body(head: httpcore.Response, headers: dict[bytes, str]) -> bytes:
    body = bytearray()
    async for chunk in cast("AsyncIterable[bytes]", head.stream):
        body += chunk
        if len(body) > _BODY_MOST:
            raise failure.BodyTooLarge
    coding = headers.get(b"content-encoding", "").strip().lower()
    return bytes(body) if coding in ("", "identity") else _unpacked(bytes(body), coding)


def _unpacked(body: bytes, coding: str) -> bytes:
    """Return a body that was packed although nobody asked for that; never more than a bound."""
    if coding not in ("gzip", "x-gzip", "deflate"):
        raise failure.BodyUnreadable
    unpacking = zlib.decompressobj(wbits=zlib.MAX_WBITS | _GZIP_OR_ZLIB)
    try:
        unpacked = unpacking.decompress(body, _BODY_MOST)
    except zlib.error:
        raise failure.BodyUnreadable from None
    if unpacking.unconsumed_tail:
        raise failure.BodyTooLarge
    return unpacked
