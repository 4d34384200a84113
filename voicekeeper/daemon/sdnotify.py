"""Tell systemd how the daemon is: one datagram on the socket it names.

Without systemd, or where the telling fails, nothing happens: a voice is worth more than a status
line. (``sd_notify(3)``, ``sd_watchdog_enabled(3)``.)
"""

import contextlib
import os
import socket
from collections.abc import Mapping

from voicekeeper.core.visible import visible

_TIMEOUT_S = 0.5
"""To wait for room in the socket of a busy service manager, for what is said but once."""

_LONGEST_STATUS = 200


class ServiceManager:
    """The daemon's line to the service manager.

    Args:
        environ: the environment; ``NOTIFY_SOCKET``, ``WATCHDOG_USEC`` and ``WATCHDOG_PID``.

    Attributes:
        watchdog_interval: seconds within which `watchdog` must be called again, if at all.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self.watchdog_interval = _watchdog_interval(environ)

    def ready(self, status: str) -> None:
        """Say that the start, or a reload, is finished."""
        self._send(f"READY=1\nSTATUS={_line(status)}", timeout_s=_TIMEOUT_S)

    def reloading(self, monotonic: float) -> None:
        """Say that the settings are being reloaded.

        Args:
            monotonic: seconds of the clock that systemd compares its own request with.
        """
        microseconds = int(monotonic * 1_000_000)
        self._send(f"RELOADING=1\nMONOTONIC_USEC={microseconds}", timeout_s=_TIMEOUT_S)

    def status(self, text: str) -> None:
        """Set the line that ``systemctl status`` shows."""
        self._send(f"STATUS={_line(text)}")

    def watchdog(self) -> None:
        """Say that a pass was completed."""
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """Say that the daemon finishes its work and ends."""
        self._send("STOPPING=1")

    def _send(self, message: str, *, timeout_s: float = 0) -> None:
        if not self._address.startswith(("/", "\0")):
            return
        with (
            contextlib.suppress(OSError, ValueError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line,
        ):
            line.settimeout(timeout_s)
            line.connect(self._address)
            line.send(message.encode(errors="replace"))


def _line(text: str) -> str:
    """Keep a status from being read as further assignments, which stand on lines of their own."""
    words = " ".join(text.encode(errors="replace").decode().split())
    return visible(words)[:_LONGEST_STATUS]


def _watchdog_interval(environ: Mapping[str, str]) -> float | None:
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    try:
        microseconds = int(environ.get("WATCHDOG_USEC", ""))
    except ValueError:
        return None
    return microseconds / 1_000_000 if microseconds > 0 else None
