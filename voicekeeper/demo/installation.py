"""voicekeeper as a stranger would install it: its own directory, configuration and processes.

Nothing of the host's own set-up leaks in: every process is told its configuration file by name,
and sees no variable that is meant for voicekeeper or comes from a service manager. Nothing leaks
out: the registry and the made-up key lie in the directory, which its owner removes.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Final

from voicekeeper.duration import compact

STOP_WITHIN_S: Final = 12.0
"""Longer than a daemon takes to stop at most; after that it is killed."""

_SERVICE_MANAGERS = frozenset(
    {"CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"}
)
_KEY = "made-up-for-the-demo"


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for a process of the demonstration.

    It runs in another directory, so where this program is imported from is named.
    """
    root = str(Path(__file__).parents[2])
    kept = {
        name: value
        for name, value in environ.items()
        if not name.upper().startswith("VOICEKEEPER_") and name not in _SERVICE_MANAGERS
    }
    return kept | {"PYTHONPATH": os.pathsep.join(filter(None, (root, environ.get("PYTHONPATH"))))}


def settings(base_url: str, window: timedelta) -> str:
    """Return a configuration file: everything in proportion to the window.

    With a window of 20 s a voice is used every 6 s, and the daemon looks each half second.
    """
    look, ask = compact(window / 40), compact(window / 50)
    return f"""\
[upstream]
base_url = "{base_url}"
api_key_file = "key"
timeout = "{compact(window / 4)}"
requests_per_second = 50

[database]
url = "sqlite:///registry.db"

[keepalive]
window = "{compact(window)}"
interval = "{compact(window * 3 / 10)}"

[polling]
speech_first = "{ask}"
speech_interval = "{ask}"
enrollment_first = "{ask}"
enrollment_interval = "{ask}"

[retry]
base = "{look}"

[daemon]
tick = "{look}"

[log]
level = "info"
format = "json"
"""


class Installation:
    """A configuration, and the processes that work with it.

    Args:
        directory: empty; removed by whoever made it, when no process runs any more.
        base_url: of the gateway.
        window: after which the gateway deletes a voice.
        environ: of this process.
    """

    def __init__(
        self, directory: Path, *, base_url: str, window: timedelta, environ: Mapping[str, str]
    ) -> None:
        self._directory = directory
        self._environ = environment(environ)
        (directory / "config.toml").write_text(settings(base_url, window), "utf-8")
        (directory / "key").write_text(_KEY, "ascii")

    @contextmanager
    def daemon(
        self, *, on_line: Callable[[str], None], on_end: Callable[[], None]
    ) -> Iterator[subprocess.Popen[str]]:
        """Run the daemon, and stop it in the end, whatever happens.

        Args:
            on_line: is handed every line it says, in another thread.
            on_end: is called there when it says no more.
        """

        def listen() -> None:
            for line in process.stdout or ():
                on_line(line)
            on_end()

        with self.command(("run",)) as process:
            listener = threading.Thread(target=listen, name="demo log", daemon=True)
            listener.start()
            try:
                yield process
            finally:
                _stop(process)
                listener.join()

    @contextmanager
    def command(self, args: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
        """Run a command; what it says, on either stream, is to be read from its stdout.

        It is in a process group of its own, so that Ctrl-C reaches only this program, which
        ends its children itself.
        """
        process = subprocess.Popen(  # noqa: S603 - our own program, by its full path
            [sys.executable, "-m", "voicekeeper", "--config", "config.toml", *args],
            cwd=self._directory,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            process_group=0,
        )
        with process:
            try:
                yield process
            finally:
                _stop(process)


def _stop(process: subprocess.Popen[str]) -> None:
    """End a process, by force if it has to be."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(STOP_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
