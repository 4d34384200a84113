"""The log: what a line looks like, what it never holds, and that it never breaks anything."""

import io
import json
import logging
import os
import re
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any, TextIO

import pytest
import structlog
from _pytest.logging import LogCaptureHandler

from voicekeeper.core.events import Event
from voicekeeper.core.secret import SecretStr
from voicekeeper.log import configure, get_logger

NOW = datetime(2026, 5, 1, 12, 0, 0, 123_456, tzinfo=UTC)
STAMP = "2026-05-01T12:00:00.123Z"
SECRET = 'sk-"live\\0123'
HEAD = {"timestamp": STAMP, "level": "info", "event": "voice.registered"}


class StoppedClock:
    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return 0.0


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    root, own = logging.getLogger(), logging.getLogger("voicekeeper")
    before = root.level, own.level, list(root.handlers)
    yield
    logging.captureWarnings(capture=False)
    root.setLevel(before[0])
    own.setLevel(before[1])
    root.handlers[:] = before[2]
    structlog.reset_defaults()


class Log(io.StringIO):
    """A stream that takes the log, and shows it."""

    def __init__(self, *, tty: bool = False) -> None:
        super().__init__()
        self._tty = tty

    def isatty(self) -> bool:
        return self._tty

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]

    @property
    def line(self) -> dict[str, Any]:
        (line,) = self.lines
        return line


def start(
    stream: Log | None = None,
    *,
    to: TextIO | None = None,
    level: str = "info",
    format: str = "json",  # noqa: A002 - the setting's name
    environ: dict[str, str] | None = None,
    secret: str = SECRET,
) -> Log:
    """Send the log to a stream that shows it, or to any other."""
    log = stream or Log()
    root = logging.getLogger()
    # the test runner's own handlers stumble over what ours must bear
    root.handlers[:] = [h for h in root.handlers if not isinstance(h, LogCaptureHandler)]
    configure(
        level=level,
        format=format,
        clock=StoppedClock(),
        stream=to or log,
        environ=environ or {},
        secrets=[SecretStr(secret)],
    )
    return log


# --- JSON lines


def test_a_line_begins_with_time_level_and_event_and_keeps_the_order_of_its_fields() -> None:
    logger = get_logger()  # it obeys the latest configuration
    log = start()
    logger.bind(origin="clone").info(
        Event.VOICE_REGISTERED, task_id="t1", b=1, name="alice", a=2, level="loud"
    )
    assert list(log.line.items()) == [
        ("timestamp", STAMP),
        ("level", "info"),
        ("event", "voice.registered"),
        ("name", "alice"),
        ("task_id", "t1"),
        ("origin", "clone"),
        ("b", 1),
        ("a", 2),
        ("level_", "loud"),  # which takes no place of ours
    ]


def test_an_exception_is_one_text_with_its_cause_and_without_locals() -> None:
    log = start()
    hidden = "a local value"

    def find(depth: int) -> None:
        if depth:
            find(depth - 1)
        try:
            str([][len(hidden)])
        except IndexError as error:
            raise ValueError("no such voice") from error

    try:
        find(20)
    except ValueError:
        get_logger().exception("pass.failed")
    trace = log.line["exception"]
    assert trace.startswith("Traceback")
    assert "IndexError: list index out of range" in trace
    assert trace.endswith("ValueError: no such voice")
    assert hidden not in trace
    assert trace.count(" in find\n") <= 12  # the innermost frames of both
    log = start()
    get_logger().error("pass.failed", exc_info=ValueError("a" * 9_000 + SECRET + " the end"))
    assert log.line["exception"].endswith("[redacted] the end")
    assert len(log.getvalue()) < 4_096  # it fits an entry of the journal


class Color(Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, None),
        (True, True),
        (1.5, 1.5),
        ("\udce9", "\udce9"),
        (Event.DAEMON_READY, "daemon.ready"),
        (Color.RED, "red"),
        (NOW, "2026-05-01T12:00:00Z"),
        (timedelta(hours=36), "1d12h"),
        (Path("/var/lib"), "/var/lib"),
        (ValueError("no"), "ValueError: no"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        ("你好", "你好"),
        (b"\xff", "b'\\xff'"),
        ((1, "a"), [1, "a"]),
        ({1: {"b": {2}}}, {"1": {"b": [2]}}),
    ],
)
def test_a_value_is_written_as_best_it_can_be(value: object, written: object) -> None:
    log = start()
    get_logger().info("voice.registered", value=value)
    assert log.line == HEAD | {"value": written}


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError(SECRET)


