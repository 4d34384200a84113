"""The HTTP client of the gateway's two endpoints (page section *Endpoint and authentication*).

And of a third that is not on the page: the account's balance.

It makes one call for one question and never repeats one: when and whether to try again is the
keeper's to decide, who is told by `CallFailed` all it needs for that.
"""

import asyncio
import json
from contextlib import suppress
from datetime import datetime
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from voicekeeper.core.clock import Clock
from voicekeeper.core.outcome import Accepted, Report
from voicekeeper.core.requests import FLASH, Request, Speech
from voicekeeper.core.secrecy import Secrets
from voicekeeper.errors import CallFailed, ConfigError, KeyRefused
from voicekeeper.gateway import failure, wire
from voicekeeper.gateway.connections import Connections, Route
from voicekeeper.gateway.http_client import httpx
from voicekeeper.gateway.limiter import Limiter
from voicekeeper.gateway.port import OnTurn
from voicekeeper.gateway.reply import Reply, read_body, read_reply

_MADE_UP_TASK = "voicekeeper-check"

_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))

_LEAVE_THE_KEY_IN_DOUBT = (402, 403, 429)


class GatewayClient:
    """A `GatewayPort` over HTTP. Use it as an async context manager, or call `aclose`.

    Args:
        base_url: such as ``https://api.apixo.ai/api/v1``.
        api_key: goes into the ``Authorization`` header and nowhere else.
        timeout: seconds for each of connecting (10 at most), sending, and waiting for an answer;
            one call takes twice that at most, waiting for its turn not counted.
        requests_per_second: the client's own limit.
        max_in_flight: calls at once.
        clock: paces the calls, and dates an answer that does not date itself.
        transport: in place of the network, for a rehearsal and for tests of pure logic.

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
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._clock = clock
        self._transport = transport
        self._is_closed = False
        self._route = Route.to(base_url, api_key, timeout, transport=transport)
        self._connections = Connections(self._route.clients())
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
        route = Route.to(base_url, api_key, timeout, transport=self._transport)
        self._connections.change(route.clients())
        self._route = route
        self._limiter.change(requests_per_second=requests_per_second, max_in_flight=max_in_flight)

    def __repr__(self) -> str:
        return f"<GatewayClient of {self._route.url.host}>"

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
        """Close every connection, one in use after its call; a later call sends nothing."""
        self._is_closed = True
        await self._connections.aclose()

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
        async with self._limiter.turn():
            reply, secret = await self._send(
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
        if wire.read_task_id(data, secret=secret) not in (None, task_id):
            raise CallFailed("the gateway answered for another task than the one asked for")
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
        reply, _ = await self._send("GET", "apikeys", "current-balance", fresh=True)
        failed = failure.of_reply(reply, paid=False)
        if failed is not None and failed.code != 404:  # noqa: PLR2004 - HTTP's number
            raise failed
        if failed is not None or reply.envelope is None:
            return None
        return reply.envelope.amount_micros

    def _data(self, reply: Reply, *, paid: bool) -> dict[str, Any]:
        failed = failure.of_reply(reply, paid=paid)
        if failed is not None:
            raise failed
        return reply.envelope.data if reply.envelope is not None else {}

    async def _ask(self, task_id: str, model: str) -> tuple[Reply, Secrets]:
        async with self._limiter.turn():
            return await self._send("GET", "statusTask", model, task_id=task_id)

    async def _send(
        self,
        method: str,
        *path: str,
        task_id: str | None = None,
        body: dict[str, Any] | None = None,
        fresh: bool = False,
        on_turn: OnTurn | None = None,
    ) -> tuple[Reply, Secrets]:
        """Make one call now.

        Returns:
            Any answer whose head came whole, whatever it says; and the key it was sent with, which
            must not come out again.
        """
        try:
            content = None if body is None else _ENCODER.encode(body).encode()
            target = "/".join(quote(step, safe="") for step in path)
            if task_id is not None:
                target += f"?taskId={quote(task_id, safe='')}"
        except ValueError:
            # Not raised from it: that one quotes what was to be sent.
            content = target = None
        if target is None:
            raise CallFailed(
                "could not call the gateway: its request holds text that is no Unicode"
            )
        if on_turn is not None and not self._is_closed:
            await on_turn()
        if self._is_closed:
            raise CallFailed("the client of the gateway is closed; nothing was sent")
        route = self._route
        outcome = await self._outcome(route, method, target, content, fresh=fresh)
        # Raised only here: inside an except block it would carry the library's exception as its
        # context, whose text may quote a header.
        if isinstance(outcome, CallFailed):
            raise outcome
        return outcome, route.secret

    async def _outcome(
        self, route: Route, method: str, target: str, content: bytes | None, *, fresh: bool
    ) -> Reply | CallFailed:
        request, response, body = None, None, b""
        url = f"{str(route.url).rstrip('/')}/{target}"
        try:
            with self._connections.lend(fresh=fresh) as client:
                request = client.build_request(method, url, content=content)
                async with asyncio.timeout(failure.whole_timeout(route.timeout)):
                    response = await client.send(request, stream=True)
                    try:
                        body = await read_body(response)
                    finally:
                        await response.aclose()
        except Exception as error:  # noqa: BLE001 - what an HTTP stack raises has no one root
            # A refusal is one even if its words are cut short.
            if response is None or response.is_success:
                if failure.is_of_trust(error):
                    self._trust_anew(route)
                return failure.of_error(
                    error,
                    host=route.url.host,
                    timeout=route.timeout,
                    paid=content is not None and request is not None,
                )
        return read_reply(response, body, secret=route.secret, now=self._clock.now())

    def _trust_anew(self, route: Route) -> None:
        """Trust what is to be trusted now: over years, authorities are replaced."""
        if route is self._route:
            with suppress(ConfigError):  # what was trusted so far may do
                self._connections.change(route.clients())
