"""The network between the client that ships and the gateway, where single calls fail.

======================  ===================================================  =============
fault                   what the client meets                                work done?
======================  ===================================================  =============
``http-CODE``           that status, with a JSON body                        5xx: sometimes
``body-CODE``           HTTP 200 with that ``code`` in the JSON body         5xx: sometimes
``429-retry-after``     429 with ``Retry-After`` in seconds; ``-date`` too   no
``refused``             no connection                                        no
``reset-before``        the connection breaks                                no
``reset-after``         the connection breaks                                yes
``hang``                no answer until the client's patience ends           sometimes
``truncated``           half an answer                                       yes
``garbage``             HTTP 200 with bytes that are no JSON                 yes
``html``                HTTP 200 with a page for people                      no
``stuck-pending``       the task is accepted and never begins                no
``stuck-processing``    the task is accepted and never ends                  no
``forgotten``           the task is accepted, done, and answered 404         yes
``task-CODE``           the task is accepted and fails with this fail code   no
======================  ===================================================  =============
"""

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from email.utils import format_datetime
from typing import Final, NoReturn, cast
from urllib.parse import unquote

from voicekeeper.gateway.http_client import httpx
from voicekeeper.rehearsal import faults
from voicekeeper.rehearsal.clock import HostClock
from voicekeeper.rehearsal.faults import Timeline
from voicekeeper.rehearsal.invariants import Invariants
from voicekeeper.rehearsal.invariants.evidence import Call
from voicekeeper.sandbox import Answer, Gateway, Stuck

KEY: Final = "rehearsal"

CODES: Final = (400, 401, 402, 403, 404, 429, 500, 502, 503, 504)
FAIL_CODES: Final = ("GENERATION_FAILED", "INSUFFICIENT_CREDITS", "TASK_TIMEOUT", "X_UNHEARD_OF")
FAULTS: Final = (
    *(f"http-{code}" for code in CODES),
    *(f"body-{code}" for code in CODES),
    *("429-retry-after", "429-retry-after-date"),
    *("refused", "reset-before", "reset-after", "hang", "truncated", "garbage", "html"),
    *("stuck-pending", "stuck-processing", "forgotten"),
    *(f"task-{code}" for code in FAIL_CODES),
)
"""Every fault that strikes a single call."""

_OUTAGE = ("refused", "http-500", "http-502", "http-503", "http-504", "hang", "html")
_REFUSALS = {
    faults.KEY_REFUSED: "http-401",
    faults.FORBIDDEN: "http-403",
    faults.BALANCE_EMPTY: "http-402",
}
_OF_TASKS = ("task-", "stuck-", "forgotten")
"""The beginnings of faults that strike no poll."""
_REFUSED_AND_DONE = 0.2
_HANGING_AND_DONE = 0.5
_CUT_AND_DONE = 0.5
"""The share of 5xx answers, hanging calls, and calls of a process that dies whose work is done."""


