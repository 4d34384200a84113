"""Distorted answers of the gateway, through the real HTTP parser, the client and the rules.

Each example is one answer that the sandbox gave, distorted on its way, to one call for a voice
that stands anywhere. What it may change is held against a plain reading of the answer: a voice
is used, lost or paid for only by what the answer literally says. The full numbers::

    pytest -m campaign -n 0 tests/gateway/test_fuzz_answers.py
"""

import asyncio
import gzip
import json
import random
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.distortion import HEADERS, charsets, distorted, mangled, opened, written
from tests.examples import DAY, HOUR, NOW, POLICY, SECOND, enrollment, keepalive, new_voice, voice
from tests.gateway.support import outcome as outcome_of
from tests.gateway.support import upstream
from tests.support import CLONE, FakeClock
from voicekeeper.core import outcome, transitions
from voicekeeper.core.models import Kind, Status, Task, TaskState, Voice
from voicekeeper.core.outcome import Accepted, Culprit, Report
from voicekeeper.core.requests import CONTROL_VOICE, Clone, Request, Speech
from voicekeeper.core.secret import SecretStr
from voicekeeper.core.transitions import Transition
from voicekeeper.core.transitions import keepalive as keepalive_rules
from voicekeeper.errors import CallFailed, KeyRefused
from voicekeeper.gateway import GatewayClient, failure, reply
from voicekeeper.sandbox import Answer, Gateway

KEY = "sk-0123456789abcdef"
MODEL = "cosyvoice-3-flash"
ID = "cosyvoice-v3-flash-anna"

CAMPAIGN = [pytest.mark.campaign, pytest.mark.timeout(3600)]

# What the gateway says, undistorted


@dataclass(frozen=True, slots=True)
class Said:
    """The sandbox's answer to a call that makes a task of a kind, or polls it."""

    kind: Kind
    polls: bool
    answer: Answer


def _body(request: Request) -> dict[str, Any]:
    return {"request_type": "async", "input": request.body()}


def _polled(gateway: Gateway, kind: Kind, request: Request) -> Iterator[Said]:
    accepted = gateway.generate(MODEL, _body(request), NOW, KEY)
    yield Said(kind, polls=False, answer=accepted)
    for seconds in (0, 6, 31, 40, 181):
        at = NOW + seconds * SECOND
        yield Said(kind, polls=True, answer=gateway.status(MODEL, accepted.data["taskId"], at, KEY))


def _refusals(kind: Kind, request: Request) -> Iterator[Said]:
    strict = Gateway(key=KEY, balance_micros=0, unknown_voice="http")
    refused = [
        strict.generate(MODEL, _body(request), NOW, "another"),
        strict.generate("other", _body(request), NOW, KEY),
        strict.generate(MODEL, {}, NOW, KEY),
        *(Answer(code, "Struck.") for code in (400, 402, 404, 422, 429, 500, 502, 503, 504)),
    ]
    for answer in refused:
        yield Said(kind, polls=False, answer=answer)
        yield Said(kind, polls=True, answer=answer)
    yield Said(kind, polls=True, answer=strict.status(MODEL, "task_0", NOW, KEY))


def _worked() -> Iterator[Said]:
    gateway = Gateway(random.Random(0))
    gateway.import_voice(ID, MODEL, NOW)
    taken = gateway.generate(MODEL, _body(Clone("reject01", CLONE["audio_url"])), NOW, KEY)
    settled = gateway.status(MODEL, taken.data["taskId"], NOW + HOUR, KEY)
    for spoken in (ID, "id-gone", settled.data["voice_id"]):
        yield from _polled(gateway, Kind.KEEPALIVE, Speech(spoken, "Hello."))
    for prefix in ("demo01", "reject02", "slow01", "fail01"):
        yield from _polled(gateway, Kind.CLONE, Clone(prefix, CLONE["audio_url"]))
    yield from _polled(gateway, Kind.CONTROL, Speech(CONTROL_VOICE, "Hello."))
    yield from _polled(gateway, Kind.CONTROL, Speech("id-gone", "Hello."))


def _refused() -> Iterator[Said]:
    yield from _refusals(Kind.KEEPALIVE, Speech("id-gone", "Hello."))
    yield from _refusals(Kind.CLONE, Clone("demo01", CLONE["audio_url"]))
    yield from _refusals(Kind.CONTROL, Speech(CONTROL_VOICE, "Hello."))


SAID = st.one_of(*[st.sampled_from([*_worked()])] * 3, st.sampled_from([*_refused()]))


# How it arrives


@dataclass(frozen=True, slots=True)
class Arrived:
    """An answer as it came over the wire.

    Attributes:
        status: the HTTP status that was sent.
        body: the body that was sent, before any coding.
        wire: every byte, from the status line on.
        is_mangled: whether the bytes on the wire were changed at the last, so that what
            `status` and `body` say is no more than likely.
    """

    status: int
    body: bytes
    wire: bytes
    is_mangled: bool = False

    def may_say(self, field: str, *words: str) -> bool:
        """Tell whether ``data`` holds one of the words in a field, by a plain reading."""
        if self.is_mangled:
            return any(word.encode() in self._bytes() for word in words)
        return 200 <= self.status < 300 and _member(_member(self._json(), "data"), field) in words

    def may_have_code(self, codes: Iterable[int]) -> bool:
        """Tell whether one of the codes is the answer's, by a plain reading."""
        if self.is_mangled:
            told = {int(code) for code in re.findall(rb"\d{3}", self._bytes())}
        elif 200 <= self.status < 300:
            told = _numbers(_member(self._json(), "code"))
        else:
            told = {self.status}
        return not told.isdisjoint(codes)

    def _bytes(self) -> bytes:
        return (self.wire + self.body).replace(b"\0", b"")  # UTF-16 and UTF-32 become plain

    def _json(self) -> object:
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


def _member(value: object, name: str) -> object:
    return value.get(name) if isinstance(value, dict) else None


def _numbers(value: object) -> set[int]:
    try:
        return {int(float(value))}  # type: ignore[arg-type]  # what is no number, raises
    except (TypeError, ValueError, OverflowError):
        return set()


_STATUSES = st.sampled_from(
    [
        *(200, 201, 202, 204, 206, 299, 100, 101, 103, 300, 302, 304, 400, 401, 402, 403, 404),
        *(408, 409, 422, 425, 429, 451, 499, 500, 501, 502, 503, 504, 520, 599, 600, 999),
    ]
)
_OFTEN_NONE = st.sampled_from([0, 0, 1, 1, 2])
_DECISIVE = ("success", "failed", "UNDEPLOYED", "VALIDATION_ERROR")
_INSTEAD = st.sampled_from(
    [KEY, "Success", "FAILED", "undeployed", "UNDEPLOYED ", "VALIDATIONERROR"]
)
_SELDOM = st.sampled_from([False] * 9 + [True])


@st.composite
def arrivals(draw: st.DrawFn, said: Said) -> Arrived:
    """Return an answer as it may arrive: at times sound, mostly distorted somewhere."""
    tree = opened(said.answer.body())
    for _ in range(draw(_OFTEN_NONE)):
        tree = draw(distorted(tree))
    text = written(tree)
    decisive = [word for word in _DECISIVE if word in text]
    if decisive and draw(st.integers(0, 4)) == 0:
        text = text.replace(draw(st.sampled_from(decisive)), draw(_INSTEAD))
    body = draw(charsets(text))
    if draw(_SELDOM):
        body = draw(mangled(body))
    status = draw(_STATUSES if draw(_SELDOM) else st.sampled_from([said.answer.code, 200]))
    headers = draw(st.lists(HEADERS, max_size=draw(_OFTEN_NONE)))
    if draw(st.booleans()):
        headers = headers or [b"Date: Fri, 01 May 2026 12:00:00 GMT"]
    coded, coding = draw(_coded(body)) if draw(_SELDOM) else (body, b"")
    headers += [b"Content-Encoding: " + coding] if coding else []
    if not draw(_SELDOM):
        headers.append(b"Content-Length: %d" % len(coded))
    wire = b"\r\n".join([b"HTTP/1.1 %d Told" % status, *headers, b"", coded])
    if draw(_SELDOM):
        return Arrived(status, body, draw(mangled(wire)), is_mangled=True)
    return Arrived(status, body, wire)


