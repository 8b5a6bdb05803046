"""Puts the events of many requests on record together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from strongroom.errors import StrongroomError, Unavailable
from strongroom.service.audit import AuditLog, Facts

MAX_WAITING = 10_000
_BATCH = 500


class GroupCommit:
    """Adds the events of many requests in few transactions: whatever arrives while one is written goes into the next.

    Nobody is told that their event is on record before it is; when it cannot be written, they get the error. Where the database does
    not keep up, `Unavailable`. For the event loop's thread alone; one thread of its own writes.
    """

    def __init__(self, log: AuditLog) -> None:
        self._log = log
        self._waiting: list[tuple[Sequence[Facts], asyncio.Future[None]]] = []
        self._idle = asyncio.Event()
        self._idle.set()
        self._thread = ThreadPoolExecutor(1, "audit")

    def record(self, facts: Sequence[Facts]) -> asyncio.Future[None]:
        """Is done when the events are on record."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        if len(self._waiting) >= MAX_WAITING:
            future.set_exception(Unavailable("the audit trail does not keep up", hint="try again later"))
            return future
        self._waiting.append((facts, future))
        if self._idle.is_set():  # what else becomes ready in this turn of the loop goes into the same transaction
            self._idle.clear()
            loop.call_soon(self._begin, loop)
        return future

    async def close(self) -> None:
        """Ends when all events are on record."""
        await self._idle.wait()
        self._thread.shutdown()

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        batch, self._waiting = self._waiting[:_BATCH], self._waiting[_BATCH:]

        def write() -> None:
            error = self._write([fact for facts, _ in batch for fact in facts])
            loop.call_soon_threadsafe(self._end, loop, [future for _, future in batch], error)

        self._thread.submit(write)

    def _write(self, facts: Sequence[Facts]) -> StrongroomError | None:
        try:
            self._log.record(facts)
        except Exception as error:  # noqa: BLE001 - everybody whose event is not on record is told
            return error if isinstance(error, StrongroomError) else Unavailable("the audit trail failed")
        return None

    def _end(self, loop: asyncio.AbstractEventLoop, futures: Sequence[asyncio.Future[None]], error: StrongroomError | None) -> None:
        for future in futures:
            if future.done():  # its client has gone
                continue
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)
        if self._waiting:
            self._begin(loop)
        else:
            self._idle.set()
