"""``run --once``: all that is due is done and followed to its end, for cron and timers."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress

from voicekeeper.daemon.keeper import STOP_WITHIN_S, Keeper


async def run_once(keeper: Keeper, *last: Callable[[float], Awaitable[None]]) -> bool:
    """Do all that is due, follow it to its end, and return.

    What failed and is to be tried again later is left to the next run.

    Args:
        keeper: ready to sweep, and the only one on its database.
        last: what is done at the end, in so many seconds.

    Returns:
        Whether it did what it could: False where something was due and nothing succeeded.

    Raises:
        VoicekeeperError: the database cannot be used.
    """
    await keeper.take_over(once=True)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    while not stopped.is_set():
        found = await keeper.sweep()
        await _first(keeper.settle, stopped.wait)
        if not found:
            wait = await keeper.next_poll_in()
            if wait is None:
                break
            with suppress(TimeoutError):
                await asyncio.wait_for(stopped.wait(), wait.total_seconds())
    failed = False
    if not stopped.is_set():
        failed = await keeper.came_to_nothing()
        await _first(keeper.prune, stopped.wait)
    await keeper.stop(STOP_WITHIN_S)
    await asyncio.gather(*(do(STOP_WITHIN_S) for do in last))
    return not failed


async def _first(*waits: Callable[[], Awaitable[object]]) -> None:
    """Wait until the first of these ends; leave the others."""
    tasks = [asyncio.ensure_future(wait()) for wait in waits]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
