"""The stand-in gateway, by the page, with a fixed ``now``."""

import json
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from voicekeeper.core.requests import Clone, Design, Speech
from voicekeeper.sandbox import Answer, Gateway

FLASH = "cosyvoice-3-flash"
PLUS = "cosyvoice-3-plus"
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
WEEK = timedelta(days=7)
MINUTE = timedelta(minutes=1)
INSTANT = timedelta(microseconds=1)
LATER = timedelta(minutes=4)
"""Longer than any task takes."""

CLONE = {"mode": "clone", "prefix": "demo01", "audio_urls": ["https://example.com/a.wav"]}
DESIGN = {"mode": "design", "prefix": "demo02", "prompt": "Warm.", "preview_text": "Hello."}


def speech(voice: str = "longanlang_v3", **fields: object) -> dict[str, Any]:
    return {"mode": "speech", "voice": voice, "prompt": "Hi.", **fields}


def submit(
    gateway: Gateway, asked: object, now: datetime = NOW, model: str = FLASH, key: str = "any"
) -> Answer:
    return gateway.generate(model, {"request_type": "async", "input": asked}, now, key)


def accepted(gateway: Gateway, asked: object, now: datetime = NOW, model: str = FLASH) -> str:
    answer = submit(gateway, asked, now, model)
    assert answer.code == 200, answer
    return str(answer.data["taskId"])


def told(gateway: Gateway, task_id: str, now: datetime, model: str = FLASH) -> dict[str, Any]:
    answer = gateway.status(model, task_id, now, "any")
    assert answer.code == 200, answer
    data: dict[str, Any] = answer.data
    return data


def outcome(gateway: Gateway, asked: object, now: datetime = NOW, model: str = FLASH) -> str:
    """Return how a task ends: ``success`` or its fail code."""
    data = told(gateway, accepted(gateway, asked, now, model), now + LATER, model)
    return str(data.get("failCode", data["state"]))


def enrolled(gateway: Gateway, asked: object = CLONE, now: datetime = NOW) -> str:
    """Return the id of a new voice that is OK from four minutes after ``now``."""
    return str(told(gateway, accepted(gateway, asked, now), now + LATER)["voice_id"])


ACCEPTED: list[dict[str, Any]] = [
    speech(),
    speech("longanyang"),
    speech("loongabby_v3", format="mp3", sample_rate=22050, instruction="i" * 100),
    speech(prompt="x"),
    speech(prompt="x" * 20_000),
    {"mode": "speech", "voice_id": "longanlang_v3", "prompt": "by the legacy name"},
    CLONE,
    CLONE | {"prefix": "a"},
    CLONE | {"prefix": "ABCdef0123"},
    DESIGN,
    DESIGN | {"prompt": "x" * 500, "preview_text": "x" * 200, "format": "wav"},
]

REFUSED: list[tuple[object, str]] = [
    (None, "input"),
    ([], "input"),
    ({}, "mode"),
    ({"mode": "sing"}, "mode"),
    ({"mode": "speech", "prompt": "Hi."}, "voice is required"),
    (speech(""), "voice is required"),
    (speech() | {"voice_id": "longanyang", "voice": 7}, "voice is required"),
    (speech(prompt=""), "prompt must be 1-20000"),
    (speech(prompt=None), "prompt must be 1-20000"),
    (speech(prompt="x" * 20_001), "prompt must be 1-20000"),
    (speech(instruction="i" * 101), "instruction must be at most 100"),
    (speech(sample_rate="22050"), "sample_rate"),
    (speech(sample_rate=True), "sample_rate"),
    (speech(format=3), "format"),
    (CLONE | {"prefix": ""}, "prefix must be 1-10"),
    (CLONE | {"prefix": "elevenchars"}, "prefix must be 1-10"),
    (CLONE | {"prefix": "demo\n"}, "prefix must be 1-10"),
    (CLONE | {"prefix": "été"}, "prefix must be 1-10"),
    (CLONE | {"audio_urls": []}, "exactly one"),
    (CLONE | {"audio_urls": "https://a.example/1"}, "exactly one"),
    (CLONE | {"prefix": "my_voice"}, "prefix must be 1-10"),
    (CLONE | {"audio_urls": ["https://a.example/1", "https://a.example/2"]}, "exactly one"),
    (CLONE | {"audio_urls": [" "]}, "exactly one"),
    (DESIGN | {"prefix": None}, "prefix must be 1-10"),
    (DESIGN | {"prompt": "x" * 501}, "prompt must be 1-500"),
    (DESIGN | {"preview_text": ""}, "preview_text must be 1-200"),
    (DESIGN | {"preview_text": "x" * 201}, "preview_text must be 1-200"),
]