@st.composite
def _coded(draw: st.DrawFn, body: bytes) -> tuple[bytes, bytes]:
    """Return a body under a content coding that may be broken, and the coding's name."""
    packed = gzip.compress(body, mtime=0)
    bomb = gzip.compress(b" " * 3_000_000 + body, 1, mtime=0)
    gzipped = (packed, packed[: len(packed) // 2], packed[:-4] + b"\0\0\0\0", bomb, body)
    others = (
        (gzip.compress(packed, mtime=0), b"gzip, gzip"),
        (zlib.compress(body), b"deflate"),
        (zlib.compress(body)[2:-4], b"deflate"),
        (packed, b"identity"),
    )
    return draw(st.sampled_from([*((each, b"gzip") for each in gzipped), *others]))


class Gate:
    """The client before a server on loopback that answers every call the same."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self._runner = runner
        self._arrives = b""
        self._server = runner.run(self._serve())

    async def _serve(self) -> asyncio.Server:
        return await asyncio.start_server(self._answer, "127.0.0.1", 0)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        _, _, rest = head.lower().partition(b"content-length: ")
        await reader.readexactly(int(rest.split(b"\r\n")[0] or 0))
        writer.write(self._arrives)
        writer.close()

    def call(self, said: Said, arrived: Arrived) -> Accepted | Report | CallFailed:
        """Make the call that the answer is for; anything but `CallFailed` is raised."""
        self._arrives = arrived.wire
        answer: Accepted | Report | CallFailed = self._runner.run(outcome_of(self._call(said)))
        return answer

    def _client(self) -> GatewayClient:
        port = self._server.sockets[0].getsockname()[1]
        there = upstream(f"http://127.0.0.1:{port}/api/v1", requests_per_second=1e9)
        return GatewayClient(there, SecretStr(KEY), clock=FakeClock(NOW))

    async def _call(self, said: Said) -> Accepted | Report:
        async with self._client() as client:
            if said.polls:
                return await client.status((said.answer.data or {}).get("taskId", "t"), MODEL)
            if said.kind is Kind.CLONE:
                return await client.submit(Clone(**CLONE), MODEL)
            return await client.submit(Speech(ID, "Hello."), MODEL)

    def check(self, arrived: Arrived) -> CallFailed | KeyRefused | None:
        """Ask whether the key is taken; anything but these two errors is raised."""
        self._arrives = arrived.wire
        try:
            self._runner.run(self._check())
        except (CallFailed, KeyRefused) as failed:
            return failed
        return None

    async def _check(self) -> None:
        async with self._client() as client:
            await client.check_key()

    async def close(self) -> None:
        self._server.close()
        await self._server.wait_closed()


@contextmanager
def gates() -> Iterator[Gate]:
    with asyncio.Runner() as runner:
        gate = Gate(runner)
        try:
            yield gate
        finally:
            runner.run(gate.close())


# Whom it is about, and what it changes


@dataclass(frozen=True, slots=True)
class Case:
    """An answer to a call for a voice that stands somewhere.

    Attributes:
        row: the voice; None for a control call.
        is_cleared: whether a control call worked between an earlier blame and this call.
    """

    said: Said
    arrived: Arrived
    row: Voice | None
    task: Task
    is_cleared: bool = False


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Return any answer to any call."""
    said = draw(SAID)
    arrived = draw(arrivals(said))
    sent_at = NOW - draw(st.sampled_from([SECOND, 30 * SECOND, 2 * HOUR]))
    state = TaskState.RUNNING if said.polls else TaskState.INTENT
    columns: dict[str, Any] = {"sent_at": sent_at, "state": state, "kind": said.kind}
    if not said.polls:
        columns |= {"task_id": None, "next_poll_at": None}
    if said.kind is Kind.CONTROL:
        return Case(said, arrived, None, keepalive(voice_pk=None, spoken=CONTROL_VOICE, **columns))
    if said.kind is Kind.CLONE:
        status = Status.DEPLOYING if said.polls else Status.NEW
        row = new_voice(status=status, voice_id=draw(st.sampled_from([None, None, ID])))
        return Case(said, arrived, row, enrollment(**columns))
    suspected, controlled = draw(
        st.sampled_from([(False, None), (True, None), (True, SECOND), (True, -SECOND)])
    )
    used_at = NOW - draw(st.sampled_from([3, 6, 8])) * DAY
    row = voice(
        status=draw(st.sampled_from([Status.OK, Status.NEW, Status.DEPLOYING, Status.LOST])),
        paused=draw(st.sampled_from([False, False, True])),
        last_used_at=used_at,
        anchored_at=used_at,
        suspected_at=sent_at - HOUR if suspected else None,
        controlled_at=None if controlled is None else sent_at + controlled,
        failures=draw(st.sampled_from([0, 1, 7, 5_000])),
    )
    is_cleared = controlled == -SECOND
    return Case(said, arrived, row, keepalive(spoken=ID, **columns), is_cleared)


def changed(case: Case, answer: Accepted | Report | CallFailed) -> Transition:
    """Return what an answer changes, as the keeper has it judged."""
    row, task = case.row, case.task
    match answer:
        case Accepted():
            cost: dict[str, Any] = {"cost_micros": 60}
            return transitions.submitted(row, task, answer, now=NOW, policy=POLICY, **cost)
        case Report():
            return transitions.reported(row, task, answer, now=NOW, policy=POLICY)
        case CallFailed() if case.said.polls:
            fault = outcome.of_poll(answer)
            return transitions.unanswered(row, task, fault, now=NOW, policy=POLICY)
        case _:
            fault = outcome.of_submission(task.kind, answer)
            return transitions.refused(row, task, fault, now=NOW, policy=POLICY)


def judge(case: Case, answer: Accepted | Report | CallFailed, change: Transition) -> None:
    """Hold a change against what the answer literally says."""
    arrived, row = case.arrived, case.row
    _can_be_kept(answer, change)
    if row is None:
        assert change.voice == {}
        if change.success:
            assert arrived.may_say("state", "success")
        return
    told = change.voice.get("status")
    after = None if told is row.status else told
    undeployed = arrived.may_say("failCode", "UNDEPLOYED")
    undeployed |= arrived.may_say("voice_status", "UNDEPLOYED")
    if case.said.kind is Kind.CLONE:
        assert after is not Status.LOST
        if after is Status.UNDEPLOYED:
            assert case.said.polls
            assert undeployed
        _is_paid_once(case, change)
        return
    blamed = undeployed or arrived.may_say("failCode", "VALIDATION_ERROR")
    blamed |= arrived.may_say("voice_status", "VALIDATION_ERROR")
    blamed &= arrived.may_say("state", "failed")
    if not case.said.polls:
        blamed = arrived.may_have_code([400])
    if "suspected_at" in change.voice and change.voice["suspected_at"] is not None:
        assert blamed
    if after in (Status.LOST, Status.UNDEPLOYED):
        assert blamed
        assert case.is_cleared, "no control call between"
    if "last_used_at" in change.voice:
        assert arrived.may_say("state", "success")


def _is_paid_once(case: Case, change: Transition) -> None:
    """Assert that an enrollment is repeated only where the answer says that it was not made."""
    row = case.row
    assert row is not None
    repeated = change.voice.get("status", row.status) is Status.NEW
    if not case.said.polls and repeated:
        assert case.arrived.may_have_code(range(300, 500))
    if case.said.polls:
        assert not repeated


def _can_be_kept(answer: Accepted | Report | CallFailed, change: Transition) -> None:
    """Assert that every value can be stored, logged and reckoned with, and none holds the key."""
    told = [*change.voice.items(), *change.task.items()]
    told += [member for telling in change.entries for member in telling.detail.items()]
    for name, value in told:
        if isinstance(value, str):
            assert "\0" not in value
            assert KEY not in value
            assert len(value.encode()) < 20_000
        if isinstance(value, datetime):
            assert value.utcoffset() == timedelta(0)
        if isinstance(value, datetime) and name == "next_at":
            assert NOW <= value <= NOW + POLICY.interval
    if isinstance(answer, CallFailed):
        assert KEY not in str(answer)
        assert str(answer).isprintable()
        assert answer.retry_after is None or 0 <= answer.retry_after <= DAY.total_seconds()
    else:
        assert KEY not in repr(answer)


def judge_many(examples: int) -> Counter[str]:
    """Judge so many distorted answers; return how often each kind of end was reached."""
    reached: Counter[str] = Counter()

    @settings(max_examples=examples)
    @given(cases())
    def hold(case: Case) -> None:
        answer = gate.call(case.said, case.arrived)
        change = changed(case, answer)
        judge(case, answer, change)
        reached[type(answer).__name__] += 1
        if case.row is not None and change.voice.get("status", case.row.status) != case.row.status:
            reached[change.voice["status"]] += 1

    with gates() as gate:
        hold()
    print(dict(reached))  # noqa: T201 - the campaign's own account
    return reached


@pytest.mark.parametrize("examples", [250, pytest.param(100_000, marks=CAMPAIGN)])
def test_a_distorted_answer_changes_nothing_that_it_does_not_literally_say(examples: int) -> None:
    reached = judge_many(examples)
    ways = {"Accepted", "Report", "CallFailed", *set(Status) - {Status.NEW}}
    assert examples < 1_000 or reached.keys() >= ways


def _kindly(value: object, secret: str, *, read: Callable[..., str | None] = reply._word) -> object:  # noqa: SLF001
    word = read(value, secret)
    return word.strip().upper() if word and word.strip().upper() == "UNDEPLOYED" else word


@pytest.mark.campaign
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("module", "name", "broken"),
    [
        (keepalive_rules, "_is_condemned", lambda row, *_, **__: row.suspected_at is not None),
        (outcome, "_of_any", lambda _: Culprit.VOICE),
        (failure, "REFUSAL", range(400, 600)),
        (reply, "_prose", lambda value, _: value if isinstance(value, str) else None),
        (reply, "_word", _kindly),
    ],
    ids=["control call", "conservative blame", "ambiguity", "redaction", "literal words"],
)
def test_the_campaign_goes_red_without_a_safeguard(
    monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str, broken: object
) -> None:
    monkeypatch.setattr(module, name, broken)
    with pytest.raises((AssertionError, ExceptionGroup)):
        judge_many(20_000)


@pytest.mark.parametrize("examples", [50, pytest.param(10_000, marks=CAMPAIGN)])
def test_a_distorted_answer_refuses_the_key_only_where_it_says_401(examples: int) -> None:
    @settings(max_examples=examples)
    @given(cases())
    def hold(case: Case) -> None:
        refusal = gate.check(case.arrived)
        if isinstance(refusal, KeyRefused):
            assert case.arrived.may_have_code([401])
        if refusal is not None:
            assert KEY not in str(refusal)

    with gates() as gate:
        hold()
