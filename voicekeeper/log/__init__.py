"""The log: one JSON object a line for machines, a short form for a person at a terminal.

Everything goes through one pipeline: our own events, what libraries tell the standard logger,
and warnings. At its end the API key is cut out twice: from every value before it is written,
and from the finished line. Nothing that happens here may stop the daemon: a value that cannot
be written is shown as best it can be, a line that cannot be written is dropped.

The parts: `lines` makes values plain, cuts the secrets out and lays out a line, and `spool` is the
daemon's stdout, whose reader holds nobody up.
Libraries speak only from WARNING: what they do at INFO (each request, each run of the
scheduler) our own events tell better, with the voice's name.
"""

import logging
import os
from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import Final, TextIO, cast

import structlog
from structlog.processors import ExceptionRenderer
from structlog.stdlib import LoggerFactory, ProcessorFormatter
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

from voicekeeper.core.clock import Clock
from voicekeeper.core.secret import SecretStr
from voicekeeper.log import lines
from voicekeeper.log.lines import Plain, Redactor

OWN: Final = "voicekeeper"
"""The standard logger's name of our own events; all others are a library's."""

_LEADING = ("name", "voice_id", "task_id")
_EXPECTED = ("Execution of job", "Run time of job")
"""How APScheduler's complaints of an overrunning pass begin: the sweep coalesces by design."""


def get_logger() -> FilteringBoundLogger:
    """Return the logger of our own events; it obeys the latest `configure`."""
    return cast("FilteringBoundLogger", structlog.get_logger(OWN))


def configure(
    *,
    level: str,
    format: str,  # noqa: A002 - the setting's name
    clock: Clock,
    stream: TextIO,
    environ: Mapping[str, str],
    secrets: Sequence[SecretStr] = (),
) -> None:
    """Send every log line of this process to one stream; a second call replaces the first.

    Args:
        level: ``debug``, ``info``, ``warning`` or ``error``; below it nothing is written.
        format: ``json``, ``console``, or ``auto``: console when the stream is a terminal.
        clock: what the timestamps are read from.
        stream: usually stdout; when it is the journal, lines carry its priority prefix.
        environ: the environment; ``JOURNAL_STREAM``, ``NO_COLOR`` and ``TERM``.
        secrets: texts that no line may hold.
    """
    console = format == "console" or (format == "auto" and stream.isatty())
    pipeline = _Pipeline(
        clock=clock,
        redactor=Redactor([secret.get_secret_value() for secret in secrets]),
        console=console,
        color=console and _wants_color(stream, environ),
        encoding=getattr(stream, "encoding", None) or "utf-8",
    )
    handler = _LineHandler(stream, pipeline, journal=_is_journal(stream, environ))
    threshold = logging.getLevelNamesMapping()[level.upper()]
    root = logging.getLogger()
    for old in [h for h in root.handlers if isinstance(h, _LineHandler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(max(threshold, logging.WARNING))
    logging.getLogger(OWN).setLevel(threshold)
    logging.captureWarnings(capture=True)
    structlog.configure(
        processors=[ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=LoggerFactory(),
        cache_logger_on_first_use=False,
    )


class _Pipeline:
    """What turns one event into one line."""

    def __init__(
        self, *, clock: Clock, redactor: Redactor, console: bool, color: bool, encoding: str
    ) -> None:
        self._clock = clock
        self._redactor = redactor
        self._console = console
        self._color = color
        self._encoding = encoding
        self.formatter = ProcessorFormatter(
            processors=[ExceptionRenderer(lines.exception_text), self._finish]
        )

    def _finish(self, _logger: WrappedLogger, _method: str, event: EventDict) -> str:
        record: logging.LogRecord = event.pop("_record")
        own = event.pop("_from_structlog")
        rest = {key: event.pop(key) for key in _LEADING if key in event}
        message, trace = event.pop("event", ""), event.pop("exception", None)
        rest |= event
        if not own:
            rest = {"logger": record.name, **rest}
            message = message.strip()
        if trace is not None:
            rest["exception"] = lines.shortened(self._redactor.text(str(trace)))
        return self.line(record, message, rest)

    def line(self, record: logging.LogRecord, event: object, rest: EventDict) -> str:
        """Lay out one event; its own fields never replace the three that every line has."""
        now = self._clock.now().astimezone(UTC).replace(tzinfo=None)
        head: dict[str, Plain] = {
            "timestamp": now.isoformat(timespec="milliseconds") + "Z",
            "level": record.levelname.lower(),
            "event": self._redactor.plain(event),
        }
        own = {f"{key}_" if key in head else key: value for key, value in rest.items()}
        fields = head | self._redactor.plain_fields(own)
        if self._console:
            return self._redactor.text(
                lines.console_line(fields, color=self._color, encoding=self._encoding)
            )
        return self._redactor.json_line(lines.json_line(fields, self._encoding), head)


class _LineHandler(logging.Handler):
    """Writes lines; a reader that went away or a full disk costs lines, never the daemon."""

    def __init__(self, stream: TextIO, pipeline: _Pipeline, *, journal: bool) -> None:
        super().__init__()
        self._stream = stream
        self._pipeline = pipeline
        self._journal = journal
        self.setFormatter(pipeline.formatter)
        self.addFilter(_is_news)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception as error:  # noqa: BLE001 - a library's broken message is still told
            rest = {"logger": record.name, "log_error": type(error).__name__}
            line = self._pipeline.line(record, record.msg, rest)
        if self._journal:
            line = lines.with_priority(line, record.levelno)
        try:
            self._stream.write(f"{line}\n")
            self._stream.flush()
        except (OSError, ValueError):
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Drop the line: there is no better place to complain of the log than the log."""


def _is_news(record: logging.LogRecord) -> bool:
    return not (record.name.startswith("apscheduler.") and str(record.msg).startswith(_EXPECTED))


def _is_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Tell whether the stream is the one systemd connected to the journal (``systemd.exec``)."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def _wants_color(stream: TextIO, environ: Mapping[str, str]) -> bool:
    return stream.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
