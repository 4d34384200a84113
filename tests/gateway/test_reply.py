"""Reading an answer: what is needed, and everything that may be wrong with the rest."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicekeeper.core.outcome import Report
from voicekeeper.core.secrecy import Secrets
from voicekeeper.gateway import reply
from voicekeeper.gateway.reply import Reply

KEY = "sk-0123456789abcdef"
SECRETS = Secrets([KEY], mark="[API key]")
NOW = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)


def _reply(body: bytes | dict[str, Any], status: int = 200) -> Reply:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return reply.read_reply(httpx.Response(status), content, secret=SECRETS, now=NOW)


def _report(**data: Any) -> Report | None:  # noqa: ANN401 - any JSON
    return reply.read_report(data, answered_at=NOW, secret=SECRETS)


# The body's code, message and amount


@pytest.mark.parametrize(
    ("code", "read"),
    [(200, 200), ("200", 200), (200.0, 200), (402, 402), (True, None), (None, None),
     ("OK", None), ("\u0662\u0660\u0660", None), (200.5, None), ([200], None),
     (-1, -1), (999_999_999, 999_999_999), (10**9, None), (10**400, None), (1e308, None)],
)  # fmt: skip
def test_a_code_is_a_whole_number_or_missing(code: object, read: int | None) -> None:
    assert _reply({"code": code}).code == read
    assert _reply({"code": code}, 503).code == 503


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"200", b"[]", b"<html>", b'{"code":200', b"\xff\xfe\x00", b"[" * 99_999,
     b'{"code":' + b"9" * 5_000 + b"}", b'{"code":200}{"code":200}'],
)  # fmt: skip
def test_a_body_that_is_no_json_object_says_nothing(body: bytes) -> None:
    answer = _reply(body)
    assert (answer.body_code, answer.message, answer.data) == (None, None, None)


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
    assert _reply({"message": message}).message == read
    report = _report(state="failed", failMsg=message)
    assert report is not None
    assert report.fail_message == read


@pytest.mark.parametrize(
    ("data", "micros"),
    [
        ("74.87", 74_870_000),
        ("5", 5_000_000),
        ("0.0000019", 1),
        ("-0.25", -250_000),
        ("1e-3", 1_000),
        ("0", 0),
        *((odd, None) for odd in ("NaN", "-Infinity", "1e12", "9" * 4_000)),
        *((odd, None) for odd in ('"74.87"', "null", "[1]", "true", "{}")),
    ],
)
def test_an_amount_is_never_more_than_the_number_and_nothing_that_no_balance_can_be(
    data: str, micros: int | None
) -> None:
    assert _reply(f'{{"code":200,"data":{data}}}'.encode()).amount_micros == micros


# Tasks


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
        answered_at=NOW,
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
        answered_at=NOW,
    )


def test_only_the_state_is_needed_and_a_new_one_passes_as_it_came() -> None:
    assert _report(state="archived") == Report(state="archived", answered_at=NOW)


@pytest.mark.parametrize("state", [None, 1, "", "  ", ["success"], {}, "suc\x00cess", f"no {KEY}"])
def test_without_a_state_there_is_no_report(state: object) -> None:
    assert _report(state=state) is None
    assert reply.read_report(state, answered_at=NOW, secret=SECRETS) is None


@pytest.mark.parametrize(
    "wrong", [None, 7, True, [], ["x"], {}, " ", "\ud800", "a\x00b", "x" * 5_000, f"x{KEY}"]
)
def test_a_field_of_the_wrong_type_or_that_echoes_the_key_reads_as_missing(wrong: object) -> None:
    names = ("voice_id", "voice_status", "failCode", "createTime", "completeTime", "resultJson")
    for name in names:
        assert _report(state="failed", **{name: wrong}) == Report("failed", answered_at=NOW)


@pytest.mark.parametrize(
    ("value", "instant"),
    [
        (1767965610929, datetime(2026, 1, 9, 13, 33, 30, 929_000, tzinfo=UTC)),
        (1767965610929.0, datetime(2026, 1, 9, 13, 33, 30, 929_000, tzinfo=UTC)),
        ("1767965610929", datetime(2026, 1, 9, 13, 33, 30, 929_000, tzinfo=UTC)),
        (253402300799999, datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)),
        (253402300800000, None),
        (-(10**400), None),
        (0, None),
        (1767965610, None),
        ("-1", None),
        ("9" * 5_000, None),
        (float("nan"), None),
        (float("inf"), None),
    ],
)
def test_a_time_is_unix_milliseconds_or_missing(value: object, instant: datetime | None) -> None:
    report = _report(state="success", createTime=value, completeTime=value)
    assert report is not None
    assert (report.created_at, report.completed_at) == (instant, instant)


@pytest.mark.parametrize(
    ("result", "urls"),
    [
        ('{"resultUrls":["https://a/1.mp3","https://a/2.mp3"]}', 2),
        ({"resultUrls": ["https://a/1.mp3"]}, 1),
        ('{"resultUrls":["https://a/1.mp3",7,null,""]}', 1),
        ('{"resultUrls":["https://a/1.mp3","https://a/?key=' + KEY + '"]}', 1),
        ({"resultUrls": ["https://a/" + "".join(f"%{ord(c):x}" for c in KEY)]}, 0),
        ('{"resultUrls":"https://a/1.mp3"}', 0),
        ("[" * 100_000, 0),
        ("[]", 0),
        ("", 0),
    ],
)
def test_a_result_has_the_urls_that_can_be_read_and_hold_no_key(result: object, urls: int) -> None:
    report = _report(state="success", resultJson=result)
    assert report is not None
    assert len(report.result_urls) == urls


@pytest.mark.parametrize(
    ("task_id", "read"),
    [
        ("task_12345678", "task_12345678"),
        (12345678, "12345678"),
        ("任务 1", "任务 1"),
        ("   ", None),
        ("a\nb", None),
        ("\ud800", None),
        (True, None),
        (None, None),
        (["task_1"], None),
        (KEY, None),
    ],
)
def test_a_task_id_is_opaque_but_not_empty_nor_the_key(task_id: object, read: str | None) -> None:
    assert reply.read_task_id({"taskId": task_id}, secret=SECRETS) == read
    assert reply.read_task_id(task_id, secret=SECRETS) is None


# Retry-After and Date


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("0", 0),
        (" 120 ", 120),
        ("1.5", 1.5),
        ("-5", 0),
        ("86401", 86_400),
        ("9" * 5_000, 86_400),
        ("Fri, 01 May 2026 12:01:00 GMT", 60),
        ("Friday, 01-May-26 12:01:00 GMT", 60),
        ("Fri May  1 12:01:00 2026", 60),
        ("Fri, 01 May 2026 11:00:00 GMT", 0),
        ("Fri, 01 May 2099 12:00:00 GMT", 86_400),
        ("", None),
        ("nan", None),
        ("1e3", None),
        ("5, 10", None),
        ("٣", None),
        ("Fri, 99 May 2026 12:00:00 GMT", None),
    ],
)
def test_a_header_is_seconds_from_now_or_nothing(header: str | None, seconds: float | None) -> None:
    assert reply.retry_after(header, answered_at=None, now=NOW) == seconds


def test_a_date_is_read_against_the_gateways_own_clock() -> None:
    wait = reply.retry_after(
        "Fri, 01 May 2026 12:01:00 GMT",
        answered_at=NOW + timedelta(seconds=30),
        now=NOW - timedelta(days=30),
    )
    assert wait == 30


@given(st.text())
def test_no_header_raises_or_asks_for_more_than_a_day(header: str) -> None:
    wait = reply.retry_after(header, answered_at=None, now=NOW)
    assert wait is None or 0 <= wait <= reply.LONGEST_WAIT


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("Fri, 01 May 2026 12:00:00 GMT", NOW),
        ("Fri, 01 May 2026 14:00:00 +0200", NOW),
        ("Fri, 01 May 2026 12:00:00 -0000", NOW),
        ("Fri, 31 Dec 9999 23:00:00 -2300", None),
        ("yesterday", None),
        (None, None),
    ],
)
def test_a_date_is_an_aware_instant_or_nothing(text: str | None, instant: datetime | None) -> None:
    assert reply.date(text) == instant
