"""Makes the changes of many requests, and puts the events of all on record, in few transactions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, NamedTuple

from strongroom.db.engine import Database, OthersWrite
from strongroom.errors import Unavailable
from strongroom.server.gathering import PATIENCE_SECONDS, Gathering
from strongroom.server.journal import JournalTrail
from strongroom.service.audit_log import AuditLog
from strongroom.service.facts import Facts

MAX_WAITING = 10_000
_BATCH = 500
_CHANGES = 50
"""So many changes at once at most: other processes wait meanwhile."""

_QUICK_SECONDS = 0.002
"""How long the event loop may be held up. Handing a short transaction to a thread and back costs more than the transaction."""

Change = Callable[[], tuple[Any, Sequence[Facts]]]
"""Makes a change; gives the outcome, and what is to be on record of it."""


class _Waiting(NamedTuple):
    future: asyncio.Future[Any]
    change: Change | None
    facts: Sequence[Facts]


class _Failed(NamedTuple):
    error: Exception


class GroupCommit:
    """Writes for many requests in few transactions: whatever arrives while one is written goes into the next; see `Gathering`.

    Nobody is told that their event is on record before it is; when it cannot be written, they get the error. Where the database does
    not keep up, `Unavailable`. For the event loop's thread alone, which does the writing as long as nobody else writes and it was
    quick the last time; otherwise a thread does, one transaction after the other, each with all that waits when its turn comes.
    """

    def __init__(
        self, log: AuditLog, database: Database, journal: JournalTrail | None = None, patience_seconds: float = PATIENCE_SECONDS
    ) -> None:
        """Where there is a `journal`, events that belong to no change go there instead.

        `patience_seconds` is how long it waits for as many as it expects.
        """
        self._log, self._database, self._journal = log, database, journal
        self.takes_changes = database.has_one_writer
        """Whether there is `perform`."""
        self._quick = self.takes_changes
        self._waiting: list[_Waiting] = []
        self._gathering = Gathering(self._begin, patience_seconds)
        self._idle = asyncio.Event()
        self._idle.set()
        self._thread = ThreadPoolExecutor(1, "audit")

    @property
    def has_journal(self) -> bool:
        """Whether events that belong to no change go into a journal."""
        return self._journal is not None

    def use(self, journal: JournalTrail) -> None:
        """Puts events that belong to no change there from now on."""
        self._journal = journal

    def record(self, facts: Sequence[Facts]) -> asyncio.Future[None]:
        """Is done when the events are on record."""
        return self._add(None, facts) if self._journal is None else self._journal.record(facts)

    def perform(self, change: Change) -> asyncio.Future[Any]:
        """The change's outcome, when it and its events are durable, both or none. It is made even if nobody waits any more.

        It must write to the database only, by `Database.write`, and soon be done: others wait. What it raises is raised.
        """
        return self._add(change, ())

    async def close(self) -> None:
        """Ends when all is on record."""
        await self._idle.wait()
        self._thread.shutdown()
        if self._journal is not None:
            await self._journal.close()

    def _add(self, change: Change | None, facts: Sequence[Facts]) -> asyncio.Future[Any]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        if len(self._waiting) >= MAX_WAITING:
            future.set_exception(Unavailable("the audit trail does not keep up", hint="try again later"))
            return future
        self._waiting.append(_Waiting(future, change, facts))
        self._idle.clear()
        self._gathering.look(len(self._waiting), loop)
        return future

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._quick:
            with suppress(OthersWrite):
                self._end(loop, *self._write(patient=False))
                return
        self._thread.submit(lambda: loop.call_soon_threadsafe(self._end, loop, *self._write()))

    def _take(self) -> list[_Waiting]:
        """What goes into the next transaction. For any thread, while it writes."""
        batch = self._waiting[:_BATCH]
        changes = [number for number, each in enumerate(batch, 1) if each.change is not None]
        batch = batch if len(changes) < _CHANGES else batch[: changes[_CHANGES - 1]]
        del self._waiting[: len(batch)]
        return batch

    def _write(self, *, patient: bool = True) -> tuple[Sequence[_Waiting], Sequence[Any]]:
        """What each of them gets: an error for all when nothing was done. `OthersWrite`, unless `patient`."""
        batch: list[_Waiting] = []
        try:
            if not self.takes_changes:
                batch = self._take()
                self._log.record([each for waiting in batch for each in waiting.facts])
                return batch, [None] * len(batch)
            outcomes: list[Any] = []
            facts: list[Facts] = []
            with self._database.together(patient=patient) as connection:
                begun = time.perf_counter()
                batch = self._take()
                if self._journal is not None and (left := self._journal.left) is not None:
                    self._log.collect_in(connection, left)  # what happened before comes first
                for each in batch:
                    outcome, happened = (None, each.facts) if each.change is None else _outcome(each.change)
                    outcomes.append(outcome)
                    facts += happened
                self._log.add(connection, facts)
            self._quick = time.perf_counter() - begun < _QUICK_SECONDS
        except OthersWrite:
            raise
        except Exception as error:  # noqa: BLE001 - everybody whose event is not on record is told
            batch = batch or self._take()
            return batch, [_Failed(error)] * len(batch)
        return batch, outcomes

    def _end(self, loop: asyncio.AbstractEventLoop, batch: Sequence[_Waiting], outcomes: Sequence[Any]) -> None:
        for each, outcome in zip(batch, outcomes, strict=True):
            if each.future.done():  # its client has gone
                continue
            if isinstance(outcome, _Failed):
                each.future.set_exception(outcome.error)
            else:
                each.future.set_result(outcome)
        if not self._waiting:
            self._idle.set()
        self._gathering.end(len(batch), len(self._waiting), loop)


def _outcome(change: Change) -> tuple[Any, Sequence[Facts]]:
    try:
        return change()
    except Exception as error:  # noqa: BLE001 - whoever asked for it is told; the others have nothing to do with it
        return _Failed(error), ()