def test_a_value_that_cannot_be_written_never_raises() -> None:
    log = start()
    loop: list[object] = []
    loop.append(loop)
    get_logger().info("voice.registered", broken=Broken(), inner=[Broken()], loop=loop, o=object())
    get_logger().info("voice.registered", number=10**5_000)
    line, other = log.lines
    assert other["number"] == "<int that cannot be shown>"
    assert line["broken"] == "<Broken that cannot be shown>"
    assert line["inner"] == ["<Broken that cannot be shown>"]
    assert re.fullmatch(r"<object object at 0x\w+>", line["o"])
    assert "…" in json.dumps(line["loop"], ensure_ascii=False)


def test_a_field_cannot_take_the_place_of_the_time_or_the_level() -> None:
    log = start()
    get_logger().info("voice.registered", level="loud", timestamp="never")
    assert log.line == HEAD | {"level_": "loud", "timestamp_": "never"}


def test_a_stream_of_another_encoding_gets_escapes(tmp_path: Path) -> None:
    for form in ("json", "console"):
        file = tmp_path / form
        with file.open("w", encoding="ascii") as stream:
            start(to=stream, format=form)
            get_logger().info("voice.registered", text="你好")
        assert "\\u4f60\\u597d" in file.read_text(encoding="ascii")


# --- secrets


@pytest.mark.parametrize(
    "fields",
    [
        {"text": f"x {SECRET} y"},
        {"nested": {"a": [{"b": (SECRET,)}]}},
        {"keys": {SECRET: 1, f"x-{SECRET}": {"inner": 2}}, SECRET: 1},
        {"error": ValueError(SECRET)},
        {"exc_info": ValueError(SECRET)},
        {"bytes": SECRET.encode()},
        {"spelled": json.dumps({"a": SECRET})},
        {"path": Path(f"/{SECRET}"), "name": SECRET},
        {"deep": [[[[[[[[[[SECRET]]]]]]]]]]},
        {"api_key": "0123", "headers": {"Authorization": "0123"}},
    ],
)
def test_a_secret_is_cut_out_wherever_it_hides(fields: dict[str, Any]) -> None:
    for form in ("json", "console"):
        log = start(format=form)
        get_logger().info("voice.registered", **fields)
        assert "0123" not in log.getvalue().removeprefix(STAMP)
        assert "voice.registered" in log.getvalue()
        assert form == "console" or log.line["event"] == "voice.registered"


def test_fields_that_are_named_like_a_key_are_cut_out_at_any_depth() -> None:
    log = start()
    get_logger().info("voice.registered", api_key="a", headers={"Authorization": "b", "x": "c"})
    assert log.line["api_key"] == "[redacted]"
    assert log.line["headers"] == {"Authorization": "[redacted]", "x": "c"}


def test_a_library_speaks_through_the_same_pipeline_with_its_name_and_leaks_nothing() -> None:
    log = start()
    logging.getLogger("httpx").warning("GET /?key=%s\n", SECRET, exc_info=ValueError(SECRET))
    logging.getLogger("httpx").warning("two %s %s", SECRET)  # noqa: PLE1206 - on purpose
    assert [line.pop("exception", "") for line in log.lines] == ["ValueError: [redacted]", ""]
    said, broken = log.lines
    assert (said["event"], said["logger"]) == ("GET /?key=[redacted]", "httpx")
    assert (broken["event"], broken["log_error"]) == ("two %s %s", "TypeError")
    assert "0123" not in log.getvalue()


