"""Registries of any size, and a keeper on one."""

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.daemon_support import Daemon
from voicekeeper import config, log
from voicekeeper.core.clock import SystemClock
from voicekeeper.core.secret import SecretStr
from voicekeeper.daemon import wiring
from voicekeeper.daemon.service import run_once
from voicekeeper.store.database import Database
from voicekeeper.store.sqlite import SqliteDatabase

KEY = "benchmark"
_MODEL = "cosyvoice-3-flash"
_BATCH = 10_000


def settings(url: str, **upstream: Any) -> config.Settings:  # noqa: ANN401 - any key
    """Return settings that ask for a task as soon as they may."""
    most = config.Upstream(base_url=url, requests_per_second=10_000, max_in_flight=64)
    return config.Settings(
        upstream=most._replace(**upstream),
        polling=config.Polling(
            speech_first=timedelta(seconds=0.02), speech_interval=timedelta(seconds=0.05)
        ),
        daemon=config.Daemon(tick=timedelta(seconds=0.1)),
    )


@contextlib.contextmanager
def registry(voices: int, *, due_in: timedelta = timedelta(days=-1)) -> Iterator[Path]:
    """Give the file of a registry.

    Args:
        voices: how many there are.
        due_in: when the first of them is due; they are spread over the day that follows.
    """
    with TemporaryDirectory() as directory:
        path = Path(directory) / "voicekeeper.db"
        database = SqliteDatabase(path)
        database.prepare(upgrade=True)
        fill(database, voices, due_in=due_in)
        database.close()
        yield path


@contextlib.contextmanager
def daemon(path: Path, url: str, *, tick: str = "1s") -> Iterator[tuple[Daemon, float]]:
    """Run a daemon; give it when it is ready, and how many seconds that took."""
    environ = {
        "PATH": os.environ["PATH"],
        "VOICEKEEPER_API_KEY": KEY,
        "VOICEKEEPER_CONFIG": os.devnull,
        "VOICEKEEPER_DATABASE__URL": f"sqlite:///{path}",
        "VOICEKEEPER_UPSTREAM__BASE_URL": url,
        "VOICEKEEPER_DAEMON__TICK": tick,
    }
    began = time.monotonic()
    with Daemon(["run"], environ) as running:
        running.await_event("daemon.ready")
        yield running, time.monotonic() - began
        running.end(signal.SIGTERM)


def fill(database: Database, voices: int, *, due_in: timedelta) -> None:
    """Register voices past the checks of the command, which take long for a million."""
    now = datetime.now(UTC)
    day = timedelta(days=1)
    for start in range(0, voices, _BATCH):
        numbers = range(start, min(start + _BATCH, voices))
        rows = []
        for number in numbers:
            due = now + due_in + day * (number / voices)
            used = due - timedelta(days=3)
            rows.append(
                (f"v{number:07}", _MODEL, f"id-{number:07}", *map(_text, (now, used, used, due)))
            )
        with database.writing() as session:
            session.connection().exec_driver_sql(
                "INSERT INTO voice (name, model, voice_id, created_at, last_used_at, anchored_at,"
                " next_at, origin, status, paused, failures)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, 'imported', 'OK', 0, 0)",
                rows,
            )


def keep_all(path: Path, chosen: config.Settings) -> float:
    """Keep every voice that is due, as ``run --once`` does; return the seconds it took."""
    database = SqliteDatabase(path)
    with logged_to_nowhere():
        began = time.monotonic()
        asyncio.run(_keep_all(database, chosen))
        took = time.monotonic() - began
    database.close()
    return took


@contextlib.contextmanager
def logged_to_nowhere() -> Iterator[None]:
    """Write the log as a service does, and throw it away."""
    with open(os.devnull, "w", encoding="utf-8") as sink:  # noqa: PTH123 - no path of ours
        log.configure(
            level="info",
            format="json",
            clock=SystemClock(),
            stream=sink,
            environ={},
            secrets=[SecretStr(KEY)],
        )
        yield
    logging.shutdown()


async def _keep_all(database: Database, chosen: config.Settings) -> None:
    async with wiring.assembly(
        chosen,
        api_key=SecretStr(KEY),
        database=database,
        clock=SystemClock(),
        log=log.get_logger(),
    ) as assembly:
        await run_once(assembly.keeper)


def _text(instant: datetime) -> str:
    return instant.isoformat(" ", "microseconds")[:26]
