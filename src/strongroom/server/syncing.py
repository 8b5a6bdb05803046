"""Syncing a file to the disk while the event loop goes on.

A thread could do it, but to hand over to one and back takes longer than the sync, as long as threads share the interpreter's lock.
Linux syncs by itself and then wakes the loop (`IOCB_CMD_FDSYNC`, https://man7.org/linux/man-pages/man2/io_submit.2.html).
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from strongroom.audit.journal import sync_data

Done = Callable[[OSError | None], object]
"""Hears that what was written before is durable, or why it may not be."""

_AT_ONCE = 8
_REFUSED = (OSError, OverflowError, RuntimeError, SystemError, ValueError)
"""What caio makes of the system's errors: there is one for each."""


class Syncer:
    """Syncs by the kernel where it can, else by a thread. For the event loop's thread alone."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, by_kernel: bool = True) -> None:
        self._loop = loop
        self._thread = ThreadPoolExecutor(1, "sync")  # has no thread before it gets something to do
        self._kernel = self._open(loop) if by_kernel else None

    def sync(self, file: int, done: Done) -> None:
        """Begins to sync the file of this descriptor, which has to stay open until it is `done`."""
        if self._kernel is not None:
            with suppress(*_REFUSED):  # not every kernel and file system can, and not too many at once
                self._submit(self._kernel, file, done)
                return
        self._thread.submit(sync_data, file).add_done_callback(
            lambda future: self._loop.call_soon_threadsafe(done, _error_of(future))
        )

    def close(self) -> None:
        """Ends it. Nothing may be under way."""
        if self._kernel is not None:
            self._loop.remove_reader(self._kernel.fileno)
            self._kernel = None
        self._thread.shutdown()

    def _open(self, loop: asyncio.AbstractEventLoop) -> Any:
        try:
            from caio import linux_aio
        except ImportError:  # no Linux
            return None
        try:
            kernel = linux_aio.Context(max_requests=_AT_ONCE)
        except _REFUSED:  # it may be forbidden, or others have taken all that there is
            return None
        self._new = linux_aio.Operation.fdsync
        loop.add_reader(kernel.fileno, self._ready)
        return kernel

    def _submit(self, kernel: Any, file: int, done: Done) -> None:
        operation: Any = self._new(file)

        def end(_result: int) -> None:
            try:
                operation.get_value()
            except _REFUSED as error:
                done(OSError(errno.EIO, str(error)))
            else:
                done(None)

        operation.set_callback(end)
        if kernel.submit(operation) != 1:
            raise OSError(errno.EAGAIN, "too many at once")

    def _ready(self) -> None:
        kernel = self._kernel
        if kernel is None:
            return
        with suppress(BlockingIOError):  # the count may lag behind what is done
            kernel.poll()
        while kernel.process_events():
            pass


def _error_of(future: Future[None]) -> OSError | None:
    error = future.exception()
    return error if error is None or isinstance(error, OSError) else OSError(errno.EIO, str(error))
