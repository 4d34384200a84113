"""Threads that nothing waits for at the end: a program that is told to stop must not hang on one.

asyncio looks names up, and has other blocking calls made, in threads that it joins when the program
ends. While the name server does not answer, a look-up lasts for half a minute and more, long after
its call was given up. Nobody can end it; so it is left behind, and ends with the process.
"""

import asyncio
import errno
import os
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


MOST: Final = 16
"""Threads at a time, of the 64 that the units allow; a call beyond them waits for one to end."""


class DetachedThreads(ThreadPoolExecutor):
    """An executor whose threads end with the process; asyncio takes no default of another class."""

    def __init__(self) -> None:
        super().__init__()
        self._mutex = threading.Lock()
        self._waiting: deque[Callable[[], None]] = deque()
        self._running = 0

    def submit(self, function: Callable[P, T], /, *args: P.args, **options: P.kwargs) -> Future[T]:
        """Call a function in a thread, as soon as there is room for one.

        Raises:
            BlockingIOError: this host has no thread left now; a later call may find one.
        """
        future: Future[T] = Future()

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = function(*args, **options)
            except BaseException as error:  # noqa: BLE001 - it is the caller's
                future.set_exception(error)
            else:
                future.set_result(result)

        with self._mutex:
            self._waiting.append(work)
            begins = self._running < MOST
            self._running += begins
        if begins:
            try:
                threading.Thread(target=self._work_on, name="detached", daemon=True).start()
            except RuntimeError:
                with self._mutex:
                    self._running -= 1
                    if not self._running and work in self._waiting:  # nobody will take it
                        self._waiting.remove(work)
                        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from None
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - the library's
        """Leave the threads to themselves."""

    def _work_on(self) -> None:
        """Make the calls that wait, until there are none."""
        while True:
            with self._mutex:
                if not self._waiting:
                    self._running -= 1
                    return
                work = self._waiting.popleft()
            work()


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run as `asyncio.run` does, and wait at the end for no thread of the loop's own."""

    async def detached() -> T:
        asyncio.get_running_loop().set_default_executor(DetachedThreads())
        return await main

    return asyncio.run(detached())
