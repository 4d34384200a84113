"""A machine with a real systemd as PID 1, in namespaces of its own, thrown away afterwards.

It boots in less than a second, sees the root file system of its host with nothing of what it
writes coming through, and has a network of its own with nothing but a loopback.
"""

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from tests.daemon_support import LIMIT_S, until

_LIFETIME_S = 1800
"""After so long a machine is ended, whatever became of those who started it."""

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_BOOT = Path(__file__).with_name("boot.sh")
_TOOLS = ("unshare", "nsenter", "timeout", "pgrep", "jq", "systemctl", "systemd-analyze")
_READY = "import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))"
_SEALS = ("--mount", "--pid", "--fork", "--uts", "--ipc", "--net", "--cgroup")

Done = subprocess.CompletedProcess[str]


def why_not() -> str | None:
    """Return why no machine can be booted here; None when one can."""
    needs: tuple[tuple[Callable[[], bool], str], ...] = (
        (lambda: os.geteuid() == 0, "only root can boot a machine of its own"),
        (lambda: not _missing(), f"not installed: {', '.join(_missing())}"),
        (lambda: _systemd_version() >= 252, "systemd is older than 252"),
        (
            lambda: _succeeds("/usr/bin/python3", "-c", _READY),
            "no /usr/bin/python3 of 3.11 with venv",
        ),
        (lambda: _cgroups() is not None, "there is no cgroup2 file system that can be written"),
        (lambda: _succeeds("unshare", *_SEALS, "true"), "root may not make namespaces here"),
    )
    return next((reason for is_met, reason in needs if not is_met()), None)


def _missing() -> list[str]:
    tools = [tool for tool in _TOOLS if shutil.which(tool) is None]
    return tools if Path("/lib/systemd/systemd").exists() else ["systemd", *tools]


def _systemd_version() -> int:
    told = subprocess.run(["systemctl", "--version"], capture_output=True, text=True, check=False)
    return int(re.findall(r"\d+", told.stdout)[0])


def _succeeds(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


class Machine:
    """One machine; it is off when the block ends.

    Args:
        root: the file system it is laid over; another tree has another systemd.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._directory = Path(tempfile.mkdtemp(prefix="machine-"))
        self._cgroup: Path | None = None
        self._host: subprocess.Popen[bytes] | None = None
        self._init: int | None = None

    def __enter__(self) -> Self:
        try:
            self._boot()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *ended: object) -> None:
        if self._host is not None:
            if self._init is not None:
                with suppress(ProcessLookupError):
                    os.kill(self._init, signal.SIGKILL)
            else:
                os.killpg(self._host.pid, signal.SIGKILL)
            self._host.wait(LIMIT_S)
        if self._cgroup is not None:
            processes = self._cgroup / "cgroup.procs"
            until(lambda: not processes.read_text(), "every process of the machine has ended")
            for path, _, _ in os.walk(self._cgroup, topdown=False):
                with suppress(OSError):  # the kernel may not be done with it; it is empty
                    Path(path).rmdir()
        shutil.rmtree(self._directory, ignore_errors=True)

    def run(
        self,
        *command: str | Path,
        check: bool = True,
        stdin: str | None = None,
        **environ: str,
    ) -> Done:
        """Run a command in the machine, as root.

        Raises:
            AssertionError: it failed, and ``check`` says that it must not.
        """
        done = subprocess.run(
            [*self._entered(**environ), *map(str, command)],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=LIMIT_S * 4,
            check=False,
        )
        assert not check or done.returncode == 0, (
            command,
            done.returncode,
            done.stdout,
            done.stderr,
        )
        return done

    def sh(self, script: str, *, check: bool = True) -> str:
        """Run lines of a shell in the machine; return what they wrote to stdout."""
        return self.run("sh", "-c", script, check=check).stdout

    def start(self, *command: str | Path) -> subprocess.Popen[str]:
        """Start a command in the machine, with pipes to its stdin and from its stdout."""
        return subprocess.Popen(
            [*self._entered(), *map(str, command)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def write(self, path: str, text: str, *, mode: str = "644") -> None:
        """Write a file in the machine."""
        self.run("install", f"-Dm{mode}", "/dev/stdin", path, stdin=text)

    def put(self, source: Path, into: str, *names: str) -> None:
        """Copy files and directories of the host into a directory of the machine.

        Args:
            source: the directory they stand in.
            into: the directory in the machine; made when it is missing.
            names: all that is there if none are given.
        """
        packed = subprocess.run(
            ["tar", "-C", source, "-cf", "-", *(names or (".",))], capture_output=True, check=True
        ).stdout
        unpack = f"mkdir -p {into} && tar -C {into} --no-same-owner -xf -"
        subprocess.run([*self._entered(), "sh", "-c", unpack], input=packed, check=True)

    def _entered(self, **environ: str) -> Sequence[str]:
        assert self._init is not None, "the machine is off"
        named = {"PATH": _PATH, "TERM": "dumb", "LANG": "C.UTF-8", "SYSTEMD_PAGER": ""} | environ
        return [
            *("nsenter", "-t", str(self._init), "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w"),
            *("--", "env", "-i", *(f"{name}={value}" for name, value in named.items())),
        ]

    def _boot(self) -> None:
        cgroups = _cgroups()
        assert cgroups is not None
        self._cgroup = cgroups / self._directory.name  # a root of its own for the namespace
        self._cgroup.mkdir()
        console = self._directory.with_suffix(".log")
        start = (
            f"echo $$ >{self._cgroup}/cgroup.procs && exec timeout -s KILL {_LIFETIME_S} "
            f"unshare {' '.join(_SEALS)} --propagation private --kill-child "
            f'-- bash {_BOOT} "{self._directory}" "{self._root}"'
        )
        with console.open("wb") as log:
            self._host = subprocess.Popen(
                ["bash", "-c", start],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            until(self._is_up, "the machine has booted")
        except AssertionError as error:
            raise AssertionError(f"{error}: {console.read_text(errors='replace')}") from None
        finally:
            console.unlink()

    def _is_up(self) -> bool:
        assert self._host is not None
        assert self._host.poll() is None, "the machine ended while it booted"
        self._init = self._init or _systemd_under(self._host.pid)
        if self._init is None:
            return False
        state = self.run("systemctl", "is-active", "machine.target", check=False).stdout
        return state == "active\n"


def _systemd_under(pid: int) -> int | None:
    """Return the process that has become systemd, of a ``timeout``'s ``unshare``'s children."""
    for _ in range(2):
        found = subprocess.run(
            ["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False
        ).stdout.split()
        if not found:
            return None
        pid = int(found[0])
    with suppress(OSError):
        if Path(f"/proc/{pid}/comm").read_text() == "systemd\n":
            return pid
    return None


def _cgroups() -> Path | None:
    """Return where cgroup2 is mounted, if it can be written."""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, where, kind, options, *_ = line.split()
        if kind == "cgroup2" and "rw" in options.split(","):
            return Path(where)
    return None
