"""Puts the events of many requests on record by few syncs of a journal, and moves them on to the chain."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from strongroom.audit.chain import canonical
from strongroom.audit.journal import Journal
from strongroom.db.engine import OthersWrite
from strongroom.errors import StrongroomError, Unavailable
from strongroom.server.gathering import Gathering
from strongroom.server.middleware import describe
from strongroom.server.syncing import Syncer
from strongroom.service.audit_log import COLLECTED, AuditLog
from strongroom.service.facts import Facts

MAX_WAITING = 10_000
MAX_BEHIND = 200_000
"""So many events may be in the journal and not in the chain; where the database does not keep up, requests are refused."""

_ENTRY = 250
"""So many events are written at once at most."""

_COLLECT_AT, _COLLECT_SECONDS = COLLECTED, 0.25
"""With so many events, or after so long, they are moved on to the chain."""

_QUICK_SECONDS = 0.01
"""How long the event loop may be held up by that. Handing it to a thread and back costs more than it takes."""

_AGAIN_SECONDS, _AGAIN_TIMES = 0.005, 20
"""When somebody else is writing, it is tried again so often, and then a thread waits for them."""

_RETRY_SECONDS = 1.0
_OPEN_AGAIN_SECONDS = 2.0


def open_journal(trail: AuditLog, log: Any) -> JournalTrail | None:
    """A journal for this process, once events of processes that ended are in the chain. None where there can be none, as is told."""
    try:
        return _open(trail, log)
    except (OSError, StrongroomError) as error:  # what was left behind stays, until somebody looks at the trail
        log.warning("there is no journal: reads take longer", reason=describe(error))
        return None


async def open_journal_later(trail: AuditLog, log: Any, use: Callable[[JournalTrail], object]) -> None:
    """Tries again to open a journal until there is one, such as when a full disk has room again; then has it used."""
    while True:
        await asyncio.sleep(_OPEN_AGAIN_SECONDS)
        try:
            journal = await asyncio.to_thread(_open, trail, log)
        except (OSError, StrongroomError):  # it was told at the start
            continue
        if journal is not None:
            use(journal)
            log.warning("there is a journal again")
        return


def _open(trail: AuditLog, log: Any) -> JournalTrail | None:
    trail.collect_all()
    journal = trail.new_journal()
    if journal is None:
        return None
    return JournalTrail(trail, journal, lambda error: log.warning("the audit trail waits", reason=describe(error)))


_Waiting = tuple[asyncio.Future[None], Sequence[Facts]]


class JournalTrail:
    """Writes the events of many requests to a journal of this process together, and moves them on to the chain soon after.

    What arrives during a sync goes into the next one; see `Gathering`. For the event loop's thread alone.
    """

    def __init__(self, log: AuditLog, journal: Journal, warn: Callable[[Exception], object]) -> None:
        """`warn` hears why events could not be moved on to the chain; that is tried again."""
        self._log, self._warn = log, warn
        self._journal: Journal | None = journal
        self._next: Future[Journal | None] | None = None
        self._former: list[Journal] = []
        self._spare: Path | None = None
        self._waiting: list[_Waiting] = []
        self._gathering = Gathering(self._write)
        self._syncer: Syncer | None = None
        self._behind = 0
        self._collection: asyncio.Handle | asyncio.Future[None] | None = None
        self._tried, self._quick = 0, True
        self._thread = ThreadPoolExecutor(1, "journal")

    def record(self, facts: Sequence[Facts]) -> asyncio.Future[None]:
        """Is done when the events are on record: synced to the disk. Without any, when they could have been."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        if len(self._waiting) >= MAX_WAITING or self._behind >= MAX_BEHIND:
            future.set_exception(Unavailable("the audit trail does not keep up", hint="try again later"))
            return future
        self._waiting.append((future, facts))
        self._gathering.look(len(self._waiting), loop)
        return future

    @property
    def left(self) -> Journal | None:
        """The journal with events that are not in the chain yet, if there are some. For any thread."""
        return self._journal if self._behind else None

    async def close(self) -> None:
        """Ends when all is on record, and in the chain if that can be. Nobody may ask for more."""
        while self._waiting or self._gathering.under_way:
            await asyncio.sleep(0)
        while isinstance(self._collection, asyncio.Future):
            await self._collection
        if self._collection is not None:
            self._collection.cancel()
        if self._syncer is not None:
            self._syncer.close()
        self._leave_journal()
        self._thread.submit(self._finish)
        self._thread.shutdown()

    def _write(self, loop: asyncio.AbstractEventLoop) -> None:
        batch, self._waiting = self._waiting, []
        lines = [canonical(each) for _, facts in batch for each in facts]
        try:
            journal = self._open()
            if not lines:
                journal.touch()
            for first in range(0, len(lines), _ENTRY):
                journal.write(journal.numbered(lines[first : first + _ENTRY]))
            self._syncer = self._syncer or Syncer(loop)
            end = journal.end if lines else None

            def synced(error: Exception | None) -> None:
                if error is None and end is not None:
                    journal.mark_durable(end)
                self._end(loop, batch, len(lines), error)

            self._syncer.sync(journal.file, synced)
        except Exception as error:  # noqa: BLE001 - everybody whose event is not on record is told
            self._end(loop, batch, len(lines), error)

    def _end(self, loop: asyncio.AbstractEventLoop, batch: Sequence[_Waiting], events: int, error: Exception | None) -> None:
        if isinstance(error, OSError):
            self._leave_journal()
            error = Unavailable(f"the audit trail cannot be written: {error.strerror}", hint="make room, or look at the disk")
        for future, _ in batch:
            if future.done():  # its client has gone
                continue
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)
        self._behind += events
        self._gathering.end(len(batch), len(self._waiting), loop)
        if events:
            self._collect_soon(loop)

    def _open(self) -> Journal:
        """The journal to write to. Another one is made ahead of time, by the thread: that takes several syncs.

        A journal that something else has changed is left: what is written to it would not survive this process.
        """
        if self._journal is not None and self._journal.damaged:
            self._leave_journal()
        if self._journal is not None and self._journal.is_half_full:
            self._next = self._next or self._thread.submit(self._make_journal)
            if self._journal.is_full and self._next.done():
                self._leave_journal()
        if self._journal is None:
            made, self._next = self._next, None
            self._journal = self._make_journal() if made is None else made.result()
            assert self._journal is not None, "there was one before"
        return self._journal

    def _make_journal(self) -> Journal | None:
        spare, self._spare = self._spare, None
        return self._log.new_journal(spare)

    def _leave_journal(self) -> None:
        if self._journal is not None:
            self._former.append(self._journal)
            self._journal = None

    def _collect_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        if isinstance(self._collection, asyncio.Future) or (self._tried and self._collection is not None):
            return
        if self._behind >= _COLLECT_AT:
            if self._collection is not None:
                self._collection.cancel()
            self._collection = loop.call_soon(self._collect, loop)
        elif self._collection is None:
            self._collection = loop.call_later(_COLLECT_SECONDS, self._collect, loop)

    def _collect(self, loop: asyncio.AbstractEventLoop) -> None:
        """Moves some events on to the chain."""
        self._collection = None
        if self._journal is not None and self._journal.damaged:
            self._leave_journal()
        if self._former or self._journal is None or not self._quick or self._tried > _AGAIN_TIMES:
            self._collection = asyncio.ensure_future(self._collect_in_thread(loop))
            return
        begun = time.perf_counter()
        try:
            count = self._log.collect(self._journal, patient=False)
        except OthersWrite:
            self._tried += 1
            self._collection = loop.call_later(_AGAIN_SECONDS, self._collect, loop)
        except Exception as error:  # noqa: BLE001 - the operator is told, and it is tried again
            self._failed(loop, error)
        else:
            self._quick = time.perf_counter() - begun < _QUICK_SECONDS
            self._collected(loop, count, self._behind)

    async def _collect_in_thread(self, loop: asyncio.AbstractEventLoop) -> None:
        behind, journal = self._behind, self._journal

        def collect() -> tuple[int, float]:
            count = self._finish_former()
            begun = time.perf_counter()
            return count + (0 if journal is None else self._log.collect(journal)), time.perf_counter() - begun

        try:
            count, seconds = await loop.run_in_executor(self._thread, collect)
        except Exception as error:  # noqa: BLE001 - the operator is told, and it is tried again
            self._failed(loop, error)
        else:
            self._collection = None
            self._quick = seconds < _QUICK_SECONDS
            self._collected(loop, count, behind)

    def _finish_former(self) -> int:
        """Moves on what is in the journals that are written no more, and removes them, or keeps the file for another one."""
        count = 0
        while self._former:
            moved, spare = self._log.finish(self._former[0], keep=self._spare is None)
            self._spare = spare or self._spare
            count += moved
            del self._former[0]
        return count

    def _finish(self) -> None:
        """The same at the end, with the journal that was made ahead."""
        if self._next is not None and self._next.exception() is None and (unused := self._next.result()) is not None:
            self._former.append(unused)
        try:
            self._finish_former()
        finally:
            for journal in self._former:  # another process collects what is in them
                journal.close()
        if self._spare is not None:
            self._spare.unlink(missing_ok=True)

    def _collected(self, loop: asyncio.AbstractEventLoop, count: int, behind: int) -> None:
        self._tried = 0
        # Less than a full transaction was all that there was: others may have moved some.
        self._behind = max(0, self._behind - (count if count >= COLLECTED else behind))
        if self._behind > 0:
            self._collect_soon(loop)

    def _failed(self, loop: asyncio.AbstractEventLoop, error: Exception) -> None:
        self._warn(error)
        self._tried += 1
        self._collection = loop.call_later(_RETRY_SECONDS, self._collect, loop)
