"""Reading the gateway's JSON: what is needed, and everything that may be wrong with the rest."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from voicekeeper.core.outcome import Report
from voicekeeper.core.secrecy import Secrets
from voicekeeper.gateway import wire

KEY = "sk-0123456789abcdef"
SECRETS = Secrets([KEY], mark="[API key]")
ANSWERED = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)


def _report(**data: Any) -> Report | None:  # noqa: ANN401 - any JSON
    return wire.read_report(data, answered_at=ANSWERED, secret=SECRETS)


def test_the_pages_custom_voice_success_reads_whole() -> None:
    assert _report(
        taskId="task_12345678",
        state="success",
        voice_id="cosyvoice-v3-flash-xxxx",
        voice_status="OK",
        resultJson='{"resultUrls":["https://file.apixo.ai/preview.wav"]}',
        createTime=1767965610929,
        completeTime=1767965682450,
        costTime=71521,
    ) == Report(
        state="success",
        voice_id="cosyvoice-v3-flash-xxxx",
        voice_status="OK",
        created_at=datetime(2026, 1, 9, 13, 33, 30, 929_000, tzinfo=UTC),
        completed_at=datetime(2026, 1, 9, 13, 34, 42, 450_000, tzinfo=UTC),
        result_urls=("https://file.apixo.ai/preview.wav",),
        answered_at=ANSWERED,
    )


def test_the_pages_failed_response_reads_whole() -> None:
    assert _report(
        state="failed",
        failCode="UNDEPLOYED",
        failMsg="Voice review failed.",
        voice_id="cosyvoice-v3-flash-xxxx",
        voice_status="UNDEPLOYED",
    ) == Report(
        state="failed",
        fail_code="UNDEPLOYED",
        fail_message="Voice review failed.",
        voice_id="cosyvoice-v3-flash-xxxx",
        voice_status="UNDEPLOYED",
        answered_at=ANSWERED,
    )


def test_only_the_state_is_needed_and_a_new_one_passes_as_it_came() -> None:
    assert _report(state="archived") == Report(state="archived", answered_at=ANSWERED)


@pytest.mark.parametrize("state", [None, 1, True, "", "  ", ["success"], {}, "suc\x00cess"])
def test_without_a_state_there_is_no_report(state: object) -> None:
    assert _report(state=state) is None


@pytest.mark.parametrize(
    "wrong", [None, 7, 1.5, True, [], {}, ["x"], "", " ", "\ud800", "a\x00b", "x" * 5_000]
)
@pytest.mark.parametrize(
    "field", ["voice_id", "voice_status", "failCode", "createTime", "completeTime", "resultJson"]
)
def test_a_field_of_the_wrong_type_reads_as_missing(field: str, wrong: object) -> None:
    assert _report(state="failed", **{field: wrong}) == Report("failed", answered_at=ANSWERED)


@pytest.mark.parametrize(
    ("value", "instant"),
    [
        (1767965610929, datetime(2026, 1, 9, 13, 33, 30, 929_000, tzinfo=UTC)),
        (1767965610929.0, datetime(2026, 1, 9, 13, 33, 30, 929_000, tzinfo=UTC)),
        ("1767965610929", datetime(2026, 1, 9, 13, 33, 30, 929_000, tzinfo=UTC)),
        (253402300799999, datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)),
        (253402300800000, None),
        (10**400, None),
        (-1767965610929, None),
        (-(10**400), None),
        (0, None),
        (1767965610, None),
        ("-1", None),
        ("soon", None),
        ("9" * 5_000, None),
        (True, None),
        (float("nan"), None),
        (float("inf"), None),
        (1e300, None),
    ],
)
def test_a_time_is_unix_milliseconds_or_missing(value: object, instant: datetime | None) -> None:
    report = _report(state="success", createTime=value, completeTime=value)
    assert report is not None
    assert (report.created_at, report.completed_at) == (instant, instant)


@pytest.mark.parametrize("field", ["voice_id", "voice_status", "failCode"])
def test_a_field_that_echoes_the_key_reads_as_missing(field: str) -> None:
    assert _report(state="failed", **{field: f"x{KEY}"}) == Report("failed", answered_at=ANSWERED)


def test_a_url_that_repeats_the_key_in_whatever_code_is_left_out() -> None:
    coded = "".join(f"%{ord(c):x}" for c in KEY)
    urls = [f"https://a.example/{coded}", "https://a.example/b"]
    report = _report(state="success", resultJson=json.dumps({"resultUrls": urls}))
    assert report is not None
    assert report.result_urls == ("https://a.example/b",)


def test_a_state_or_a_task_id_that_echoes_the_key_is_none() -> None:
    assert _report(state=f"not {KEY}") is None
    assert wire.read_task_id({"taskId": KEY}, secret=SECRETS) is None
    assert wire.read_task_id({"taskId": 40_912_873}, secret=Secrets(["40912873"])) is None


@pytest.mark.parametrize(
    ("result", "urls"),
    [
        ('{"resultUrls":["https://a/1.mp3","https://a/2.mp3"]}', 2),
        ({"resultUrls": ["https://a/1.mp3"]}, 1),
        ('{"resultUrls":["https://a/1.mp3",7,null,""]}', 1),
        ('{"resultUrls":["https://a/1.mp3","https://a/?key=' + KEY + '"]}', 1),
        ('{"resultUrls":"https://a/1.mp3"}', 0),
        ('{"resultUrls":[', 0),
        ("[" * 100_000, 0),
        ("[]", 0),
        ("null", 0),
        ("", 0),
    ],
)
def test_a_broken_result_has_no_urls(result: object, urls: int) -> None:
    report = _report(state="success", resultJson=result)
    assert report is not None
    assert len(report.result_urls) == urls


@pytest.mark.parametrize(
    ("task_id", "read"),
    [
        ("task_12345678", "task_12345678"),
        ("0123456789abcdef0123456789abcdef", "0123456789abcdef0123456789abcdef"),
        (12345678, "12345678"),
        ("任务 1", "任务 1"),
        ("", None),
        ("   ", None),
        ("a\nb", None),
        ("\ud800", None),
        (True, None),
        (1.5, None),
        (None, None),
        (["task_1"], None),
    ],
)
def test_a_task_id_is_opaque_but_not_empty(task_id: object, read: str | None) -> None:
    assert wire.read_task_id({"taskId": task_id}, secret=SECRETS) == read


@pytest.mark.parametrize(
    ("code", "read"),
    [(200, 200), ("200", 200), (200.0, 200), (402, 402), (True, None), (None, None),
     ("OK", None), ("\u0662\u0660\u0660", None), ("", None), (200.5, None), ([200], None),
     (-1, -1), (999_999_999, 999_999_999), (10**9, None), (10**400, None), (1e308, None)],
)  # fmt: skip
def test_a_code_is_a_whole_number_or_missing(code: object, read: int | None) -> None:
    envelope = wire.read_envelope(json.dumps({"code": code}).encode(), secret=SECRETS)
    assert envelope == wire.Envelope(code=read, message=None, data={})


@pytest.mark.parametrize(
    ("data", "micros"),
    [
        ("74.87", 74_870_000),
        ("5", 5_000_000),
        ("0.1", 100_000),
        ("0.0000019", 1),
        ("-0.25", -250_000),
        ("1e-3", 1_000),
        ("0", 0),
    ],
)
def test_data_that_is_a_number_is_an_amount_and_never_more_than_was_told(
    data: str, micros: int
) -> None:
    envelope = wire.read_envelope(f'{{"code":200,"data":{data}}}'.encode(), secret=SECRETS)
    assert envelope == wire.Envelope(code=200, message=None, data={}, amount_micros=micros)


@pytest.mark.parametrize("data", ["NaN", "Infinity", "-Infinity", "1e300", "1e12", "9" * 4_000])
def test_a_number_that_no_balance_can_be_is_no_amount(data: str) -> None:
    envelope = wire.read_envelope(f'{{"code":200,"data":{data}}}'.encode(), secret=SECRETS)
    assert envelope == wire.Envelope(code=200, message=None, data={})


@pytest.mark.parametrize("data", ['"74.87"', "null", '"text"', "[1]", "true"])
def test_data_that_is_no_object_has_no_members(data: str) -> None:
    envelope = wire.read_envelope(f'{{"code":200,"data":{data}}}'.encode(), secret=SECRETS)
    assert envelope == wire.Envelope(code=200, message=None, data={})


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"200", b"[]", b'"x"', b"<html>", b'{"code":200', b"\xff\xfe\x00", b"[" * 99_999,
     b'{"code":' + b"9" * 5_000 + b"}", b'{"code":200}{"code":200}'],
)  # fmt: skip
def test_a_body_that_is_no_json_object_is_no_envelope(body: bytes) -> None:
    assert wire.read_envelope(body, secret=SECRETS) is None


@pytest.mark.parametrize(
    ("message", "read"),
    [
        ("Insufficient balance", "Insufficient balance"),
        ("two\r\nlines\tand \x1b[31mred\x00", "two lines and [31mred"),
        ("right\u202eto left \ud800", "right to left"),
        (f"bad key {KEY}!", "bad key [API key]!"),
        ("x" * 200, "x" * 200),
        ("x" * 201, "x" * 199 + "…"),
        ("x" * 190 + KEY, "x" * 190 + "[API key]"),
        (f"no {KEY[:9]}\n{KEY[9:]}", "[API key]"),
        (f"no {base64.b64encode(f'Bearer {KEY}'.encode()).decode()}", "no QmVhcmVyIH[API key]Y="),
        ("\n\n", None),
        (17, None),
    ],
)
def test_a_message_is_one_printable_line_without_the_key(message: object, read: str | None) -> None:
    envelope = wire.read_envelope(json.dumps({"message": message}).encode(), secret=SECRETS)
    assert envelope is not None
    assert envelope.message == read
    report = _report(state="failed", failMsg=message)
    assert report is not None
    assert report.fail_message == read
