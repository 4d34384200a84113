"""``voicekeeper run``: the daemon."""

import asyncio
import contextlib
import faulthandler
import os
import sys

import click
from pydantic import SecretStr

from voicekeeper import bootstrap, log
from voicekeeper.cli.session import Session, pass_session
from voicekeeper.config import read_api_key
from voicekeeper.daemon import Daemon, run_once
from voicekeeper.errors import KeyRefused
from voicekeeper.sdnotify import Notifier
from voicekeeper.store import Database
from voicekeeper.store.backup import DailyCopies


@click.command
@click.option("--once", is_flag=True, help="Do all that is due, follow it to its end, and exit.")
@pass_session
def command(session: Session, *, once: bool) -> None:
    """Run the daemon: keep every voice in the registry alive.

    It runs until SIGTERM or Ctrl-C and logs to stdout: JSON lines, or a
    console form on a terminal. It needs the API key; 'voicekeeper check'
    tells whether that is found. Only one daemon works on a registry; a
    second one exits with 75.

    With --once it does all that is due now and exits, for cron and timers;
    start it every few minutes. It exits with 77 if the gateway refused the
    API key.
    """
    if sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):  # it is closed, or no file
            faulthandler.enable()  # a hang that systemd's watchdog ends leaves a traceback
    settings = session.settings
    api_key = read_api_key(settings, os.environ)
    log.configure(
        level=settings.log.level,
        format=settings.log.format,
        clock=session.clock,
        stream=sys.stdout,
        environ=os.environ,
        secrets=[api_key],
    )
    database = session.database()
    with database.held(session.now):
        database.prepare(upgrade=True)
        asyncio.run(_run(session, database, api_key, once=once))


async def _run(session: Session, database: Database, api_key: SecretStr, *, once: bool) -> None:
    logger = log.get_logger()
    async with bootstrap.keeper(
        session.settings, api_key=api_key, database=database, clock=session.clock, log=logger
    ) as keeper:
        archive = bootstrap.archive(
            session.settings, keeper, database=database, clock=session.clock, log=logger
        )
        if once:
            await run_once(keeper)
            await archive.begin()
            await archive.look()
            if keeper.key_refused:
                raise KeyRefused("the gateway refused the API key (401); check it, then run again")
            return
        daemon = Daemon(
            keeper=keeper,
            clock=session.clock,
            tick=session.settings.daemon.tick,
            notifier=Notifier(os.environ),
            log=logger,
            copies=DailyCopies(database.path),
            archive=archive,
        )
        await daemon.run()
