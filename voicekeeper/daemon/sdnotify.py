"""Telling systemd how the daemon is: one datagram on the socket it names.

Without systemd nothing is told and nothing breaks; nor does anything break when the telling
fails, because a voice is worth more than a status line. (``sd_notify(3)``,
``sd_watchdog_enabled(3)``.)
"""

import contextlib
import os
import socket
from collections.abc import Mapping

from voicekeeper.core.visible import visible

_PATIENCE = 0.5
"""Seconds to wait for room in the socket of a busy service manager, for what is said but once."""
_LONGEST_STATUS = 200


class ServiceManager:
    """The daemon's line to the service manager.

    Args:
        environ: the environment; ``NOTIFY_SOCKET``, ``WATCHDOG_USEC`` and ``WATCHDOG_PID``.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self._interval = _watchdog_interval(environ)

    @property
    def watchdog_interval(self) -> float | None:
        """Seconds within which `watchdog` must be called again; None if nobody waits for it."""
        return self._interval

    def ready(self, status: str) -> None:
        """Say that the start-up is finished."""
        self._send(f"READY=1\nSTATUS={_line(status)}", patience=_PATIENCE)

    def reloading(self, monotonic: float) -> None:
        """Say that the settings are read anew; `ready` says that this has ended.

        Args:
            monotonic: seconds of the clock that systemd compares its own request with.
        """
        self._send(f"RELOADING=1\nMONOTONIC_USEC={int(monotonic * 1_000_000)}", patience=_PATIENCE)

    def status(self, text: str) -> None:
        """Set the line that ``systemctl status`` shows."""
        self._send(f"STATUS={_line(text)}")

    def watchdog(self) -> None:
        """Say that a pass was completed."""
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """Say that the daemon finishes its work and ends."""
        self._send("STOPPING=1")

    def _send(self, message: str, *, patience: float = 0) -> None:
        if not self._address.startswith(("/", "@")):
            return
        address = self._address
        if address.startswith("@"):
            address = "\0" + address[1:]
        with (
            contextlib.suppress(OSError, ValueError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line,
        ):
            line.settimeout(patience)
            line.connect(address)
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
