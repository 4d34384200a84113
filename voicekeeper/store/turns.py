"""Whose turn it is among the threads of this process: who came first, goes first.

SQLite lets one connection write at a time, and has the others try again after a pause of up to a
tenth of a second. So a thread that begins its next transaction at once takes the lock again before
anybody who waits has looked, and can keep passes from the database for seconds, until they fail
as if another command held it. Here the threads of one process stand in a queue instead.
"""

import threading
from collections import deque

_NOBODY = 0
_HANDED_ON = -1
"""It is the turn of one who was woken, and has not come yet."""


class Turns:
    """A lock that is handed on in the order in which it was asked for.

    A thread that has its turn may take it again: what it begins meanwhile is a part of it.
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._waiting: deque[threading.Lock] = deque()
        self._whose = _NOBODY
        self._depth = 0

    def take(self) -> None:
        """Wait for a turn; to be given back by `give`."""
        me = threading.get_ident()
        if self._whose == me:  # which no other thread can make true, nor untrue
            self._depth += 1
            return
        with self._mutex:
            if self._whose == _NOBODY:
                self._whose = me
                return
            gate = threading.Lock()
            gate.acquire()
            self._waiting.append(gate)
        try:
            gate.acquire()
        except BaseException:  # this thread is interrupted
            self._withdraw(gate)
            raise
        self._whose = me

    def give(self) -> None:
        """End a turn, and wake who waits longest."""
        if self._depth:
            self._depth -= 1
            return
        with self._mutex:
            self._hand_on()

    def _hand_on(self) -> None:
        if self._waiting:
            self._whose = _HANDED_ON
            self._waiting.popleft().release()
        else:
            self._whose = _NOBODY

    def _withdraw(self, gate: threading.Lock) -> None:
        with self._mutex:
            if gate in self._waiting:
                self._waiting.remove(gate)
            else:  # it was woken at this moment
                self._hand_on()
