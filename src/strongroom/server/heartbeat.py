"""Signs of life: counters in memory that the main process shares with its workers.

A worker that is well counts on; the main process looks whether the count has changed. While a worker starts or ends, a thread counts:
it may wait for a database for hours, but a process that is stopped counts nothing. While it serves, its event loop counts, and so a
loop that hangs counts nothing either.
"""

from __future__ import annotations

import asyncio
import ctypes
import multiprocessing.sharedctypes
import threading
from typing import Any

BEAT_SECONDS = 0.5
_FIELDS = 2
"""Of each place: the count, and whether its worker has served."""


class Heartbeat:
    """The sign of life of one worker, at both ends. Can be handed to a process that is being started."""

    def __init__(self, shared: Any, place: int) -> None:
        self._shared, self._place = shared, place * _FIELDS
        self._by_loop = threading.Event()

    def __reduce__(self) -> tuple[Any, ...]:
        return Heartbeat, (self._shared, self._place // _FIELDS)

    @property
    def count(self) -> int:
        """What the worker has counted so far."""
        return int(self._shared[self._place])

    @property
    def has_served(self) -> bool:
        """Whether the worker got so far that it could answer requests."""
        return bool(self._shared[self._place + 1])

    def reset(self) -> None:
        """For a new worker at this place."""
        self._shared[self._place] = self._shared[self._place + 1] = 0

    def beat(self) -> None:
        """Counts. To be called by a thread every `BEAT_SECONDS`; does nothing while the event loop counts."""
        if not self._by_loop.is_set():
            self._shared[self._place] += 1

    def follow_loop(self) -> None:
        """From now on the running event loop counts, and the worker serves."""
        self._by_loop.set()
        self._shared[self._place + 1] = 1
        self._count(asyncio.get_running_loop())

    def leave_loop(self) -> None:
        """From now on the thread counts: the event loop may wait for what is left to be done."""
        self._by_loop.clear()

    def _count(self, loop: asyncio.AbstractEventLoop) -> None:
        self._shared[self._place] += 1
        if self._by_loop.is_set():
            loop.call_later(BEAT_SECONDS, self._count, loop)


def open_heartbeats(workers: int) -> list[Heartbeat]:
    """One for each worker, in memory that processes share which are started from now on."""
    shared = multiprocessing.sharedctypes.RawArray(ctypes.c_uint64, workers * _FIELDS)
    return [Heartbeat(shared, place) for place in range(workers)]
