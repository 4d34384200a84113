"""One contract for both gateways of the tests: the one in the process, and the one on sockets.

What the keeper's tests build on with the first holds for the real client and server too.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import pytest

from tests.gateway.support import client
from tests.support import MINUTE, NOW, SECOND, FakeClock, SandboxUpstream
from voicekeeper.core.outcome import Report
from voicekeeper.core.requests import CONTROL_VOICE, FLASH, Clone, Design, Request, Speech
from voicekeeper.errors import CallFailed, Withdrawn
from voicekeeper.gateway import GatewayPort
from voicekeeper.sandbox import Books, Gateway, SandboxServer

SPEECH = Speech(CONTROL_VOICE, "Hello.")
CLONE = Clone("demo01", "https://example.com/a.wav")
DESIGN = Design("demo02", "Warm.", "Hello.")
NOBODY = Speech("cosyvoice-v3-flash-nobody", "Hello.")

TROUBLE = {
    "429:retry-after=7@submit": CallFailed("busy", code=429, retry_after=7),
    "402@submit": CallFailed("empty", code=402),
    "500@submit": CallFailed("broken", code=500, ambiguous=True),
    "body-502@submit": CallFailed("broken behind", code=502, ambiguous=True),
    "lost@submit": CallFailed("no answer", ambiguous=True),
    "500@status": CallFailed("broken", code=500),
    "drop@status": CallFailed("no answer"),
}
"""Each fault of the server, and what the keeper is to make of it."""


@dataclass(frozen=True, slots=True)
class Visit:
    """A gateway, the way to it, and its truth."""

    upstream: GatewayPort
    books: Callable[[], Books]
    clock: FakeClock

    async def submit(self, request: Request, model: str = FLASH) -> str:
        """Submit, and return the task's id."""
        return (await self.upstream.submit(request, model)).task_id

    async def end(self, request: Request, model: str = FLASH) -> Report:
        """Submit, and return how the task ended."""
        task_id = await self.submit(request, model)
        self.clock.advance(5 * MINUTE)
        return await self.upstream.status(task_id, model)


Talk = Callable[[Visit], Coroutine[Any, Any, None]]
Door = Callable[..., None]


def in_process(talk: Talk, *, fault: str | None = None, **options: Any) -> None:  # noqa: ANN401
    """Talk to a gateway in the same process."""
    gateway, clock = Gateway(**options), FakeClock()
    upstream = SandboxUpstream(gateway, clock)
    if fault is not None:
        struck = fault.partition("@")[2]
        upstream.trouble = lambda call: TROUBLE[fault] if call.kind == struck else None
    asyncio.run(talk(Visit(upstream, lambda: gateway.books(clock.true), clock)))


def over_sockets(talk: Talk, *, fault: str | None = None, **options: Any) -> None:  # noqa: ANN401
    """Talk to a gateway behind a port, through the real client."""
    clock = FakeClock()
    faults = [] if fault is None else [fault]
    with SandboxServer(Gateway(**options), clock=clock, faults=faults) as server:

        async def connected() -> None:
            async with client(server.base_url, key="key") as ours:
                await talk(Visit(ours, server.books, clock))

        asyncio.run(connected())


@pytest.fixture(params=[in_process, over_sockets], ids=["in-process", "sockets"])
def door(request: pytest.FixtureRequest) -> Door:
    way: Door = request.param
    return way


# tasks and their ends


def test_a_speech_task_is_charged_at_once_and_ends_in_success(door: Door) -> None:
    async def talk(visit: Visit) -> None:
        task_id = await visit.submit(SPEECH)
        assert (visit.books().speech, visit.books().cost_micros) == (1, 60)
        first = await visit.upstream.status(task_id, FLASH)
        assert first.state in ("pending", "processing")
        assert (first.voice_id, first.completed_at, first.result_urls) == (None, None, ())
        visit.clock.advance(31 * SECOND)
        last = await visit.upstream.status(task_id, FLASH)
        assert (last.state, last.fail_code) == ("success", None)
        assert last.result_urls[0].endswith(".mp3")
        assert first.created_at == last.created_at == NOW
        assert last.completed_at is not None
        assert last.completed_at > NOW
        assert last.answered_at == visit.clock.true

    door(talk)


@pytest.mark.parametrize("request_", [CLONE, DESIGN], ids=["clone", "design"])
def test_an_enrollment_shows_the_voice_while_it_deploys(door: Door, request_: Request) -> None:
    async def talk(visit: Visit) -> None:
        task_id = await visit.submit(request_)
        visit.clock.advance(29 * SECOND)
        deploying = await visit.upstream.status(task_id, FLASH)
        assert (deploying.state, deploying.voice_status) == ("processing", "DEPLOYING")
        visit.clock.advance(5 * MINUTE)
        deployed = await visit.upstream.status(task_id, FLASH)
        assert (deployed.state, deployed.voice_status) == ("success", "OK")
        assert deployed.voice_id == deploying.voice_id
        assert deployed.voice_id in visit.books().voices
        spoken = await visit.end(Speech(deployed.voice_id or "", "Hello."))
        assert spoken.state == "success"
        assert visit.books().voices[deployed.voice_id or ""].uses == 1

    door(talk)


@pytest.mark.parametrize(
    ("prefix", "fail_code", "voice_status"),
    [
        ("reject1", "UNDEPLOYED", "UNDEPLOYED"),
        ("slow1", "TASK_TIMEOUT", "DEPLOYING"),
        ("fail1", "UpstreamError", None),
    ],
)
def test_a_task_that_fails_says_how_and_one_that_never_was_is_not_found(
    door: Door, prefix: str, fail_code: str, voice_status: str | None
) -> None:
    async def talk(visit: Visit) -> None:
        report = await visit.end(Clone(prefix, "https://example.com/a.wav"))
        assert (report.state, report.fail_code) == ("failed", fail_code)
        assert report.voice_status == voice_status
        assert (report.voice_id is None) is (voice_status is None)
        assert report.fail_message
        assert visit.books().clone == 1
        assert (await visit.end(NOBODY)).fail_code == "VALIDATION_ERROR"
        with pytest.raises(CallFailed) as refused:
            await visit.upstream.status("task_nobody", FLASH)
        assert failure(refused.value) == (404, None, False)

    door(talk)


# refusals and other trouble


def failure(awaited: CallFailed) -> tuple[int | None, float | None, bool]:
    return awaited.code, awaited.retry_after, awaited.ambiguous


@pytest.mark.parametrize(
    ("options", "asked", "model", "code"),
    [
        ({"unknown_voice": "http"}, NOBODY, FLASH, 400),
        ({}, SPEECH, "another-model", 403),
        ({"key": "another"}, CLONE, FLASH, 401),
        ({"balance_micros": 10}, CLONE, FLASH, 402),
    ],
)
def test_a_refusal_is_no_doubt_and_costs_nothing(
    door: Door, options: dict[str, Any], asked: Request, model: str, code: int
) -> None:
    async def talk(visit: Visit) -> None:
        with pytest.raises(CallFailed) as refused:
            await visit.submit(asked, model)
        assert failure(refused.value) == (code, None, False)
        assert visit.books().cost_micros == 0
        assert visit.books().refused == {code: 1}

    door(talk, **options)


@pytest.mark.parametrize("fault", [fault for fault in TROUBLE if fault.endswith("@submit")])
def test_a_submission_that_fails_says_whether_it_may_have_been_done(door: Door, fault: str) -> None:
    async def talk(visit: Visit) -> None:
        for asked in (SPEECH, CLONE):
            with pytest.raises(CallFailed) as failed:
                await visit.submit(asked)
            assert failure(failed.value) == failure(TROUBLE[fault])
        if not failed.value.ambiguous:
            assert visit.books().cost_micros == 0
        if fault.startswith("lost"):
            assert visit.books().speech == visit.books().clone == 1

    door(talk, fault=fault)


@pytest.mark.parametrize("fault", [fault for fault in TROUBLE if fault.endswith("@status")])
def test_a_poll_that_fails_leaves_no_doubt(door: Door, fault: str) -> None:
    async def talk(visit: Visit) -> None:
        task_id = await visit.submit(CLONE)
        with pytest.raises(CallFailed) as failed:
            await visit.upstream.status(task_id, FLASH)
        assert failure(failed.value) == failure(TROUBLE[fault])

    door(talk, fault=fault)


# the turn of a call


def test_what_is_to_run_on_a_calls_turn_runs_before_the_gateway_hears_of_it(door: Door) -> None:
    async def talk(visit: Visit) -> None:
        charged = []

        async def on_turn() -> None:
            charged.append(visit.books().clone)

        await visit.upstream.submit(CLONE, FLASH, on_turn=on_turn)
        assert charged == [0]
        assert visit.books().clone == 1

    door(talk)


def test_a_call_withdrawn_on_its_turn_is_never_made(door: Door) -> None:
    async def talk(visit: Visit) -> None:
        async def on_turn() -> None:
            raise Withdrawn("wanted no more")

        with pytest.raises(Withdrawn):
            await visit.upstream.submit(CLONE, FLASH, on_turn=on_turn)
        assert visit.books().clone == 0
        assert (await visit.end(CLONE)).voice_status == "OK"  # and the next one may go

    door(talk)
