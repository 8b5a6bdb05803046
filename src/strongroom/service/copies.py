"""Versions from store to store: copied, and taken away from where they are no longer wanted.

A copy is placed only if its version is still there and the store was not emptied of it on purpose. A store is emptied only of what
was read back from another one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from strongroom.connectors.deadline import Deadline
from strongroom.db.clock import now
from strongroom.db.engine import Database
from strongroom.db.identifiers import new_id
from strongroom.errors import ConfigurationError, StrongroomError, TooLarge, Unavailable, Unreadable
from strongroom.metadata import placement as rows
from strongroom.metadata.placement import EMPTIED, PRESENT, Pair, Version
from strongroom.metadata.secret import SecretRow
from strongroom.models.secret import Scope
from strongroom.secrets_stores.base import About
from strongroom.secrets_stores.sql import Place, SqlSecretsStore
from strongroom.service.placements import READERS, WRITE_SECONDS, ConfiguredStore, Placements

Outcome = StrongroomError | None
_TOO_LATE = "it took too long; it is tried again later"


class Copies:
    """Copies versions, and empties stores of them. Thread-safe; each call makes two or three transactions, however many versions."""

    def __init__(self, database: Database, placements: Placements, sql: SqlSecretsStore, deployment_id: str) -> None:
        self._database, self._placements, self._sql, self._deployment_id = database, placements, sql, deployment_id

    def copy(self, found: Sequence[SecretRow], target: ConfiguredStore, *, at_once: int, recall: bool = False) -> list[Outcome]:
        """Copies each version into the target, with up to `at_once` calls side by side. Returns each one's error, or None.

        A version that is gone meanwhile is well too, and so is one that the target was emptied of, unless `recall` wants it back.
        The target is marked behind by what could not be copied, in the transaction that announces the copies.
        """
        outcomes: dict[Version, Outcome] = {_version(row): None for row in found}
        wanted = [row for row in found if _state_in(row, target) in ((None, EMPTIED) if recall else (None,))]
        self._placements.prepare()
        if target.external is None:
            self._into_sql(wanted, target, outcomes, recall=recall)
        elif wanted:
            self._into_external(wanted, target, outcomes, at_once, recall=recall)
        needless = outcomes.keys() - set(map(_version, wanted))
        if needless:  # the index said so, or another process was faster
            with self._database.write() as connection:
                rows.clear_behind(connection, target.store_id, sorted(needless))
        return list(outcomes.values())

    def empty(self, found: Sequence[SecretRow], store: ConfiguredStore, keep: ConfiguredStore, *, at_once: int) -> list[Outcome]:
        """Takes each version away from a store, once it was read back from the store `keep` and is what was written.

        A version that the store is still to get is taken away too: it will not come.
        """

        kept: dict[Version, str] = {}

        def read_back(row: SecretRow) -> Outcome:
            placement = next((each for each in row.placements if (each.store_id, each.state) == (keep.store_id, PRESENT)), None)
            if placement is None:
                return Unavailable(f"{keep.store_id} does not hold it yet")
            try:
                self._placements.get(keep, placement, row)
            except (Unreadable, Unavailable, ConfigurationError) as error:
                return error
            kept[_version(row)] = placement.locator
            return None

        wanted = [row for row in found if _state_in(row, store) != EMPTIED]
        outcomes = {
            _version(row): outcome for row, outcome in zip(wanted, self._side_by_side(read_back, wanted, at_once), strict=True)
        }
        with self._database.write() as connection:
            for version, outcome in outcomes.items():
                if outcome is not None:
                    continue
                emptied = rows.unplace(connection, version, store.store_id, (keep.store_id, kept[version]))
                if emptied is None:
                    outcomes[version] = Unavailable(f"it has moved in {keep.store_id} meanwhile; run it again")
                else:
                    self._placements.release(connection, emptied)
        return [outcomes.get(_version(row)) for row in found]

    def _into_sql(
        self, wanted: Sequence[SecretRow], target: ConfiguredStore, outcomes: dict[Version, Outcome], *, recall: bool
    ) -> None:
        if wanted:
            with self._database.write() as connection:
                rows.mark_behind_unless_known(connection, target.store_id, map(_version, wanted), now())
        for row in wanted:
            version = _version(row)
            place = Place(row.id, row.number, new_id())
            try:
                sealed = self._sql.seal(place, self._placements.fetch(row))
            except (Unreadable, Unavailable, ConfigurationError) as error:
                outcomes[version] = error
                continue
            with self._database.write() as connection:
                if recall:
                    rows.return_to(connection, version, target.store_id)
                if rows.place(connection, version, target.store_id, place.locator):
                    self._sql.insert(connection, place, sealed)

    def _into_external(
        self, wanted: Sequence[SecretRow], target: ConfiguredStore, outcomes: dict[Version, Outcome], at_once: int, *, recall: bool
    ) -> None:
        external = target.external
        assert external is not None
        locators = {_version(row): external.new_locator(row.id) for row in wanted}
        deadline = Deadline(WRITE_SECONDS)
        with self._database.write() as connection:
            rows.announce(connection, [(target.store_id, each) for each in locators.values()], now() + int(WRITE_SECONDS * 1_000_000))
            rows.mark_behind_unless_known(connection, target.store_id, locators, now())

        def put(row: SecretRow) -> Outcome:
            try:
                values = self._placements.fetch(row)
                seconds = min(deadline.left(), target.timeout)
                external.put(locators[_version(row)], values, self._about(row), seconds=seconds)
            except (Unreadable, Unavailable, ConfigurationError, TooLarge) as error:
                return error
            return None

        outcomes |= {_version(row): outcome for row, outcome in zip(wanted, self._side_by_side(put, wanted, at_once), strict=True)}
        unwanted: list[Pair] = []
        with self._database.write() as connection:
            for version, locator in locators.items():
                if outcomes[version] is not None:
                    continue
                if not rows.claim(connection, [(target.store_id, locator)]):
                    outcomes[version] = Unavailable(_TOO_LATE)
                    continue
                if recall:
                    rows.return_to(connection, version, target.store_id)
                if not rows.place(connection, version, target.store_id, locator):
                    unwanted.append((target.store_id, locator))
            rows.to_delete(connection, unwanted, now())
        self._placements.work_left.set()

    def _side_by_side(self, work: Callable[[SecretRow], Outcome], found: Sequence[SecretRow], at_once: int) -> list[Outcome]:
        if at_once == 1 or len(found) < 2:
            return [work(row) for row in found]
        step = len(found) if at_once >= READERS else at_once  # there are no more threads than that
        outcomes: list[Outcome] = []
        for start in range(0, len(found), step):
            outcomes += self._placements.workers().map(work, found[start : start + step])
        return outcomes

    def _about(self, row: SecretRow) -> About:
        scope = Scope.USER if row.private_to else Scope.WORKSPACE
        return About(
            deployment_id=self._deployment_id,
            secret_id=row.id,
            name=row.name,
            scope=scope,
            workspace=row.workspace,
            version=row.number,
        )


def _version(row: SecretRow) -> Version:
    return row.id, row.number


def _state_in(row: SecretRow, store: ConfiguredStore) -> str | None:
    return next((each.state for each in row.placements if each.store_id == store.store_id), None)