@pytest.mark.parametrize("asked", ACCEPTED)
def test_a_request_that_keeps_the_rules_of_the_page_becomes_a_task(asked: dict[str, Any]) -> None:
    gateway = Gateway()
    assert outcome(gateway, asked) == "success"


@pytest.mark.parametrize(("asked", "rule"), REFUSED)
def test_a_request_that_breaks_a_rule_is_refused_and_costs_nothing(
    asked: object, rule: str
) -> None:
    gateway = Gateway()
    answer = submit(gateway, asked)
    assert answer.code == 400
    assert rule in answer.message
    assert answer.body() == {"code": 400, "message": answer.message}
    books = gateway.books(NOW)
    assert (books.cost_micros, books.refused) == (0, {400: 1})
    assert books.speech + books.clone + books.design == 0


@pytest.mark.parametrize("body", [None, [], "text", {"input": speech()}, {"request_type": "sync"}])
def test_a_body_without_a_known_request_type_is_refused(body: object) -> None:
    assert Gateway().generate(FLASH, body, NOW, "any").code == 400


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("https://hooks.example.com/apixo", 200),
        ("https://93.184.215.14/apixo", 200),
        ("https://localhost/apixo", 400),
        ("https://10.0.0.8/apixo", 400),
        ("https://[::1]/apixo", 400),
        ("http://hooks.example.com/apixo", 400),
        ("https://127.0.0.1/apixo", 400),
        ("https://[broken/apixo", 400),
        ("https://intranet/apixo", 400),
        (None, 400),
    ],
)
def test_a_callback_needs_a_public_https_url(url: str | None, code: int) -> None:
    body = {"request_type": "callback", "callback_url": url, "input": speech()}
    assert Gateway().generate(FLASH, body, NOW, "any").code == code


@pytest.mark.parametrize(
    "request_",
    [
        Speech("longanlang_v3", "。"),
        Speech("longanlang_v3", "x" * 20_000, instruction="i" * 100),
        Clone("Prefix0123", "http://example.com/a.wav"),
        Design("a", "x" * 500, "x" * 200),
    ],
)
def test_what_the_client_calls_valid_the_gateway_accepts(request_: Speech | Clone | Design) -> None:
    assert outcome(Gateway(), request_.body()) == "success"


@pytest.mark.parametrize(
    ("set_to", "given", "code"),
    [
        *((None, "anything", 200), (None, None, 401), (None, "", 401)),
        *(("k1", "k1", 200), ("k1", "k2", 401), ("k1", "", 401), ("k1", None, 401)),
    ],
)
def test_a_missing_or_wrong_key_is_refused_on_every_call(
    set_to: str | None, given: str | None, code: int
) -> None:
    gateway = Gateway(key=set_to)
    body = {"request_type": "async", "input": speech()}
    submitted = gateway.generate(FLASH, body, NOW, given)
    assert submitted.code == code
    task_id = submitted.data["taskId"] if code == 200 else "task_1"
    assert gateway.status(FLASH, task_id, NOW, given).code == code
    assert gateway.balance(given).code == code


