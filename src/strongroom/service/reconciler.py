"""Makes the stores follow the index: copies what one of them is behind by, deletes what nothing names any more, and collects what
writers left that gave up or died.

One process of a deployment does it at a time, by a lease; nothing breaks if two do, for each step is claimed in the index.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from strongroom import forking
from strongroom.connectors.deadline import Deadline
from strongroom.db.clock import now
from strongroom.db.engine import ConstraintViolated, Database
from strongroom.db.identifiers import new_id
from strongroom.errors import ConfigurationError, StoreForbidden, StrongroomError, TooLarge, Unavailable, ValuesCorrupt
from strongroom.metadata import lease, placement
from strongroom.metadata.version import FIRST, VersionIndex
from strongroom.service.copies import Copies
from strongroom.service.placements import ConfiguredStore, Placements

MARGIN_SECONDS = 60
"""How much longer than a writer's deadline a collector waits: for the clocks of other machines, and for calls that are under way."""

INTERVAL_SECONDS = 15.0
REST_SECONDS = 60.0
LOOK_SECONDS = 2.0
"""How often a process looks whether the one that has the lease still runs."""
"""How long a pass that could not be finished is not tried again, at most; it begins with a second."""

LEASE_SECONDS = 60
LEASE = "reconciler"

AT_ONCE = 4
"""How many copies are made side by side: few, for people's own requests come first."""

_BATCH = 40
_SURVEYED_AT_ONCE = 2_000
"""Versions that are looked at in one transaction: others want to write meanwhile."""


@dataclass
class Progress:
    """What one pass did. `trouble` is why it is not finished."""

    collected: int = 0
    deleted: int = 0
    copied: int = 0
    trouble: StrongroomError | None = None


