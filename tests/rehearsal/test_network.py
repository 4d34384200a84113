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
from voicekeeper.daemon import wiring
from voicekeeper.errors import CallFailed
from voicekeeper.rehearsal import faults
from voicekeeper.rehearsal.clock import HostClock, VirtualLoop
from voicekeeper.rehearsal.faults import Period
from voicekeeper.rehearsal.network import CODES, FAIL_CODES, FAULTS, KEY, Call, Network
from voicekeeper.rehearsal.simulation import BEGINNING
from voicekeeper.sandbox import Answer, Gateway

OURS = "id-anna"
SPEECH = Speech(OURS, "Hello.", "mp3")
CLONE = Clone("anna", "https://example.com/a.wav")

FEW, MANY = 3, 40
"""Calls enough to see what always happens, and what happens sometimes."""


class Onlooker:
    """Sees what reaches the gateway, and remembers it."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, int | None]] = []

    def posted(self, call: Call) -> None:
        self.seen.append(("posted", call.kind, None))

    def reached(self, call: Call) -> None:
        self.seen.append(("reached", call.kind, None))

    def answered(self, call: Call, answer: Answer) -> None:
        self.seen.append(("answered", call.kind, answer.code))

    def delivered(self, call: Call, answer: Answer) -> None:
        self.seen.append(("delivered", call.kind, answer.code))


class Line:
    """A client, a gateway with one voice of ours, and the way between them."""

    def __init__(self, seed: int = 0) -> None:
        settings = Settings()
        upstream = settings.upstream._replace(
            base_url="http://rehearsed.invalid", requests_per_second=1000
        )
        settings = settings._replace(upstream=upstream)
        self.loop = VirtualLoop()
        self.clock = HostClock(self.loop, BEGINNING)
        self.gateway = Gateway(random.Random(seed))
        self.gateway.import_voice(OURS, FLASH, BEGINNING)
        self.timeline = ChangingFaults()
        self.onlooker = Onlooker()
        self.notes: list[str] = []
        self.steps = 0
        self.network = Network(
            self.gateway,
            clock=self.clock,
            timeline=self.timeline,
            rng=random.Random(seed),
            watcher=self.onlooker,
            note=self.notes.append,
            step=self._step,
        )
        self.client = wiring.gateway(settings, SecretStr(KEY), self.clock, transport=self.network)

    def _step(self) -> None:
        self.steps += 1

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
        """Return what is told of a task."""
        assert isinstance(accepted, Accepted)
        if fault is not None:
            self.timeline.next_faults.append(fault)
        report: Report = self.run(self.client.status(accepted.task_id, FLASH))
        return report

    def later(self) -> None:
        """Let an hour pass, in which every task ends."""
        self.run(asyncio.sleep(3600))

    @property
    def done(self) -> int:
        """How many speech tasks the gateway accepted, and charged."""
        return self.gateway.books(self.clock.true).speech

    @property
    def uses(self) -> int:
        return self.gateway.book(OURS, self.clock.true).uses


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
    assert sorted([*REFUSALS, *SILENT, *ACCEPTED, *WITH_A_TIME]) == sorted(FAULTS)
    assert len(set(FAULTS)) == len(FAULTS)


def test_without_a_fault_the_work_is_done_and_told(line: Line) -> None:
    accepted = line.submit()
    line.later()
    assert line.status(accepted).state == "success"
    assert (line.done, line.uses) == (1, 1)
    assert not line.network.struck


@pytest.mark.parametrize("fault", REFUSALS)
def test_a_code_reaches_the_client_and_leaves_a_doubt_only_when_it_is_5xx(
    line: Line, fault: str
) -> None:
    code = int(fault.rpartition("-")[2])
    calls = MANY if code >= 500 else FEW
    answers = [line.submit(fault) for _ in range(calls)]
    assert all(isinstance(a, CallFailed) and a.code == code for a in answers)
    assert {a.ambiguous for a in answers if isinstance(a, CallFailed)} == {code >= 500}
    assert (0 < line.done < calls) if code >= 500 else line.done == 0
    assert line.network.struck == {fault: calls}


@pytest.mark.parametrize("fault", WITH_A_TIME)
def test_a_429_tells_when_to_come_again(line: Line, fault: str) -> None:
    answer = line.submit(fault)
    assert isinstance(answer, CallFailed)
    assert (answer.code, answer.ambiguous, line.done) == (429, False, 0)
    assert answer.retry_after is not None
    assert 0 <= answer.retry_after <= 7200


@pytest.mark.parametrize(
    ("fault", "words", "doubtful", "always_done"),
    [
        ("refused", "could not reach the gateway at rehearsed.invalid", False, False),
        ("reset-before", "the connection to the gateway", True, False),
        ("reset-after", "closed the connection", True, True),
        ("truncated", "closed the connection", True, True),
        ("garbage", "not with its JSON", True, True),
        ("html", "not with its JSON", True, False),
    ],
)
def test_silence_and_nonsense_leave_a_doubt_unless_nothing_was_sent(
    line: Line, fault: str, words: str, *, doubtful: bool, always_done: bool
) -> None:
    answers = [line.submit(fault) for _ in range(FEW)]
    for answer in answers:
        assert isinstance(answer, CallFailed)
        assert (answer.code, answer.ambiguous) == (None, doubtful)
        assert words in str(answer)
    assert line.done == (FEW if always_done else 0)


def test_a_hang_lasts_as_long_as_the_client_s_patience_and_the_work_may_be_done(
    line: Line,
) -> None:
    answers = [line.submit("hang") for _ in range(MANY)]
    assert all(isinstance(a, CallFailed) and a.ambiguous for a in answers)
    assert all("within 30 s" in str(a) for a in answers)
    assert 30 * MANY <= line.loop.time() <= 31 * MANY
    assert 0 < line.done < MANY


@pytest.mark.parametrize("state", ["pending", "processing"])
def test_a_stuck_task_is_accepted_and_never_ends(line: Line, state: str) -> None:
    accepted = line.submit(f"stuck-{state}")
    line.later()
    assert line.status(accepted).state == state
    assert (line.done, line.uses) == (1, 0)


def test_a_forgotten_task_uses_its_voice_and_is_never_told_of(line: Line) -> None:
    accepted = line.submit("forgotten")
    line.later()
    with pytest.raises(CallFailed) as failed:
        line.status(accepted)
    assert failed.value.code == 404
    assert (line.done, line.uses) == (1, 1)


@pytest.mark.parametrize("code", FAIL_CODES)
def test_a_doomed_task_is_accepted_charged_and_fails_with_its_code(line: Line, code: str) -> None:
    accepted = line.submit(f"task-{code}")
    line.later()
    report = line.status(accepted)
    assert (report.state, report.fail_code) == ("failed", code)
    assert (line.done, line.uses) == (1, 0)


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_strikes_a_poll_too_or_is_one_of_tasks_and_spares_it(
    line: Line, fault: str
) -> None:
    accepted = line.submit()
    line.later()
    before = line.gateway.books(line.clock.true)
    if fault in ACCEPTED:
        assert line.status(accepted, fault).state == "success"
        assert not line.network.struck
    else:
        with pytest.raises(CallFailed) as failed:
            line.status(accepted, fault)
        assert not failed.value.ambiguous
        assert line.network.struck == {fault: 1}
    after = line.gateway.books(line.clock.true)
    assert (after.speech, after.cost_micros) == (before.speech, before.cost_micros)


@pytest.mark.parametrize("fault", ["reset-after", "truncated", "garbage", "forgotten"])
def test_an_enrollment_whose_answer_is_lost_is_made_and_charged(line: Line, fault: str) -> None:
    line.submit(fault, CLONE)
    assert line.gateway.books(line.clock.true).clone == 1


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (faults.KEY_REFUSED, 401),
        (faults.BALANCE_EMPTY, 402),
        (faults.FORBIDDEN, 403),
    ],
)
def test_under_an_account_s_fault_every_submission_is_refused(
    line: Line, kind: str, code: int
) -> None:
    accepted = line.submit()
    line.timeline.begin(Period(kind, timedelta(0), 2 * HOUR))
    answers = [line.submit(request=request) for request in (SPEECH, CLONE) for _ in range(FEW)]
    assert {a.code for a in answers if isinstance(a, CallFailed)} == {code}
    assert line.done == 1
    if kind == faults.BALANCE_EMPTY:  # asking is free
        assert line.status(accepted).state in ("pending", "processing", "success")


def test_in_an_outage_every_call_fails(line: Line) -> None:
    line.timeline.begin(Period(faults.OUTAGE, timedelta(0), 100 * HOUR))
    answers = [line.submit() for _ in range(MANY)]
    assert all(isinstance(answer, CallFailed) for answer in answers)
    assert len(line.network.struck) > 3


def test_another_account_knows_the_built_in_voices_and_none_of_ours(line: Line) -> None:
    line.timeline.begin(Period(faults.WRONG_ACCOUNT, timedelta(0), 2 * HOUR))
    ours = [line.submit() for _ in range(MANY)]
    built_in = line.submit(request=Speech("longanyang", "Hello.", "mp3"))
    line.later()
    for answer in ours:
        if isinstance(answer, Accepted):
            assert line.status(answer).fail_code == "VALIDATION_ERROR"
        else:
            assert answer.code == 400
    assert {type(answer) for answer in ours} == {Accepted, CallFailed}
    assert line.uses == 0
    assert line.status(built_in).state == "success"


def test_the_onlooker_sees_a_submission_on_its_whole_way(line: Line) -> None:
    line.submit()
    line.submit("reset-after")
    line.submit("refused")
    assert line.onlooker.seen == [
        ("posted", "speech", None),
        ("reached", "speech", None),
        ("answered", "speech", 200),
        ("delivered", "speech", 200),
        ("posted", "speech", None),
        ("reached", "speech", None),
        ("answered", "speech", 200),
        ("posted", "speech", None),
    ]


def test_how_each_call_ended_is_noted(line: Line) -> None:
    line.submit()
    line.submit("refused")
    line.submit("http-503")
    assert line.notes == [f"speech {OURS} 200", f"speech {OURS} refused", f"speech {OURS} http-503"]


def test_a_process_may_die_before_a_call_and_after_its_answer(line: Line) -> None:
    line.submit()
    assert line.steps == 2
    line.submit("refused")
    assert line.steps == 3


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
        done.append(line.done)
    assert set(done) == {0, 1}
