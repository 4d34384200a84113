"""The daemon killed at its n-th commit or call, for every n of a life of three voices.

After each kill a new daemon brings the life to rest. What became of it is judged from the
gateway's books: no voice lost, and nothing paid for twice.
"""

import os
import random
import signal
from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest

from tests.crash_at import VARIABLE, Nursery
from tests.daemon_support import Host, fast_gateway, is_running, until
from tests.support import imported, wanted
from voicekeeper.core.models import Origin, Status, TaskState
from voicekeeper.sandbox import SandboxServer
from voicekeeper.store.jobs import OPEN

STEP = 7
"""Each n is a process killed and another one brought to rest: the suite takes every seventh."""

LEAST_MOMENTS = 30
"""A life of three voices has more moments than this; with fewer the fuse would be broken."""

SETTINGS = {
    "KEEPALIVE__WINDOW": "7d",
    "KEEPALIVE__INTERVAL": "3d",
    "KEEPALIVE__JITTER": "0s",
    "DAEMON__TICK": "0.05s",
    "POLLING__SPEECH_FIRST": "0.05s",
    "POLLING__SPEECH_INTERVAL": "0.05s",
    "POLLING__ENROLLMENT_FIRST": "0.05s",
    "POLLING__ENROLLMENT_INTERVAL": "0.05s",
    "UPSTREAM__REQUESTS_PER_SECOND": "200",
    "UPSTREAM__MAX_IN_FLIGHT": "2",  # one call and one poll at a time: the same life each time
}
QUICK = (timedelta(seconds=0.1), timedelta(seconds=0.1))
ENROLLED = {"cloned": "clone", "designed": "design"}


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with Nursery() as nursery:
        yield nursery


class CrashedLife:
    """One life: a kill at the n-th moment, a new daemon, and rest.

    Attributes:
        reached: whether the life had so many moments.
    """

    def __init__(self, directory: Path, nursery: Nursery, moment: int) -> None:
        directory.mkdir()
        self._nursery, self._log = nursery, directory / "log"
        gateway = fast_gateway(window=timedelta(days=7), speech_time=QUICK, enrollment_time=QUICK)
        with SandboxServer(gateway) as server:
            server.import_voice("id-anna")
            self._host = Host(directory, server.base_url, **SETTINGS)
            self._host.register(
                imported("anna"), wanted("cloned"), wanted("designed", Origin.DESIGN)
            )
            self._run(**{VARIABLE: str(moment)})
            self.reached = self._code == -signal.SIGKILL
            self._cut_off = {
                name for name in ("anna", *ENROLLED) if self._has(name, TaskState.INTENT)
            }
            if self.reached:
                self._run()
            assert self._code == 0, self._log.read_text()
            self._books = server.books()
        self._host.database.close()

    def judge(self) -> None:
        """See that no voice is lost and nothing paid for twice.

        Raises:
            AssertionError: with the whole log of both daemons.
        """
        told = self._log.read_text()
        voices = self._books.voices
        assert all(voice.alive for voice in voices.values()), told
        assert self._books.speech in ((1, 2) if "anna" in self._cut_off else (1,)), told
        assert voices["id-anna"].uses >= 1, told
        for name, kind in ENROLLED.items():
            charged = getattr(self._books, kind)
            voice = self._host.voice(name)
            if name in self._cut_off:  # between its intent and its answer: nobody knows
                assert charged <= 1, told
                assert voice.status is Status.UNKNOWN, told
            else:
                assert charged == 1, told
                assert voice.status is Status.OK, told
                assert voices[voice.voice_id or ""].made_by == kind, told

    def _run(self, **environ: str) -> None:
        """Run a daemon until it kills itself, or all is at rest."""
        before = self._ready()
        pid = self._nursery.start(self._host.environ(**environ), self._log)
        until(
            lambda: not is_running(pid) or (self._ready() > before and self._is_at_rest()),
            "it rests or is killed",
        )
        if is_running(pid):
            os.kill(pid, signal.SIGTERM)
        self._code = self._nursery.exit_code()

    def _ready(self) -> int:
        """Return how many daemons came to their first pass."""
        return self._log.read_text().count("daemon.ready") if self._log.exists() else 0

    def _is_at_rest(self) -> bool:
        unsettled = (Status.NEW, Status.DEPLOYING)
        return not any(self._has(name, *OPEN) for name in ("anna", *ENROLLED)) and not any(
            voice.status in unsettled for voice in self._host.registry.all()
        )

    def _has(self, name: str, *states: TaskState) -> bool:
        return any(task.state in states for task in self._host.tasks(name))


def sweep(directory: Path, nursery: Nursery, first: int, step: int) -> int:
    """Crash at every moment from ``first`` on; return the first that a life does not have."""
    for moment in count(first, step):
        life = CrashedLife(directory / str(moment), nursery, moment)
        life.judge()
        if not life.reached:
            return moment
    raise AssertionError


def test_a_crash_at_every_seventh_commit_or_call_loses_nothing_and_pays_for_nothing_twice(
    tmp_path: Path, nursery: Nursery
) -> None:
    assert sweep(tmp_path, nursery, random.randint(1, STEP), STEP) > LEAST_MOMENTS


@pytest.mark.campaign
@pytest.mark.timeout(900)
def test_a_crash_at_any_commit_or_call_loses_nothing_and_pays_for_nothing_twice(
    tmp_path: Path, nursery: Nursery
) -> None:
    assert sweep(tmp_path, nursery, 1, 1) > LEAST_MOMENTS