def test_a_task_that_is_not_known_or_is_of_another_model_is_not_found() -> None:
    gateway = Gateway()
    task_id = accepted(gateway, speech())
    assert gateway.status(FLASH, "task_1", NOW, "any").code == 404
    assert gateway.status(PLUS, task_id, NOW, "any").code == 404
    assert gateway.status(FLASH, None, NOW, "any").code == 400
    assert gateway.books(NOW).polls == 0


def test_a_task_is_pending_then_processing_then_told_as_on_the_page() -> None:
    gateway = Gateway(speech_time=(timedelta(seconds=10), timedelta(seconds=10)))
    task_id = accepted(gateway, speech())
    created = 1_777_636_800_000
    head = {"taskId": task_id, "createTime": created}
    assert told(gateway, task_id, NOW) == head | {"state": "pending"}
    almost = NOW + timedelta(seconds=10) - INSTANT
    assert told(gateway, task_id, almost) == head | {"state": "processing"}
    done = told(gateway, task_id, NOW + timedelta(seconds=10))
    urls = json.loads(done.pop("resultJson"))["resultUrls"]
    assert done == head | {"state": "success", "completeTime": created + 10_000, "costTime": 10_000}
    assert [url.rpartition(".")[2] for url in urls] == ["mp3"]


@pytest.mark.parametrize(("asked", "least", "most"), [(speech(), 5, 30), (CLONE, 30, 180)])
def test_latencies_lie_in_the_ranges_of_the_page(
    asked: dict[str, Any], least: int, most: int
) -> None:
    gateway = Gateway(random.Random(7))
    tasks = [accepted(gateway, asked) for _ in range(200)]
    took = [told(gateway, task_id, NOW + LATER)["costTime"] / 1000 for task_id in tasks]
    assert least <= min(took) < max(took) <= most
    assert max(took) - min(took) > (most - least) / 2


def test_an_enrollment_shows_its_voice_while_it_deploys_and_ends_ok() -> None:
    gateway = Gateway(enrollment_time=(MINUTE, MINUTE))
    task_id = accepted(gateway, CLONE)
    assert "voice_id" not in told(gateway, task_id, NOW)
    processing = told(gateway, task_id, NOW + MINUTE - INSTANT)
    voice_id = processing["voice_id"]
    assert voice_id.startswith("cosyvoice-v3-flash-demo01-")
    assert (processing["state"], processing["voice_status"]) == ("processing", "DEPLOYING")
    done = told(gateway, task_id, NOW + MINUTE)
    assert (done["state"], done["voice_status"], done["voice_id"]) == ("success", "OK", voice_id)
    assert json.loads(done["resultJson"])["resultUrls"]


def test_a_rejected_voice_ends_undeployed_and_never_speaks() -> None:
    gateway = Gateway()
    task_id = accepted(gateway, DESIGN | {"prefix": "Reject01"})
    done = told(gateway, task_id, NOW + LATER)
    assert (done["state"], done["failCode"]) == ("failed", "UNDEPLOYED")
    assert done["voice_status"] == "UNDEPLOYED"
    assert "resultJson" not in done
    assert "costTime" not in done
    assert outcome(gateway, speech(done["voice_id"]), NOW + LATER) == "UNDEPLOYED"
    book = gateway.books(NOW + LATER).voices[done["voice_id"]]
    assert (book.status, book.alive, book.made_by) == ("UNDEPLOYED", True, "design")


def test_a_slow_voice_times_out_and_becomes_ok_by_itself_later() -> None:
    gateway = Gateway(enrollment_time=(MINUTE, MINUTE), late=MINUTE)
    task_id = accepted(gateway, CLONE | {"prefix": "slow01"})
    done = told(gateway, task_id, NOW + MINUTE)
    assert (done["failCode"], done["voice_status"]) == ("TASK_TIMEOUT", "DEPLOYING")
    voice_id = done["voice_id"]
    ready_at = NOW + 2 * MINUTE
    assert gateway.books(ready_at - INSTANT).voices[voice_id].status == "DEPLOYING"
    assert outcome(gateway, speech(voice_id), ready_at - INSTANT) == "UpstreamError"
    assert gateway.books(ready_at).voices[voice_id].status == "OK"
    assert outcome(gateway, speech(voice_id), ready_at) == "success"


