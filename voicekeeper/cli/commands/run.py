"""``voicekeeper run``: the daemon."""

import asyncio
import contextlib
import faulthandler
import os
import sqlite3
import sys
import threading
from collections.abc import Sequence
from functools import partial

import click

from voicekeeper import log
from voicekeeper.cli.options import pass_session
from voicekeeper.cli.session import Session
from voicekeeper.config import Settings
from voicekeeper.core.events import Event, tell
from voicekeeper.core.secret import SecretStr
from voicekeeper.daemon import reload_socket, wiring
from voicekeeper.daemon.reload import Reload
from voicekeeper.daemon.sdnotify import ServiceManager
from voicekeeper.daemon.service import Daemon, run_once
from voicekeeper.errors import KeyRefused, VoicekeeperError
from voicekeeper.log.spool import spooled
from voicekeeper.store.backup import DailyCopies
from voicekeeper.store.database import Database
from voicekeeper.store.sqlite import SqliteDatabase
from voicekeeper.web import serving

_STOPPED_WITHIN_S = 9.5
"""More than an orderly stop takes, and less than anybody who asks for one should wait."""


@click.command
@click.option("--once", is_flag=True, help="Do all that is due, follow it to its end, and exit.")
@pass_session
def run_command(session: Session, *, once: bool) -> None:
    """Run the daemon: keep every voice in the registry alive.

    It runs until SIGTERM or Ctrl-C and logs to stdout: JSON lines, or a
    console form on a terminal. It needs the API key; 'voicekeeper check'
    tells whether that is found. Only one daemon works on a registry; a
    second one exits with 75. SIGHUP has it take its settings anew, as 'systemctl
    reload' does; on a terminal it ends it.

    With --once it does all that is due now and exits, for cron and timers;
    start it every few minutes. It exits with 77 if the gateway refused the
    API key, and with 1 if something was due and nothing succeeded.
    """
    logger = log.get_logger()
    sys.stdout = spooled(
        sys.stdout, dropped=lambda lines: tell(logger, Event.LOG_DROPPED, lines=lines)
    )
    if sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):  # it is closed, or no file
            faulthandler.enable()  # a hang that systemd's watchdog ends leaves a traceback
            sys.stderr = spooled(sys.stderr)
    settings = session.settings
    api_key = session.find_key().secret
    _configure_log(session, settings, [api_key, *settings.secrets(os.environ)])
    database = session.database
    with database.held(session.now):
        is_new = not database.exists()
        database.prepare(upgrade=True)
        if is_new:
            tell(logger, Event.REGISTRY_CREATED, place=database.place)
        if isinstance(database, SqliteDatabase) and database.is_shared_in_wal:
            cause = (
                "another program, such as a browser of databases or a replicator, has it open in "
                f"WAL mode, in which SQLite {sqlite3.sqlite_version} can damage a file that two "
                "write to; close it there, then restart the daemon"
            )
            tell(logger, Event.REGISTRY_SHARED, place=database.place, error=cause)
        asyncio.run(_run(session, database, api_key, once=once))


def _configure_log(session: Session, settings: Settings, secrets: Sequence[SecretStr]) -> None:
    log.configure(
        level=settings.log.level,
        format=settings.log.format,
        clock=session.clock,
        stream=sys.stdout,
        environ=os.environ,
        secrets=secrets,
    )


async def _run(session: Session, database: Database, api_key: SecretStr, *, once: bool) -> None:
    logger = log.get_logger()
    async with wiring.assembly(
        session.settings,
        api_key=api_key,
        database=database,
        clock=session.clock,
        log=logger,
        listens=not once,
    ) as assembly:
        keeper = assembly.keeper
        if once:
            last = (assembly.notifier.once, assembly.heartbeat.once)
            done = await run_once(keeper, *last, limit_stop=_limit_stop)
            if keeper.key_refused:
                raise KeyRefused("the gateway refused the API key (401); check it, then run again")
            if not done:
                raise VoicekeeperError(
                    "something was due, and nothing succeeded; the log tells why, and "
                    "'voicekeeper status' how the voices are"
                )
            return
        copies = None  # a server's are left to its own tools
        if isinstance(database, SqliteDatabase):
            copies = DailyCopies(database.path, turn=database.unwritten)
        reload = Reload(
            assembly,
            load=session.load_settings,
            read_key=lambda settings: session.find_key(settings).secret,
            configure_log=partial(_configure_log, session),
        )
        daemon = Daemon(
            keeper=keeper,
            clock=session.clock,
            tick=session.settings.daemon.tick,
            manager=ServiceManager(os.environ),
            log=logger,
            notifier=assembly.notifier,
            heartbeat=assembly.heartbeat,
            reload=None if sys.stdout.isatty() else reload,
            socket_in=reload_socket.directory(os.environ),
            copies=copies,
            limit_stop=_limit_stop,
        )
        async with serving(
            lambda: assembly.settings,
            keeper=keeper,
            problem=daemon.problem,
            database=database,
            offload=assembly.offload,
            clock=session.clock,
            log=logger,
        ):
            await daemon.run()


def _limit_stop() -> None:
    """End the process within ten seconds, though a thread hangs that nothing can end.

    One that looks a name up waits for a name server for half a minute and more, one that asks a
    database may wait for good. What is cut short stands in the rows, and the next start settles it.
    """
    timer = threading.Timer(_STOPPED_WITHIN_S, os._exit, [0])
    timer.daemon = True
    timer.start()