class Reconciler:
    """Runs passes, by hand or in a thread. Thread-safe."""

    def __init__(self, database: Database, placements: Placements, copies: Copies, versions: VersionIndex) -> None:
        self._database, self._placements, self._copies, self._versions = database, placements, copies, versions
        self._me = forking.renewed(self, "_me", new_id)
        self._ended = forking.renewed(self, "_ended", threading.Event)
        self._thread: threading.Thread | None = None
        self._surveyed = self._proved = False

    def run(self, seconds: float) -> Progress | None:
        """One pass over all that is to be done, for so long at most; None if another process does it. Raises errors of the index."""
        deadline, progress = Deadline(seconds), Progress()
        if self._placements.are_local:
            return progress
        if not self._has_lease():
            return None
        progress.collected = self._collect()
        for store in self._placements.stores:
            self._delete(store, deadline, progress)
            self._copy(store, deadline, progress)
        return progress

    def start(self, tell: Callable[[StrongroomError], object], observe: Callable[[ConfiguredStore, int, int], object]) -> None:
        """Runs passes in a thread, as soon as there is work and every few seconds.

        `tell` hears why one was not finished; `observe` hears after each one, for each store, by how many versions it is behind and
        how many are to be deleted there.
        """
        if not self._placements.are_local:
            self._thread = threading.Thread(target=self._run, args=(tell, observe), name="reconciler", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Ends the thread, after the call that it makes at the moment, and gives the lease back; without a database it runs out."""
        self._ended.set()
        self._placements.work_left.set()
        self._placements.store_is_back.set()
        if self._thread is not None:
            self._thread.join()
            with suppress(StrongroomError):
                self.give_lease_back()

    def give_lease_back(self) -> None:
        """So that another process need not wait until its time is over."""
        with self._database.write() as connection:
            lease.give_back(connection, LEASE, self._me)

    def _run(self, tell: Callable[[StrongroomError], object], observe: Callable[[ConfiguredStore, int, int], object]) -> None:
        work, rest = self._placements.work_left, 1.0
        while not self._ended.is_set():
            work.clear()
            self._placements.store_is_back.clear()
            progress: Progress | None = None
            try:
                trouble = self._prove()
                if trouble is None:
                    if not self._surveyed and self._has_lease():
                        self._survey()
                    progress = self.run(INTERVAL_SECONDS)
                    trouble = progress.trouble if progress is not None else None
                if progress is not None:
                    self._report(observe)
            except StrongroomError as error:  # of the index: it is tried again, and whoever works with it is told too
                trouble = error
            if trouble is not None:
                tell(trouble)
                rest = min(2 * rest, REST_SECONDS)
            else:
                rest = 1.0
            if trouble is not None and not self._ended.is_set():
                self._placements.store_is_back.wait(rest)
            elif self._ended.wait(rest):  # what comes at the same time is done in one pass
                return
            else:
                work.wait(INTERVAL_SECONDS if progress is not None else LOOK_SECONDS)

    def _prove(self) -> StrongroomError | None:
        """Makes sure once that the stores are different places, as soon as all answer. Until then passes delete nothing that a store
        could need: only what no locator in the index names. Returns why no pass may be made.
        """
        if not self._proved:
            try:
                self._placements.prepare()
                self._placements.markers.prove()
            except ConfigurationError as error:
                return error
            except (StoreForbidden, TooLarge, Unavailable, ValuesCorrupt):
                return None  # of a store: the next pass tries again
            self._proved = True
        return None

    def _report(self, observe: Callable[[ConfiguredStore, int, int], object]) -> None:
        with self._database.read() as connection:
            behind, to_delete = placement.behind(connection), placement.to_be_deleted(connection)
        for store in self._placements.stores:
            observe(store, behind.get(store.store_id, 0), to_delete.get(store.store_id, 0))

    def _has_lease(self) -> bool:
        with self._database.read() as connection:
            if lease.holder_of(connection, LEASE, LEASE_SECONDS) not in (None, self._me):
                return False
        try:
            with self._database.write() as connection:
                return lease.take(connection, LEASE, self._me, LEASE_SECONDS)
        except ConstraintViolated:  # another process made the row just now
            return False

    def _survey(self) -> None:
        """Looks at all versions, for stores that were not configured when some of them were written."""
        if len(self._placements.stores) > 1:
            self._placements.prepare()
            for store in self._placements.stores:
                after: placement.Version | None = FIRST
                while after is not None and not self._ended.is_set():
                    with self._database.write() as connection:
                        after = placement.mark_behind_page(connection, store.store_id, after, _SURVEYED_AT_ONCE, now())
        self._surveyed = True

    def _collect(self) -> int:
        """Turns announcements that nobody will make good any more into deletions."""
        before, collected = now() - MARGIN_SECONDS * 1_000_000, 0
        while True:
            with self._database.read() as connection:
                found = placement.overdue(connection, before, _BATCH)
            if not found:
                return collected
            with self._database.write() as connection:
                ours = [pair for pair in found if placement.claim(connection, [pair])]
                placement.to_delete(connection, ours, now())
            collected += len(ours)

    def _delete(self, store: ConfiguredStore, deadline: Deadline, progress: Progress) -> None:
        """Deletes what no version needs. Values at a locator that a version needs always stay."""
        external, is_ours = store.external, False
        while external is not None and self._may_go_on(deadline):
            with self._database.read() as connection:
                locators = placement.deletions_of(connection, store.store_id, _BATCH)
                needed = placement.placed_locators(connection, locators)
            if locators and not is_ours:
                try:
                    others = self._placements.markers.others(store)
                except (StoreForbidden, Unavailable, ValuesCorrupt) as error:
                    progress.trouble = error
                    return
                if others:
                    progress.trouble = self._placements.markers.other_database(store, others[0])
                    return
                is_ours = True
            done = []
            for locator in locators:
                if not self._may_go_on(deadline):
                    break
                try:
                    if locator not in needed:
                        external.delete(locator, seconds=min(store.timeout, deadline.left()))
                except (StoreForbidden, Unavailable) as error:
                    progress.trouble = error
                    break
                done.append(locator)
            if done:
                with self._database.write() as connection:
                    placement.deleted(connection, store.store_id, done)
                progress.deleted += len(done)
            if len(done) < len(locators) or len(locators) < _BATCH:
                return

    def _copy(self, store: ConfiguredStore, deadline: Deadline, progress: Progress) -> None:
        """What cannot be copied now stays owed; the next pass tries again."""
        after = FIRST
        while self._may_go_on(deadline) and self._has_lease():
            with self._database.read() as connection:
                owed = placement.list_behind(connection, store.store_id, after, _BATCH)
                found = {version: row for version in owed if (row := self._versions.find(connection, version)) is not None}
            if not owed:
                return
            after = owed[-1]
            gone = [version for version in owed if version not in found]
            if gone:
                with self._database.write() as connection:
                    placement.clear_behind(connection, store.store_id, gone)
            for start in range(0, len(found), AT_ONCE):
                if not self._may_go_on(deadline):
                    return
                outcomes = self._copies.copy(list(found.values())[start : start + AT_ONCE], store, at_once=AT_ONCE)
                errors = [outcome for outcome in outcomes if outcome is not None]
                progress.copied += len(outcomes) - len(errors)
                if errors:
                    progress.trouble = errors[0]
                    if any(isinstance(error, Unavailable | StoreForbidden) for error in errors):
                        return  # the store, or the one that has the values: later

    def _may_go_on(self, deadline: Deadline) -> bool:
        return deadline.remaining() > 0 and not self._ended.is_set()