def test_a_doomed_task_fails_as_told_and_uses_no_voice() -> None:
    gateway = Gateway()
    gateway.import_voice("v1", FLASH, NOW)
    later = NOW + timedelta(days=1)
    body = {"request_type": "async", "input": speech("v1")}
    answer = gateway.generate(FLASH, body, later, "any", doom="GENERATION_FAILED")
    done = told(gateway, answer.data["taskId"], later + LATER)
    assert done["failCode"] == "GENERATION_FAILED"
    book = gateway.books(later + LATER).voices["v1"]
    assert (book.uses, book.last_used_at) == (0, NOW)


def test_a_doomed_enrollment_makes_no_voice() -> None:
    gateway = Gateway()
    body = {"request_type": "async", "input": CLONE}
    answer = gateway.generate(FLASH, body, NOW, "any", doom="TASK_TIMEOUT")
    assert told(gateway, answer.data["taskId"], NOW + LATER)["failCode"] == "TASK_TIMEOUT"
    assert gateway.books(NOW + LATER).voices == {}


def test_a_voice_is_deleted_at_the_exact_end_of_its_window_and_not_before() -> None:
    gateway = Gateway()
    gateway.import_voice("v1", FLASH, NOW)
    gateway.import_voice("v2", FLASH, NOW)
    assert gateway.books(NOW + WEEK - INSTANT).voices["v1"].alive
    assert outcome(gateway, speech("v1"), NOW + WEEK - INSTANT) == "success"
    assert outcome(gateway, speech("v2"), NOW + WEEK) == "VALIDATION_ERROR"
    book = gateway.books(NOW + WEEK).voices["v2"]
    assert (book.alive, book.deleted_at, book.uses) == (False, NOW + WEEK, 0)


def test_a_use_counts_from_the_creation_of_its_task() -> None:
    gateway = Gateway()
    gateway.import_voice("v1", FLASH, NOW)
    used_at = NOW + timedelta(days=6)
    task_id = accepted(gateway, speech("v1"), used_at)
    before = gateway.books(used_at).voices["v1"]
    assert (before.uses, before.last_used_at) == (0, used_at)
    assert told(gateway, task_id, used_at + LATER)["state"] == "success"
    assert gateway.books(used_at + LATER).voices["v1"].uses == 1
    assert gateway.books(used_at + WEEK - INSTANT).voices["v1"].alive
    assert gateway.books(used_at + WEEK).voices["v1"].deleted_at == used_at + WEEK


def test_an_enrollment_is_the_first_use_from_its_creation() -> None:
    gateway = Gateway()
    voice_id = enrolled(gateway)
    assert gateway.books(NOW + WEEK - INSTANT).voices[voice_id].alive
    gone = gateway.books(NOW + WEEK).voices[voice_id]
    assert (gone.alive, gone.uses, gone.last_used_at) == (False, 0, NOW)


def test_a_voice_deleted_for_no_reason_is_unknown_from_then_on() -> None:
    gateway = Gateway()
    gateway.import_voice("v1", FLASH, NOW)
    gateway.delete_voice("v1", NOW + MINUTE)
    assert outcome(gateway, speech("v1"), NOW + MINUTE) == "VALIDATION_ERROR"
    assert gateway.books(NOW + MINUTE).voices["v1"].deleted_at == NOW + MINUTE
    for voice_id in ("v1", "nobody"):
        with pytest.raises(KeyError):
            gateway.delete_voice(voice_id, NOW + MINUTE)


