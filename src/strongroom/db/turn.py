"""Whose turn it is to write to an SQLite file.

SQLite lets one connection write at a time. The others ask again and again, with longer and longer pauses (up to 100 ms) and in no
order, so a busy process can keep the rest waiting for long. Here they queue: those of a process in a line in memory, processes at
two byte locks of a file beside the database. SQLite's own lock still decides: this one makes waiting for it short and fair.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

if sys.platform != "win32":  # there, processes wait as SQLite has them wait
    import fcntl

_SOON_SECONDS = 0.001
"""Most transactions are over by then: so long a process asks again as soon as others have had the processor, then with pauses."""

_PAUSE_SECONDS = 0.0002
_NEXT, _TURN = 0, 1
"""The bytes of the file: who holds the first one is the next to get the second. So nobody comes twice while another one waits."""


class WaitedTooLong(Exception):
    """Others did not let go of the database."""


class _Line:
    """A lock between threads that is handed to whoever has waited longest. `threading.Lock` goes to whoever comes by."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._taken = False
        self._waiting: deque[threading.Lock] = deque()

    def acquire(self, seconds: float) -> bool:
        with self._mutex:
            if not self._taken:
                self._taken = True
                return True
            mine = threading.Lock()
            mine.acquire()
            self._waiting.append(mine)
        if mine.acquire(timeout=seconds):
            return True
        with self._mutex:
            if mine not in self._waiting:  # it was handed over just now
                return True
            self._waiting.remove(mine)
            return False

    def release(self) -> None:
        with self._mutex:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._taken = False


class WriteTurn:
    """A lock between threads and processes that write to one file. Threads of one process share one of these.

    Byte locks (POSIX) end with the process that holds them, however it ends.
    """

    def __init__(self, path: str) -> None:
        self._path, self._file = path, -1
        self._line = _Line()

    @contextmanager
    def taken(self, seconds: float) -> Iterator[None]:
        """Holds the turn within the block. `WaitedTooLong` when it does not come in so many seconds."""
        deadline = time.monotonic() + seconds
        if not self._line.acquire(seconds):
            raise WaitedTooLong
        try:
            if sys.platform == "win32" or not self._opened():
                yield
                return
            self._wait(_NEXT, deadline)
            try:
                self._wait(_TURN, deadline)
            finally:
                fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _NEXT)
            try:
                yield
            finally:
                fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _TURN)
        finally:
            self._line.release()

    def forget(self) -> None:
        """After a fork: what the parent's threads held is not held here."""
        self._line = _Line()

    def close(self) -> None:
        """Closes the file. Nobody may be writing."""
        if self._file >= 0:
            with contextlib.suppress(OSError):
                os.close(self._file)
            self._file = -1

    def _opened(self) -> bool:
        """Whether there is a file to queue at. Where there can be none (a full disk), SQLite decides alone and says what is wrong."""
        if self._file < 0:
            with contextlib.suppress(OSError):
                self._file = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        return self._file >= 0

    def _wait(self, byte: int, deadline: float) -> None:
        assert sys.platform != "win32"
        soon = 0.0
        while True:
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
            except BlockingIOError:
                now = time.monotonic()
                soon = soon or now + _SOON_SECONDS
                if now > deadline:
                    raise WaitedTooLong from None
                time.sleep(0 if now < soon else _PAUSE_SECONDS)
            else:
                return
