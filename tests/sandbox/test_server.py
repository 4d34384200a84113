"""The sandbox over real sockets: its calls, and every fault as a client meets it."""

import json
import socket
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from voicekeeper.errors import InvalidInput, VoicekeeperError
from voicekeeper.sandbox import Gateway, SandboxServer
from voicekeeper.sandbox.app import ErrorStyle

FLASH = "cosyvoice-3-flash"
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
SPEECH = {"mode": "speech", "voice": "longanlang_v3", "prompt": "Hi."}
INSTANT = (timedelta(0), timedelta(0))


class SetClock:
    """A clock that a test sets by hand."""

    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return 0.0


def sandbox(
    gateway: Gateway | None = None, faults: Iterable[str] = (), error_style: ErrorStyle = "http"
) -> SandboxServer:
    gateway = gateway or Gateway(speech_time=INSTANT, enrollment_time=INSTANT)
    return SandboxServer(gateway, clock=SetClock(), faults=faults, error_style=error_style)


def submit(server: SandboxServer, asked: object = SPEECH, timeout: float = 30) -> httpx.Response:
    return httpx.post(
        f"{server.base_url}/generateTask/{FLASH}",
        headers={"Authorization": "Bearer any"},
        json={"request_type": "async", "input": asked},
        timeout=timeout,
        trust_env=False,
    )


def call(server: SandboxServer, method: str, path: str, body: object = None) -> httpx.Response:
    """Make a control call, or one of the gateway's without a body."""
    headers = {"Authorization": "Bearer any"}
    return httpx.request(
        method, server.url + path, json=body, headers=headers, trust_env=False, timeout=30
    )


def status(server: SandboxServer, task_id: str) -> httpx.Response:
    return call(server, "GET", f"/api/v1/statusTask/{FLASH}?taskId={task_id}")


def test_a_task_is_submitted_and_polled_over_http() -> None:
    with sandbox() as server:
        answer = submit(server)
        assert answer.status_code == 200
        assert answer.json()["code"] == 200
        done = status(server, answer.json()["data"]["taskId"]).json()
        balance = call(server, "GET", "/api/v1/apikeys/current-balance")
        books = server.books()
    assert done["data"]["state"] == "success"
    assert balance.json() == {"code": 200, "message": "success", "data": 74.87}
    assert (books.speech, books.polls, books.cost_micros) == (1, 1, 30)


def test_the_date_header_tells_the_gateways_clock_and_not_the_hosts() -> None:
    with sandbox() as server:
        assert submit(server).headers["date"] == "Fri, 01 May 2026 12:00:00 GMT"


@pytest.mark.parametrize(("style", "http_status"), [("http", 400), ("body", 200)])
def test_a_refusal_shows_its_code_in_either_style(style: ErrorStyle, http_status: int) -> None:
    with sandbox(error_style=style) as server:
        answer = submit(server, {"mode": "sing"})
    assert answer.status_code == http_status
    assert answer.json()["code"] == 400


@pytest.mark.parametrize(
    ("token", "kind", "content", "code"),
    [
        ("Basic YTpi", "application/json", b"{}", 401),
        ("Bearer any", "text/plain", json.dumps({"request_type": "async", "input": SPEECH}), 400),
        ("Bearer any", "application/json", b"{", 400),
        ("Bearer any", "application/json", b"\xff", 400),
    ],
)
def test_a_call_with_the_wrong_headers_or_no_json_is_refused(
    token: str, kind: str, content: bytes, code: int
) -> None:
    headers = {"Authorization": token, "Content-Type": kind}
    with sandbox() as server:
        url = f"{server.base_url}/generateTask/{FLASH}"
        answer = httpx.post(url, headers=headers, content=content, trust_env=False)
    assert (answer.status_code, answer.json()["code"]) == (code, code)


@pytest.mark.parametrize(
    ("fault", "http_status", "code"), [("500", 500, 500), ("402", 402, 402), ("body-502", 200, 502)]
)
def test_a_refusing_fault_refuses_before_the_work(fault: str, http_status: int, code: int) -> None:
    with sandbox(faults=[fault]) as server:
        answer = submit(server)
        assert server.books().speech == 0
        assert server.struck() == {fault: 1}
    assert (answer.status_code, answer.json()["code"]) == (http_status, code)


@pytest.mark.parametrize(
    ("fault", "header"),
    [
        ("429:retry-after=2", "2"),
        ("429:retry-after-date=60", "Fri, 01 May 2026 12:01:00 GMT"),
        ("429", None),
    ],
)
def test_a_refusal_asks_to_wait_in_either_form_or_not_at_all(
    fault: str, header: str | None
) -> None:
    with sandbox(faults=[fault]) as server:
        assert submit(server).headers.get("retry-after") == header


@pytest.mark.parametrize(("fault", "done"), [("drop", 0), ("lost", 1)])
def test_a_broken_connection_gives_no_answer_before_or_after_the_work(
    fault: str, done: int
) -> None:
    with sandbox(faults=[fault]) as server:
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            submit(server)
        assert server.books().speech == done