def test_a_living_voice_is_not_imported_over_but_a_dead_one_is_made_anew() -> None:
    gateway = Gateway()
    gateway.import_voice("v1", FLASH, NOW)
    with pytest.raises(ValueError, match="v1 exists already"):
        gateway.import_voice("v1", FLASH, NOW + WEEK - INSTANT)
    gateway.import_voice("v1", FLASH, NOW + WEEK)
    assert gateway.books(NOW + WEEK).voices["v1"].alive


def test_tasks_are_charged_at_the_prices_of_the_page() -> None:
    gateway = Gateway()
    for asked in (speech(prompt="x" * 10_000), speech(prompt="。"), CLONE, DESIGN, DESIGN):
        accepted(gateway, asked)
    books = gateway.books(NOW)
    assert (books.speech, books.clone, books.design) == (2, 1, 2)
    assert books.cost_micros == 100_000 + 10 + 2_000 + 2 * 30_000


def test_an_account_that_is_used_up_is_refused_and_not_charged() -> None:
    gateway = Gateway(balance_micros=2_000 + 29)
    assert gateway.balance("any").data == pytest.approx(0.002029)
    accepted(gateway, CLONE)
    assert submit(gateway, speech()).code == 402
    accepted(gateway, speech(prompt="Hi"))
    assert gateway.balance("any").body() == {"code": 200, "message": "success", "data": 0.000009}
    assert gateway.books(NOW).refused == {402: 1}


def test_a_task_is_forgotten_after_thirty_days() -> None:
    gateway = Gateway()
    old = accepted(gateway, speech())
    late = NOW + timedelta(days=30)
    accepted(gateway, speech(), late - INSTANT)
    assert told(gateway, old, late)["state"] == "success"
    accepted(gateway, speech(), late)
    assert gateway.status(FLASH, old, late, "any").code == 404


def test_a_clock_set_back_undoes_no_use() -> None:
    gateway = Gateway()
    gateway.import_voice("v1", FLASH, NOW)
    assert outcome(gateway, speech("v1"), NOW - timedelta(days=2)) == "success"
    assert gateway.books(NOW).voices["v1"].last_used_at == NOW


def test_the_same_seed_tells_the_same_story_and_another_seed_another() -> None:
    def story(seed: int) -> list[dict[str, Any]]:
        gateway = Gateway(random.Random(seed))
        tasks = [accepted(gateway, asked) for asked in (speech(), CLONE, DESIGN)]
        return [told(gateway, task_id, NOW + LATER) for task_id in tasks]

    assert story(1) == story(1)
    assert story(1) != story(2)


# webhooks


def called_back(gateway: Gateway) -> str:
    """Order a clone whose end is to be told; return its task."""
    url = "https://voices.example.com/webhook/token"
    body = {"request_type": "callback", "callback_url": url, "input": CLONE}
    return str(gateway.generate(FLASH, body, NOW, "key").data["taskId"])


def test_the_end_of_a_task_is_told_to_who_asked_for_it_and_to_nobody_else() -> None:
    gateway = Gateway(random.Random(0))
    task_id = called_back(gateway)
    assert gateway.callbacks(NOW + timedelta(seconds=20)) == []
    [(callback, answer)] = gateway.callbacks(NOW + LATER)
    assert callback.url == "https://voices.example.com/webhook/token"
    assert answer == gateway.status(FLASH, task_id, NOW + LATER, "key")
    gateway.called(callback, NOW, taken=True)
    assert gateway.callbacks(NOW + timedelta(days=1)) == []


def test_a_webhook_that_is_not_taken_is_delivered_three_times_more() -> None:
    gateway = Gateway(random.Random(0))
    called_back(gateway)
    now, waits = NOW + LATER, []
    while due := gateway.callbacks(now):
        gateway.called(due[0][0], now, taken=False)
        failed_at = now
        while not gateway.callbacks(now) and now < failed_at + timedelta(hours=1):
            now += timedelta(seconds=1)
        waits.append((now - failed_at).total_seconds())
    assert waits == [30, 120, 600, 3600]
