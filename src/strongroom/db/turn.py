"""Whose turn it is to write to an SQLite file.

SQLite lets one connection write at a time. The others ask again and again, with longer and longer pauses (up to 100 ms) and in no
order, so a busy process can keep the rest waiting for long. Here they queue: those of a process in a line in memory, processes at
two byte locks of a file beside the database. SQLite's own lock still decides: this one makes waiting for it short and fair.

A signal may end any of these calls between any two instructions. So `release` may be called at any time and again, whatever was done.
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

_LOOK_SECONDS = 0.05
"""A thread that waits looks again after that time, should the one before it have been interrupted just when it made way."""


class WaitedTooLong(Exception):
    """Others did not let go of the database."""


class _Line:
    """A lock between threads that goes to the one that has waited longest. `threading.Lock` goes to any.

    Its owner is any object, by identity: the first in the queue. There is no lock around the queue that an interruption could leave
    locked: each step is one atomic operation of `deque`.
    """

    def __init__(self) -> None:
        self._queue: deque[tuple[object, threading.Lock]] = deque()

    def is_owned_by(self, token: object) -> bool:
        """Whether the token owns the lock."""
        try:
            return self._queue[0][0] is token
        except IndexError:
            return False

    def acquire(self, token: object, seconds: float) -> None:
        """The token owns the lock then, or `WaitedTooLong`. After any exception it may own it or not: call `release`."""
        wake = threading.Lock()
        wake.acquire()
        self._queue.append((token, wake))
        if self.is_owned_by(token):
            return
        deadline = time.monotonic() + seconds
        while not self.is_owned_by(token):
            left = deadline - time.monotonic()
            if left <= 0:
                raise WaitedTooLong
            wake.acquire(timeout=min(left, _LOOK_SECONDS))

    def release(self, token: object) -> None:
        """Makes sure that the token neither owns the lock nor waits for it."""
        for each in list(self._queue):
            if each[0] is token:
                with contextlib.suppress(ValueError):
                    self._queue.remove(each)
        with contextlib.suppress(IndexError, RuntimeError):  # nobody waits, or is awake already
            self._queue[0][1].release()


class WriteTurn:
    """A lock between threads and processes that write to one file. Threads of one process share one of these.

    Byte locks (POSIX) end with the process that holds them, however it ends. They also end when the process closes any
    descriptor of the file, so there must be one of these for a path in a process.
    """

    def __init__(self, path: str) -> None:
        self._path, self._file, self._identity, self._locked = path, -1, (0, 0), False
        self._line = _Line()

    def take(self, token: object, seconds: float) -> None:
        """Returns when it is the token's turn. `WaitedTooLong` when it does not come in so many seconds."""
        deadline = time.monotonic() + seconds
        try:
            self._line.acquire(token, seconds)
            if sys.platform != "win32" and self._opened():
                self._locked = True
                self._wait(_NEXT, deadline)
                self._wait(_TURN, deadline)
                fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _NEXT)
        except BaseException:
            self.release(token)
            raise

    def release(self, token: object) -> None:
        """Makes sure that it is not the token's turn."""
        if sys.platform != "win32" and self._locked and self._line.is_owned_by(token):
            with contextlib.suppress(OSError):
                fcntl.lockf(self._file, fcntl.LOCK_UN, 2, _NEXT)
            self._locked = False
        self._line.release(token)

    @contextmanager
    def taken(self, seconds: float) -> Iterator[None]:
        """Holds the turn within the block. `WaitedTooLong` when it does not come in so many seconds."""
        token = object()
        try:
            self.take(token, seconds)
            yield
        finally:
            self.release(token)

    def forget(self) -> None:
        """After a fork: what the parent's threads held is not held here."""
        self._line, self._locked = _Line(), False

    def close(self) -> None:
        """Closes the file. Nobody may be writing."""
        self._leave()

    def _leave(self) -> None:
        """Closes the descriptor, if it is ours: a program that became a daemon may have closed it, and given its number to a file of
        its own.
        """
        with contextlib.suppress(OSError):
            if self._file >= 0 and _identity(os.fstat(self._file)) == self._identity:
                os.close(self._file)
        self._file = -1

    def _opened(self) -> bool:
        """Whether there is a file to queue at. Where there can be none (a full disk), SQLite decides alone and says what is wrong.

        One that was removed or replaced is opened again: others queue at what is there now.
        """
        with contextlib.suppress(OSError):
            if (
                self._file >= 0
                and _identity(os.stat(self._path)) == self._identity  # noqa: PTH116 - for each write
                and _identity(os.fstat(self._file)) == self._identity
            ):
                return True
        self._leave()
        with contextlib.suppress(OSError):
            self._file = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            self._identity = _identity(os.fstat(self._file))
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


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino
