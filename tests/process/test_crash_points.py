"""The daemon killed at its n-th commit or call, for every n of a life of three voices.

After each kill a new daemon brings the life to rest. What became of it is judged from the
gateway's books: no voice lost, and nothing paid for twice.
"""

import random
import signal
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from tests.crash_at import VARIABLE, Nursery
from tests.daemon_support import Host, fast_gateway
from tests.support import imported, wanted
from voicekeeper.core.models import Origin, Status, TaskState
from voicekeeper.sandbox import Books, SandboxServer

STEP = 5
"""Each n is a process killed and another one brought to rest: the suite takes every fifth."""

LEAST_MOMENTS = 18
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


def is_at_rest(host: Host) -> bool:
    """Tell whether no voice waits, and no task is open."""
    tasks = (task for name in ("anna", *ENROLLED) for task in host.tasks(name))
    return not any(task.state.is_open for task in tasks) and not any(
        voice.status in (Status.NEW, Status.DEPLOYING) for voice in host.registry.all()
    )


def crash(directory: Path, nursery: Nursery, moment: int) -> bool:
    """Kill a life at its n-th moment, let a new daemon bring it to rest, and judge it.

    Returns:
        Whether the life had so many moments.
    """
    directory.mkdir()
    log = directory / "log"
    gateway = fast_gateway(window=timedelta(days=7), speech_time=QUICK, enrollment_time=QUICK)
    with SandboxServer(gateway) as server:
        server.import_voice("id-anna")
        host = Host(directory, server.base_url, **SETTINGS)
        host.register(imported("anna"), wanted("cloned"), wanted("designed", Origin.DESIGN))
        rests = partial(is_at_rest, host)
        code = nursery.live(host.environ(**{VARIABLE: str(moment)}), log, rests)
        reached = code == -signal.SIGKILL
        cut_off = {
            name
            for name in ("anna", *ENROLLED)
            if any(task.state is TaskState.INTENT for task in host.tasks(name))
        }
        if reached:
            code = nursery.live(host.environ(), log, rests)
        assert code == 0, log.read_text()
        judge(host, server.books(), cut_off, log.read_text())
    host.database.close()
    return reached


def judge(host: Host, books: Books, cut_off: set[str], told: str) -> None:
    """See that no voice is lost and nothing paid for twice.

    Args:
        host: at rest.
        books: of its gateway.
        cut_off: the voices with a call between its intent and its answer at the kill.
        told: the log of both daemons.
    """
    voices = books.voices
    assert all(voice.alive for voice in voices.values()), told
    assert books.speech in ((1, 2) if "anna" in cut_off else (1,)), told
    assert voices["id-anna"].uses >= 1, told
    for name, kind in ENROLLED.items():
        charged = getattr(books, kind)
        voice = host.voice(name)
        if name in cut_off:  # nobody knows
            assert charged <= 1, told
            assert voice.status is Status.UNKNOWN, told
        else:
            assert charged == 1, told
            assert voice.status is Status.OK, told
            assert voices[voice.voice_id or ""].made_by == kind, told


def sweep(directory: Path, nursery: Nursery, first: int, step: int) -> int:
    """Crash at every moment from ``first`` on; return the first that a life does not have."""
    moments = count(first, step)
    return next(n for n in moments if not crash(directory / str(n), nursery, n))


def test_a_crash_at_every_fifth_commit_or_call_loses_nothing_and_pays_for_nothing_twice(
    tmp_path: Path, nursery: Nursery
) -> None:
    assert sweep(tmp_path, nursery, random.randint(1, STEP), STEP) > LEAST_MOMENTS


@pytest.mark.campaign
@pytest.mark.timeout(900)
def test_a_crash_at_any_commit_or_call_loses_nothing_and_pays_for_nothing_twice(
    tmp_path: Path, nursery: Nursery
) -> None:
    assert sweep(tmp_path, nursery, 1, 1) > LEAST_MOMENTS
