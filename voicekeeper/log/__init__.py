"""The log: one JSON object a line for machines, a short form for a person at a terminal.

Everything goes through one handler: our own events, the records of libraries, and warnings. There
the API key is cut out of every value before the line is written. Nothing that happens here may
stop the daemon: a value that cannot be written is shown as best it can be, a line that cannot be
written is dropped.

The parts: `lines` makes values plain, cuts the secrets out and lays out a line, and `spool` is the
daemon's stdout, whose reader holds nobody up.
Libraries speak only from WARNING: our own events report each request and each run of the scheduler
better, with the voice's name.
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
        clock: for the timestamps.
        stream: usually stdout; when it is the journal, lines carry its priority prefix.
        environ: the environment; ``JOURNAL_STREAM``, ``NO_COLOR`` and ``TERM``.
        secrets: texts that no line may hold.
    """
    is_terminal = stream.isatty()
    plain_terminal = environ.get("NO_COLOR") or environ.get("TERM") == "dumb"
    handler = _LineHandler(
        stream,
        clock=clock,
        redactor=Redactor([secret.get_secret_value() for secret in secrets]),
        console=format == "console" or (format == "auto" and is_terminal),
        color=is_terminal and not plain_terminal,
        journal=_is_journal(stream, environ),
    )
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


class _LineHandler(logging.Handler):
    """Writes lines; a reader that went away or a full disk costs lines, never the daemon."""

    def __init__(
        self,
        stream: TextIO,
        *,
        clock: Clock,
        redactor: Redactor,
        console: bool,
        color: bool,
        journal: bool,
    ) -> None:
        super().__init__()
        self._stream = stream
        self._encoding = getattr(stream, "encoding", None) or "utf-8"
        self._clock = clock
        self._redactor = redactor
        self._console = console
        self._color = color
        self._journal = journal
        render = ExceptionRenderer(lines.exception_text)
        self.setFormatter(ProcessorFormatter(processors=[render, self._of_event]))
        self.addFilter(_is_news)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception as error:  # noqa: BLE001 - a library's broken message is still written
            rest = {"logger": record.name, "log_error": type(error).__name__}
            line = self._line(record, record.msg, rest)
        if self._journal:
            line = lines.with_priority(line, record.levelname.lower())
        try:
            self._stream.write(f"{line}\n")
            self._stream.flush()
        except (OSError, ValueError):
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Drop the line: there is no better place to complain of the log than the log."""

    def _of_event(self, _logger: WrappedLogger, _method: str, event: EventDict) -> str:
        """Write the line of one event: the last of structlog's processors."""
        record: logging.LogRecord = event.pop("_record")
        message, trace = event.pop("event", ""), event.pop("exception", None)
        rest = {}
        if not event.pop("_from_structlog"):
            rest["logger"] = record.name
            message = message.strip()
        rest |= {key: event.pop(key) for key in _LEADING if key in event}
        rest |= event
        if trace is not None:
            rest["exception"] = lines.shortened(self._redactor.text(str(trace)))
        return self._line(record, message, rest)

    def _line(self, record: logging.LogRecord, event: object, rest: EventDict) -> str:
        """Write a line; the fields of an event never replace the three that every line has."""
        now = self._clock.now().astimezone(UTC).replace(tzinfo=None)
        fields: dict[str, Plain] = {
            "timestamp": now.isoformat(timespec="milliseconds") + "Z",
            "level": record.levelname.lower(),
            "event": self._redactor.plain(event),
        }
        own = {f"{key}_" if key in fields else key: value for key, value in rest.items()}
        fields |= self._redactor.fields(own)
        if self._console:
            return lines.console_line(fields, color=self._color, encoding=self._encoding)
        return lines.json_line(fields, self._encoding)


def _is_news(record: logging.LogRecord) -> bool:
    return not (record.name.startswith("apscheduler.") and str(record.msg).startswith(_EXPECTED))


def _is_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Tell whether the stream is the one systemd connected to the journal (``systemd.exec``)."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