@pytest.mark.parametrize("secret", ["5", ": ", "info", '", "'])
def test_a_short_secret_is_cut_out_of_values_and_leaves_the_form_of_the_line(secret: str) -> None:
    log = start(secret=secret)
    get_logger().info("sent", number=15, text=f"a{secret}b", keys={secret: 1})
    rest = {"text": "a[redacted]b", "keys": {"[redacted]": 1}}
    assert log.line == HEAD | {"event": "sent", "number": log.line["number"]} | rest
    assert log.line["number"] == ("1[redacted]" if secret == "5" else 15)


# --- libraries


@pytest.mark.parametrize(
    ("level", "ours", "theirs"),
    [
        ("debug", ["debug", "info", "warning", "error"], ["warning", "error"]),
        ("error", ["error"], ["error"]),
    ],
)
def test_lines_begin_at_the_level_and_a_librarys_only_at_warning(
    level: str, ours: list[str], theirs: list[str]
) -> None:
    log = start(level=level)
    for logger in (get_logger(), logging.getLogger("httpx")):
        for name in ("debug", "info", "warning", "error"):
            getattr(logger, name)("task.polled")
    assert [line["level"] for line in log.lines] == ours + theirs


def test_a_pass_that_overruns_its_tick_is_by_design_and_no_warning() -> None:
    log = start()
    logging.getLogger("apscheduler.scheduler").warning(
        'Execution of job "%s" skipped: maximum number of running instances reached (%d)', "a", 1
    )
    logging.getLogger("apscheduler.executors.default").warning(
        'Run time of job "%s" was missed by %s', "a", "0:00:05"
    )
    logging.getLogger("apscheduler.executors.default").error('Job "%s" raised', "a")
    assert [line["event"] for line in log.lines] == ['Job "a" raised']


def test_a_python_warning_is_a_line() -> None:
    log = start()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)
        start(log)
        warnings.warn("an old habit", DeprecationWarning, stacklevel=1)
        logging.captureWarnings(capture=False)
    assert log.line["logger"] == "py.warnings"
    assert "DeprecationWarning: an old habit" in log.line["event"]


# --- the form


@pytest.mark.parametrize(
    ("form", "tty", "environ", "begins"),
    [
        ("auto", False, {}, "{"),
        ("json", True, {}, "{"),
        ("console", False, {}, "2026-05-01 12:00:00Z error  "),
        ("auto", True, {"NO_COLOR": ""}, "2026-05-01 12:00:00Z \x1b[31merror\x1b[0m  "),
        ("auto", True, {"NO_COLOR": "1"}, "2026-05-01 12:00:00Z error  "),
        ("auto", True, {"TERM": "dumb"}, "2026-05-01 12:00:00Z error  "),
    ],
)
def test_form_and_color_follow_the_setting_and_then_the_stream(
    form: str, environ: dict[str, str], begins: str, *, tty: bool
) -> None:
    log = start(Log(tty=tty), format=form, environ=environ)
    get_logger().error("pass.failed")
    assert log.getvalue().startswith(begins)


def test_a_person_reads_whole_fields_within_80_columns() -> None:
    log = start(format="console")
    get_logger().info(
        "keepalive.succeeded",
        name="alice",
        voice_id="cosyvoice-v3-flash-demo01-0123456789",
        task_id="task_12345678",
        message="a few words",
        deadline_at=NOW,
    )
    assert log.getvalue().splitlines() == [
        "2026-05-01 12:00:00Z info    keepalive.succeeded name=alice",
        "    voice_id=cosyvoice-v3-flash-demo01-0123456789 task_id=task_12345678",
        '    message="a few words" deadline_at=2026-05-01T12:00:00Z',
    ]


def test_long_words_are_broken_between_words() -> None:
    log = start(format="console")
    logging.getLogger("library").warning("word " * 60)
    assert max(map(len, log.getvalue().splitlines())) <= 80
    assert log.getvalue().split().count("word") == 60
    log = start(format="console")
    get_logger().warning("keepalive.failed", name="alice", error="word " * 40, to="OK")
    lines = log.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].endswith("keepalive.failed name=alice")
    assert lines[1].startswith('    error="word word')
    assert lines[-1].endswith(' word " to=OK')
    assert log.getvalue().split().count("word") == 39


