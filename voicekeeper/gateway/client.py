"""The HTTP client of the gateway's two endpoints (page section *Endpoint and authentication*).

And of a third that is not on the page: the account's balance.

It makes one call for one question and never repeats one: when and whether to try again is the
keeper's to decide, from what `CallFailed` carries.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from datetime import datetime
from functools import partial
from ssl import SSLCertVerificationError
from types import TracebackType
from typing import Any, Protocol, Self
from urllib.parse import quote

from voicekeeper.config.settings import Upstream
from voicekeeper.core.clock import Clock
from voicekeeper.core.outcome import Accepted, Report
from voicekeeper.core.requests import FLASH, Request, Speech
from voicekeeper.core.secret import SecretStr
from voicekeeper.errors import CallFailed, KeyRefused
from voicekeeper.gateway import failure
from voicekeeper.gateway.connections import Connections, Route
from voicekeeper.gateway.http_client import httpx, root_cause
from voicekeeper.gateway.limiter import Limiter
from voicekeeper.gateway.reply import Reply, read_body, read_reply, read_report, read_task_id

OnTurn = Callable[[], Awaitable[None]]
"""Run when a call's turn has come, just before its first byte; if it raises, nothing is sent."""

_MADE_UP_TASK = "voicekeeper-check"
_LEAVE_THE_KEY_IN_DOUBT = (402, 403, 429)

_THAW_S = 1.0
"""What a call's limit is exceeded by, in case the process was frozen."""

_quoted = partial(quote, safe="")


class GatewayPort(Protocol):
    """What a keeper asks of a gateway; `GatewayClient` says what each call returns and raises."""

    async def submit(
        self,
        request: Request,
        model: str,
        *,
        on_turn: OnTurn | None = None,
        callback_url: str | None = None,
    ) -> Accepted:
        """Start a task; this is what costs money."""

    async def status(self, task_id: str, model: str) -> Report:
        """Ask how a task stands; free."""

    async def balance_micros(self) -> int | None:
        """Ask what the account holds; free."""


