"""Makes the stores follow the index: deletes what nothing names any more, and collects what writers left that gave up or died.

Any number may run at once: each step is claimed in the index, and deleting twice is harmless.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from strongroom.connectors.deadline import Deadline
from strongroom.db.clock import now
from strongroom.db.engine import Database
from strongroom.errors import StoreForbidden, StrongroomError, Unavailable
from strongroom.metadata import placement as rows
from strongroom.secrets_stores.sql import STORE_ID
from strongroom.service.placements import Configured, Placements

MARGIN_SECONDS = 60
"""How much longer than a writer's deadline a collector waits: for the clocks of other machines, and for calls that are under way."""

INTERVAL_SECONDS = 15.0
REST_SECONDS = 60.0
"""How long a store that refuses to delete is left alone."""

_BATCH = 50


@dataclass
class Progress:
    """What one pass did. `refused` says why a store would not delete."""

    collected: int = 0
    deleted: int = 0
    refused: StrongroomError | None = None


class Reconciler:
    """Runs passes, by hand or in a thread. Thread-safe."""

    def __init__(self, database: Database, placements: Placements) -> None:
        self._database, self._placements = database, placements
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def run(self, seconds: float) -> Progress:
        """One pass over all that is to be done, for so long at most. Errors of the index are the caller's."""
        deadline, progress = Deadline(seconds), Progress()
        if all(each.external is None for each in self._placements.stores):
            return progress
        progress.collected = self._collect()
        for store in self._placements.stores:
            if store.external is not None:
                self._delete(store, deadline, progress)
        return progress

    def start(self, tell: Callable[[StrongroomError], object]) -> None:
        """Runs passes in a thread, as soon as there is work and every few seconds; `tell` hears why one was not finished."""
        if not self._placements.are_local:
            self._thread = threading.Thread(target=self._run, args=(tell,), name="reconciler", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Ends the thread, after the call that it makes at the moment."""
        self._ended.set()
        self._placements.work_left.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self, tell: Callable[[StrongroomError], object]) -> None:
        work = self._placements.work_left
        while not self._ended.is_set():
            work.clear()
            pause = INTERVAL_SECONDS
            try:
                progress = self.run(INTERVAL_SECONDS)
            except StrongroomError as error:  # of the index: it is tried again, and whoever works with it is told too
                tell(error)
            else:
                if progress.refused is not None:
                    tell(progress.refused)
                    pause = REST_SECONDS
            if self._ended.wait(min(1.0, pause)):  # what comes at the same time is done in one pass
                return
            if pause == INTERVAL_SECONDS:
                work.wait(pause)
            elif self._ended.wait(pause):
                return

    def _collect(self) -> int:
        """Turns announcements that nobody will make good any more into deletions."""
        before, collected = now() - MARGIN_SECONDS * 1_000_000, 0
        while True:
            with self._database.read() as connection:
                found = rows.overdue(connection, before, _BATCH)
            if not found:
                return collected
            with self._database.write() as connection:
                ours = [pair for pair in found if rows.claim(connection, [pair])]
                rows.to_delete(connection, ours, now())
            collected += len(ours)

    def _delete(self, store: Configured, deadline: Deadline, progress: Progress) -> None:
        external = store.external
        assert external is not None
        assert store.store_id != STORE_ID
        while not self._ended.is_set():
            with self._database.read() as connection:
                locators = rows.deletions_of(connection, store.store_id, _BATCH)
            done = []
            for locator in locators:
                if deadline.remaining() <= 0 or self._ended.is_set():
                    break
                try:
                    external.delete(locator, seconds=min(store.timeout, deadline.left()))
                except (StoreForbidden, Unavailable) as error:
                    progress.refused = error
                    break
                done.append(locator)
            if done:
                with self._database.write() as connection:
                    rows.deleted(connection, store.store_id, done)
                progress.deleted += len(done)
            if len(done) < len(locators) or len(locators) < _BATCH:
                return