def test_what_the_gateway_says_cannot_move_the_cursor() -> None:
    log = start(format="console")
    evil = "\x1b[2Jx\r\n\u202ey\x9bz"
    get_logger().info("task.polled", message=evil, **{evil: 1})
    get_logger().error(evil, exc_info=ValueError("\x1b[2J"))
    assert all(c.isprintable() for c in log.getvalue().replace("\n", ""))
    assert "\\x1b[2Jx" in log.getvalue()


# --- the journal


def test_each_line_to_the_journal_begins_with_its_priority_and_to_no_other_stream(
    tmp_path: Path,
) -> None:
    file = tmp_path / "journal"
    file.touch()
    status = file.stat()
    for journal, at in ((f"{status.st_dev}:{status.st_ino}", "<{}>"), ("1:1", ""), ("", "")):
        with file.open("w") as stream:
            environ = {"JOURNAL_STREAM": journal}
            start(to=stream, level="debug", format="console", environ=environ)
            for level in ("debug", "info", "warning", "critical"):
                getattr(get_logger(), level)("daemon.ready")
            get_logger().error("pass.failed", exc_info=ValueError("no\nyes"))
        assert file.read_text().splitlines() == [
            f"{at.format(7)}2026-05-01 12:00:00Z debug   daemon.ready",
            f"{at.format(6)}2026-05-01 12:00:00Z info    daemon.ready",
            f"{at.format(4)}2026-05-01 12:00:00Z warning daemon.ready",
            f"{at.format(2)}2026-05-01 12:00:00Z critical daemon.ready",
            f"{at.format(3)}2026-05-01 12:00:00Z error   pass.failed",
            f"{at.format(3)}    ValueError: no",
            f"{at.format(3)}    yes",
        ]


def journal_of(file: Path) -> dict[str, str]:
    status = file.stat()
    return {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}


@pytest.mark.parametrize(
    ("level", "priority"),
    [("debug", 7), ("info", 6), ("warning", 4), ("error", 3), ("critical", 2)],
)
def test_a_line_to_the_journal_begins_with_its_priority(
    tmp_path: Path, level: str, priority: int
) -> None:
    file = tmp_path / "journal"
    with file.open("w") as stream:
        start(to=stream, level="debug", environ=journal_of(file))
        getattr(get_logger(), level)("daemon.ready")
    assert file.read_text().startswith(f'<{priority}>{{"timestamp"')


def test_a_stream_that_is_not_the_journal_gets_no_priority(tmp_path: Path) -> None:
    for journal in ("", "1:1", "x", None):
        environ: dict[str, str] = {} if journal is None else {"JOURNAL_STREAM": journal}
        with (tmp_path / "file").open("w") as stream:
            start(to=stream, environ=environ)
            get_logger().info("daemon.ready")
        assert (tmp_path / "file").read_text().startswith("{")


# --- a stream that fails


@pytest.mark.parametrize("way", ["full disk", "reader gone", "closed"])
def test_a_stream_that_fails_costs_the_line_and_nothing_else(
    way: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if way == "closed":
        log = start()
        log.close()
        get_logger().info("daemon.ready")
        assert capsys.readouterr() == ("", "")
        return
    if way == "full disk":
        writer = os.open("/dev/full", os.O_WRONLY)
    else:
        reader, writer = os.pipe()
        os.close(reader)
    with os.fdopen(writer, "wb", buffering=0) as raw:
        stream = io.TextIOWrapper(raw, write_through=True)
        start(to=stream)
        get_logger().info("daemon.ready")
        get_logger().info("daemon.stopped")
        stream.detach()


def test_lines_are_written_at_once(tmp_path: Path) -> None:
    file = tmp_path / "log"
    with file.open("w", buffering=65_536) as stream:
        start(to=stream)
        get_logger().info("daemon.ready")
        assert "daemon.ready" in file.read_text()


def test_configuring_twice_leaves_one_handler_and_spares_those_of_others() -> None:
    theirs = logging.NullHandler()
    logging.getLogger().addHandler(theirs)
    start()
    before = len(logging.getLogger().handlers)
    log = start()
    get_logger().info("voice.registered")
    assert log.line == HEAD
    assert len(logging.getLogger().handlers) == before
    assert theirs in logging.getLogger().handlers
