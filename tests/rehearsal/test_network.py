"""Each fault of the way to the gateway: what the client that ships makes of it, and what was done.

Most is tried by a speech call, the one that costs money and is made again on a doubt.
"""

import asyncio
import random
from collections.abc import Coroutine, Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from tests.rehearsal.stage import HOUR, ChangingFaults
from voicekeeper.config import Settings
from voicekeeper.core.outcome import Accepted, Report
from voicekeeper.core.requests import FLASH, Clone, Request, Speech
from voicekeeper.core.secret import SecretStr
from voicekeeper.errors import CallFailed
from voicekeeper.gateway import GatewayClient
from voicekeeper.rehearsal import faults
from voicekeeper.rehearsal.clock import BEGINNING, HostClock, VirtualLoop
from voicekeeper.rehearsal.faults import Period
from voicekeeper.rehearsal.invariants import Invariants
from voicekeeper.rehearsal.invariants.evidence import Call
from voicekeeper.rehearsal.network import CODES, FAIL_CODES, FAULTS, KEY, Network
from voicekeeper.sandbox import Answer, Books, Gateway

OURS = "id-anna"
SPEECH = Speech(OURS, "Hello.", "mp3")
CLONE = Clone("anna", "https://example.com/a.wav")

FEW, MANY = 2, 40
"""Calls enough to see what always happens, and what happens sometimes."""


class Onlooker(Invariants):
    """Sees what reaches the gateway, and remembers it."""

    def __init__(self) -> None:  # what it checks is not of interest here
        self.seen: list[str] = []

    def posted(self, call: Call) -> None:
        self.seen.append(f"{call.kind} posted")

    def reached(self, call: Call) -> None:
        self.seen.append(f"{call.kind} reached")

    def answered(self, call: Call, answer: Answer) -> None:
        self.seen.append(f"{call.kind} answered {answer.code}")

    def delivered(self, call: Call, answer: Answer) -> None:
        self.seen.append(f"{call.kind} delivered {answer.code}")


class Line:
    """A client, a gateway with one voice of ours, and the way between them."""

    def __init__(self, seed: int = 0) -> None:
        settings = Settings()
        upstream = settings.upstream._replace(
            base_url="http://rehearsed.invalid", requests_per_second=1000
        )
        settings = settings._replace(upstream=upstream)
        self.loop = VirtualLoop()
        self.clock = HostClock(self.loop)
        self.gateway = Gateway(random.Random(seed))
        self.gateway.import_voice(OURS, FLASH, BEGINNING)
        self.timeline = ChangingFaults()
        self.onlooker = Onlooker()
        self.notes: list[str] = []
        self.steps: list[None] = []
        self.network = Network(
            self.gateway,
            clock=self.clock,
            timeline=self.timeline,
            rng=random.Random(seed),
            watcher=self.onlooker,
            note=self.notes.append,
            step=lambda: self.steps.append(None),
        )
        self.client = GatewayClient(
            settings.upstream, SecretStr(KEY), clock=self.clock, transport=self.network
        )

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401 - whatever it returns
        return self.loop.run_until_complete(work)

    def submit(self, fault: str | None = None, request: Request = SPEECH) -> Accepted | CallFailed:
        """Return what comes of one submission that this fault strikes."""
        if fault is not None:
            self.timeline.next_faults.append(fault)
        try:
            accepted: Accepted = self.run(self.client.submit(request, FLASH))
        except CallFailed as failed:
            return failed
        return accepted

    def status(self, accepted: Accepted | CallFailed, fault: str | None = None) -> Report:
        """Return how a task stands an hour later, when it has ended."""
        assert isinstance(accepted, Accepted)
        self.run(asyncio.sleep(3600))
        if fault is not None:
            self.timeline.next_faults.append(fault)
        report: Report = self.run(self.client.status(accepted.task_id, FLASH))
        return report

    def begin(self, kind: str) -> None:
        self.timeline.begin(Period(kind, timedelta(0), 100 * HOUR))

    @property
    def books(self) -> Books:
        return self.gateway.books(self.clock.true)

    @property
    def done(self) -> tuple[int, int]:
        """How many speech tasks the gateway accepted and charged, and how many used our voice."""
        return self.books.speech, self.books.voices[OURS].uses


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line()
    yield line
    with suppress(CallFailed):
        line.run(line.client.aclose())
    line.loop.close()


REFUSALS = [fault for fault in FAULTS if fault.endswith(tuple(map(str, CODES)))]
SILENT = ["refused", "reset-before", "reset-after", "hang", "truncated", "garbage", "html"]
ACCEPTED = [fault for fault in FAULTS if fault.startswith(("task-", "stuck-", "forgotten"))]
WITH_A_TIME = ["429-retry-after", "429-retry-after-date"]


def test_these_are_all_the_faults_there_are() -> None:
    assert sorted([*REFUSALS, *SILENT, *ACCEPTED, *WITH_A_TIME]) == sorted(set(FAULTS))


@pytest.mark.parametrize("fault", REFUSALS)
def test_a_code_reaches_the_client_and_leaves_a_doubt_only_when_it_is_5xx(
    line: Line, fault: str
) -> None:
    code = int(fault.rpartition("-")[2])
    calls = MANY if code >= 500 else FEW
    answers = [line.submit(fault) for _ in range(calls)]
    assert all(isinstance(a, CallFailed) and a.code == code for a in answers)
    assert {a.ambiguous for a in answers if isinstance(a, CallFailed)} == {code >= 500}
    assert (0 < line.books.speech < calls) if code >= 500 else line.books.speech == 0
    assert line.network.struck == {fault: calls}


@pytest.mark.parametrize("fault", WITH_A_TIME)
def test_a_429_names_the_time_to_come_again(line: Line, fault: str) -> None:
    answer = line.submit(fault)
    assert isinstance(answer, CallFailed)
    assert (answer.code, answer.ambiguous, line.books.speech) == (429, False, 0)
    assert answer.retry_after is not None
    assert 0 <= answer.retry_after <= 7200


@pytest.mark.parametrize(
    ("fault", "words", "doubtful", "done"),
    [
        ("refused", "could not reach the gateway at rehearsed.invalid", False, 0),
        ("reset-before", "the connection to the gateway", True, 0),
        ("reset-after", "closed the connection", True, FEW),
        ("truncated", "closed the connection", True, FEW),
        ("garbage", "not with its JSON", True, FEW),
        ("html", "not with its JSON", True, 0),
    ],
)
def test_silence_and_nonsense_leave_a_doubt_unless_nothing_was_sent(
    line: Line, fault: str, words: str, *, doubtful: bool, done: int
) -> None:
    for _ in range(FEW):
        answer = line.submit(fault)
        assert isinstance(answer, CallFailed)
        assert (answer.code, answer.ambiguous) == (None, doubtful)
        assert words in str(answer)
    assert line.books.speech == done


def test_a_hang_lasts_as_long_as_the_client_s_timeout_and_the_work_may_be_done(line: Line) -> None:
    answers = [line.submit("hang") for _ in range(MANY)]
    assert all(isinstance(a, CallFailed) and a.ambiguous for a in answers)
    assert all("within 30 s" in str(a) for a in answers)
    assert 30 * MANY <= line.loop.time() <= 31 * MANY
    assert 0 < line.books.speech < MANY


@pytest.mark.parametrize(
    ("fault", "state", "fail_code", "uses"),
    [
        (None, "success", None, 1),
        ("stuck-pending", "pending", None, 0),
        ("stuck-processing", "processing", None, 0),
        *((f"task-{code}", "failed", code, 0) for code in FAIL_CODES),
    ],
)
def test_an_accepted_task_is_charged_and_ends_as_its_fault_wants(
    line: Line, fault: str | None, state: str, fail_code: str | None, uses: int
) -> None:
    report = line.status(line.submit(fault))
    assert (report.state, report.fail_code) == (state, fail_code)
    assert line.done == (1, uses)


