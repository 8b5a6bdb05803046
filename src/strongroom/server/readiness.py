"""What a read and a write would get now, tried out: for load balancers, which ask `/readyz`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from strongroom.auth.actor import Actor
from strongroom.db.clock import now
from strongroom.db.engine import ConstraintViolated, Deadlocked, Unanswered
from strongroom.db.patience import hurry_this_thread
from strongroom.errors import StrongroomError, Unauthenticated, Unavailable
from strongroom.metadata.deployment import find_deployment
from strongroom.metadata.readiness import touch, undone
from strongroom.server.group_commit import GroupCommit
from strongroom.server.pulse import Pulse
from strongroom.service.facts import OK, facts_of_administration
from strongroom.service.wiring import Service

LIMIT_SECONDS = 2.0
"""An answer takes this long at most. What has not succeeded by then counts as failed."""

FRESH_SECONDS = 1.0
"""For so long a verdict holds for all who ask."""

WRITTEN_SECONDS = 3.0
"""For so long a successful write counts: each costs the database a commit, and undone rows."""


@dataclass(frozen=True)
class Verdict:
    """Whether the index is found; whether reads, with the events that they need on record, and writes would succeed."""

    index: bool = False
    reads: bool = False
    writes: bool = False


class Readiness:
    """Tries reads and writes out, one round at a time, shared by all who ask. For the event loop's thread alone."""

    def __init__(self, service: Service, trail: GroupCommit, pulse: Pulse) -> None:
        self._service, self._trail, self._pulse = service, trail, pulse
        self._database = service.deployment.database
        self._file = self._find_file()
        self._verdict, self._written = Verdict(), float("-inf")
        self._round: asyncio.Task[None] | None = None
        self._begun = 0.0
        self._thread = ThreadPoolExecutor(1, "readiness", hurry_this_thread, (LIMIT_SECONDS,))

    async def verdict(self) -> Verdict:
        """What was found out within the last second, or is found out now, within two seconds."""
        loop = asyncio.get_running_loop()
        if self._round is None or (self._round.done() and loop.time() - self._begun >= FRESH_SECONDS):
            self._begun, self._verdict = loop.time(), Verdict()
            self._round = asyncio.ensure_future(self._try(loop))
        left = self._begun + LIMIT_SECONDS - loop.time()
        if not self._round.done() and left > 0:
            await asyncio.wait({self._round}, timeout=left)
        if self._round.done():
            self._round.result()
        return self._verdict

    async def close(self) -> None:
        """Ends when nothing is tried any more."""
        if self._round is not None:
            await asyncio.wait({self._round})
        self._thread.shutdown()

    async def _try(self, loop: asyncio.AbstractEventLoop) -> None:
        if not await self._succeeds(self._look_up):
            return
        self._verdict = replace(self._verdict, index=True)
        try:
            await self._trail.record(())
        except StrongroomError:
            self._written = float("-inf")
        else:
            self._verdict = replace(self._verdict, reads=self._trail.has_journal)
        if loop.time() - self._written >= WRITTEN_SECONDS:
            self._written = float("-inf")
            if not await self._succeeds(self._write):
                return
            self._written = loop.time()
        # Without a journal, events of reads take the way of writes.
        self._verdict = replace(self._verdict, reads=self._verdict.reads or not self._trail.has_journal, writes=True)

    async def _succeeds(self, trial: Callable[[], None]) -> bool:
        """Whether it raises nothing, in the thread."""
        try:
            self._pulse.check()
            await asyncio.get_running_loop().run_in_executor(self._thread, trial)
        except StrongroomError as error:
            if isinstance(error, Unanswered):
                self._pulse.lost()
            return False
        return True

    def _look_up(self) -> None:
        """Does what each request does first."""
        if self._find_file() != self._file:
            raise Unavailable("the file of the database is gone, or was replaced", hint="restart the server")
        with self._database.read() as connection:
            if find_deployment(connection) is None:
                raise Unavailable("the database is empty")
        try:
            self._service.identities.authenticate("readiness")
        except Unauthenticated:
            return

    def _write(self) -> None:
        """Adds an event and undoes that, since a table may have no room for one more row; then has something to commit."""
        facts = [facts_of_administration("server.try", Actor.anonymous(), "", "", OK)]
        for _ in range(3):
            try:
                with self._database.write() as connection:
                    with undone(connection):
                        self._service.trail.add(connection, facts, on_trial=True)
                    touch(connection, now())
            except (ConstraintViolated, Deadlocked):  # two processes began at once, or a connection was lost
                continue
            return
        raise Unavailable("the database keeps refusing changes", hint="try again")

    def _find_file(self) -> tuple[int, int] | None:
        """Which file the database is: a connection goes on with one that was removed, and what it writes there is lost."""
        if not self._database.has_one_writer:
            return None
        try:
            found = Path(self._database.url.database or "").stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino
