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
from dataclasses import dataclass
from datetime import UTC
from typing import Final, TextIO, cast

import structlog
from structlog.processors import ExceptionRenderer
from structlog.stdlib import LoggerFactory, ProcessorFormatter
from structlog.typing import FilteringBoundLogger

from voicekeeper.core.clock import Clock
from voicekeeper.core.secret import SecretStr
from voicekeeper.log import lines
from voicekeeper.log.lines import Plain, Redactor, exception_text

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
    handler = _LineHandler(stream)
    handler.addFilter(_is_news)
    handler.setFormatter(
        _LineFormatter(
            clock=clock,
            redactor=Redactor([secret.get_secret_value() for secret in secrets]),
            encoding=getattr(stream, "encoding", None) or "utf-8",
            console=format == "console" or (format == "auto" and is_terminal),
            color=is_terminal and not plain_terminal,
            journal=_is_journal(stream, environ),
        )
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
        processors=[ExceptionRenderer(exception_text), ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=LoggerFactory(),
        cache_logger_on_first_use=False,
    )


class _LineHandler(logging.StreamHandler[TextIO]):
    """Writes lines; a reader that went away or a full disk costs lines, never the daemon."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Drop the line: there is no better place to complain of the log than the log."""


@dataclass(frozen=True, eq=False)
class _LineFormatter(logging.Formatter):
    """Lays out one record; the fields of an event never replace the three that every line has."""

    clock: Clock
    redactor: Redactor
    encoding: str
    console: bool
    color: bool
    journal: bool

    def format(self, record: logging.LogRecord) -> str:
        event, rest = _parts(record)
        trace = rest.pop("exception", None)
        if trace is not None:
            rest["exception"] = lines.shortened(self.redactor.text(str(trace)))
        now = self.clock.now().astimezone(UTC).replace(tzinfo=None)
        level = record.levelname.lower()
        fields: dict[str, Plain] = {
            "timestamp": now.isoformat(timespec="milliseconds") + "Z",
            "level": level,
            "event": self.redactor.plain(event),
        }
        own = {f"{key}_" if key in fields else key: value for key, value in rest.items()}
        fields |= self.redactor.fields(own)
        if self.console:
            line = lines.console_line(fields, color=self.color, encoding=self.encoding)
        else:
            line = lines.json_line(fields, self.encoding)
        return lines.with_priority(line, level) if self.journal else line


def _parts(record: logging.LogRecord) -> tuple[object, dict[str, object]]:
    """Return the event of a record, and its fields: our own in order, or a library's."""
    if isinstance(record.msg, dict):  # from structlog
        event = dict(record.msg)
        message = event.pop("event", "")
        return message, {key: event.pop(key) for key in _LEADING if key in event} | event
    rest: dict[str, object] = {"logger": record.name}
    message = record.msg
    try:
        message = record.getMessage().strip()
    except Exception as error:  # noqa: BLE001 - a library's broken message is still written
        rest["log_error"] = type(error).__name__
    if record.exc_info and record.exc_info[1] is not None:
        rest["exception"] = exception_text(record.exc_info)
    return message, rest


def _is_news(record: logging.LogRecord) -> bool:
    return not (record.name.startswith("apscheduler.") and str(record.msg).startswith(_EXPECTED))


def _is_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Tell whether the stream is the one systemd connected to the journal (``systemd.exec``)."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