def test_a_truncated_answer_promises_more_than_it_brings() -> None:
    with sandbox(faults=["truncated"]) as server:
        with pytest.raises(httpx.RemoteProtocolError, match="without sending complete"):
            submit(server)
        assert server.books().speech == 1


@pytest.mark.parametrize(("fault", "done"), [("garbage", 1), ("html", 0)])
def test_an_answer_that_is_no_json_comes_under_200(fault: str, done: int) -> None:
    with sandbox(faults=[fault]) as server:
        answer = submit(server)
        assert server.books().speech == done
    assert answer.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        answer.json()


def test_a_hanging_call_ends_when_the_client_leaves() -> None:
    with sandbox(faults=["hang@submit"]) as server:
        with pytest.raises(httpx.ReadTimeout):
            submit(server, timeout=0.2)
        assert server.books().speech == 0
        assert status(server, "task_1").status_code == 404


def test_stopping_breaks_a_hanging_call_and_frees_the_port() -> None:
    server = sandbox(faults=["hang"])
    with ThreadPoolExecutor() as client:
        with server:
            waiting = client.submit(submit, server, timeout=60)
            _until(lambda: server.struck() == {"hang": 1})
        assert isinstance(waiting.exception(30), httpx.RemoteProtocolError | httpx.ReadError)
    with pytest.raises(httpx.ConnectError):
        submit(server)


def test_a_stopped_server_starts_again_on_the_same_port_with_the_same_books() -> None:
    server = sandbox()
    with server:
        first = server.base_url
        submit(server)
    with server:
        assert server.base_url == first
        assert submit(server).status_code == 200
        assert server.books().speech == 2


def test_a_task_can_be_made_to_fail() -> None:
    with sandbox(faults=["task-UpstreamError"]) as server:
        task_id = submit(server).json()["data"]["taskId"]
        assert status(server, task_id).json()["data"]["failCode"] == "UpstreamError"


def test_one_connection_serves_many_calls() -> None:
    with sandbox() as server, httpx.Client(trust_env=False) as client:
        url = f"{server.base_url}/apikeys/current-balance"
        ports = set()
        for _ in range(3):
            answer = client.get(url, headers={"Authorization": "Bearer any"})
            ports.add(answer.extensions["network_stream"].get_extra_info("client_addr"))
    assert len(ports) == 1


def test_voices_are_brought_and_deleted_by_control_calls() -> None:
    voice: dict[str, Any] = {"voice_id": "v1", "model": FLASH}
    with sandbox() as server:
        assert call(server, "POST", "/voices", voice).status_code == 204
        assert call(server, "POST", "/voices", voice).status_code == 409
        assert call(server, "POST", "/voices", {"voice_id": 1}).status_code == 400
        assert call(server, "POST", "/voices", []).status_code == 400
        assert submit(server, SPEECH | {"voice": "v1"}).status_code == 200
        assert call(server, "DELETE", "/voices/v1").status_code == 204
        assert call(server, "DELETE", "/voices/v1").status_code == 404
        books = call(server, "GET", "/books").json()
    assert books["voices"]["v1"] == {
        "voice_id": "v1",
        "model": FLASH,
        "status": "OK",
        "alive": False,
        "uses": 1,
        "made_by": "import",
        "last_used_at": "2026-05-01T12:00:00Z",
        "deleted_at": "2026-05-01T12:00:00Z",
    }
    assert (books["speech"], books["refused"], books["struck"]) == (1, {}, {})


def test_faults_are_switched_while_it_runs() -> None:
    with sandbox() as server:
        assert call(server, "PUT", "/faults", ["500@submit"]).status_code == 204
        assert submit(server).status_code == 500
        refused = call(server, "PUT", "/faults", ["boom"])
        assert (refused.status_code, "'boom' is not" in refused.json()["error"]) == (400, True)
        assert call(server, "PUT", "/faults", "500").status_code == 400
        no_json = httpx.put(f"{server.url}/faults", content=b"[", trust_env=False)
        assert no_json.status_code == 400
        assert submit(server).status_code == 500
        assert call(server, "PUT", "/faults", []).status_code == 204
        assert submit(server).status_code == 200


def test_the_same_faults_and_voices_are_at_hand_without_http() -> None:
    with sandbox() as server:
        server.import_voice("v1")
        server.delete_voice("v1")
        server.set_faults(["402@submit"])
        assert submit(server).status_code == 402
        assert not server.books().voices["v1"].alive


def test_a_port_that_is_taken_is_told_in_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = SandboxServer(Gateway(), port=port)
        with pytest.raises(VoicekeeperError, match=f"port {port} .*in use.* --port"):
            server.start()


def test_a_fault_that_cannot_be_read_is_told_before_anything_starts() -> None:
    with pytest.raises(InvalidInput, match="'boom' is not"):
        sandbox(faults=["boom"])


def test_calls_from_many_threads_are_all_counted() -> None:
    with sandbox() as server:
        threads = [
            threading.Thread(target=lambda: [submit(server) for _ in range(5)]) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert server.books().speech == 40


def _until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds, for at most half a minute."""
    pause = threading.Event()
    for _ in range(3000):
        if condition():
            return
        pause.wait(0.01)
    pytest.fail("the condition did not come to hold")