def test_a_forgotten_task_uses_its_voice_and_is_unknown_from_then_on(line: Line) -> None:
    with pytest.raises(CallFailed) as failed:
        line.status(line.submit("forgotten"))
    assert failed.value.code == 404
    assert line.done == (1, 1)


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_strikes_a_poll_too_or_is_one_of_tasks_and_spares_it(
    line: Line, fault: str
) -> None:
    accepted = line.submit()
    before = line.books
    if fault in ACCEPTED:
        assert line.status(accepted, fault).state == "success"
        assert not line.network.struck
    else:
        with pytest.raises(CallFailed) as failed:
            line.status(accepted, fault)
        assert not failed.value.ambiguous
        assert line.network.struck == {fault: 1}
    assert (line.books.speech, line.books.cost_micros) == (before.speech, before.cost_micros)


@pytest.mark.parametrize("fault", ["reset-after", "truncated", "garbage", "forgotten"])
def test_an_enrollment_whose_answer_is_lost_is_made_and_charged(line: Line, fault: str) -> None:
    line.submit(fault, CLONE)
    assert line.books.clone == 1


@pytest.mark.parametrize(
    ("kind", "code"),
    [(faults.KEY_REFUSED, 401), (faults.BALANCE_EMPTY, 402), (faults.FORBIDDEN, 403)],
)
def test_under_an_account_s_fault_every_submission_is_refused(
    line: Line, kind: str, code: int
) -> None:
    accepted = line.submit()
    line.begin(kind)
    answers = [line.submit(request=request) for request in (SPEECH, CLONE) for _ in range(FEW)]
    assert {a.code for a in answers if isinstance(a, CallFailed)} == {code}
    assert line.books.speech == 1
    if kind == faults.BALANCE_EMPTY:  # a poll is free
        assert line.status(accepted).state == "success"


def test_in_an_outage_every_call_fails(line: Line) -> None:
    line.begin(faults.OUTAGE)
    answers = [line.submit() for _ in range(MANY)]
    assert all(isinstance(answer, CallFailed) for answer in answers)
    assert len(line.network.struck) > 3


def test_another_account_knows_the_built_in_voices_and_none_of_ours(line: Line) -> None:
    line.begin(faults.WRONG_ACCOUNT)
    ours = [line.submit() for _ in range(FEW * 4)]
    for answer in ours:
        if isinstance(answer, Accepted):
            assert line.status(answer).fail_code == "VALIDATION_ERROR"
        else:
            assert answer.code == 400
    assert {type(answer) for answer in ours} == {Accepted, CallFailed}
    assert line.done[1] == 0
    built_in = line.submit(request=Speech("longanyang", "Hello.", "mp3"))
    assert line.status(built_in).state == "success"


def test_a_submission_is_seen_on_its_whole_way_and_its_end_is_noted(line: Line) -> None:
    """A process may die before each call and after each answer."""
    whole = ["posted", "reached", "answered 200", "delivered 200"]
    for fault, seen, note, steps in (
        (None, whole, "200", 2),
        ("reset-after", whole[:3], "reset-after", 1),
        ("refused", whole[:1], "refused", 1),
        ("http-403", [whole[0], "delivered 403"], "http-403", 2),
    ):
        for watched in (line.onlooker.seen, line.notes, line.steps):
            watched.clear()
        line.submit(fault)
        assert line.onlooker.seen == [f"speech {what}" for what in seen]
        assert line.notes == [f"speech {OURS} {note}"]
        assert len(line.steps) == steps


@pytest.mark.parametrize("cut_after_s", [0.01, 10.0])
def test_a_host_that_vanishes_leaves_some_calls_to_arrive_and_none_twice(
    cut_after_s: float,
) -> None:
    done: list[int] = []
    for seed in range(20):
        line = Line(seed)
        line.timeline.next_faults.append("hang")

        async def vanish(line: Line = line) -> None:
            call = asyncio.ensure_future(line.client.submit(SPEECH, FLASH))
            await asyncio.sleep(cut_after_s)
            line.network.cut()
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
            await line.client.aclose()

        line.run(vanish())
        line.loop.close()
        done.append(line.books.speech)
    assert set(done) == {0, 1}