class _Half(httpx.AsyncByteStream):
    """A body that breaks off."""

    def __init__(self, whole: bytes) -> None:
        self._half = whole[: len(whole) // 2]

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._half
        raise httpx.RemoteProtocolError("truncated")


class Network(httpx.AsyncBaseTransport):
    """A transport that leads to a `Gateway`; any number of clients may use it at once.

    Args:
        watcher: sees each submission, and each answer.
        note: writes to the trace how each call ended.
        step: called at each moment at which a process may die.
    """

    def __init__(
        self,
        gateway: Gateway,
        *,
        clock: HostClock,
        timeline: Timeline,
        rng: random.Random,
        watcher: Invariants,
        note: Callable[[str], None],
        step: Callable[[], None],
    ) -> None:
        self._gateway = gateway
        self._clock = clock
        self._timeline = timeline
        self._rng = rng
        self._watcher = watcher
        self._note = note
        self._step = step
        self._on_the_way: dict[int, Call] = {}
        self.struck: Counter[str] = Counter()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer one request, or fail as a network fails."""
        self._step()
        call = _read(request.url.raw_path, request.content)
        fault = self._fault(call)
        if fault is not None:
            self.struck[fault] += 1
        if call.kind != "status":
            self._watcher.posted(call)
        self._on_the_way[id(call)] = call
        try:
            response = await self._answer(call, fault, request)
        except httpx.TransportError:
            self._note(f"{call.kind} {call.subject} {fault}")
            raise
        finally:
            self._on_the_way.pop(id(call), None)
        self._note(f"{call.kind} {call.subject} {fault or response.status_code}")
        self._step()
        return response

    def cut(self) -> None:
        """Let the host vanish: half of its calls arrive all the same."""
        on_the_way, self._on_the_way = self._on_the_way, {}
        for call in on_the_way.values():
            if not call.answered and self._rng.random() < _CUT_AND_DONE:
                self._ask(call)

    def _fault(self, call: Call) -> str | None:
        """Return the fault that strikes a call, or None."""
        fault = self._of_the_periods(call)
        if fault is None:
            fault = self._timeline.fault(self._clock.true, self._rng.random())
        if fault is not None and call.kind == "status" and fault.startswith(_OF_TASKS):
            return None
        return fault

    def _of_the_periods(self, call: Call) -> str | None:
        """Return the fault that strikes every such call now, or None."""
        periods = self._timeline.at(self._clock.true)
        if faults.OUTAGE in periods:
            return self._rng.choice(_OUTAGE)
        for kind, refusal in _REFUSALS.items():
            if kind in periods and not (kind == faults.BALANCE_EMPTY and call.kind == "status"):
                return refusal
        is_ours = call.kind == "speech" and call.subject in self._gateway.voice_ids()
        if is_ours and faults.WRONG_ACCOUNT in periods:
            return self._rng.choice(("http-400", "task-VALIDATION_ERROR"))
        return None

    async def _answer(
        self, call: Call, fault: str | None, request: httpx.Request
    ) -> httpx.Response:
        if fault == "refused":
            raise httpx.ConnectError("refused") from ConnectionRefusedError(111, "refused")
        await asyncio.sleep(0.05 + 0.4 * self._rng.random())
        match (fault or "").split("-", 1):
            case ["reset" | "hang", *_]:
                await self._lose(call, fault, request)
            case ["429", *form]:
                return self._refusal(is_date=form[0].endswith("date"))
            case ["http" | "body" as place, code]:
                return self._code(call, int(code), in_body=place == "body")
            case ["html"]:
                return self._response(200, b"<!doctype html><title>Maintenance</title>")
        return self._done(call, fault or "")

    def _done(self, call: Call, fault: str) -> httpx.Response:
        """Answer a call whose work is done; some answers cannot be read."""
        kind, _, detail = fault.partition("-")
        doom = detail if kind == "task" else None
        stuck = cast("Stuck", detail) if kind == "stuck" else None
        answer = self._ask(call, doom=doom, stuck=stuck)
        match kind:
            case "truncated":
                return self._response(200, _Half(json.dumps(answer.body()).encode()))
            case "garbage":
                return self._response(200, b"\x00\xff\x00garbage")
            case "forgotten" if answer.data is not None:
                self._gateway.forget_task(answer.data["taskId"])
        self._watcher.delivered(call, answer)
        return self._json(answer.code, answer)

    async def _lose(self, call: Call, fault: str | None, request: httpx.Request) -> NoReturn:
        """End a call without an answer."""
        if fault == "reset-before":
            raise httpx.ReadError("reset")
        if fault == "reset-after":
            self._ask(call)
            raise httpx.RemoteProtocolError("reset")
        if self._rng.random() < _HANGING_AND_DONE:
            self._ask(call)
        read_s = request.extensions["timeout"]["read"]  # httpx leaves it to us
        if read_s is None:  # until the client leaves
            await asyncio.get_running_loop().create_future()
        await asyncio.sleep(read_s)
        raise httpx.ReadTimeout("hang")

    def _refusal(self, *, is_date: bool) -> httpx.Response:
        """Return 429 with ``Retry-After``."""
        seconds = self._rng.randint(1, 7200)
        later = format_datetime(self._clock.true + timedelta(seconds=seconds), usegmt=True)
        response = self._json(429, Answer(429, "Too many requests."))
        response.headers["Retry-After"] = later if is_date else str(seconds)
        return response

    def _code(self, call: Call, code: int, *, in_body: bool) -> httpx.Response:
        """Refuse a call; behind some refusals by 5xx the work is done."""
        if code >= 500 and self._rng.random() < _REFUSED_AND_DONE:  # noqa: PLR2004 - HTTP's
            self._ask(call)
        answer = Answer(code, "Struck by order.")
        self._watcher.delivered(call, answer)
        return self._json(200 if in_body else code, answer)

    def _ask(self, call: Call, *, doom: str | None = None, stuck: Stuck | None = None) -> Answer:
        """Have the gateway do the work."""
        call.answered = True
        now = self._clock.true
        if call.kind == "status":
            return self._gateway.status(call.model, call.subject, now, KEY)
        self._watcher.reached(call)
        answer = self._gateway.generate(call.model, call.body, now, KEY, doom=doom, stuck=stuck)
        self._watcher.answered(call, answer)
        return answer

    def _json(self, status: int, answer: Answer) -> httpx.Response:
        return self._response(status, json.dumps(answer.body()).encode())

    def _response(self, status: int, content: bytes | _Half) -> httpx.Response:
        stream = httpx.ByteStream(content) if isinstance(content, bytes) else content
        date = format_datetime(self._clock.true, usegmt=True)
        return httpx.Response(status, headers={"Date": date}, stream=stream)


def _read(target: bytes, body: bytes) -> Call:
    path, _, query = target.decode("ascii").partition("?")
    *_, endpoint, model = path.split("/")
    if endpoint == "statusTask":
        return Call("status", model, unquote(query.removeprefix("taskId=")), None)
    order = json.loads(body)
    asked = order["input"]
    return Call(asked["mode"], model, asked.get("voice") or asked["prefix"], order)