class GatewayClient:
    """A `GatewayPort` over HTTP. Use it as an async context manager, or call `aclose`.

    Args:
        upstream: where the gateway is, and how hard it may be used. The timeout is for each of
            connecting (10 s at most), sending, and waiting for an answer; one call takes twice
            that at most, waiting for its turn not counted.
        clock: paces the calls, and dates an answer that does not date itself.
        transport: in place of the network, for a rehearsal.

    Raises:
        ConfigError: ``base_url`` cannot be called, or the environment names a proxy or
            certificates that cannot be used.
    """

    def __init__(
        self,
        upstream: Upstream,
        api_key: SecretStr,
        *,
        clock: Clock,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._clock = clock
        self._transport = transport
        self._connections = Connections(Route.to(upstream, api_key, transport))
        self._limiter = Limiter(
            requests_per_second=upstream.requests_per_second,
            max_in_flight=upstream.max_in_flight,
            clock=clock,
        )

    def change(self, upstream: Upstream, api_key: SecretStr) -> None:
        """Use other settings from the next call on, one that waits for its turn included.

        A call that is under way ends as it began, and its connection is closed after it.

        Raises:
            ConfigError: as at the start; the old settings stay.
        """
        self._connections.change(Route.to(upstream, api_key, self._transport))
        self._limiter.change(
            requests_per_second=upstream.requests_per_second, max_in_flight=upstream.max_in_flight
        )

    def __repr__(self) -> str:
        return f"<GatewayClient of {self._connections.route.host}>"

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
            on_turn: what it raises is raised here, and nothing is sent.
            callback_url: what the gateway calls when the task has ended.

        Raises:
            CallFailed: no task id came back; the task may exist all the same if ``ambiguous``.
        """
        delivery = {"request_type": "async"}
        if callback_url is not None:
            delivery = {"request_type": "callback", "callback_url": callback_url}
        body = {**delivery, "input": request.body()}
        is_enrollment = not isinstance(request, Speech)
        async with self._limiter.turn():
            reply = await self._send(
                f"generateTask/{_quoted(model)}", body=body, fresh=is_enrollment, on_turn=on_turn
            )
        if failed := failure.of_reply(reply, paid=True):
            raise failed
        task_id = read_task_id(reply.data, secret=reply.secret)
        if task_id is None:
            raise CallFailed("the gateway accepted the task but gave no taskId", ambiguous=True)
        return Accepted(task_id)

    async def status(self, task_id: str, model: str) -> Report:
        """Ask ``statusTask`` how a task stands; free.

        Raises:
            CallFailed: no report came back; never ``ambiguous``, because asking changes nothing.
        """
        reply = await self._ask(task_id, model)
        if failed := failure.of_reply(reply, paid=False):
            raise failed
        if read_task_id(reply.data, secret=reply.secret) not in (None, task_id):
            raise CallFailed("the gateway answered for another task than the one asked for")
        report = read_report(reply.data, answered_at=reply.answered_at, secret=reply.secret)
        if report is None:
            raise CallFailed("the gateway answered 200 but named no state of the task")
        return report

    async def check_key(self) -> datetime | None:
        """Find out whether the gateway takes the key, by asking for a task that never was.

        It costs nothing. An answer that blames the request (400, 404 or a code of the gateway's
        own) means that the key was taken. Returns the answer's ``Date``.

        Raises:
            KeyRefused: the gateway answered 401.
            CallFailed: the gateway was not reached, is not at ``base_url``, or answered what
                leaves the key in doubt: 402, 403, 429, 5xx.
        """
        reply = await self._ask(_MADE_UP_TASK, FLASH)
        failed = failure.of_reply(reply, paid=False)
        if failed is None:
            return reply.answered_at
        if failed.code == 401:  # noqa: PLR2004 - the page's own number
            raise KeyRefused(str(failed))
        doubtful = (
            reply.status in failure.REDIRECTION
            or failed.code in failure.FAULT
            or failed.code in _LEAVE_THE_KEY_IN_DOUBT
        )
        # A web server that is not the gateway also answers 404, but not in the gateway's form.
        if doubtful or reply.body_code is None:
            raise failed
        return reply.answered_at

    async def balance_micros(self) -> int | None:
        """Ask what the account holds, in millionths of a US dollar; free.

        It takes no turn at the limiter, and a connection of its own, so that no call that keeps a
        voice waits for it. None where the call is gone, which is not on the page.

        Raises:
            CallFailed: the gateway was not reached, or answered what leaves it open.
        """
        reply = await self._send("apikeys/current-balance", fresh=True)
        failed = failure.of_reply(reply, paid=False)
        if failed is None:
            return reply.amount_micros
        if failed.code == 404:  # noqa: PLR2004 - HTTP's number
            return None
        raise failed

    async def _ask(self, task_id: str, model: str) -> Reply:
        async with self._limiter.turn():
            return await self._send(f"statusTask/{_quoted(model)}?taskId={_quoted(task_id)}")

    async def _send(
        self,
        target: str,
        *,
        body: dict[str, Any] | None = None,
        fresh: bool = False,
        on_turn: OnTurn | None = None,
    ) -> Reply:
        """Make one call now: a POST where it has a body, which is paid for, else a GET."""
        if on_turn is not None and not self._connections.is_closed:
            await on_turn()
        if self._connections.is_closed:
            raise CallFailed("the client of the gateway is closed; nothing was sent")
        route = self._connections.route
        request, response, content, failed = None, None, b"", None
        try:
            with self._connections.lend(fresh=fresh) as client:
                method = "GET" if body is None else "POST"
                request = client.build_request(method, f"{route.url}/{target}", json=body)

                async def exchange() -> None:
                    nonlocal response, content
                    response = await client.send(request, stream=True)
                    try:
                        content = await read_body(response)
                    finally:
                        await response.aclose()

                limit_s = failure.whole_timeout(route.timeout)
                if fresh and body is not None:  # an enrollment, which is never repeated
                    request.extensions["timeout"]["read"] = None
                    await _patiently(exchange(), limit_s)
                else:
                    async with asyncio.timeout(limit_s):
                        await exchange()
        except Exception as error:  # noqa: BLE001 - what an HTTP stack raises has no one root
            paid = body is not None and request is not None
            failed = failure.of_error(error, host=route.host, timeout=route.timeout, paid=paid)
            is_old = route is not self._connections.route
            if isinstance(root_cause(error), SSLCertVerificationError) and not is_old:
                self._connections.change(route.with_current_authorities())
        # Raised only here: inside the except block it would carry the library's exception as its
        # context, whose text may quote a header. A refusal is one even if its words are cut short.
        if failed is not None and (response is None or response.is_success):
            raise failed
        assert response is not None  # noqa: S101 - there is an answer or a failure
        return read_reply(response, content, secret=route.secret, now=self._clock.now())


async def _patiently(call: Coroutine[Any, Any, None], limit_s: float) -> None:
    """Await a call so many seconds, and a moment more.

    In a process that was frozen its timers are over before it reads what has come meanwhile.

    Raises:
        TimeoutError: it has not ended.
    """
    task = asyncio.ensure_future(call)
    try:
        for wait_s in (limit_s, _THAW_S):
            await asyncio.wait({task}, timeout=wait_s)
            if task.done():
                return task.result()
        raise TimeoutError
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
